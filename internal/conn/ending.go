package conn

import (
	"tcpstates/internal/event"
)

// Minisock is the state of the minisock that a socket leaves behind when it
// goes to CLOSE, and Close if it leaves none. The kernel calls tcp_time_wait
// for a socket in FIN_WAIT2 or CLOSING to which the peer's FIN has come, and
// for one in FIN_WAIT2 that no process has any more, if it may stay there at
// all (TCP_LINGER2, tcp(7)).
func Minisock(e *event.Event) event.State {
	f := &e.Facts
	if e.Kind != event.KindTransition || e.NewState != event.Close {
		return event.Close
	}
	switch e.OldState {
	case event.FinWait2:
		switch {
		case f.Flags.Has(event.Done): // whatever error nobody has asked for
			return event.TimeWait
		case f.Err == 0 && f.Flags.Has(event.Dead) && f.Linger2 >= 0 && !f.Flags.Has(event.SentReset):
			return event.FinWait2
		}
	case event.Closing: // there the FIN has come in any case
		if f.Err == 0 && f.Flags.Has(event.AllAcked) {
			return event.TimeWait
		}
	}
	return event.Close
}

// endOf judges why the connection ends with the event, a transition to CLOSE
// or to TIME_WAIT.
func (l life) endOf(e *event.Event) event.End {
	end := event.End{First: l.firstOf(e), Errno: e.Facts.Err, Signal: l.signal, Reset: e.Facts.Reset, By: l.by}
	end.Reason, end.Cause = l.why(e)
	if end.Reason == event.ReasonAborted {
		end.By = e.Current
	}
	// What the process would have done by itself, its death has done.
	switch end.Reason {
	case event.ReasonFinished, event.ReasonResetSent, event.ReasonCanceled, event.ReasonListenerClosed:
		if l.signal != 0 {
			end.Reason = event.ReasonKilled
		}
	}
	return end
}

// firstOf tells who closed first, also of a connection whose beginning was not
// seen (RFC 9293, figure 5).
func (l life) firstOf(e *event.Event) event.Side {
	if l.first != event.SideUnknown {
		return l.first
	}
	switch e.OldState {
	case event.FinWait1, event.FinWait2:
		return event.SideUs
	case event.CloseWait, event.LastAck:
		return event.SidePeer
	case event.Closing:
		return event.SideBoth
	}
	return event.SideUnknown
}

// why tells the reason of an end, by what the socket says of itself.
func (l life) why(e *event.Event) (event.Reason, event.Cause) {
	err := event.Errno(e.Facts.Err)
	switch {
	case e.NewState == event.TimeWait:
		return event.ReasonFinished, event.CauseNone
	case e.OldState == event.Listen:
		return event.ReasonListenerClosed, event.CauseNone
	case e.Facts.Unknown:
		return event.ReasonNone, event.CauseNone
	case Minisock(e) == event.FinWait2: // it goes on, see Tracker.close
		return event.ReasonNone, event.CauseNone
	case err == 0:
		return whyInPeace(e)
	case err == event.ECONNABORTED: // tcp_abort
		return event.ReasonAborted, event.CauseNone
	case err == event.ECONNREFUSED && e.Facts.Flags.Has(event.GotReset):
		return event.ReasonRefused, event.CauseNone
	case err == event.ECONNRESET, err == event.EPIPE: // tcp_reset
		if l.mayBeLateData(e) {
			return event.ReasonError, event.CauseNone
		}
		return event.ReasonResetByPeer, event.CauseNone
	case err == event.ETIMEDOUT:
		return event.ReasonTimedOut, timedOut(e)
	}
	if cause := unreachable(err); cause != event.CauseNone {
		return event.ReasonUnreachable, cause
	}
	return event.ReasonError, event.CauseNone
}

// unreachable tells what cannot be reached, by the errors that ICMP messages
// leave (tcp_v4_err, icmp_err_convert).
func unreachable(err event.Errno) event.Cause {
	switch err {
	case event.ENETUNREACH, event.ENONET:
		return event.CauseNet
	case event.EHOSTUNREACH, event.EHOSTDOWN:
		return event.CauseHost
	case event.ECONNREFUSED:
		return event.CausePort
	}
	return event.CauseNone
}

// timedOut tells which time-out ended the connection.
func timedOut(e *event.Event) event.Cause {
	switch {
	case e.OldState == event.SynSent:
		return event.CauseConnect
	case e.Facts.Flags.Has(event.SentReset): // tcp_keepalive_timer sends one before
		return event.CauseKeepalive
	case e.Facts.Flags.Has(event.UserTimeout):
		return event.CauseUserTimeout
	}
	return event.CauseRetransmission
}

// whyInPeace tells the reason of an end without an error.
func whyInPeace(e *event.Event) (event.Reason, event.Cause) {
	f := &e.Facts
	if f.Flags.Has(event.Repair) { // the connection goes on elsewhere (TCP_REPAIR)
		return event.ReasonNone, event.CauseNone
	}
	switch e.OldState {
	case event.LastAck:
		if f.Flags.Has(event.AllAcked) {
			return event.ReasonFinished, event.CauseNone
		}
	case event.SynSent:
		switch {
		case f.Shutdown != 0 || f.SegsOut != 0:
			return event.ReasonCanceled, event.CauseNone
		case e.Local.Port() == 0:
			return event.ReasonNoLocalPort, event.CauseNone
		}
		// No SYN was sent: the ends are another socket's, or the connect was
		// put off to the first data (TCP_FASTOPEN_CONNECT) and never came.
		return event.ReasonNone, event.CauseNone
	case event.SynRecv:
		if isDuplicate(e) {
			return event.ReasonNone, event.CauseNone
		}
	case event.FinWait2:
		switch {
		case !f.Flags.Has(event.Dead):
		case f.Flags.Has(event.SentReset):
			return event.ReasonResetSent, event.CauseFinWait2Time
		default:
			return event.ReasonResetSent, event.CauseLinger2
		}
	case event.FinWait1:
		if f.Flags.Has(event.Dead) { // too many orphans, or too little memory
			return event.ReasonResetSent, event.CauseNone
		}
	}
	return event.ReasonResetSent, aborted(f)
}

// isDuplicate tells whether a server's socket is no connection: two CPUs have
// made one of the same handshake's last ACK, and it was the slower
// (inet_ehash_nolisten, inet_csk_prepare_forced_close). One that is closed in
// SYN_RECV by somebody was opened with data in the SYN.
func isDuplicate(e *event.Event) bool {
	return e.OldState == event.SynRecv && e.NewState == event.Close && e.Facts.Err == 0 && e.Facts.Flags.Has(event.NoFile) &&
		!e.Facts.Flags.Has(event.FastOpen)
}

// aborted tells why a process's own doing sends a reset: tcp_close has shut
// both directions before, connect(AF_UNSPEC) has not.
func aborted(f *event.Facts) event.Cause {
	switch {
	case f.Shutdown == bothWays && f.Flags.Has(event.Unread): // before the lingering
		return event.CauseUnreadData
	case f.Shutdown == bothWays && f.Flags.Has(event.LingerZero):
		return event.CauseLingerZero
	case f.Flags.Has(event.NoFile):
		return event.CauseNeverAccept
	}
	return event.CauseDisconnect
}

// mayBeLateData tells whether what the kernel treats as a reset can be data that
// came after close(): nobody will read it, and the answer is a reset
// (tcp_rcv_state_process). None comes after the peer's FIN. Whether it was data,
// the report of that reset tells.
func (l life) mayBeLateData(e *event.Event) bool {
	return (e.OldState == event.FinWait1 || e.OldState == event.FinWait2) && e.Facts.Flags.Has(event.Dead) &&
		(!l.closed || e.Facts.DataSegsIn > l.dataAtClose)
}

// whyMinisock tells why a connection is over when its minisock in FIN_WAIT2 goes
// on to e.NewState. One that was told already has no reason.
func (l life) whyMinisock(e *event.Event) (event.Reason, event.Cause) {
	switch {
	case l.state != event.FinWait2:
	case e.NewState == event.TimeWait && l.signal != 0:
		return event.ReasonKilled, event.CauseNone
	case e.NewState == event.TimeWait:
		return event.ReasonFinished, event.CauseNone
	case e.Fate == event.FateExpired:
		return event.ReasonTimedOut, event.CauseFinWait2Time
	}
	return event.ReasonNone, event.CauseNone
}

// trafficOf is what the connection has carried when it ends with the event. A
// SYN and a FIN take a number of the sequence each, as data does (RFC 9293,
// 3.4), and the kernel counts them as bytes: a SYN that was acknowledged where
// connect() was called (tcp_snd_una_update), and each FIN.
func (l life) trafficOf(e *event.Event) event.Traffic {
	f := &e.Facts
	t := event.Traffic{
		Known: e.OldState != event.Listen && f.SegsIn|f.SegsOut != 0,
		Out:   f.BytesAcked, In: f.BytesReceived,
		SegsOut: f.SegsOut, SegsIn: f.SegsIn, Retransmits: f.Retransmits,
	}
	if l.role != event.RoleServer && t.Out > 0 {
		t.Out--
	}
	if finAcked(e) && t.Out > 0 {
		t.Out--
	}
	if f.Flags.Has(event.Done) && t.In > 0 {
		t.In--
	}
	return t
}

// finAcked tells whether the peer has acknowledged the FIN of the socket that
// goes to CLOSE (RFC 9293, figure 5).
func finAcked(e *event.Event) bool {
	switch e.OldState {
	case event.FinWait2:
		return true
	case event.LastAck, event.Closing:
		return e.Facts.Flags.Has(event.AllAcked)
	}
	return false
}
