package summary

import (
	"fmt"
	"time"

	"tcpstates/internal/event"
)

// Counted is a summary of what the kernel has counted, of which no event tells.
type Counted struct {
	endings
	// Connect and RTT are the times of clients' connects and of the round trips of
	// servers' handshakes, InState those in each state, by its number.
	Connect, RTT Buckets
	InState      [event.NewSynRecv + 1]Buckets
	// Transitions are counted by the old and the new state, as the tracepoint says
	// them.
	Transitions [event.NewSynRecv + 1][event.NewSynRecv + 1]uint64
}

// NewCounted makes a Counted of nothing.
func NewCounted() *Counted { return &Counted{endings: newEndings()} }

// Add counts so many connections that have ended with the event, as conn.EndOf judges
// it.
func (c *Counted) Add(e *event.Event, n uint64) {
	if e.NewState == event.FinWait2 { // and nobody knows what became of it
		c.put(end{apart: "left in FIN_WAIT2"}, n)
		return
	}
	c.endings.add(e, n)
}

// AddOther counts connections of whose end nothing is known.
func (c *Counted) AddOther(n uint64) {
	if n > 0 {
		c.put(end{apart: "other"}, n)
	}
}

// AppendText appends the summary for a person, as Summary.AppendText does. Of a time
// no more is told than the bound of its bucket.
func (c *Counted) AppendText(dst []byte, width int) []byte {
	if width <= 0 {
		width = defaultWidth
	}
	dst = c.appendTotals(dst, width)
	dst = c.appendEnds(dst, width)
	rows := []timesRow{{"connect", &c.Connect}, {"handshake rtt", &c.RTT}}
	for _, state := range lifeOrder {
		rows = append(rows, timesRow{"in " + state.String(), &c.InState[state]})
	}
	layout := cells{count: 7, time: 9, sketchFrom: 74} // "<=8.38ms" and a blank
	if width >= wideFrom {
		layout.count = 9
	}
	dst = appendTimes(dst, width, layout, rows)
	return c.appendTransitions(dst)
}

// transitionOrder are the states in the order in which a table has their transitions.
var transitionOrder = append([]event.State{event.Close, event.Listen}, lifeOrder[:]...)

func (c *Counted) appendTransitions(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, "\ntransitions:\n"...)
	first := len(dst)
	for _, from := range transitionOrder {
		for _, to := range transitionOrder {
			if n := c.Transitions[from][to]; n > 0 {
				dst = fmt.Appendf(dst, "  %-11s -> %-11s %12d\n", from, to, n)
			}
		}
	}
	if len(dst) == first {
		return dst[:start]
	}
	return dst
}

// Buckets are how often something took so long: the i-th number counts the times below
// Bound(i) that the one before does not, and the last those that are longer, too.
type Buckets [48]uint64

// firstBound is that of the first: 2^10 ns.
const firstBound = 1024 * time.Nanosecond

// Bound is what the times in a bucket are below.
func Bound(bucket int) time.Duration { return firstBound << bucket }

func (b *Buckets) count() (n int64) {
	for _, in := range b {
		n += int64(in)
	}
	return n
}

// Percentile is the bucket of the duration that p of a hundred do not exceed, rounded to
// so many durations. There must be one.
func (b *Buckets) Percentile(p float64) int {
	rank := max(int64(p/100*float64(b.count())+0.5), 1)
	for i, in := range b {
		if rank -= int64(in); rank <= 0 {
			return i
		}
	}
	return len(b) - 1
}

func (b *Buckets) appendPercentile(dst []byte, p float64) []byte {
	return appendBound(dst, b.Percentile(p))
}

func (b *Buckets) appendMax(dst []byte) []byte { return appendBound(dst, b.Percentile(100)) }

// appendBound appends the bound of a bucket, marked as one.
func appendBound(dst []byte, bucket int) []byte {
	if bucket == len(Buckets{})-1 {
		return appendDuration(append(dst, ">="...), Bound(bucket-1))
	}
	return appendDuration(append(dst, "<="...), Bound(bucket))
}

// decades counts each time as its bound.
func (b *Buckets) decades() (counts decades) {
	for i, in := range b {
		counts[decadeOf(Bound(i))] += in
	}
	return counts
}
