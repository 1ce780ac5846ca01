package query

import (
	"fmt"
	"slices"

	"github.com/expr-lang/expr/vm"

	"tcpstates/internal/event"
)

// Where is an expression that is true or false of an event. It belongs to one
// goroutine.
type Where struct {
	text    string
	program *Program
	env     map[string]any
	machine vm.VM
	reader  Reader
}

// NewWhere compiles the expression.
func NewWhere(text string) (*Where, error) {
	program, err := Compile(text, Types())
	if err != nil {
		return nil, err
	}
	return &Where{text: text, program: program, env: map[string]any{}}, nil
}

// String is the expression as it was given.
func (w *Where) String() string { return w.text }

// Fields are the names of those that the expression asks for.
func (w *Where) Fields() (names []string) {
	for _, f := range w.program.Uses {
		names = append(names, f.Name)
	}
	return names
}

// Uses tells whether the expression asks for one of the fields.
func (w *Where) Uses(names ...string) bool {
	return slices.ContainsFunc(w.program.Uses, func(f *Field) bool { return slices.Contains(names, f.Name) })
}

// Holds tells whether the expression is true of the event.
func (w *Where) Holds(e *event.Event) (bool, error) {
	for _, f := range w.program.Uses {
		w.env[f.Name] = w.reader.Value(f, e)
	}
	is, err := w.machine.Run(w.program.Program, w.env)
	if err != nil {
		return false, fmt.Errorf("ask of an event whether %s: %w", w.text, err)
	}
	return is.(bool), nil // as it was compiled to be
}
