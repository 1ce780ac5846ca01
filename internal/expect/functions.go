package expect

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/expr-lang/expr"
)

// functions are those that expressions have beside the library's, or instead of them:
// of no numbers at all the library's mean is 0, and here it is not known.
var functions = []expr.Option{
	percentile("p50", 50), percentile("p90", 90), percentile("p95", 95), percentile("p99", 99),
	expr.Function("values", func(args ...any) (any, error) { return known(args[0], args[1]) }, new(func([]any, string) []float64)),
	expr.Function("path", path, new(func(map[string]any) string)),
	ofNumbers("min", slices.Min[[]float64]), ofNumbers("max", slices.Max[[]float64]),
	ofNumbers("mean", mean), ofNumbers("median", median),
}

// byField are the functions that take a list of connections and the name of a field.
var byField = []string{"p50", "p90", "p95", "p99", "values"}

// percentile is a function that gives the percentile of what is known by the nearest
// rank: the least value that p of a hundred at least do not exceed.
func percentile(name string, p int) expr.Option {
	return expr.Function(name, func(args ...any) (any, error) {
		all, err := known(args[0], args[1])
		if err != nil || len(all) == 0 {
			return math.NaN(), err
		}
		return percentileOf(all, p), nil
	}, new(func([]any, string) float64))
}

// percentileOf sorts the values, of which there must be some.
func percentileOf(all []float64, p int) float64 {
	slices.Sort(all)
	return all[(len(all)*p+99)/100-1]
}

// known are the values of a field that are known of the connections in a list.
func known(list, field any) ([]float64, error) {
	elements, isList := list.([]any)
	name, isName := field.(string)
	all := []float64{}
	for _, element := range elements {
		if connOf(element) == nil {
			return nil, errNoConns
		}
		if v, _ := element.(map[string]any)[name].(float64); !math.IsNaN(v) {
			all = append(all, v)
		}
	}
	if !isList || !isName {
		return nil, errNoConns
	}
	return all, nil
}

var errNoConns = errors.New("this is no list of connections")

// path gives the states of a connection, with a blank between each two.
func path(args ...any) (any, error) {
	c := connOf(args[0])
	if c == nil {
		return nil, errors.New("path takes a connection")
	}
	return string(c.appendPath(nil)), nil
}

// ofNumbers is a function of numbers, of lists of them, or of both. It is not known of
// none, nor if one of them is not known.
func ofNumbers(name string, of func([]float64) float64) expr.Option {
	return expr.Function(name, func(args ...any) (any, error) {
		all, err := flat(nil, args)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if len(all) == 0 || slices.ContainsFunc(all, math.IsNaN) {
			return math.NaN(), nil
		}
		return of(all), nil
	}, new(func([]float64) float64), new(func([]any) float64), new(func(...float64) float64))
}

// flat appends the numbers in values, which may be lists of numbers.
func flat(all []float64, values []any) ([]float64, error) {
	for _, value := range values {
		switch v := value.(type) {
		case float64:
			all = append(all, v)
		case int:
			all = append(all, float64(v))
		case []float64:
			all = append(all, v...)
		case []int:
			for _, n := range v {
				all = append(all, float64(n))
			}
		case []any:
			var err error
			if all, err = flat(all, v); err != nil {
				return nil, err
			}
		default:
			return nil, errors.New("it takes numbers")
		}
	}
	return all, nil
}

func mean(all []float64) float64 {
	sum := 0.0
	for _, v := range all {
		sum += v
	}
	return sum / float64(len(all))
}

func median(all []float64) float64 {
	slices.Sort(all)
	half := len(all) / 2
	if len(all)%2 == 1 {
		return all[half]
	}
	return (all[half-1] + all[half]) / 2
}
