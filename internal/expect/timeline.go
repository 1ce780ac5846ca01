package expect

import (
	"net/netip"
	"strconv"

	"tcpstates/internal/column"
	"tcpstates/internal/event"
)

// AppendText appends the connection for a person: who has it, its ends and its end in a
// line, and its timeline below.
func (c *Conn) AppendText(dst []byte) []byte {
	return c.AppendTimeline(append(c.AppendHead(dst), '\n'))
}

// AppendHead appends who has the connection, its ends and its end, without a line feed.
func (c *Conn) AppendHead(dst []byte) []byte {
	dst = c.appendName(dst)
	dst = append(dst, ' ')
	if role := c.event.Role; role == event.RoleUnknown {
		dst = append(dst, "of unknown role"...)
	} else {
		dst = append(dst, role.String()...)
	}
	switch reason := c.event.End.Reason; {
	case !c.ended:
		return append(append(dst, ", still in "...), c.event.NewState.String()...)
	case reason == event.ReasonNone:
		return append(dst, ", ended nobody knows why"...)
	default:
		return append(append(dst, ", "...), reason.String()...)
	}
}

// appendName appends who has the connection, and its ends: local -> remote.
func (c *Conn) appendName(dst []byte) []byte {
	if owner := &c.event.Owner; owner.PID == 0 {
		dst = append(dst, '-')
	} else {
		dst = append(owner.Comm.AppendText(dst), '[')
		dst = append(strconv.AppendUint(dst, uint64(owner.PID), 10), ']')
	}
	dst = appendEnd(append(dst, ' '), c.event.Local)
	if c.isListener() {
		return dst
	}
	return appendEnd(append(dst, " -> "...), c.event.Remote)
}

// appendEnd appends an end of a connection, of which "-" is not known.
func appendEnd(dst []byte, end netip.AddrPort) []byte {
	switch {
	case end.IsValid() && end.Port() != 0:
		return end.AppendTo(dst)
	case !end.Addr().IsValid() || end.Addr().IsUnspecified():
		return append(dst, '-')
	case end.Addr().Is6():
		return append(end.Addr().AppendTo(append(dst, '[')), "]:-"...)
	}
	return append(end.Addr().AppendTo(dst), ":-"...)
}

// AppendTimeline appends the transitions that were seen, a line each: how long the old
// state has lasted, and what explains the transition.
func (c *Conn) AppendTimeline(dst []byte) []byte {
	note := 0
	for i := range c.hops {
		h := &c.hops[i]
		dst = append(dst, "    "...)
		start := len(dst)
		dst = h.appendText(dst)
		if int(h.notes) > note {
			dst = append(pad(dst, start, noteFrom), c.notes[note:h.notes]...)
			note = int(h.notes)
		}
		dst = append(dst, '\n')
	}
	if c.more > 0 {
		dst = append(strconv.AppendInt(append(dst, "    and "...), int64(c.more), 10), " more transitions\n"...)
	}
	return dst
}

// Where the columns of a timeline begin: none but a time of hours is wider than its own.
const (
	timeFrom = len("ESTABLISHED -> ESTABLISHED ")
	noteFrom = timeFrom + len("123456.789 ms ")
)

// pad appends blanks until a line that began at start has so many characters, but one at
// least.
func pad(dst []byte, start, width int) []byte {
	dst = append(dst, ' ')
	for len(dst) < start+width {
		dst = append(dst, ' ')
	}
	return dst
}

func (h *hop) appendText(dst []byte) []byte {
	e := event.Event{
		Kind: event.KindTransition, Ktime: h.ktime, Since: h.since, Before: h.before, OldState: h.from, NewState: h.to,
	}
	start := len(dst)
	dst = append(column.OldState.Text(dst, &e, nil), " -> "...)
	dst = column.NewState.Text(dst, &e, nil)
	dst = pad(dst, start, timeFrom)
	at := len(dst)
	if dst = column.MS.Text(dst, &e, nil); len(dst) == at {
		return append(dst, '-')
	}
	return append(dst, " ms"...)
}
