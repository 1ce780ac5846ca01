package expect

import (
	"fmt"
	"math"
	"slices"

	"github.com/expr-lang/expr/ast"
)

// isNot says that an operation is false.
var isNot = map[string]string{
	"==": "and not ==", "!=": "and not !=", "<": "and not <", "<=": "and not <=", ">": "and not >", ">=": "and not >=",
	"in": "and not in", "contains": "and does not contain", "matches": "and does not match",
	"startsWith": "and does not start with", "endsWith": "and does not end with",
}

// flipped are the operators that say the same with the sides exchanged.
var flipped = map[string]string{"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}

// comparison says why a comparison is false, and tells whether it is one.
func (x *explainer) comparison(n *ast.BinaryNode) bool {
	left, right, operator := n.Left, n.Right, n.Operator
	if other, ok := flipped[operator]; ok && isConstant(left) && !isConstant(right) {
		left, right, operator = right, left, other
	}
	a, errA := x.eval(left)
	b, errB := x.eval(right)
	if isNot[operator] == "" || errA != nil || errB != nil {
		return false
	}
	if isUnknown(a) {
		x.unknown(left)
		return true
	}
	text := fmt.Sprintf("%s is %s, %s %s", x.text(left), valueText(a), isNot[operator], x.text(right))
	switch {
	case isUnknown(b):
		text += ", which is not known"
	case !isConstant(right):
		text += ", which is " + valueText(b)
	}
	x.say("%s", text)
	x.subjects(left, isMore(a, b))
	return true
}

// unknown says that what a part comes to is not known, and why if that is plain.
func (x *explainer) unknown(node ast.Node) {
	x.say("%s is not known", x.text(node))
	for _, part := range x.within(node) {
		switch n := part.(type) {
		case *ast.CallNode:
			if call, field := byFieldCall(n); field != "" {
				x.noneKnown(call.Arguments[0], field)
			}
		case *ast.BuiltinNode:
			if n.Name == "sum" || n.Name == "map" {
				x.someUnknown(n)
			}
		}
	}
	x.subjects(node, false)
}

// noneKnown says of a list that a field is not known of any of it, if that is so.
func (x *explainer) noneKnown(list ast.Node, field string) {
	elements, err := x.elements(list)
	switch {
	case err != nil || slices.ContainsFunc(elements, func(e any) bool { return !math.IsNaN(number(e, field)) }):
	case len(elements) == 0:
		x.empty(list)
	default:
		x.say("%s is not known of any of %s", field, plural(len(elements), x.noun(list, elements)))
	}
}

// someUnknown says of what elements of a list a value is not known.
func (x *explainer) someUnknown(n *ast.BuiltinNode) {
	if len(n.Arguments) != 2 {
		return
	}
	elements, err := x.elements(n.Arguments[0])
	values, errOfThem := x.apply(n.Arguments[0], n.Arguments[1])
	if err != nil || errOfThem != nil {
		return
	}
	unknown := make([]bool, len(values))
	for i, value := range values {
		unknown[i] = isUnknown(value)
	}
	if those, _ := split(elements, unknown); len(those) > 0 {
		x.say("%s is not known of %d of %s", x.text(n.Arguments[1]), len(those), plural(len(elements), x.noun(n.Arguments[0], elements)))
		x.show(those, n.Arguments[1], nil)
	}
}

func isConstant(node ast.Node) bool {
	switch n := node.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.StringNode, *ast.BoolNode, *ast.NilNode:
		return true
	case *ast.UnaryNode:
		return isConstant(n.Node)
	case *ast.ArrayNode:
		return !slices.ContainsFunc(n.Nodes, func(of ast.Node) bool { return !isConstant(of) })
	case *ast.BinaryNode:
		return isConstant(n.Left) && isConstant(n.Right)
	}
	return false
}
