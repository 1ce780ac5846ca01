// Package filter says which connections and events are wanted. Each filter is a
// row: its flag, how its words are read, how an event is judged by it, and what of
// that the kernel can decide (bpf/filter.h), so that what nobody wants costs no
// record. What is shown is decided here, by a Stage.
package filter

import (
	"fmt"

	"tcpstates/internal/event"
)

// Row is a filter.
type Row struct {
	// Name and Short are its flag, and Takes the word for its value in the help.
	Name, Short, Takes string
	Help               string
	// accepts says what it takes, for who has given something else.
	accepts string
	// list tells whether the value is a list: commas are "or", and a leading "!"
	// excludes. Else parse gets it as one word.
	list bool
	// Listed says that it is a filter of sockets that exist, too.
	Listed bool
	// of is what it judges, and waits for what it may have to wait.
	of    subject
	waits wait
	// parse reads the words of one value.
	parse func(words []string, env Env) (test, error)
	// lower puts what the kernel can decide into l, if there is room for it: one
	// rule of each kind. It tells whether it did; nil stands for never.
	lower func(t test, exclude bool, l *Lowered) bool
}

// Env is what the parsers know of the machine. What is nil makes no name known.
type Env struct {
	// Netns finds the inode number of the network namespace that a word names.
	Netns func(word string) (uint32, error)
	// UID finds a user by its name.
	UID func(name string) (uint32, error)
}

// subject is what a filter judges.
type subject uint8

const (
	// The zero one is the connection, once, with all its events.
	_ subject = iota
	// ofEvent: each event for itself.
	ofEvent
)

// test judges one thing of an event. It has the values that it looks for.
type test interface {
	// of tells whether the event's value is one of those, and whether the event
	// has any.
	of(e *event.Event) (is, known bool)
}

// condition is a filter with its value.
type condition struct {
	row     *Row
	test    test
	exclude bool
}

// holds judges an event. A value that is not known is none of those looked for.
func (c *condition) holds(e *event.Event) bool {
	is, known := c.test.of(e)
	return (is && known) != c.exclude
}

// Set is filters with their values, joined by "and". The zero value wants
// everything. It is made before the events come, and not changed then.
type Set struct {
	conditions []condition
	events     int // conditions that judge each event for itself
	family     event.Family
	tree       bool
	follow     bool
}

// maxEventFilters is how many of them a verdict has room for.
const maxEventFilters = 32

// Add adds a value of a filter.
func (s *Set) Add(row *Row, value string, env Env) error {
	words, exclude := []string{value}, false
	if row.list {
		var err error
		if words, exclude, err = split(value); err != nil {
			return fmt.Errorf("%w: it takes %s", err, row.accepts)
		}
	}
	test, err := row.parse(words, env)
	if err != nil {
		return fmt.Errorf("%w: it takes %s", err, row.accepts)
	}
	if row.of == ofEvent {
		if s.events++; s.events > maxEventFilters {
			return fmt.Errorf("there are %d of --state, --transition and --min-ms already: join some with commas", maxEventFilters)
		}
	}
	s.conditions = append(s.conditions, condition{row, test, exclude})
	return nil
}

// Only wants sockets of the family alone.
func (s *Set) Only(family event.Family) { s.family = family }

// WithTree has the filter by process ids want the descendants of those processes,
// too.
func (s *Set) WithTree() { s.tree = true }

// Follow wants the connections of processes alone that are followed, by what the events
// of new processes say (event.Event.Followed). Match knows nothing of it: no socket
// that exists when that begins is one of theirs.
func (s *Set) Follow() { s.follow = true }

// following is the filter that Follow adds, which has no flag.
var following = Row{waits: forOwner}

// Has tells whether there is a filter of the name.
func (s *Set) Has(name string) bool {
	for i := range s.conditions {
		if s.conditions[i].row.Name == name {
			return true
		}
	}
	return false
}

// IsEmpty tells whether everything is wanted.
func (s *Set) IsEmpty() bool { return s.family == 0 && len(s.conditions) == 0 && !s.follow }

// Lower gives what the kernel can decide, and the names of the filters of which it
// cannot decide all.
func (s *Set) Lower() (l Lowered, rest []string) {
	l.Family = s.family
	for i := range s.conditions {
		c := &s.conditions[i]
		isTree := s.tree && c.row.waits == forOwner
		if c.row.lower == nil || isTree || !c.row.lower(c.test, c.exclude, &l) {
			rest = append(rest, c.row.Name)
		}
	}
	return l, rest
}

// Match tells whether a socket that exists is wanted.
func (s *Set) Match(e *event.Event) bool {
	if s.family != 0 && s.family != e.Family {
		return false
	}
	for i := range s.conditions {
		if !s.conditions[i].holds(e) {
			return false
		}
	}
	return true
}
