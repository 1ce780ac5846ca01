package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"tcpstates/internal/event"
	"tcpstates/internal/filter"
	"tcpstates/internal/privilege"
	"tcpstates/internal/probe"
)

// filterFlags are the flags that choose connections and events: one for each filter
// that the command has.
type filterFlags struct {
	set              filter.Set
	ipv4, ipv6, tree bool
	where            whereFlag
	flags            *pflag.FlagSet // that these are among
}

// filterValue is the flag of a filter. Each time it is given it adds a condition.
type filterValue struct {
	row    *filter.Row
	set    *filter.Set
	values []string
}

// Set implements pflag.Value.
func (v *filterValue) Set(value string) error {
	if err := v.set.Add(v.row, value, thisMachine); err != nil {
		return err
	}
	v.values = append(v.values, value)
	return nil
}

// String implements pflag.Value.
func (v *filterValue) String() string { return strings.Join(v.values, " ") }

// Type implements pflag.Value.
func (v *filterValue) Type() string { return v.row.Takes }

// thisMachine is what filters know of it.
var thisMachine = filter.Env{Netns: findNetns, UID: findUID}

// findNetns finds a network namespace by "self", pid:N or a path.
func findNetns(word string) (uint32, error) {
	path := word
	if pid, found := strings.CutPrefix(word, "pid:"); found {
		if _, err := strconv.ParseUint(pid, 10, 32); err != nil {
			return 0, err
		}
		path = "/proc/" + pid + "/ns/net"
	} else if word == "self" {
		path = "/proc/self/ns/net"
	}
	inode, err := netnsInode(path)
	return uint32(inode), err
}

func findUID(name string) (uint32, error) {
	user, err := privilege.ParseUser(name)
	return uint32(user.UID), err
}

// bind binds the flags of the filters that the command has.
func (f *filterFlags) bind(flags *pflag.FlagSet, has func(*filter.Row) bool) {
	f.flags = flags
	for i := range filter.Rows {
		row := &filter.Rows[i]
		if !has(row) {
			continue
		}
		flags.VarP(&filterValue{row: row, set: &f.set}, row.Name, row.Short, row.Help)
		if row.Name == "pid" && has(filter.Find("role")) {
			flags.BoolVar(&f.tree, "tree", false, "with --pid: and of the descendants of those processes, later ones included")
		}
	}
	flags.Var(&f.where, "where", `only what this is true of, an expression over the columns: 'ms > 100 and comm != "curl"'`)
	flags.BoolVarP(&f.ipv4, "ipv4", "4", false, "only IPv4 sockets")
	flags.BoolVarP(&f.ipv6, "ipv6", "6", false, "only IPv6 sockets, dual-stack ones that speak IPv4 included")
	flags.SetNormalizeFunc(bccNames)
}

// allFilters is for commands that have all of them.
func allFilters(*filter.Row) bool { return true }

// bccNames has the long names of BCC's flags mean what they mean there.
func bccNames(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	switch name {
	case "localport":
		name = "lport"
	case "remoteport":
		name = "rport"
	}
	return pflag.NormalizedName(name)
}

// filters are what the flags ask for.
func (f *filterFlags) filters() (*filter.Set, error) {
	switch {
	case f.ipv4 && f.ipv6:
		return nil, usagef("-4 with -6: each excludes the other: leave out both to see both")
	case f.tree && !f.set.Has("pid"):
		return nil, usagef("--tree without --pid: it is about the descendants of processes: name one with --pid")
	case f.ipv4:
		f.set.Only(event.IPv4)
	case f.ipv6:
		f.set.Only(event.IPv6)
	}
	if f.tree {
		f.set.WithTree()
	}
	return &f.set, nil
}

// reasons is the flag that goes by the reasons of ends; empty if none does.
func (f *filterFlags) reasons() string {
	if f.set.Has("reason") {
		return "--reason"
	}
	return ""
}

// asksPlaces tells whether a filter goes by where owners run.
func (f *filterFlags) asksPlaces() bool {
	return slices.ContainsFunc([]string{"cgroup", "container", "unit"}, f.set.Has) || f.where.uses(ofPlaces()...)
}

// unknownTo is a filter by what a trace does not know that knows so much; empty if
// there is none.
func (f *filterFlags) unknownTo(knows probe.Knows) string {
	for _, name := range []string{"netns", "uid"} {
		if f.set.Has(name) && !knows.Facts {
			return name
		}
	}
	return ""
}

// checkRaw refuses filters by what is not concluded of what the tracepoint says alone.
func (f *filterFlags) checkRaw() error {
	for _, name := range []string{"role", "reason"} {
		if f.set.Has(name) {
			return usagef("--%s with what the tracepoint says alone, of which nothing is concluded: leave out --raw, -o bcc and -o libbpf", name)
		}
	}
	return nil
}

// noteRest tells the user of -v which filters the kernel leaves to the command.
func (f *viewFlags) noteRest(a *app, rest []string) {
	if len(rest) > 0 {
		f.notef(a, "decided in user space: %s", "--"+strings.Join(rest, ", --"))
	}
}

// tellHasty says how many connections were judged too early, or forgotten.
func tellHasty(a *app, stage *filter.Stage) {
	if stage == nil {
		return
	}
	if n := stage.Hasty(); n > 0 {
		fmt.Fprintf(a.stderr, "tcpstates: %d connections were chosen, or not, before all was known of them: too many waited for that; choose by what the kernel decides, too\n", n)
	}
	if n := stage.Forgotten(); n > 0 {
		fmt.Fprintf(a.stderr, "tcpstates: %d connections were chosen anew, as there were too many to remember; see --max-conns\n", n)
	}
}
