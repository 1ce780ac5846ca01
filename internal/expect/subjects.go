package expect

import (
	"math"
	"slices"

	"github.com/expr-lang/expr/ast"
)

// subjects tells of the connections that a part is about, which is more than it should
// be, or less.
func (x *explainer) subjects(node ast.Node, more bool) {
	for _, part := range x.within(node) {
		switch n := part.(type) {
		case *ast.CallNode:
			if call, field := byFieldCall(n); field != "" {
				x.extremes(call.Arguments[0], field, more)
			} else if len(n.Arguments) == 1 {
				x.one(n.Arguments[0], nil)
			}
		case *ast.MemberNode:
			if name := fieldOf(n); name != "" {
				x.one(n.Node, []string{name})
			}
		case *ast.BuiltinNode:
			switch n.Name {
			case "count", "filter", "find", "findLast":
				x.counted(n, more)
			}
		case *ast.IdentifierNode:
			if list, isList := x.env[n.Value].([]any); isList && len(list) == 0 {
				x.empty(n)
			}
		}
	}
}

// one tells of a connection, if a part is one.
func (x *explainer) one(node ast.Node, fields []string) {
	if value, err := x.eval(node); err == nil && connOf(value) != nil {
		x.tell([]any{value}, fields)
	}
}

// extremes tells of the connections of a list with the largest values of a field, or with
// the smallest.
func (x *explainer) extremes(list ast.Node, field string, largest bool) {
	elements, err := x.elements(list)
	if err != nil {
		return
	}
	elements = slices.DeleteFunc(elements, func(e any) bool { return math.IsNaN(number(e, field)) })
	slices.SortStableFunc(elements, by(field, largest))
	x.tell(x.few(elements), []string{field})
}

// counted tells of the connections that a count counts, if they are too many, and else of
// those that come near.
func (x *explainer) counted(n *ast.BuiltinNode, more bool) {
	if len(n.Arguments) != 2 {
		return
	}
	elements, are, err := x.test(n)
	if err != nil {
		return
	}
	if yes, no := split(elements, are); more {
		x.show(yes, n.Arguments[1], byOrder(n.Arguments[1], false))
	} else {
		x.near(no, n.Arguments[1])
	}
}

// byFieldCall is the call of a function that takes a list of connections and a field, and
// the name of the field; empty if the node is something else.
func byFieldCall(node ast.Node) (call *ast.CallNode, field string) {
	call, _ = node.(*ast.CallNode)
	if call == nil || len(call.Arguments) != 2 {
		return nil, ""
	}
	if name, ok := call.Callee.(*ast.IdentifierNode); !ok || !slices.Contains(byField, name.Value) {
		return nil, ""
	}
	return call, call.Arguments[1].(*ast.StringNode).Value // as was checked
}
