package expect

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/checker/nature"
	"github.com/expr-lang/expr/file"

	"tcpstates/internal/column"
	"tcpstates/internal/query"
)

// checker finds what would make a rule hold, or not, for another reason than was meant:
// what the types leave open. It is an ast.Visitor.
type checker struct {
	err   *file.Error
	uses  []string
	texts texts
	// alls are the calls of all() by the nodes that stand for them.
	alls  map[ast.Node]*ast.BuiltinNode
	cache nature.Cache
}

// Visit implements ast.Visitor.
func (c *checker) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.CallNode:
		c.call(n)
	case *ast.MemberNode:
		c.member(n)
	case *ast.BuiltinNode:
		c.builtin(n)
		if n.Name == "all" && len(n.Arguments) == 2 {
			c.needOne(node, n)
		}
	case *ast.BinaryNode:
		if n.Operator == "in" && isConn(n.Right) {
			c.fail(n.Right, "a connection is no list")
		}
		c.path(n)
	}
}

// needOne makes all() of an empty list false: a rule about all connections needs one, or
// a trace that has seen nothing would pass.
func (c *checker) needOne(node *ast.Node, all *ast.BuiltinNode) {
	count := &ast.BuiltinNode{Name: "len", Arguments: all.Arguments[:1]}
	zero := &ast.IntegerNode{}
	some := &ast.BinaryNode{Operator: ">", Left: count, Right: zero}
	for _, added := range []ast.Node{count, zero, some} {
		added.SetLocation(all.Location())
	}
	ast.Patch(node, &ast.BinaryNode{Operator: "and", Left: some, Right: all})
	c.alls[*node] = all
	c.texts[*node] = c.texts[all]
}

// call checks the name of a field that a function is given.
func (c *checker) call(n *ast.CallNode) {
	name, ok := n.Callee.(*ast.IdentifierNode)
	if !ok || !slices.Contains(byField, name.Value) || len(n.Arguments) != 2 {
		return
	}
	field, ok := n.Arguments[1].(*ast.StringNode)
	switch {
	case !ok:
		c.fail(n.Arguments[1], "%s takes the name of a field in quotes: %s", name.Value, strings.Join(numbers(), ", "))
	case !isField(field.Value):
		c.fail(field, "unknown field %s", field.Value)
	case !isNumber(field.Value):
		c.fail(field, "%s is no number: these are %s", strconv.Quote(field.Value), strings.Join(numbers(), ", "))
	default:
		c.use(field.Value)
	}
}

// member checks that the types have told what is asked for. What they leave open is
// nothing at all when the name is wrong, and equal to nothing.
func (c *checker) member(n *ast.MemberNode) {
	_, isConstant := n.Property.(*ast.StringNode)
	switch {
	case n.Node.Nature().IsUnknown(&c.cache):
		c.fail(n, "%s may be anything: what surely is a connection is conns[0], or conns[-1] for the last, or find(conns, ...)", c.texts[n.Node])
	case isConn(n.Node) && !isConstant:
		c.fail(n.Property, "the name of a field stands here, in quotes")
	case fieldOf(n) != "":
		c.use(fieldOf(n))
	}
}

// builtin checks that a connection is not taken to pieces: it has only what is asked for
// by name.
func (c *checker) builtin(n *ast.BuiltinNode) {
	if n.Name == "count" && len(n.Arguments) == 1 && c.hasConns(n.Arguments[0]) {
		c.fail(n, "count takes what is counted, as count(%s, .failed) does: all are len(%[1]s)", c.texts[n.Arguments[0]])
	}
	for _, argument := range n.Arguments {
		if isConn(argument) {
			c.fail(argument, "%s does not take a connection, but a field of one", n.Name)
		}
	}
}

// path checks the states that a path is compared with.
func (c *checker) path(n *ast.BinaryNode) {
	call, ok := n.Left.(*ast.CallNode)
	if !ok || call.Callee.String() != "path" {
		return
	}
	text, ok := n.Right.(*ast.StringNode)
	if !ok || n.Operator == "matches" {
		return
	}
	states := query.Find(column.NewState.Name).Words
	for _, word := range strings.Fields(text.Value) {
		// The first and the last may be parts of their names.
		if !slices.ContainsFunc(states, func(state string) bool { return strings.Contains(state, word) }) {
			c.fail(text, "there is no state %s in a path: there are %s", strconv.Quote(word), strings.Join(states, ", "))
		}
	}
}

// hasConns tells whether a node is a list of connections.
func (c *checker) hasConns(node ast.Node) bool {
	element := node.Nature().Elem(&c.cache)
	return isOfConn(&element)
}

// isConn tells whether a node is a connection.
func isConn(node ast.Node) bool { return isOfConn(node.Nature()) }

func isOfConn(is *nature.Nature) bool {
	if is.TypeData == nil {
		return false
	}
	_, has := is.Fields[endedField]
	return has
}

// use notes that a field of connections is asked for.
func (c *checker) use(name string) {
	if !slices.Contains(c.uses, name) {
		c.uses = append(c.uses, name)
	}
}

// fail notes the first error.
func (c *checker) fail(at ast.Node, format string, args ...any) {
	if c.err == nil {
		c.err = &file.Error{Location: at.Location(), Message: fmt.Sprintf(format, args...)}
	}
}
