package cli

import (
	"errors"
	"slices"
	"strings"

	"tcpstates/internal/column"
	"tcpstates/internal/event"
	"tcpstates/internal/output"
	"tcpstates/internal/query"
)

// whereFlag is a flag that takes an expression over the columns, which must be true of
// what is shown. Each time it is given it adds one.
type whereFlag []*query.Where

// Set implements pflag.Value.
func (f *whereFlag) Set(text string) error {
	where, err := query.NewWhere(text)
	if err != nil {
		return err
	}
	*f = append(*f, where)
	return nil
}

// String implements pflag.Value.
func (f *whereFlag) String() string {
	var all []string
	for _, where := range *f {
		all = append(all, where.String())
	}
	return strings.Join(all, " ")
}

// Type implements pflag.Value.
func (f *whereFlag) Type() string { return "EXPR" }

// clone is the same for another goroutine.
func (f whereFlag) clone() (copies whereFlag, err error) {
	for _, where := range f {
		err = errors.Join(err, copies.Set(where.String()))
	}
	return copies, err
}

// uses tells whether one of the expressions asks for one of the fields.
func (f whereFlag) uses(names ...string) bool {
	return slices.ContainsFunc(f, func(where *query.Where) bool { return where.Uses(names...) })
}

// check refuses what says nothing of what is shown, and so would be false of all of it.
func (f whereFlag) check(of output.Subject) error {
	for _, where := range f {
		for _, field := range where.Fields() {
			if err := output.Tells(of, field); err != nil {
				return usagef("--where %s: %w", where, err)
			}
		}
	}
	return nil
}

// holds tells whether all of the expressions are true of the event.
func (f whereFlag) holds(e *event.Event) (bool, error) {
	for _, where := range f {
		if holds, err := where.Holds(e); err != nil || !holds {
			return false, err
		}
	}
	return true, nil
}

// ofFacts are the fields that only backends know which ask the socket (probe.Knows).
var ofFacts = []string{
	column.Reason.Name, column.Cause.Name, column.First.Name, column.Errno.Name, column.SoftErrno.Name, column.Reset.Name, "failed",
	column.Out.Name, column.In.Name, column.SegsOut.Name, column.SegsIn.Name, column.Retransmits.Name, column.SynRetransmits.Name,
	column.RTT.Name, column.RTTEstimate.Name, column.Way.Name, column.Netns.Name, column.UID.Name,
}

// asksFacts is a flag whose expressions ask for such; empty if none does.
func (f *viewFlags) asksFacts() string {
	switch {
	case f.where.uses(ofFacts...):
		return "where"
	case f.expectFlags.uses(ofFacts...):
		return "expect"
	}
	return ""
}

// ofPlaces are the fields of where an owner runs.
func ofPlaces() (names []string) {
	for _, c := range column.Places {
		names = append(names, c.Name)
	}
	return names
}
