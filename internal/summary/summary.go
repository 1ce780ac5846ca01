// Package summary counts the connections that have ended and remembers their
// times, to tell a person of them all at once.
package summary

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"tcpstates/internal/event"
)

// Summary counts connections that have ended and remembers their times. Its
// size does not depend on how many they are.
type Summary struct {
	// oneIn is the smallest part of the connections that was shown for some time: one
	// in so many; zero: all were.
	oneIn uint64
	// A listener is not among the connections.
	connections, failed, listeners uint64
	ends                           map[end]uint64
	connect, rtt, took, wait       times
	// waitAtMost says that some connections waited less than wait has.
	waitAtMost bool
	states     [event.NewSynRecv + 1]times
	// slowest are the slowest handshakes, the slowest first.
	slowest []handshake
}

// end is what the connections of one row have in common.
type end struct {
	reason event.Reason
	cause  event.Cause
}

// New makes a Summary that has seen nothing.
func New() *Summary {
	return &Summary{ends: map[end]uint64{}, slowest: make([]handshake, 0, maxSlowest)}
}

// Add counts the connection that has ended with the event; events that tell of
// something else are ignored.
func (s *Summary) Add(e *event.Event) {
	if e.Kind == event.KindSampling {
		s.oneIn = max(s.oneIn, e.OneIn)
	}
	if e.Kind != event.KindConn {
		return
	}
	if e.Role == event.RoleListener || e.End.Reason == event.ReasonListenerClosed {
		s.listeners++
		return
	}
	s.connections++
	if e.End.Reason.IsFailure() {
		s.failed++
	}
	s.ends[end{e.End.Reason, e.End.Cause}]++
	s.addTimes(e)
	s.addHandshake(e)
}

func (s *Summary) addTimes(e *event.Event) {
	if d := e.Handshake.Connect; d > 0 {
		s.connect.add(d)
	}
	if d := e.Handshake.RTT; d > 0 && e.Role == event.RoleServer && !e.Handshake.Estimate {
		s.rtt.add(d)
	}
	if d := e.Handshake.Took; d > 0 {
		s.took.add(d)
	}
	if e.AcceptWait.Known {
		s.wait.add(e.AcceptWait.Time)
		s.waitAtMost = s.waitAtMost || e.AcceptWait.AtMost
	}
	for state := event.Established; int(state) < len(e.Times); state++ {
		if d := e.Times[state]; d > 0 && !isBookkeeping(e, state) {
			s.states[state].add(d)
		}
	}
}

// isBookkeeping tells whether a time says nothing of the connection: a server's
// socket passes through SYN_RECV when the handshake is over already, unless it
// was born by a SYN with data (Fast Open).
func isBookkeeping(e *event.Event, state event.State) bool {
	return state == event.SynRecv && e.Role == event.RoleServer && e.Handshake.Way != event.WayFastOpen
}

// lifeOrder are the states of a connection in the order in which it can pass
// through them (RFC 9293, figure 5).
var lifeOrder = [...]event.State{
	event.SynSent, event.SynRecv, event.Established, event.FinWait1, event.FinWait2, event.Closing,
	event.CloseWait, event.LastAck,
}

// defaultWidth is for output that has no width of its own.
const defaultWidth = 100

// AppendText appends the summary for a person, in lines of at most width
// characters; zero stands for 100, and fewer than 60 may not be enough. Nothing
// is cut: long addresses make a longer line.
func (s *Summary) AppendText(dst []byte, width int) []byte {
	if width <= 0 {
		width = defaultWidth
	}
	dst = s.appendTotals(dst, width)
	dst = s.appendEnds(dst, width)
	dst = s.appendTimes(dst, width)
	return s.appendSlowest(dst, width)
}

// appendTotals appends the first line.
func (s *Summary) appendTotals(dst []byte, width int) []byte {
	parts := []string{"no connection ended"}
	if s.connections > 0 {
		parts = []string{plural(s.connections, "connection") + " ended", fmt.Sprintf("%d failed", s.failed)}
	}
	if unknown := s.ends[end{}]; unknown > 0 {
		parts = append(parts, fmt.Sprintf("%d for an unknown reason", unknown))
	}
	if s.listeners > 0 {
		parts = append(parts, plural(s.listeners, "listener")+" closed")
	}
	if s.oneIn > 1 {
		parts = append(parts, fmt.Sprintf("of a sample, at times of one in %d", s.oneIn))
	}
	dst = append(dst, "summary:"...)
	for i, part := range parts {
		if i < len(parts)-1 {
			part += ","
		}
		dst = appendPart(dst, width, " ", part)
	}
	return append(dst, '\n')
}

// plural is so many of something, in words.
func plural(n uint64, word string) string {
	if n != 1 {
		word += "s"
	}
	return fmt.Sprintf("%d %s", n, word)
}

// appendPart appends a gap and a part of the last line; where that makes the
// line too long, the part goes on a line of its own.
func appendPart(dst []byte, width int, gap, part string) []byte {
	line := dst[bytes.LastIndexByte(dst, '\n')+1:]
	if utf8.RuneCount(line)+utf8.RuneCountInString(gap+part) > width {
		gap = "\n          "
	}
	return append(append(dst, gap...), part...)
}

// String is the reason with its cause, if it has one.
func (e end) String() string {
	switch {
	case e.reason == event.ReasonNone:
		return "unknown"
	case e.cause == event.CauseNone:
		return e.reason.String()
	}
	return e.reason.String() + " (" + e.cause.String() + ")"
}

// appendEnds appends a row for each way to end, the most frequent first.
func (s *Summary) appendEnds(dst []byte, width int) []byte {
	ends := slices.SortedFunc(maps.Keys(s.ends), func(a, b end) int {
		return cmp.Or(cmp.Compare(s.ends[b], s.ends[a]), cmp.Compare(a.reason, b.reason), cmp.Compare(a.cause, b.cause))
	})
	label := 0
	for _, e := range ends {
		label = max(label, len(e.String()))
	}
	for _, e := range ends {
		start := len(dst)
		n := s.ends[e]
		permille := (2000*n + s.connections) / (2 * s.connections)
		dst = fmt.Appendf(dst, "  %-*s %7d %3d.%d%%", label, e, n, permille/10, permille%10)
		if room := width - len(dst[start:]) - 2; room >= minBar {
			dst = append(append(dst, "  "...), bar(n, s.ends[ends[0]], min(room, maxBar))...)
		}
		dst = append(dst, '\n')
	}
	return dst
}

// The widths from which on a table has wider columns and a sketch at the end.
const wideFrom, sketchFrom = 80, 70

// appendTimes appends a table of the times that are known.
func (s *Summary) appendTimes(dst []byte, width int) []byte {
	cell := 7
	if width >= wideFrom {
		cell = 9
	}
	start := len(dst)
	dst = fmt.Appendf(dst, "\n%-17s%*s%*s%*s%*s%*s", "", cell, "count", cell, "p50", cell, "p90", cell, "p99", cell, "max")
	if width >= sketchFrom {
		dst = append(dst, "  "+sketchHeader...)
	}
	dst = append(dst, '\n')
	rows := len(dst)
	row := func(label string, t *times) {
		if t.count() == 0 {
			return
		}
		dst = fmt.Appendf(dst, "  %-15s%*d", label, cell, t.count())
		for _, d := range [...]time.Duration{t.percentile(50), t.percentile(90), t.percentile(99), t.max} {
			dst = fmt.Appendf(dst, "%*s", cell, appendDuration(nil, d))
		}
		if width >= sketchFrom {
			dst = append(append(dst, "  "...), sketch(t.decades())...)
		}
		dst = append(dst, '\n')
	}
	row("connect", &s.connect)
	row("handshake rtt", &s.rtt)
	row("handshake took", &s.took)
	if s.waitAtMost {
		row("accept wait <=", &s.wait)
	} else {
		row("accept wait", &s.wait)
	}
	for _, state := range lifeOrder {
		row("in "+state.String(), &s.states[state])
	}
	if len(dst) == rows {
		return dst[:start]
	}
	return dst
}
