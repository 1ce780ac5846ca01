package expect

import (
	"fmt"
	"slices"

	"github.com/expr-lang/expr/ast"
)

// The most connections that are told of: those that show why a rule does not hold, and
// those that come near where none does.
const (
	maxShown = 5
	maxNear  = 3
)

// quantifier says why all(), none(), any() or one() of a list is false, and tells whether
// it could. It stands in the rule as the part.
func (x *explainer) quantifier(name string, n *ast.BuiltinNode, part ast.Node) bool {
	if len(n.Arguments) != 2 {
		return false
	}
	elements, are, err := x.test(n)
	if err != nil {
		return false
	}
	if len(elements) == 0 {
		x.empty(n.Arguments[0])
		return true
	}
	what := ""
	if part != x.rule.program.Node() { // which of several
		what = x.text(part) + ": "
	}
	predicate, of := n.Arguments[1], x.noun(n.Arguments[0], elements)
	yes, no := split(elements, are)
	switch name {
	case "all":
		x.say("%s%s otherwise", what, portion(len(no), len(elements), of))
		x.show(no, predicate, byOrder(predicate, true))
	case "none":
		x.say("%s%s so", what, portion(len(yes), len(elements), of))
		x.show(yes, predicate, byOrder(predicate, false))
	case "any":
		x.say("%snone of %s is so", what, plural(len(elements), of))
		x.near(no, predicate)
	case "one":
		x.say("%s%s so, and not one", what, portion(len(yes), len(elements), of))
		if len(yes) == 0 {
			x.near(no, predicate)
		} else {
			x.show(yes, predicate, byOrder(predicate, false))
		}
	default:
		return false
	}
	return true
}

// test gives the elements of the list that a function is applied to, and of which of them
// its predicate is true.
func (x *explainer) test(n *ast.BuiltinNode) (elements []any, are []bool, err error) {
	elements, err = x.elements(n.Arguments[0])
	if err != nil {
		return nil, nil, err
	}
	are, err = x.truths(n.Arguments[0], n.Arguments[1])
	return elements, are, err
}

// elements are those of a list.
func (x *explainer) elements(list ast.Node) ([]any, error) {
	return x.apply(list, &ast.PredicateNode{Node: &ast.PointerNode{}})
}

// apply gives what a predicate comes to for each element of a list.
func (x *explainer) apply(list, predicate ast.Node) ([]any, error) {
	values, err := x.eval(&ast.BuiltinNode{Name: "map", Arguments: []ast.Node{list, predicate}})
	if err != nil {
		return nil, err
	}
	return values.([]any), nil // as a map() always is
}

// truths are what apply gives, of a predicate that is true or false.
func (x *explainer) truths(list, predicate ast.Node) ([]bool, error) {
	values, err := x.apply(list, predicate)
	are := make([]bool, len(values))
	for i, value := range values {
		are[i] = value == true
	}
	return are, err
}

// split parts the elements for which something is true from the others.
func split(elements []any, are []bool) (yes, no []any) {
	for i, element := range elements {
		if are[i] {
			yes = append(yes, element)
		} else {
			no = append(no, element)
		}
	}
	return yes, no
}

// noun is what the elements of a list are called.
func (x *explainer) noun(list ast.Node, elements []any) string {
	if name, ok := list.(*ast.IdentifierNode); ok && lists[name.Value] != "" {
		return lists[name.Value]
	}
	if len(elements) > 0 && connOf(elements[0]) == nil {
		return "value"
	}
	return "connection"
}

func plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// portion begins a sentence about some of all.
func portion(some, all int, noun string) string {
	verb := "are"
	if some == 1 {
		verb = "is"
	}
	return fmt.Sprintf("%d of %s %s", some, plural(all, noun), verb)
}

// show tells of the connections that show why the rule does not hold, with what a
// predicate asks for. order is how to sort them; nil: as they are.
func (x *explainer) show(elements []any, predicate ast.Node, order func(a, b any) int) {
	if order != nil {
		elements = slices.Clone(elements)
		slices.SortStableFunc(elements, order)
	}
	x.tell(elements, fieldsIn(predicate))
}

// tell tells of the elements, if they are connections, with their values, and counts those
// for which there is no room.
func (x *explainer) tell(elements []any, fields []string) {
	for _, element := range elements {
		c := connOf(element)
		if c == nil {
			return
		}
		isNew := !slices.Contains(x.verdict.Conns, c)
		if isNew && len(x.verdict.Conns) >= maxShown {
			x.verdict.More++
			continue
		}
		if isNew {
			x.verdict.Conns = append(x.verdict.Conns, c)
		}
		if len(fields) > 0 {
			x.say("%s: %s", c.appendName(nil), valuesText(element.(map[string]any), fields))
		}
	}
}

// near tells of a few connections of which as much of a predicate is true as of any, the
// nearest first where a number orders them.
func (x *explainer) near(elements []any, predicate ast.Node) {
	list := &ast.ConstantNode{Value: elements}
	scores := make(map[*Conn]int, len(elements))
	for _, part := range conjuncts(predicate) {
		are, err := x.truths(list, &ast.PredicateNode{Node: part})
		if err != nil {
			return
		}
		for i, is := range are {
			if c := connOf(elements[i]); is && c != nil {
				scores[c]++
			}
		}
	}
	elements = slices.Clone(elements)
	if order := byOrder(predicate, false); order != nil {
		slices.SortStableFunc(elements, order)
	}
	slices.SortStableFunc(elements, func(a, b any) int { return scores[connOf(b)] - scores[connOf(a)] })
	x.tell(x.few(elements), fieldsIn(predicate))
}

// few are the first elements that there is room for, and that do not show anything but
// what is near.
func (x *explainer) few(elements []any) []any {
	return elements[:min(maxNear, len(elements), maxShown-len(x.verdict.Conns))]
}

// conjuncts are the parts of a predicate that must all be true.
func conjuncts(node ast.Node) []ast.Node {
	switch n := node.(type) {
	case *ast.PredicateNode:
		return conjuncts(n.Node)
	case *ast.BinaryNode:
		if n.Operator == "and" || n.Operator == "&&" {
			return append(conjuncts(n.Left), conjuncts(n.Right)...)
		}
	}
	return []ast.Node{node}
}

// fieldsIn are the fields that a predicate asks for, in order.
func fieldsIn(predicate ast.Node) (names []string) {
	for _, part := range parts(predicate) {
		if name := fieldOf(part); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// fieldOf is the name of the field that a node asks a connection for; empty if it asks
// for something else.
func fieldOf(node ast.Node) string {
	if member, ok := node.(*ast.MemberNode); ok {
		if name, ok := member.Property.(*ast.StringNode); ok && isField(name.Value) {
			return name.Value
		}
	}
	return ""
}
