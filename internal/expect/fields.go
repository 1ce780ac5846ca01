package expect

import (
	"slices"

	"github.com/expr-lang/expr/types"

	"tcpstates/internal/column"
	"tcpstates/internal/event"
	"tcpstates/internal/query"
)

// self is the key by which the values of a connection have the connection itself. No
// expression can ask for it: it is no field.
const self = ""

// The fields that only here can be told: what a query tells of the moment is of the
// whole life of a connection here.
const (
	establishedField = "established"
	endedField       = "ended"
)

// lists are the names that an expression starts from, and what their elements are called.
var lists = map[string]string{
	"conns":     "connection",
	"clients":   "client",
	"servers":   "server",
	"listeners": "listener",
}

// environment is what an expression is checked by.
var environment = func() types.Map {
	element := types.Map{endedField: types.Bool}
	for i := range query.Fields {
		if f := &query.Fields[i]; isOfConns(f) {
			element[f.Name] = f.Type()
		}
	}
	all := types.Map{}
	for name := range lists {
		all[name] = types.Array(element)
	}
	return all
}()

// isOfConns tells whether a field can say something of a connection as a whole: what
// never does would make a rule that is always true, or never.
func isOfConns(f *query.Field) bool {
	switch f.Name {
	case column.Type.Name, column.CurPID.Name, column.CurComm.Name: // of events
		return false
	}
	return f.Of(column.GroupsOf(&event.Event{Kind: event.KindConn}) | column.Waits | column.Placed)
}

// isNumber tells whether a connection has a field of the name that is a number.
func isNumber(name string) bool {
	f := query.Find(name)
	return f != nil && f.Kind == query.Number && isOfConns(f)
}

// numbers are the names of all such fields, in order.
func numbers() (names []string) {
	for _, name := range query.Names() {
		if isNumber(name) {
			names = append(names, name)
		}
	}
	return names
}

// isField tells whether a connection has a field of the name.
func isField(name string) bool {
	return name == endedField || slices.ContainsFunc(query.Fields, func(f query.Field) bool {
		return f.Name == name && isOfConns(&f)
	})
}

// values are what an expression gets to see of a connection: the fields of these names.
func (c *Conn) values(names []string, reader *query.Reader) map[string]any {
	all := make(map[string]any, len(names)+1)
	all[self] = c
	for _, name := range names {
		switch name {
		case establishedField:
			all[name] = c.established
		case endedField:
			all[name] = c.ended
		default:
			all[name] = reader.Value(query.Find(name), &c.event)
		}
	}
	return all
}

// connOf is the connection that such values are of; nil if they are something else.
func connOf(value any) *Conn {
	values, _ := value.(map[string]any)
	c, _ := values[self].(*Conn)
	return c
}
