package expect

import (
	"cmp"
	"math"

	"github.com/expr-lang/expr/ast"
)

// byOrder sorts connections by the first field that a predicate compares with <, <=, > or
// >=: those first of which the predicate is most false, or those of which it is most true.
// It is nil if there is none.
func byOrder(predicate ast.Node, mostFalse bool) func(a, b any) int {
	for _, part := range parts(predicate) {
		n, ok := part.(*ast.BinaryNode)
		if !ok {
			continue
		}
		field, operator := fieldOf(n.Left), n.Operator
		if field == "" {
			field, operator = fieldOf(n.Right), flipped[n.Operator]
		}
		if field == "" || !isNumber(field) {
			continue
		}
		switch operator {
		case "<", "<=":
			return by(field, mostFalse)
		case ">", ">=":
			return by(field, !mostFalse)
		}
	}
	return nil
}

// by sorts connections by a number, of which what is not known comes last.
func by(field string, largestFirst bool) func(a, b any) int {
	return func(a, b any) int {
		m, n := number(a, field), number(b, field)
		switch {
		case math.IsNaN(m) || math.IsNaN(n):
			return cmp.Compare(m, n) * -1 // it is less than any
		case largestFirst:
			return cmp.Compare(n, m)
		}
		return cmp.Compare(m, n)
	}
}

func number(element any, field string) float64 {
	values, _ := element.(map[string]any)
	if v, ok := values[field].(float64); ok {
		return v
	}
	return math.NaN()
}

// isMore tells whether a number is more than another.
func isMore(a, b any) bool {
	m, errM := flat(nil, []any{a})
	n, errN := flat(nil, []any{b})
	return errM == nil && errN == nil && len(m) == 1 && len(n) == 1 && m[0] > n[0]
}
