package expect

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"

	"tcpstates/internal/event"
)

// explainer judges a rule, and says why it does not hold by evaluating its parts.
type explainer struct {
	rule    *Rule
	env     map[string]any
	filters string
	machine vm.VM
	// lets are the variables around the part at hand.
	lets    []*ast.VariableDeclaratorNode
	verdict Verdict
}

func (x *explainer) judge() {
	is, err := x.machine.Run(x.rule.program.Program, x.env)
	switch {
	case err != nil:
		x.failed(x.rule.program.Node(), err)
	case is == true: // it is true or false, as it was compiled to be
		x.verdict.Held = true
	default:
		x.why(x.rule.program.Node())
		if len(x.verdict.Why) == 0 {
			x.say("it is false")
		}
	}
}

// say adds a sentence, once.
func (x *explainer) say(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(x.verdict.Why, text) {
		x.verdict.Why = append(x.verdict.Why, text)
	}
}

// eval is what a part comes to.
func (x *explainer) eval(node ast.Node) (any, error) {
	for i := len(x.lets) - 1; i >= 0; i-- {
		node = &ast.VariableDeclaratorNode{Name: x.lets[i].Name, Value: x.lets[i].Value, Expr: node}
	}
	program, err := x.rule.program.Part(node)
	if err != nil {
		return nil, err
	}
	return x.machine.Run(program, x.env)
}

// text is a part as it was written.
func (x *explainer) text(node ast.Node) string {
	if text, known := x.rule.texts[node]; known {
		return text
	}
	return node.String()
}

// why says why a part is false.
func (x *explainer) why(node ast.Node) {
	switch n := node.(type) {
	case *ast.VariableDeclaratorNode:
		x.lets = append(x.lets, n)
		x.why(n.Expr)
		x.lets = x.lets[:len(x.lets)-1]
		return
	case *ast.UnaryNode:
		if n.Operator == "not" || n.Operator == "!" {
			x.whyNot(n.Node)
			return
		}
	case *ast.BinaryNode:
		if x.binary(n) {
			return
		}
	case *ast.BuiltinNode:
		if x.quantifier(n.Name, n, node) {
			return
		}
	}
	x.say("%s is false", x.text(node))
	x.subjects(node, false)
}

// whyNot says of a part that is true that it should not be.
func (x *explainer) whyNot(node ast.Node) {
	if n, ok := node.(*ast.BuiltinNode); ok && n.Name == "any" {
		x.quantifier("none", n, node)
		return
	}
	x.say("%s is true", x.text(node))
	x.subjects(node, true)
}

// binary says why an operation is false, and tells whether it could.
func (x *explainer) binary(n *ast.BinaryNode) bool {
	if all := x.rule.alls[n]; all != nil {
		return x.quantifier("all", all, n)
	}
	switch n.Operator {
	case "and", "&&":
		x.whyBoth(n)
	case "or", "||":
		x.why(n.Left)
		x.why(n.Right)
	default:
		return x.comparison(n)
	}
	return true
}

// whyBoth says which of two parts are false. The right one may make no sense where the
// left one is false.
func (x *explainer) whyBoth(n *ast.BinaryNode) {
	left, err := x.eval(n.Left)
	if err == nil && left == false {
		x.why(n.Left)
	}
	if right, err := x.eval(n.Right); err == nil && right == false {
		x.why(n.Right)
	}
}

// failed says of a part that it has no answer.
func (x *explainer) failed(node ast.Node, err error) {
	for _, part := range parts(node) {
		switch n := part.(type) {
		case *ast.MemberNode:
			if x.missing(n) {
				return
			}
		case *ast.IdentifierNode:
			if list, isList := x.env[n.Value].([]any); isList && len(list) == 0 {
				x.empty(n)
				return
			}
		}
	}
	message := err.Error()
	var at *file.Error
	if errors.As(err, &at) {
		message = at.Message // without the expression below
	}
	message, _, _ = strings.Cut(message, "\n")
	x.say("it has no answer: %s", event.AppendText(nil, message))
}

// missing says that what a member is of is not there, if that is so.
func (x *explainer) missing(n *ast.MemberNode) bool {
	of, err := x.eval(n.Node)
	if err != nil {
		return false
	}
	if of == nil {
		x.say("%s is nothing", x.text(n.Node))
		x.subjects(n.Node, false)
		return true
	}
	list, isList := of.([]any)
	if _, err := x.eval(n); err == nil || !isList {
		return false
	}
	if len(list) == 0 {
		x.empty(n.Node)
	} else {
		x.say("%s is not there: there are %s", x.text(n), plural(len(list), x.noun(n.Node, list)))
	}
	return true
}

// empty says that a list has no elements.
func (x *explainer) empty(list ast.Node) {
	name, _ := list.(*ast.IdentifierNode)
	if conns, _ := x.env["conns"].([]any); name == nil && len(conns) == 0 {
		name = &ast.IdentifierNode{Value: "conns"} // of which the others are made
	}
	if name == nil || lists[name.Value] == "" {
		x.say("%s is empty", x.text(list))
		x.subjects(list, false)
		return
	}
	text := "no " + lists[name.Value] + " was seen"
	if x.filters != "" {
		text += ", with the filters in force: " + x.filters
	}
	x.say("%s", text)
}

// within are a node and all that are in it, and in the variables that it names.
func (x *explainer) within(node ast.Node) []ast.Node {
	all := parts(node)
	seen := map[ast.Node]bool{}
	for i := 0; i < len(all); i++ {
		name, ok := all[i].(*ast.IdentifierNode)
		for _, let := range x.lets {
			if ok && let.Name == name.Value && !seen[let] {
				seen[let] = true
				all = append(all, parts(let.Value)...)
			}
		}
	}
	return all
}

// parts are a node and all that are in it, from the inside out.
func parts(node ast.Node) (all []ast.Node) {
	ast.Walk(&node, (*collector)(&all))
	return all
}

// collector is an ast.Visitor that collects.
type collector []ast.Node

// Visit implements ast.Visitor.
func (c *collector) Visit(node *ast.Node) { *c = append(*c, *node) }
