package summary

import (
	"fmt"
)

// distribution is what a row of the table of times tells of.
type distribution interface {
	count() int64
	// appendPercentile appends what p of a hundred do not exceed, appendMax what
	// none does.
	appendPercentile(dst []byte, p float64) []byte
	appendMax(dst []byte) []byte
	decades() decades
}

// timesRow is a row of the table of times. It is left out if it has none.
type timesRow struct {
	label string
	of    distribution
}

// cells are the widths of the columns of a table of times, and from which width on
// there is room for a sketch at its end.
type cells struct{ count, time, sketchFrom int }

// wideFrom is the width from which on a table has wider columns.
const wideFrom = 80

// appendTimes appends a table of the times that are known.
func appendTimes(dst []byte, width int, c cells, rows []timesRow) []byte {
	start := len(dst)
	dst = fmt.Appendf(dst, "\n%-17s%*s%*s%*s%*s%*s", "", c.count, "count", c.time, "p50", c.time, "p90", c.time, "p99", c.time, "max")
	if width >= c.sketchFrom {
		dst = append(dst, "  "+sketchHeader...)
	}
	dst = append(dst, '\n')
	first := len(dst)
	for _, row := range rows {
		if row.of.count() == 0 {
			continue
		}
		dst = fmt.Appendf(dst, "  %-15s%*d", row.label, c.count, row.of.count())
		for _, p := range [...]float64{50, 90, 99} {
			dst = fmt.Appendf(dst, "%*s", c.time, row.of.appendPercentile(nil, p))
		}
		dst = fmt.Appendf(dst, "%*s", c.time, row.of.appendMax(nil))
		if width >= c.sketchFrom {
			dst = append(append(dst, "  "...), sketch(row.of.decades())...)
		}
		dst = append(dst, '\n')
	}
	if len(dst) == first {
		return dst[:start]
	}
	return dst
}
