// Package query is what expressions can ask of events: the columns by their names,
// as expr-lang has expressions, and checks that find before a trace what would make
// it answer something else than was asked.
package query

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/types"

	"tcpstates/internal/column"
	"tcpstates/internal/event"
)

// Kind is what the values of a field are.
type Kind uint8

const (
	// Number is a float64; what is not known is NaN, which is neither more nor
	// less than any number, nor equal to one.
	Number Kind = iota
	// Text is a string; what is not known is empty.
	Text
	// Truth is a bool; what is not known is false.
	Truth
)

// Field is one thing that an expression can ask of an event.
type Field struct {
	Name string
	Kind Kind
	// Words are all that a Text can be; nil: anything.
	Words []string
	// numbered says that it can be a number as well, of what has no word.
	numbered bool
	// zero says that a number that is not told stands for 0.
	zero   bool
	column *column.Column
	groups column.Groups
	truth  func(e *event.Event) bool // instead of column, of a Truth
}

// Fields are all there are: first the columns, in their order. Those that need more
// than the event, as the names that -N looks up, are none.
var Fields = fields()

func fields() []Field {
	var all []Field
	for i, groups := range column.Members(column.All) {
		c := column.All[i]
		switch c.Name {
		case column.Elapsed.Name, column.RName.Name, column.LService.Name, column.RService.Name:
			continue
		}
		f := Field{Name: c.Name, Kind: Text, Words: words[c.Name], column: c, groups: groups}
		switch c.Name {
		case column.Errno.Name, column.SoftErrno.Name, column.Signal.Name:
			f.numbered = true
		case column.Derived.Name:
			f.Kind = Truth
		case column.SynRetransmits.Name, column.Retransmits.Name:
			f.Kind, f.zero = Number, true
		default:
			if c.Number {
				f.Kind = Number
			}
		}
		all = append(all, f)
	}
	return append(all, truths...)
}

// truths are what no column says in a word.
var truths = []Field{
	// A connection that was established: so it has a time in that state, if its beginning
	// was seen.
	{Name: "established", Kind: Truth, truth: func(e *event.Event) bool {
		return e.NewState == event.Established || e.Times[event.Established] > 0
	}},
	{Name: "failed", Kind: Truth, truth: func(e *event.Event) bool { return e.End.Reason.IsFailure() }},
}

// words are what the values of some columns can be.
var words = map[string][]string{
	column.OldState.Name: states,
	column.NewState.Name: states,
	column.Now.Name:      append(states, "UNCONN"),
	column.Role.Name:     event.Names[event.Role](),
	column.Reason.Name:   event.Names[event.Reason](),
	column.First.Name:    event.Names[event.Side](),
	column.Way.Name:      event.Names[event.Way](),
	column.Source.Name:   event.Names[event.Source](),
	column.Type.Name:     event.Names[event.Kind](),
	column.Proto.Name:    {"tcp", "udp"},
	// Of an end, or of a loss.
	column.Cause.Name:     append(event.Names[event.Cause](), event.Names[event.Loss]()...),
	column.Errno.Name:     event.ErrnoNames(),
	column.SoftErrno.Name: event.ErrnoNames(),
	column.Signal.Name:    event.SignalNames(),
}

var states = func() (all []string) {
	for s := event.Established; s < event.NewSynRecv; s++ {
		all = append(all, s.String())
	}
	return all
}()

// Find looks a field up by its name; nil if there is none.
func Find(name string) *Field {
	for i := range Fields {
		if Fields[i].Name == name {
			return &Fields[i]
		}
	}
	return nil
}

// Names are those of all fields, in order.
func Names() []string {
	var names []string
	for i := range Fields {
		names = append(names, Fields[i].Name)
	}
	return names
}

// Types are what an expression is checked by.
func Types() types.Map {
	all := types.Map{}
	for i := range Fields {
		all[Fields[i].Name] = Fields[i].Type()
	}
	return all
}

// canBe tells whether the field can be this text.
func (f *Field) canBe(text string) bool {
	if f.Words == nil || slices.Contains(f.Words, text) {
		return true
	}
	_, err := strconv.ParseUint(text[strings.LastIndexByte(text, ' ')+1:], 10, 16)
	return f.numbered && err == nil
}

// offer says what a field can be that was thought to be something else. There are too
// many names of numbers to say them all.
func (f *Field) offer(text string) string {
	if !f.numbered {
		return "it can be " + strings.Join(f.Words, ", ")
	}
	if near := nearest(text, f.Words); near != "" {
		return "it can be " + near
	}
	return "it has names such as " + strings.Join(f.Words[:3], ", ")
}

// Of tells whether events of one of the groups can have a value.
func (f *Field) Of(groups column.Groups) bool { return f.truth != nil || f.groups&groups != 0 }

// Type is that of the values.
func (f *Field) Type() types.Type {
	switch f.Kind {
	case Number:
		return types.Float64
	case Truth:
		return types.Bool
	}
	return types.String
}

// Reader reads the values of fields. It belongs to one goroutine; the zero value is
// ready.
type Reader struct {
	state column.State
	text  []byte
}

// Value is a float64, a string or a bool, as the field's Kind says.
func (r *Reader) Value(f *Field, e *event.Event) any {
	if f.truth != nil {
		return f.truth(e)
	}
	r.text = r.text[:0]
	if f.groups&column.GroupsOf(e) != 0 {
		r.text = f.column.Data(r.text, e, &r.state)
	}
	switch f.Kind {
	case Number:
		return f.number(string(r.text))
	case Truth:
		return len(r.text) > 0
	}
	return string(r.text)
}

func (f *Field) number(text string) float64 {
	if text == "" && f.zero {
		return 0
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return math.NaN()
	}
	return n
}
