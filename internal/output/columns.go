package output

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"tcpstates/internal/column"
	"tcpstates/internal/event"
)

// kind is that of the events which the subject is about.
func (s Subject) kind() event.Kind {
	switch s {
	case OfSockets:
		return event.KindSocket
	case OfConns:
		return event.KindConn
	}
	return event.KindTransition
}

// subjects are the words for what the commands show, in the order of the help.
var subjects = []struct {
	of   Subject
	word string
}{{OfTransitions, "trace"}, {OfConns, "conns"}, {OfSockets, "list"}}

// ShownBy are the words for the commands that have the column: trace, conns,
// list.
func ShownBy(c *column.Column) []string {
	var words []string
	for _, s := range subjects {
		if column.Has(everyColumn(s.of), c.Name) {
			words = append(words, s.word)
		}
	}
	return words
}

// everyColumn are all columns that say something of the subject.
func everyColumn(of Subject) []*column.Column {
	return dataColumns(Options{
		Of: of, Elapsed: of != OfSockets,
		Names:    func(netip.Addr) string { return "" },
		Services: func(uint16, bool) string { return "" },
	})
}

// Choose makes a choice of columns for the format: what goes into
// Options.Columns. A column that says nothing of what is shown is an error, and
// so is one of names where the options have none. A format whose records begin
// with their type keeps it, whatever is chosen.
func (f *Format) Choose(choice *column.Choice, o Options) ([]*column.Column, error) {
	all := everyColumn(o.Of)
	for _, name := range choice.Names() {
		switch {
		case !column.Has(all, name):
			return nil, elsewhere(name)
		case name == column.RName.Name && o.Names == nil:
			return nil, fmt.Errorf("%s: names are looked up with -N alone: give that too", name)
		case (name == column.LService.Name || name == column.RService.Name) && o.Services == nil:
			return nil, fmt.Errorf("%s: ports have names with --port-names alone: give that too", name)
		}
	}
	chosen, err := choice.Of(f.Columns(o), all)
	if err != nil || !f.Typed {
		return chosen, err
	}
	if choice.Removes(column.Type.Name) {
		return nil, fmt.Errorf("-%s: with -o %s each record has its type, which tells a loss from the rest", column.Type.Name, f.Name)
	}
	return typed(chosen), nil
}

// typed puts the type first.
func typed(columns []*column.Column) []*column.Column {
	if at := column.Find(columns, column.Type.Name); at >= 0 {
		columns = slices.Delete(columns, at, at+1)
	}
	return slices.Insert(columns, 0, &column.Type)
}

// Tells is an error where a column says nothing of the subject, and so no filter could
// go by it. What is no column tells of connections alone.
func Tells(of Subject, name string) error {
	if column.Has(everyColumn(of), name) || of == OfConns && !column.Has(column.All, name) {
		return nil
	}
	return elsewhere(name)
}

// elsewhere is the error for a column that only others have.
func elsewhere(name string) error {
	words := []string{subjects[1].word}
	if at := column.Find(column.All, name); at >= 0 {
		words = ShownBy(column.All[at])
	}
	return fmt.Errorf("%s says nothing of what is shown here: it is a column of %s", name, strings.Join(words, " and "))
}

// columns are those to show: the ones chosen, or those by default.
func (o Options) columns(standard func(Options) []*column.Column) []*column.Column {
	if o.Columns != nil {
		return o.Columns
	}
	return standard(o)
}

// state is what columns begin with.
func (o Options) state() column.State {
	return column.State{Names: o.Names, Services: o.Services}
}
