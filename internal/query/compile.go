package query

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/agnivade/levenshtein"
	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/compiler"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/types"
	"github.com/expr-lang/expr/vm"
)

// maxNodes bounds how large an expression may be, and maxText how long: parentheses
// are no nodes, and the parser goes as deep as they do.
const (
	maxNodes = 1000
	maxText  = 10_000
)

// Program is an expression that was compiled.
type Program struct {
	*vm.Program
	// Uses are the fields that it asks for, of the event at hand or of those in a list.
	Uses   []*Field
	config *conf.Config
}

// Compile compiles an expression that is true or false, of what the environment has.
// An error is a sentence that names the place and, for a name that there is not, what
// there is.
func Compile(text string, env types.Map, options ...expr.Option) (*Program, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("it has %d bytes, and %d are the most", len(text), maxText)
	}
	check := &checker{}
	options = append(options, expr.Env(env), expr.MaxNodes(maxNodes), knownFunction, expr.Patch(check))
	program, err := expr.Compile(text, append(options, expr.AsBool())...)
	if err == nil {
		err = check.err
	}
	if err != nil {
		return nil, Sentence(text, env, err)
	}
	config := conf.CreateNew()
	for _, option := range options {
		option(config)
	}
	return &Program{program, check.uses, config}, nil
}

// Part compiles a node of the program by itself, whatever its type, to tell what it
// comes to. A node that asks for something around it, as an element of a list does, gives
// a program that fails.
func (p *Program) Part(node ast.Node) (*vm.Program, error) {
	return compiler.Compile(&parser.Tree{Node: node, Source: p.Source()}, p.config)
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
	if name, ok := (*node).(*ast.IdentifierNode); ok && name.Value == "$env" { // which would give names that nobody has checked
		c.fail(name, "unknown name $env")
	}
	binary, ok := (*node).(*ast.BinaryNode)
	if !ok || c.err != nil {
		return
	}
	switch binary.Operator {
	case "??":
		if fieldOf(binary.Left) != nil {
			c.fail(binary.Left, "%s is never nil: write known(%[1]s) ? %[1]s : %s", binary.Left, binary.Right)
		}
	case "contains", "startsWith", "endsWith", "matches":
		c.checkPart(binary)
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
		if v.Value != "" && !f.canBe(v.Value) {
			c.fail(value, "%s is never %s: %s", field, strconv.Quote(v.Value), f.offer(v.Value))
		}
	}
}

// finds are the operators that look for a part of a text, and tell whether it is there.
var finds = map[string]func(text, part string) bool{
	"contains":   strings.Contains,
	"startsWith": strings.HasPrefix,
	"endsWith":   strings.HasSuffix,
	"matches": func(text, pattern string) bool {
		found, err := regexp.MatchString(pattern, text)
		return found || err != nil // which the compiler tells
	},
}

// checkPart checks what a constant is looked for in, if that is a field: one of its
// words must have it.
func (c *checker) checkPart(n *ast.BinaryNode) {
	f := fieldOf(n.Left)
	part, isConstant := n.Right.(*ast.StringNode)
	if f == nil || f.Words == nil || f.numbered || !isConstant {
		return
	}
	finds := func(word string) bool { return finds[n.Operator](word, part.Value) }
	if !finds("") && !slices.ContainsFunc(f.Words, finds) {
		c.fail(part, "%s never is what %s %s: %s", n.Left, n.Operator, strconv.Quote(part.Value), f.offer(part.Value))
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

// Sentence makes one of an error of the compiler, or of a check that is like one.
func Sentence(text string, env types.Map, err error) error {
	var at *file.Error
	if !errors.As(err, &at) {
		return fmt.Errorf("it must be true or false: %w", err)
	}
	message := at.Message
	for _, what := range []struct {
		says string
		have []string
	}{{"unknown name ", namesOf(env)}, {"unknown field ", fieldsOf(env)}} {
		if name, found := strings.CutPrefix(message, what.says); found {
			message = unknown(name, what.have)
		}
	}
	return fmt.Errorf("at character %d of %d: %s", min(at.From, len([]rune(text)))+1, len([]rune(text)), message)
}

// namesOf are those of an environment, in the order of the fields, others first.
func namesOf(env types.Map) []string { return inOrder(slices.Collect(maps.Keys(env))) }

// fieldsOf are those of the elements of the lists in an environment, in the same order.
func fieldsOf(env types.Map) []string {
	names := map[string]bool{}
	for _, of := range env {
		if element := of.Nature().Ref; element != nil && element.TypeData != nil {
			for name := range element.Fields {
				names[name] = true
			}
		}
	}
	return inOrder(slices.Collect(maps.Keys(names)))
}

func inOrder(names []string) []string {
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
