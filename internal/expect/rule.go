// Package expect judges the connections of a trace by rules, which are expressions over
// all of them, and says in words and numbers why a rule does not hold.
package expect

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"

	"tcpstates/internal/query"
)

// Rule is what is expected of the connections. It belongs to one goroutine.
type Rule struct {
	// Name is a short one, Description a sentence or empty. Expression is what must be
	// true.
	Name, Description, Expression string

	program *query.Program
	uses    []string
	texts   texts
	alls    map[ast.Node]*ast.BuiltinNode
}

// Compile compiles a rule. Without a name it has the expression for one. An error is a
// sentence as query.Compile has them.
func Compile(name, description, expression string) (*Rule, error) {
	if err := printable(name, description, expression); err != nil {
		return nil, err
	}
	check := &checker{texts: texts{}, alls: map[ast.Node]*ast.BuiltinNode{}}
	// What is optimised is not what was written, and could not be explained.
	options := append([]expr.Option{expr.Optimize(false), expr.DisableBuiltin("now"), expr.Patch(check.texts), expr.Patch(check)}, functions...)
	program, err := query.Compile(expression, environment, options...)
	if err == nil && check.err != nil {
		err = query.Sentence(expression, environment, check.err)
	}
	if err != nil {
		return nil, err
	}
	if name == "" {
		name = strings.Join(strings.Fields(expression), " ")
	}
	return &Rule{
		Name: name, Description: description, Expression: expression,
		program: program, uses: check.uses, texts: check.texts, alls: check.alls,
	}, nil
}

// Uses are the names of the fields that the rule asks for of connections: those of
// query.Fields, and "ended", which is always known.
func (r *Rule) Uses() []string { return slices.Clone(r.uses) }

// printable tells of a character that a terminal would take for a command. What it
// shows otherwise is shown as it is.
func printable(texts ...string) error {
	for _, text := range texts {
		if !utf8.ValidString(text) {
			return errors.New("it is no UTF-8")
		}
		for _, char := range text {
			if !unicode.IsPrint(char) && !strings.ContainsRune("\n\r\t", char) {
				return fmt.Errorf("%+q is no character for a rule", char)
			}
		}
	}
	return nil
}

// texts are the nodes of an expression as they were written, or nearly so: later some
// are replaced. It is an ast.Visitor.
type texts map[ast.Node]string

// Visit implements ast.Visitor.
func (t texts) Visit(node *ast.Node) { t[*node] = (*node).String() }
