package query

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/agnivade/levenshtein"
	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/types"
	"github.com/expr-lang/expr/vm"
)

// maxNodes bounds how large an expression may be.
const maxNodes = 1000

// Program is an expression that was compiled.
type Program struct {
	*vm.Program
	// Uses are the fields that it asks for, of the event at hand or of those in a list.
	Uses []*Field
}

// Compile compiles an expression that is true or false, of what the environment has.
// An error is a sentence that names the place and, for a name that there is not, what
// there is.
func Compile(text string, env types.Map, options ...expr.Option) (*Program, error) {
	check := &checker{}
	options = append(options, expr.Env(env), expr.AsBool(), expr.MaxNodes(maxNodes), knownFunction, expr.Patch(check))
	program, err := expr.Compile(text, options...)
	if err == nil {
		err = check.err
	}
	if err != nil {
		return nil, sentence(text, env, err)
	}
	return &Program{program, check.uses}, nil
}

// knownFunction tells whether a value is known.
var knownFunction = expr.Function("known", func(values ...any) (any, error) {
	switch v := values[0].(type) {
	case float64:
		return !math.IsNaN(v), nil
	case string:
		return v != "", nil
	}
	return values[0] != nil, nil
}, new(func(any) bool))

// checker finds what the types do not, words that a field never has, and which fields
// are asked for.
type checker struct {
	err  error
	uses []*Field
}

// Visit implements ast.Visitor.
func (c *checker) Visit(node *ast.Node) {
	if f := fieldOf(*node); f != nil && !slices.Contains(c.uses, f) {
		c.uses = append(c.uses, f)
	}
	binary, ok := (*node).(*ast.BinaryNode)
	if !ok || c.err != nil {
		return
	}
	switch binary.Operator {
	case "==", "!=":
		c.check(binary.Left, binary.Right)
		c.check(binary.Right, binary.Left)
	case "in":
		if list, ok := binary.Right.(*ast.ArrayNode); ok {
			for _, word := range list.Nodes {
				c.check(binary.Left, word)
			}
		}
	}
}

// check checks a value that is compared with a field, if the one is such and the other
// is a constant.
func (c *checker) check(field, value ast.Node) {
	f := fieldOf(field)
	if f == nil || c.err != nil {
		return
	}
	switch v := value.(type) {
	case *ast.NilNode:
		c.fail(value, "%s is never nil: write known(%[1]s) or not known(%[1]s)", field)
	case *ast.StringNode:
		if f.Words != nil && v.Value != "" && !slices.Contains(f.Words, v.Value) {
			c.fail(value, "%s is never %s: it can be %s", field, strconv.Quote(v.Value), strings.Join(f.Words, ", "))
		}
	}
}

func (c *checker) fail(at ast.Node, format string, args ...any) {
	c.err = &file.Error{Location: at.Location(), Message: fmt.Sprintf(format, args...)}
}

// fieldOf is the field that a node asks for, of the event at hand or of one in a list;
// nil if it asks for something else.
func fieldOf(node ast.Node) *Field {
	switch n := node.(type) {
	case *ast.ChainNode:
		return fieldOf(n.Node)
	case *ast.IdentifierNode:
		return Find(n.Value)
	case *ast.MemberNode:
		if name, ok := n.Property.(*ast.StringNode); ok {
			return Find(name.Value)
		}
	}
	return nil
}

// sentence makes one of an error of the compiler.
func sentence(text string, env types.Map, err error) error {
	var at *file.Error
	if !errors.As(err, &at) {
		return fmt.Errorf("it must be true or false: %w", err)
	}
	message := at.Message
	for _, what := range []struct {
		says string
		have []string
	}{{"unknown name ", namesOf(env)}, {"unknown field ", Names()}} {
		if name, found := strings.CutPrefix(message, what.says); found {
			message = unknown(name, what.have)
		}
	}
	return fmt.Errorf("at character %d of %d: %s", min(at.From, len([]rune(text)))+1, len([]rune(text)), message)
}

// namesOf are those of an environment, in the order of the fields, others first.
func namesOf(env types.Map) []string {
	var names []string
	for name := range env {
		names = append(names, name)
	}
	all := Names()
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(slices.Index(all, a), slices.Index(all, b)), strings.Compare(a, b))
	})
	return names
}

// unknown says that there is no such name, and what there is.
func unknown(name string, have []string) string {
	text := strconv.Quote(name) + " is not there"
	if near := nearest(name, have); near != "" {
		text += ", " + near + " is"
	}
	return text + ": there are " + strings.Join(have, ", ")
}

// nearest is the name that may have been meant; empty if none is near.
func nearest(name string, have []string) string {
	best, least := "", 2+len(name)/4
	for _, other := range have {
		if d := levenshtein.ComputeDistance(name, other); d < least {
			best, least = other, d
		}
	}
	return best
}
