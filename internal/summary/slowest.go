package summary

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"tcpstates/internal/event"
)

// maxSlowest is how many of the slowest handshakes are told of.
const maxSlowest = 10

// handshake is one of the slowest.
type handshake struct {
	time time.Duration
	// kind is what the time is of.
	kind           string
	client, server netip.AddrPort
	owner          event.Process
	// again is the segment that was sent again, and retransmits how often.
	again       string
	retransmits uint32
}

// addHandshake keeps the connection's handshake if it is among the slowest. Of
// equal ones the first stays.
func (s *Summary) addHandshake(e *event.Event) {
	d, kind := slowness(e)
	if d <= 0 || len(s.slowest) == maxSlowest && d <= s.slowest[maxSlowest-1].time {
		return
	}
	h := handshake{
		time: d, kind: kind, client: e.Local, server: e.Remote, owner: e.Owner.Process,
		again: "SYN", retransmits: e.Handshake.Retransmits,
	}
	if e.Role == event.RoleServer {
		h.client, h.server, h.again = e.Remote, e.Local, "SYN-ACK"
	}
	if len(s.slowest) == maxSlowest {
		s.slowest = s.slowest[:maxSlowest-1]
	}
	i := slices.IndexFunc(s.slowest, func(other handshake) bool { return other.time < d })
	if i < 0 {
		i = len(s.slowest)
	}
	s.slowest = slices.Insert(s.slowest, i, h)
}

// slowness is what is known of a handshake's time, and what it is of; zero if
// nothing is.
func slowness(e *event.Event) (d time.Duration, kind string) {
	h := &e.Handshake
	switch {
	case h.Connect > 0:
		return h.Connect, "connect"
	case h.Took > 0:
		return h.Took, "handshake"
	case h.RTT > 0 && !h.Estimate:
		return h.RTT, "handshake"
	}
	return 0, ""
}

// appendSlowest appends the slowest handshakes, from the client to the server.
func (s *Summary) appendSlowest(dst []byte, width int) []byte {
	if len(s.slowest) == 0 {
		return dst
	}
	dst = append(dst, "\nslowest handshakes:\n"...)
	for _, h := range s.slowest {
		dst = fmt.Appendf(dst, "  %6s  %-9s  %s", appendDuration(nil, h.time), h.kind, h.client)
		dst = appendPart(dst, width, " ", "-> "+h.server.String())
		owner := "-"
		if h.owner.PID != 0 {
			owner = fmt.Sprintf("%s[%d]", h.owner.Comm, h.owner.PID)
		}
		dst = appendPart(dst, width, "  ", owner)
		if h.retransmits > 0 {
			dst = appendPart(dst, width, "  ", fmt.Sprintf("%s retransmit x%d", h.again, h.retransmits))
		}
		dst = append(dst, '\n')
	}
	return dst
}
