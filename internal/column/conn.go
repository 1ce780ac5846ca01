package column

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"tcpstates/internal/event"
)

// The columns of what package conn concludes.
var (
	Role = Column{Name: "role", Header: "ROLE", Width: 8, Drop: 2, Of: Timed,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return append(dst, e.Role.String()...) }}
	Derived = Column{Name: "derived", Number: true, Of: Transitions,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return appendTrue(dst, e.Derived) }}

	Connect = Column{Name: "connect_ms", Header: "CONNECT", Width: 9, Number: true, Of: Handshakes,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return appendTime(dst, e.Handshake.Connect, 6) }}
	Took = Column{Name: "handshake_ms", Header: "HANDSHAKE", Width: 9, Number: true, Of: Handshakes,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return appendTime(dst, e.Handshake.Took, 6) }}
	RTT = Column{Name: "rtt_ms", Header: "RTT", Width: 9, Drop: 3, Number: true, Of: Handshakes,
		Data: func(dst []byte, e *event.Event, _ *State) []byte {
			if e.Handshake.Estimate {
				return dst
			}
			return appendTime(dst, e.Handshake.RTT, 6)
		},
		Text: rttText}
	RTTEstimate = Column{Name: "rtt_estimate_ms", Number: true, Of: Handshakes,
		Data: func(dst []byte, e *event.Event, _ *State) []byte {
			if !e.Handshake.Estimate {
				return dst
			}
			return appendTime(dst, e.Handshake.RTT, 6)
		}}
	SynRetransmits = Column{Name: "syn_retransmits", Number: true, Of: Handshakes,
		Data: func(dst []byte, e *event.Event, _ *State) []byte {
			return appendCount(dst, uint64(e.Handshake.Retransmits))
		}}
	Way = Column{Name: "way", Of: Handshakes,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return append(dst, e.Handshake.Way.String()...) }}
	AcceptWait = Column{Name: "accept_wait_ms", Number: true, Of: Concluded,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return appendWait(dst, e, false) }}
	AcceptWaitMax = Column{Name: "accept_wait_max_ms", Number: true, Of: Concluded,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return appendWait(dst, e, true) }}

	Reason = Column{Name: "reason", Of: Ends,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return append(dst, e.End.Reason.String()...) }}
	Cause = Column{Name: "cause", Of: Ends,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return append(dst, e.End.Cause.String()...) }}
	First = Column{Name: "first", Of: Ends,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return append(dst, e.End.First.String()...) }}
	Errno     = Column{Name: "errno", Header: "ERRNO", Width: 12, Of: Timed, Data: errno}
	SoftErrno = Column{Name: "soft_errno", Of: Timed,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return appendErrno(dst, e.Facts.SoftErr) }}
	// Reset is also what a reset's own event is about.
	Reset = Column{Name: "reset", Header: "RESET", Width: 24, Of: Timed, Data: reset}
	// Signal is also told when it closes a connection.
	Signal = Column{Name: "signal", Of: Concluded, Data: signal}

	Out = Column{Name: "bytes_out", Header: "OUT", Width: 9, Number: true, Of: Ends,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return appendTraffic(dst, e, e.Traffic.Out) }}
	In = Column{Name: "bytes_in", Header: "IN", Width: 9, Number: true, Of: Ends,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return appendTraffic(dst, e, e.Traffic.In) }}
	SegsOut = Column{Name: "segs_out", Header: "SEGSOUT", Width: 7, Number: true, Of: Ends,
		Data: func(dst []byte, e *event.Event, _ *State) []byte {
			return appendTraffic(dst, e, uint64(e.Traffic.SegsOut))
		}}
	SegsIn = Column{Name: "segs_in", Header: "SEGSIN", Width: 7, Number: true, Of: Ends,
		Data: func(dst []byte, e *event.Event, _ *State) []byte {
			return appendTraffic(dst, e, uint64(e.Traffic.SegsIn))
		}}
	Retransmits = Column{Name: "retransmits", Header: "RETR", Width: 4, Drop: 1, Number: true, Of: Timed, Data: retransmits}

	// Why is the last column of a table, or stands below the line: it explains it.
	Why = Column{Name: "note", Free: true, Header: "NOTE", Width: 30, Min: 24, Max: 60, Drop: 4, Cut: CutEnd, Remark: true, Of: Timed, Data: note}
)

// InStates are the columns of the time that a connection has spent in each
// state, and at the end in states that are not known.
var InStates = inStates()

func inStates() []*Column {
	var columns []*Column
	for s := event.Established; s < event.NewSynRecv; s++ {
		if s == event.Close || s == event.TimeWait { // a connection's end
			continue
		}
		columns = append(columns, inState(s, strings.ToLower(s.String())+"_ms", s.String()))
	}
	return append(columns, inState(0, "unknown_ms", "UNKNOWN"))
}

func inState(s event.State, name, header string) *Column {
	return &Column{Name: name, Header: header, Width: 11, Number: true, Of: Conns,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return appendTime(dst, e.Times[s], 6) },
		Text: func(dst []byte, e *event.Event, _ *State) []byte { return appendTime(dst, e.Times[s], 3) }}
}

// appendTime appends a time in milliseconds, with so many digits behind the
// point; nothing for zero.
func appendTime(dst []byte, d time.Duration, digits int) []byte {
	if d == 0 {
		return dst
	}
	return appendFixed(dst, int64(d), 6, digits)
}

func appendTrue(dst []byte, is bool) []byte {
	if !is {
		return dst
	}
	return append(dst, "true"...)
}

// HandshakeMillis appends how long the handshake took, as far as this side can
// tell.
func HandshakeMillis(dst []byte, e *event.Event, _ *State) []byte {
	return appendTime(dst, cmp.Or(e.Handshake.Connect, e.Handshake.Took), 3)
}

func rttText(dst []byte, e *event.Event, _ *State) []byte {
	if e.Handshake.Estimate { // which no unknown one is
		dst = append(dst, '~')
	}
	return appendTime(dst, e.Handshake.RTT, 3)
}

func appendWait(dst []byte, e *event.Event, atMost bool) []byte {
	if w := e.AcceptWait; w.Known && w.AtMost == atMost {
		return appendFixed(dst, int64(w.Time), 6, 6)
	}
	return dst
}

// errno appends the name of the socket's error.
func errno(dst []byte, e *event.Event, _ *State) []byte {
	number := e.Facts.Err
	if e.Kind == event.KindConn {
		number = e.End.Errno
	}
	return appendErrno(dst, number)
}

func appendErrno(dst []byte, number uint16) []byte {
	if number == 0 {
		return dst
	}
	if name := event.Errno(number).Name(); name != "" {
		return append(dst, name...)
	}
	return strconv.AppendUint(dst, uint64(number), 10)
}

func reset(dst []byte, e *event.Event, _ *State) []byte {
	if e.Kind == event.KindConn {
		return append(dst, e.End.Reset...)
	}
	return append(dst, e.Facts.Reset...)
}

func signal(dst []byte, e *event.Event, _ *State) []byte {
	number := e.Signal
	if e.Kind == event.KindConn {
		number = e.End.Signal
	}
	return appendSignal(dst, number)
}

func appendSignal(dst []byte, number uint8) []byte {
	if number == 0 {
		return dst
	}
	if name := event.Signal(number).Name(); name != "" {
		return append(dst, name...)
	}
	return strconv.AppendUint(append(dst, "signal "...), uint64(number), 10)
}

// appendTraffic appends a zero that is known.
func appendTraffic(dst []byte, e *event.Event, n uint64) []byte {
	if !e.Traffic.Known {
		return dst
	}
	return strconv.AppendUint(dst, n, 10)
}

func retransmits(dst []byte, e *event.Event, _ *State) []byte {
	if happens(e.Kind) {
		return appendCount(dst, uint64(e.Facts.Retransmits))
	}
	return appendTraffic(dst, e, uint64(e.Traffic.Retransmits))
}
