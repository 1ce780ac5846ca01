package summary

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"tcpstates/internal/event"
)

// endings count how connections have ended.
type endings struct {
	// A listener is not among the connections.
	connections, failed, listeners uint64
	// oneIn is the smallest part of the connections that was shown for some time: one
	// in so many; zero: all were.
	oneIn uint64
	ends  map[end]uint64
}

func newEndings() endings { return endings{ends: map[end]uint64{}} }

// end is what the connections of one row have in common.
type end struct {
	reason event.Reason
	cause  event.Cause
	// apart is what there is to say in place of a reason; empty as a rule.
	apart string
}

// add counts so many connections that have ended with the event. It is false for
// listeners, which are counted apart.
func (s *endings) add(e *event.Event, n uint64) bool {
	if e.Role == event.RoleListener || e.End.Reason == event.ReasonListenerClosed {
		s.listeners += n
		return false
	}
	if e.End.Reason.IsFailure() {
		s.failed += n
	}
	s.put(end{reason: e.End.Reason, cause: e.End.Cause}, n)
	return true
}

// put counts connections in a row.
func (s *endings) put(row end, n uint64) {
	s.connections += n
	s.ends[row] += n
}

// appendTotals appends the first line.
func (s *endings) appendTotals(dst []byte, width int) []byte {
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
	case e.apart != "":
		return e.apart
	case e.reason == event.ReasonNone:
		return "unknown"
	case e.cause == event.CauseNone:
		return e.reason.String()
	}
	return e.reason.String() + " (" + e.cause.String() + ")"
}

// appendEnds appends a row for each way to end, the most frequent first.
func (s *endings) appendEnds(dst []byte, width int) []byte {
	ends := slices.SortedFunc(maps.Keys(s.ends), func(a, b end) int {
		return cmp.Or(cmp.Compare(s.ends[b], s.ends[a]), cmp.Compare(a.reason, b.reason), cmp.Compare(a.cause, b.cause), cmp.Compare(a.apart, b.apart))
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
