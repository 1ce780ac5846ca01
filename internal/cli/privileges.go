package cli

import (
	"fmt"
	"strings"

	"tcpstates/internal/feature"
	"tcpstates/internal/privilege"
)

// identity is a flag that takes a user.
type identity struct {
	text string
	user privilege.User
}

// Set implements pflag.Value.
func (i *identity) Set(text string) (err error) {
	if i.user, err = privilege.ParseUser(text); err != nil {
		return err
	}
	i.text = text
	return nil
}

// String implements pflag.Value.
func (i *identity) String() string { return i.text }

// Type implements pflag.Value.
func (i *identity) Type() string { return "USER" }

// changeUser has the process go on as the user that the flags ask for.
func (a *app) changeUser(flags *traceFlags) error {
	if flags.dropTo.text == "" {
		return nil
	}
	if err := a.become(flags.dropTo.user); err != nil {
		missing := &feature.Missing{
			What: fmt.Sprintf("this process may not go on as the user %s: run it as root, with CAP_SETUID and CAP_SETGID, "+
				"or leave out --drop-to", flags.dropTo.text),
			Err: err,
		}
		a.explain(&flags.viewFlags, missing)
		return missing
	}
	flags.notef(a, "goes on as the user and group %s", flags.dropTo.user)
	return nil
}

// dropPrivileges gives up what the trace needs no more.
func (r *run) dropPrivileges() error {
	report, err := r.drop(privilege.Needs{Cgroups: r.places != nil, Minisocks: r.rest != nil, Signals: r.child != nil})
	if err != nil {
		return fmt.Errorf("give up privileges that are needed no more: %w: let a seccomp filter allow capset() and prctl()", err)
	}
	kept := "none"
	if len(report.Kept) > 0 {
		kept = strings.Join(report.Kept, ", ")
	}
	r.flags.notef(r.app, "of the capabilities it keeps %s, and has dropped %d; it gets no new privileges", kept, len(report.Dropped))
	return nil
}
