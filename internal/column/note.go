package column

import (
	"strconv"
	"time"

	"tcpstates/internal/event"
)

// note explains an event in a few words, the most telling first.
func note(dst []byte, e *event.Event, _ *State) []byte {
	n := notes{dst: dst, start: len(dst)}
	switch e.Kind {
	case event.KindTransition:
		n.transition(e)
	case event.KindConn:
		n.end(e)
	case event.KindRetransmit:
		n.times(retransmitted(e.OldState), e.Facts.Retransmits)
	case event.KindSynAckRetransmit:
		n.times("SYN-ACK retransmit", e.Facts.Retransmits)
	case event.KindResetReceived:
		n.part("reset received")
	case event.KindResetSent:
		n.part("reset sent")
		n.inParens(e.Facts.Reset)
	}
	return n.dst
}

// notes joins parts by commas.
type notes struct {
	dst   []byte
	start int
}

// part begins a part.
func (n *notes) part(text string) {
	if len(n.dst) > n.start {
		n.dst = append(n.dst, ", "...)
	}
	n.dst = append(n.dst, text...)
}

func (n *notes) inParens(text string) {
	if text != "" {
		n.dst = append(event.AppendText(append(n.dst, " ("...), text), ')')
	}
}

// times adds how often something happened, unless it never did.
func (n *notes) times(what string, count uint32) {
	if count > 0 {
		n.part(what)
		n.dst = strconv.AppendUint(append(n.dst, " x"...), uint64(count), 10)
	}
}

func (n *notes) transition(e *event.Event) {
	if e.NewState == event.Established {
		n.handshake(e)
	}
	switch {
	case e.End.Reason != event.ReasonNone:
		n.end(e)
	case e.Signal != 0:
		n.part("process killed (")
		n.dst = append(appendSignal(n.dst, e.Signal), ')')
	}
	switch e.Fate {
	case event.FateNoRoom:
		n.part("no room for it (tcp_max_tw_buckets)")
	case event.FateEarly:
		n.part("before its time: reused, reset or killed")
	}
	n.wait(e)
}

// wait says how long the connection waited to be accepted.
func (n *notes) wait(e *event.Event) {
	if !e.AcceptWait.Known {
		return
	}
	n.part("accept wait ")
	if e.AcceptWait.AtMost {
		n.dst = append(n.dst, "<="...)
	}
	n.dst = appendDuration(n.dst, e.AcceptWait.Time)
}

// retransmitted says what a socket sends again in a state.
func retransmitted(s event.State) string {
	switch s {
	case event.SynSent:
		return "SYN retransmit"
	case event.SynRecv:
		return "SYN-ACK retransmit"
	}
	return "retransmit"
}

func (n *notes) handshake(e *event.Event) {
	h := &e.Handshake
	again := "SYN retransmit"
	if e.Role == event.RoleServer {
		n.part("handshake")
		if h.Took != 0 {
			n.dst = appendDuration(append(n.dst, ' '), h.Took)
		}
		again = "SYN-ACK retransmit"
	} else if h.Connect != 0 {
		n.part("connect ")
		n.dst = appendDuration(n.dst, h.Connect)
	}
	if h.RTT != 0 {
		if len(n.dst) > n.start {
			n.dst = append(n.dst, ' ')
		}
		n.dst = append(n.dst, "rtt "...)
		if h.Estimate {
			n.dst = append(n.dst, '~')
		}
		n.dst = appendDuration(n.dst, h.RTT)
	}
	n.times(again, h.Retransmits)
	if h.Way != event.WayPlain {
		n.part(h.Way.String())
	}
}

// end says why a connection has ended, and what it has carried.
func (n *notes) end(e *event.Event) {
	end := &e.End
	switch end.Reason {
	case event.ReasonNone:
		if e.Kind == event.KindConn {
			n.part("unknown")
		}
	case event.ReasonFinished:
		n.finished(end.First)
	case event.ReasonAborted:
		n.part("aborted by ")
		n.dst = end.By.Comm.AppendText(n.dst)
		n.dst = append(strconv.AppendUint(append(n.dst, '['), uint64(end.By.PID), 10), ']')
	case event.ReasonKilled:
		n.part("killed with its process (")
		n.dst = append(appendSignal(n.dst, end.Signal), ')')
	case event.ReasonError:
		n.part("error ")
		n.dst = appendErrno(n.dst, end.Errno)
	default:
		n.part(end.Reason.String())
		n.inParens(end.Cause.String())
	}
	if t := &e.Traffic; t.Known && t.Out|t.In != 0 {
		n.part("")
		n.dst = append(appendBytes(n.dst, t.Out), " out "...)
		n.dst = append(appendBytes(n.dst, t.In), " in"...)
	}
	n.times("retransmit", e.Traffic.Retransmits)
}

func (n *notes) finished(first event.Side) {
	switch first {
	case event.SideUs:
		n.part("we closed first")
	case event.SidePeer:
		n.part("peer closed first")
	case event.SideBoth:
		n.part("both closed at once")
	default:
		n.part("finished")
	}
}

// appendDuration appends a time in a unit that suits it, cutting off the rest:
// 15µs, 100.9ms, 1.11s.
func appendDuration(dst []byte, d time.Duration) []byte {
	switch {
	case d < time.Millisecond:
		return append(strconv.AppendInt(dst, int64(d/time.Microsecond), 10), "µs"...)
	case d < time.Second:
		return append(appendFixed(dst, int64(d), 6, 1), "ms"...)
	case d < 100*time.Second:
		return append(appendFixed(dst, int64(d), 9, 2), 's')
	}
	return append(strconv.AppendInt(dst, int64(d/time.Second), 10), 's')
}

// appendBytes appends a number of bytes in a unit of 1000 that suits it, cutting
// off the rest: 512B, 1.2kB, 34kB.
func appendBytes(dst []byte, n uint64) []byte {
	if n < 1000 {
		return append(strconv.AppendUint(dst, n, 10), 'B')
	}
	unit := 0
	for n >= 1000*1000 && unit < len(byteUnits)-1 {
		n /= 1000
		unit++
	}
	if n < 10_000 {
		dst = appendFixed(dst, int64(n), 3, 1)
	} else {
		dst = strconv.AppendUint(dst, n/1000, 10)
	}
	return append(dst, byteUnits[unit]...)
}

var byteUnits = [...]string{"kB", "MB", "GB", "TB", "PB"}
