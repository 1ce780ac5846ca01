package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// unknown stands for what was not measured.
var unknown = math.NaN()

// The keys of what is measured, see the columns.
const (
	keyRate   = "rate"
	keySlower = "slower"
	keyKernel = "kernel"
	keyCPU    = "cpu"
	keySeen   = "seen"
	keyLost   = "lost"
	keyPeak   = "peak"
	keyMedian = "median"
	keyP99    = "p99"
	keyFirst  = "first"
	keyRight  = "right"
)

// keyOf is the key of a column that there is for each number of open connections.
func keyOf(key string, open int) string { return key + "@" + strconv.Itoa(open) }

// column is one of a section's.
type column struct {
	key    string
	header string
	format func(v float64) string
	ratio  bool // to the baseline's stands beside it
}

// rateColumns are those beside a load at the rate. At a given one none slows it
// by much, and ratios of that mean nothing.
func rateColumns(rate float64) []column {
	return []column{
		{keyRate, "transitions/s", grouped, false},
		{keySlower, "slower by", percent, rate == 0},
		{keyKernel, "kernel ns", grouped, true},
		{keyCPU, "CPU µs", decimals, true},
		{keySeen, "seen", share, false},
		{keyLost, "said lost", share, false},
		{keyPeak, "peak MiB", mebibytes, false},
	}
}

var latencyColumns = []column{
	{keyMedian, "median ms", decimals, true},
	{keyP99, "p99 ms", decimals, true},
	{keyFirst, "start to first ms", grouped, true},
}

var durationColumns = []column{
	{keySeen, "closes seen", share, false},
	{keyRight, "right", share, false},
}

func openColumns(open []int) (all []column) {
	for _, n := range open {
		all = append(all, column{keyOf(keyKernel, n), "kernel ns, " + grouped(float64(n)), grouped, false})
	}
	for _, n := range open {
		all = append(all, column{keyOf(keyCPU, n), "CPU µs, " + grouped(float64(n)), decimals, false})
	}
	return all
}

// results are all samples of a section, by the tracers' names.
type results map[string][]sample

// median is that of what was measured by the key.
func (r results) median(tracer, key string) float64 {
	var values []float64
	for _, m := range r[tracer] {
		if v, found := m[key]; found {
			values = append(values, v)
		}
	}
	return median(values)
}

// text is the section's table, with a line for each of the given tracers.
func (s *section) text(r results, names []string) string {
	rows := [][]string{{s.title}}
	for _, c := range s.columns {
		rows[0] = append(rows[0], c.header)
		if c.ratio {
			rows[0] = append(rows[0], "ratio")
		}
	}
	for _, name := range names {
		row := []string{"  " + name}
		for _, c := range s.columns {
			v := r.median(name, c.key)
			row = append(row, cell(v, c.format))
			if c.ratio {
				row = append(row, cell(v/r.median(baseline, c.key), ratio))
			}
		}
		rows = append(rows, row)
	}
	return aligned(rows)
}

func cell(v float64, format func(float64) string) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "-"
	}
	return format(v)
}

// aligned lays rows out: the first column to the left, the others to the right. The
// first row's first may be longer than the column.
func aligned(rows [][]string) string {
	widths := make([]int, len(rows[0]))
	for i, row := range rows {
		for column, text := range row {
			if column > 0 || i > 0 {
				widths[column] = max(widths[column], len([]rune(text)))
			}
		}
	}
	var b strings.Builder
	for i, row := range rows {
		if i == 0 {
			fmt.Fprintln(&b, row[0])
			row = slices.Concat([]string{""}, row[1:])
		}
		fmt.Fprintf(&b, "%-*s", widths[0], row[0])
		for column, text := range row[1:] {
			fmt.Fprintf(&b, "  %*s", widths[column+1], text)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// grouped is a whole number with its thousands apart: 1,234,567.
func grouped(v float64) string {
	digits := strconv.FormatFloat(math.Abs(v), 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	if math.Round(v) < 0 {
		return "-" + digits
	}
	return digits
}

func decimals(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }

func ratio(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) + "x" }

func percent(v float64) string { return grouped(100*v) + " %" }

// share is a percentage of which nothing is rounded away: what is not all is
// not 100 %.
func share(v float64) string {
	text := strconv.FormatFloat(100*v, 'f', 2, 64)
	if v < 1 && text == "100.00" {
		text = "99.99"
	}
	return text + " %"
}

func mebibytes(v float64) string { return strconv.FormatFloat(v/(1<<20), 'f', 0, 64) }
