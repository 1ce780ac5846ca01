package expect

import (
	"math"
	"strconv"
	"strings"
)

// isUnknown tells whether a value is one that is not known.
func isUnknown(value any) bool {
	n, isNumber := value.(float64)
	return isNumber && math.IsNaN(n) || value == ""
}

// maxValue is how many bytes of a text are told.
const maxValue = 300

// valueText tells a value, exactly if it is a number.
func valueText(value any) string {
	switch v := value.(type) {
	case float64:
		if math.Abs(v) < 1e15 {
			return strconv.FormatFloat(v, 'f', -1, 64)
		}
		return strconv.FormatFloat(v, 'g', -1, 64)
	case int:
		return strconv.Itoa(v)
	case bool:
		return strconv.FormatBool(v)
	case string:
		if len(v) > maxValue {
			return strconv.QuoteToGraphic(v[:maxValue]) + "..."
		}
		return strconv.QuoteToGraphic(v)
	case nil:
		return "nothing"
	case []any:
		return "a list of " + strconv.Itoa(len(v))
	case []float64:
		return "a list of " + strconv.Itoa(len(v))
	}
	return "something else"
}

// valuesText tells the values of fields of a connection.
func valuesText(values map[string]any, fields []string) string {
	var all []string
	for _, name := range fields {
		if isUnknown(values[name]) {
			all = append(all, name+" not known")
		} else {
			all = append(all, name+" "+valueText(values[name]))
		}
	}
	return strings.Join(all, ", ")
}
