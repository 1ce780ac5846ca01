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
	Role = Column{Name: "role", Source: "concluded from the states",
		Help:   "client, server, listener, or self: connected to itself",
		Header: "ROLE", Width: 8, Drop: 2, Of: Timed,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return append(dst, e.Role.String()...) }}
	Derived = Column{Name: "derived", Source: "the kernel's socket tables",
		Help:   "true where the tracepoint did not report the new state",
		Header: "DERIVED", Width: 7, Number: true, Of: Transitions,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return appendTrue(dst, e.Derived) }}

	Connect = Column{Name: "connect_ms", Unit: "ms", Source: "concluded: SYN_SENT",
		Help:   "of a client, from connect() to ESTABLISHED",
		Header: "CONNECT", Width: 9, Number: true, Of: Handshakes,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return appendTime(dst, e.Handshake.Connect, 6) },
		Text: func(dst []byte, e *event.Event, _ *State) []byte { return appendTime(dst, e.Handshake.Connect, 3) }}
	Took = Column{Name: "handshake_ms", Unit: "ms", Source: "concluded: SYN_RECV",
		Help:   "of a server, from its first SYN-ACK to the ACK; in tables of either side",
		Header: "HANDSHAKE", Width: 9, Drop: 5, Number: true, Of: Handshakes,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return appendTime(dst, e.Handshake.Took, 6) },
		Text: handshakeText}
	RTT = Column{Name: "rtt_ms", Unit: "ms", Source: "srtt_us",
		Help:   "one round trip of the handshake, measured; in tables estimates, too, behind ~",
		Header: "RTT", Width: 9, Drop: 3, Number: true, Of: Handshakes,
		Data: func(dst []byte, e *event.Event, _ *State) []byte {
			if e.Handshake.Estimate {
				return dst
			}
			return appendTime(dst, e.Handshake.RTT, 6)
		},
		Text: rttText}
	RTTEstimate = Column{Name: "rtt_estimate_ms", Unit: "ms", Source: "srtt_us",
		Help:   "one round trip of the handshake, from timestamps, which count milliseconds",
		Header: "RTT~", Width: 9, Number: true, Of: Handshakes,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return appendEstimate(dst, e, 6) },
		Text: func(dst []byte, e *event.Event, _ *State) []byte { return appendEstimate(dst, e, 3) }}
	SynRetransmits = Column{Name: "syn_retransmits", Source: "total_retrans",
		Help:   "how often the SYN, or a server's SYN-ACK, was sent again",
		Header: "SYNRETR", Width: 7, Number: true, Of: Handshakes,
		Data: func(dst []byte, e *event.Event, _ *State) []byte {
			return appendCount(dst, uint64(e.Handshake.Retransmits))
		}}
	Way = Column{Name: "way", Source: "concluded from the handshake",
		Help:   "syncookie or fast open",
		Header: "WAY", Width: 9, Of: Handshakes,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return append(dst, e.Handshake.Way.String()...) }}
	AcceptWait = Column{Name: "accept_wait_ms", Unit: "ms", Source: "concluded: accept",
		Help:   "how long the connection waited to be accepted; told once",
		Header: "ACCEPT", Width: 9, Number: true, Of: Waits,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return appendWait(dst, e, false, 6) },
		Text: func(dst []byte, e *event.Event, _ *State) []byte { return appendWait(dst, e, false, 3) }}
	AcceptWaitMax = Column{Name: "accept_wait_max_ms", Unit: "ms", Source: "concluded: first use",
		Help:   "how long it waited to be accepted, at most; told once",
		Header: "ACCEPT<=", Width: 9, Number: true, Of: Waits,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return appendWait(dst, e, true, 6) },
		Text: func(dst []byte, e *event.Event, _ *State) []byte { return appendWait(dst, e, true, 3) }}

	Reason = Column{Name: "reason", Source: "concluded at the end",
		Help:   "why the connection ended",
		Header: "REASON", Width: 17, Min: 8, Cut: CutEnd, Of: Ends,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return append(dst, e.End.Reason.String()...) }}
	Cause = Column{Name: "cause", Source: "concluded at the end",
		Help:   "what lies behind the reason; of a loss, why events could not be written or were not told",
		Header: "CAUSE", Width: 17, Min: 8, Cut: CutEnd, Of: Ends | Losses,
		Data: cause}
	First = Column{Name: "first", Source: "concluded from the states",
		Help:   "who closed first: us, peer, both",
		Header: "FIRST", Width: 5, Of: Ends,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return append(dst, e.End.First.String()...) }}
	Errno = Column{Name: "errno", Source: "sk_err",
		Help:   "the socket's error",
		Header: "ERRNO", Width: 12, Of: Timed, Data: errno}
	SoftErrno = Column{Name: "soft_errno", Source: "sk_err_soft",
		Help:   "an error that did not end the connection",
		Header: "SOFTERRNO", Width: 12, Of: Timed,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return appendErrno(dst, e.Facts.SoftErr) }}
	// Reset is also what a reset's own event is about.
	Reset = Column{Name: "reset", Source: "tcp_send_reset",
		Help: "the kernel's reason for a reset that was sent",
		Free: true, Header: "RESET", Width: 24, Of: Timed, Data: reset}
	// Signal is also told when it closes a connection.
	Signal = Column{Name: "signal", Source: "signal->group_exit_code",
		Help:   "the signal that killed the process which closes",
		Header: "SIGNAL", Width: 7, Of: Concluded, Data: signal}

	Out = Column{Name: "bytes_out", Unit: "B", Source: "bytes_acked",
		Help:   "data that the peer has acknowledged",
		Header: "OUT", Width: 9, Number: true, Of: Ends,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return appendTraffic(dst, e, e.Traffic.Out) }}
	In = Column{Name: "bytes_in", Unit: "B", Source: "bytes_received",
		Help:   "data received",
		Header: "IN", Width: 9, Number: true, Of: Ends,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return appendTraffic(dst, e, e.Traffic.In) }}
	SegsOut = Column{Name: "segs_out", Source: "segs_out",
		Help:   "segments sent",
		Header: "SEGSOUT", Width: 7, Number: true, Of: Ends,
		Data: func(dst []byte, e *event.Event, _ *State) []byte {
			return appendTraffic(dst, e, uint64(e.Traffic.SegsOut))
		}}
	SegsIn = Column{Name: "segs_in", Source: "segs_in",
		Help:   "segments received",
		Header: "SEGSIN", Width: 7, Number: true, Of: Ends,
		Data: func(dst []byte, e *event.Event, _ *State) []byte {
			return appendTraffic(dst, e, uint64(e.Traffic.SegsIn))
		}}
	Retransmits = Column{Name: "retransmits", Source: "total_retrans",
		Help:   "segments sent again",
		Header: "RETR", Width: 4, Drop: 1, Number: true, Of: Timed, Data: retransmits}

	// Why is the last column of a table, or stands below the line: it explains it.
	Why = Column{Name: "note", Source: "concluded",
		Help: "the event in a few words",
		Free: true, Header: "NOTE", Width: 30, Min: 24, Max: 60, Drop: 4, Cut: CutEnd, Remark: true, Of: Timed, Data: note}
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
		columns = append(columns, inState(s, strings.ToLower(s.String())+"_ms", s.String(), "the time in "+s.String()))
	}
	return append(columns, inState(0, "unknown_ms", "UNKNOWN", "the time in states that were not seen from beginning to end"))
}

func inState(s event.State, name, header, help string) *Column {
	return &Column{Name: name, Unit: "ms", Source: "concluded from the states", Help: help, Header: header, Width: 11, Number: true, Of: Conns,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return appendTime(dst, e.Times[s], 6) },
		Text: func(dst []byte, e *event.Event, _ *State) []byte { return appendTime(dst, e.Times[s], 3) }}
}

// AppendMillis appends a time in milliseconds as tables have it; nothing for zero.
func AppendMillis(dst []byte, d time.Duration) []byte { return appendTime(dst, d, 3) }

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

// handshakeText appends how long the handshake took, as far as this side can
// tell.
func handshakeText(dst []byte, e *event.Event, _ *State) []byte {
	return appendTime(dst, cmp.Or(e.Handshake.Connect, e.Handshake.Took), 3)
}

func appendEstimate(dst []byte, e *event.Event, digits int) []byte {
	if !e.Handshake.Estimate {
		return dst
	}
	return appendTime(dst, e.Handshake.RTT, digits)
}

func rttText(dst []byte, e *event.Event, _ *State) []byte {
	if e.Handshake.Estimate { // which no unknown one is
		dst = append(dst, '~')
	}
	return appendTime(dst, e.Handshake.RTT, 3)
}

func appendWait(dst []byte, e *event.Event, atMost bool, digits int) []byte {
	if w := e.AcceptWait; w.Known && w.AtMost == atMost {
		return appendFixed(dst, int64(w.Time), 6, digits)
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
		return event.AppendText(dst, e.End.Reset)
	}
	return event.AppendText(dst, e.Facts.Reset)
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

func cause(dst []byte, e *event.Event, _ *State) []byte {
	if e.Kind == event.KindLost {
		return append(dst, e.Loss.String()...)
	}
	return append(dst, e.End.Cause.String()...)
}
