package summary

import (
	"slices"
	"strings"
)

// The lengths of bars, in characters: a shorter one than minBar says nothing.
const minBar, maxBar = 4, 30

// eighths are the left parts of a block, heights its lower ones.
var (
	eighths = [...]string{"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"}
	heights = [...]string{" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"}
)

// bar is a bar of so many characters for the largest number, and in proportion
// for n. Only none has no bar.
func bar(n, largest uint64, length int) string {
	if n == 0 {
		return ""
	}
	long := max(n*uint64(length)*8/largest, 1)
	return strings.Repeat("█", int(long/8)) + eighths[long%8]
}

// sketchHeader stands above sketches, as wide as they are.
const sketchHeader = "1µs..1000s"

// sketch shows each number as a character of its height, the largest as a full
// block. Only none is blank. There are no blanks at the end.
func sketch(counts decades) string {
	var b strings.Builder
	largest := slices.Max(counts[:])
	for _, n := range counts {
		height := uint64(0)
		if n > 0 {
			height = (n*8 + largest - 1) / largest
		}
		b.WriteString(heights[height])
	}
	return strings.TrimRight(b.String(), " ")
}
