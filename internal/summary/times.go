package summary

import (
	"strconv"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// times are the durations of one thing: their distribution, and the longest as
// it is. The zero value has none.
type times struct {
	// microseconds takes 40 KiB, so there is none without a time. All of a
	// Summary's together take 640 KiB at most.
	microseconds *hdrhistogram.Histogram
	max          time.Duration
}

const (
	// longest is what the distribution takes longer durations for. Each
	// doubling costs a KiB.
	longest = 365 * 24 * time.Hour
	// figures is how many significant figures of a duration count: it is
	// known to within 1/128, or a microsecond if that is more.
	figures = 2
)

// add counts a duration; less than a microsecond counts as one, and longest is
// the most.
func (t *times) add(d time.Duration) {
	if t.microseconds == nil {
		t.microseconds = hdrhistogram.New(1, longest.Microseconds(), figures)
	}
	t.max = max(t.max, d)
	d = min(max(d, time.Microsecond), longest)
	// There is an error only for what is not between zero and longest.
	_ = t.microseconds.RecordValue(d.Round(time.Microsecond).Microseconds())
}

func (t *times) count() int64 {
	if t.microseconds == nil {
		return 0
	}
	return t.microseconds.TotalCount()
}

// percentile is the duration that p of a hundred do not exceed, rounded to so
// many durations.
func (t *times) percentile(p float64) time.Duration {
	return min(time.Duration(t.microseconds.ValueAtPercentile(p))*time.Microsecond, t.max)
}

func (t *times) appendPercentile(dst []byte, p float64) []byte {
	return appendDuration(dst, t.percentile(p))
}

func (t *times) appendMax(dst []byte) []byte { return appendDuration(dst, t.max) }

// decades counts durations by their powers of ten: the first those below 10 µs,
// the last those from 1000 s on.
type decades [10]uint64

func (t *times) decades() (counts decades) {
	for _, b := range t.microseconds.Distribution() {
		counts[decadeOf(min(time.Duration(b.To)*time.Microsecond, t.max))] += uint64(b.Count)
	}
	return counts
}

// decadeOf is the place of a duration among decades.
func decadeOf(d time.Duration) (i int) {
	for bound := 10 * time.Microsecond; d >= bound && i < len(decades{})-1; bound *= 10 {
		i++
	}
	return i
}

// units are those of durations; a smaller one than the first has no name here.
var units = [...]struct {
	length time.Duration
	name   string
}{
	{time.Microsecond, "µs"}, {time.Millisecond, "ms"}, {time.Second, "s"}, {time.Minute, "m"}, {time.Hour, "h"},
}

// appendDuration appends a duration that is not negative in the largest unit
// that it has one of, with three digits, or more if it takes them to come to
// the point. The rest is cut off, not rounded.
func appendDuration(dst []byte, d time.Duration) []byte {
	unit := units[0]
	for _, larger := range units[1:] {
		if d >= larger.length {
			unit = larger
		}
	}
	whole, rest := int64(d/unit.length), int64(d%unit.length)
	dst = strconv.AppendInt(dst, whole, 10)
	if whole < 100 {
		hundredths := rest * 100 / int64(unit.length)
		dst = append(dst, '.', '0'+byte(hundredths/10))
		if whole < 10 {
			dst = append(dst, '0'+byte(hundredths%10))
		}
	}
	return append(dst, unit.name...)
}
