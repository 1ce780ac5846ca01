package column

import (
	"bytes"
	"cmp"
	"slices"
	"unicode/utf8"
)

// Layout is a choice of columns with their widths in a table.
type Layout struct {
	Columns []*Column
	// Widths has a width for each of the columns, in characters.
	Widths []int
	// Cut says whether values are shortened to the widths.
	Cut bool
}

// Natural lays the columns out at their natural widths and shortens nothing:
// a longer value pushes the rest of its line aside.
func Natural(columns []*Column) Layout {
	l := Layout{Columns: columns, Widths: make([]int, len(columns))}
	for i, c := range columns {
		l.Widths[i] = c.Width
	}
	return l
}

// Fit lays the columns out in lines of so many characters. Where there is
// room, columns that can use it grow; where there is not, they shrink, and
// what still does not fit is left out, in the order of Drop. What must stay
// may exceed the line in the end.
func Fit(columns []*Column, width int) Layout {
	l := Natural(slices.Clone(columns))
	l.Cut = true
	for smallest(l.Columns) > width {
		i := mostDispensable(l.Columns)
		if i < 0 {
			break
		}
		l.Columns = slices.Delete(l.Columns, i, i+1)
		l.Widths = slices.Delete(l.Widths, i, i+1)
	}
	l.shrink(width)
	l.grow(width)
	return l
}

// spaced is the width of a line of columns with a space between each two.
func spaced(widths []int) int {
	sum := len(widths) - 1
	for _, w := range widths {
		sum += w
	}
	return sum
}

// smallest is the width of the columns when each is as narrow as it can be.
func smallest(columns []*Column) int {
	widths := make([]int, len(columns))
	for i, c := range columns {
		widths[i] = c.min()
	}
	return spaced(widths)
}

func (c *Column) min() int { return cmp.Or(c.Min, c.Width) }
func (c *Column) max() int { return cmp.Or(c.Max, c.Width) }

// mostDispensable is the index of the column to go first; -1 if none may.
func mostDispensable(columns []*Column) int {
	found := -1
	for i, c := range columns {
		if c.Drop > 0 && (found < 0 || c.Drop < columns[found].Drop) {
			found = i
		}
	}
	return found
}

// shrink takes characters away, each from the column that has the most to
// give, until the line fits. Precision goes last, and then all at once: the
// others need the room more than half of it would be worth.
func (l *Layout) shrink(width int) {
	for excess := spaced(l.Widths) - width; excess > 0; excess-- {
		if !l.step(-1, func(i int) int { return l.Widths[i] - l.Columns[i].min() }) {
			l.dropPrecision()
			return
		}
	}
}

func (l *Layout) dropPrecision() {
	for i, c := range l.Columns {
		if c.Cut == CutPrecision {
			l.Widths[i] = c.min()
		}
	}
}

// grow hands out the characters that are left over, each to the column that
// lacks the most.
func (l *Layout) grow(width int) {
	for spare := width - spaced(l.Widths); spare > 0; spare-- {
		l.step(+1, func(i int) int { return l.Columns[i].max() - l.Widths[i] })
	}
}

// step changes the width of the column with the greatest leeway, precision
// aside; it returns false if none has any.
func (l *Layout) step(by int, leeway func(i int) int) bool {
	most, found := 0, -1
	for i := range l.Widths {
		if n := leeway(i); n > most && l.Columns[i].Cut != CutPrecision {
			most, found = n, i
		}
	}
	if found < 0 {
		return false
	}
	l.Widths[found] += by
	return true
}

// AppendHeader appends the line of headers, without a line feed.
func (l *Layout) AppendHeader(dst []byte) []byte {
	for i, c := range l.Columns {
		dst = append(dst, c.Header...)
		dst = l.pad(dst, i, len(c.Header))
	}
	return dst
}

// AppendCell puts the value that dst has from start on into shape as the i-th
// cell of its line: shortened where the layout says so, "-" where it is empty
// and no remark, padded unless it is the last.
func (l *Layout) AppendCell(dst []byte, start, i int) []byte {
	c := l.Columns[i]
	if len(dst) == start && !c.Remark {
		dst = append(dst, '-')
	}
	chars := c.count(dst[start:])
	if l.Cut && chars > l.Widths[i] {
		dst = c.Cut.shorten(dst, start, l.Widths[i])
		chars = utf8.RuneCount(dst[start:])
	}
	return l.pad(dst, i, chars)
}

// count is the number of characters of a value. Only what may hold anything has
// some of several bytes.
func (c *Column) count(value []byte) int {
	if c.Free {
		return utf8.RuneCount(value)
	}
	return len(value)
}

// pad ends a cell of so many characters.
func (l *Layout) pad(dst []byte, i, chars int) []byte {
	if i == len(l.Columns)-1 {
		return dst
	}
	missing := max(l.Widths[i]-chars, 0) + 1
	for ; missing > len(spaces); missing -= len(spaces) {
		dst = append(dst, spaces...)
	}
	// All of them, and then less: a copy of so many bytes needs no call.
	end := len(dst) + missing
	return append(dst, spaces...)[:end]
}

const spaces = "                " // as many as two registers hold

// mappedPrefix begins an IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2).
const mappedPrefix = "::ffff:"

// ellipsis stands where characters were cut off.
const ellipsis = "…"

// shorten cuts the text from start on to width characters. Only names can
// have characters of several bytes, and they are cut at their end alone.
func (c Cut) shorten(dst []byte, start, width int) []byte {
	switch c {
	case CutPrecision:
		return bytes.TrimSuffix(dst[:start+width], []byte{'.'})
	case CutEnd:
		end := start
		for range width - 1 {
			_, size := utf8.DecodeRune(dst[end:])
			end += size
		}
		return append(dst[:end], ellipsis...)
	case CutAddress:
		if ipv4, mapped := bytes.CutPrefix(dst[start:], []byte(mappedPrefix)); mapped {
			return append(dst[:start], ipv4...)
		}
		head := start + (width-1)/2
		tail := len(dst) - (width - 1 - (width-1)/2)
		return slices.Replace(dst, head, tail, []byte(ellipsis)...)
	}
	return dst
}
