package conn

import (
	"net/netip"
	"time"

	"tcpstates/internal/event"
)

// life is what is remembered of a connection, in two parts: when all is told but the
// end of its TIME_WAIT, the core alone is kept. Both are kept small, as there may be
// a million, and without pointers, so that the garbage collector has nothing to look
// for in them.
type life struct {
	*core
	*detail // nil of one that is retired, which is in TIME_WAIT: see table
}

// core is what every transition changes, and what its end in TIME_WAIT is told by.
type core struct {
	socket uint64 // see event.Event.Socket
	since  uint64 // ns, CLOCK_MONOTONIC: when state began

	older, newer uint32 // neighbours in the order of the last event
	detailAt     uint32 // place of its detail; none: it is retired
	netns        uint32
	uid          uint32

	state      event.State
	family     event.Family
	role       event.Role
	first      event.Side // who closed first
	signal     uint8      // that killed its process
	small      bool       // its socket is gone, and has left a minisock
	partial    bool       // state began some time before since
	uidUnknown bool
	waitTold   bool
	closed     bool // close() was called, and dataAtClose is known
	bounded    bool // times are less than the life: it began before the trace, or its end lies between two batches

	local, remote end
	owner         owner
}

// detail is what its end is told by.
type detail struct {
	times       [event.NewSynRecv]uint64 // ns spent in each state; in 0 what belongs to none for sure
	opened      uint64                   // ns: when connect() was called; 0: not known
	established uint64                   // ns; 0: not known
	handshake   event.Handshake
	wait        event.Wait
	by          event.Process // who closed it first; zero: nobody has
	dataAtClose uint32        // segments with data that had come when it was closed
	traffic     event.Traffic // of a minisock: what its socket had said
}

// owner is an event.Owner without its place, which who comes after knows by the
// cgroup.
type owner struct {
	event.Process
	source event.Source
	cgroup uint64
}

func ownerOf(e *event.Event) owner { return owner{e.Owner.Process, e.Owner.Source, e.Owner.Cgroup} }

func (o owner) asEvent() event.Owner {
	return event.Owner{Process: o.Process, Source: o.source, Cgroup: o.cgroup}
}

// end is an end of a connection, in less room than a netip.AddrPort.
type end struct {
	addr [16]byte
	port uint16
}

func endOf(ap netip.AddrPort) end { return end{ap.Addr().As16(), ap.Port()} }

func (n end) addrPort(f event.Family) netip.AddrPort {
	addr := netip.AddrFrom16(n.addr)
	if f == event.IPv4 {
		addr = addr.Unmap()
	}
	return netip.AddrPortFrom(addr, n.port)
}

// begin makes a life of a connection's first event.
func (l life) begin(e *event.Event) {
	l.since, l.state = e.Ktime, e.OldState
	if !e.Begins() { // the trace has begun later than the connection
		l.bounded = true
		l.state = 0 // only a part of the state was seen
		if least, known := e.AtLeast(); known {
			l.since = e.Ktime - uint64(least)
		}
	}
	switch {
	case e.OldState == event.Close && e.NewState == event.SynSent:
		l.role, l.opened = event.RoleClient, e.Ktime
	case e.OldState == event.Close && e.NewState == event.Listen, e.OldState == event.Listen && e.NewState == event.Close:
		l.role = event.RoleListener
	case e.OldState == event.SynSent:
		l.role = event.RoleClient
	case e.OldState == event.Listen && e.NewState == event.SynRecv, e.OldState == event.SynRecv:
		l.role = event.RoleServer
	}
}

// meet takes from a transition what it tells of the connection.
func (l life) meet(e *event.Event) {
	if l.state != e.OldState { // what was between is not known
		l.enter(0, l.since)
	}
	if e.Owner.Source != event.SourceUnknown {
		l.owner = ownerOf(e)
	}
	l.netns, l.family = e.Netns, e.Family
	l.uid, l.uidUnknown = e.UID, e.UIDUnknown
	if local := endOf(e.Local); local.port != 0 {
		l.local = local
	}
	// Who dissolves a connection forgets its remote end (tcp_disconnect).
	if remote := endOf(e.Remote); remote.port != 0 {
		l.remote = remote
	}
	if e.Accepted != 0 {
		l.endWait(e.Accepted, false)
	}
	switch {
	case e.NewState == event.SynRecv && l.role == event.RoleClient && e.Local == e.Remote:
		l.role = event.RoleSelf
	case l.role == event.RoleUnknown && e.Facts.Flags.Has(event.Child):
		l.role = event.RoleServer
	}
	l.noteClose(e)
}

// noteClose notes who closes the connection, and first.
func (l life) noteClose(e *event.Event) {
	if e.Closes && l.by.PID == 0 {
		l.by = e.Current
	}
	if e.Closes && e.Signal != 0 {
		l.signal = e.Signal
	}
	switch e.NewState {
	case event.FinWait1:
		l.first = event.SideUs
		if e.Facts.Shutdown == bothWays {
			l.dataAtClose, l.closed = e.Facts.DataSegsIn, true
		}
	case event.CloseWait, event.LastAck:
		l.first = event.SidePeer
	case event.Closing:
		l.first = event.SideBoth
	}
}

// bothWays is a sk_shutdown of RCV_SHUTDOWN and SEND_SHUTDOWN
// (include/net/sock.h), as close() leaves it.
const bothWays = 3

// enter accounts for the time in the present state, and changes it.
func (l life) enter(state event.State, ktime uint64) {
	if ktime > l.since {
		if int(l.state) < len(l.times) {
			l.times[l.state] += ktime - l.since
		} else {
			l.times[0] += ktime - l.since
		}
		l.since = ktime
	}
	l.state = state
}

// serve notes who accepted the connection, or was the first to use it: it must
// have been accepted before.
func (l life) serve(e *event.Event) {
	l.owner = ownerOf(e)
	switch {
	case e.Accepted != 0:
		l.endWait(e.Accepted, false)
	case e.Owner.Source == event.SourceIO:
		l.endWait(e.Ktime, true)
	}
}

// endWait notes when the connection had been accepted, or at the latest.
func (l life) endWait(ktime uint64, atMost bool) {
	if l.role != event.RoleServer || l.established == 0 || l.wait.Known {
		return
	}
	l.wait = event.Wait{Known: true, AtMost: atMost}
	if ktime > l.established { // with Fast Open it may be accepted before
		l.wait.Time = time.Duration(ktime - l.established)
	}
}

// tellWait gives the event the wait, if it was not told yet.
func (l life) tellWait(e *event.Event) {
	if l.wait.Known && !l.waitTold {
		e.AcceptWait, l.waitTold = l.wait, true
	}
}

// establish judges the handshake that the event ends. firstSynAck is when the
// first of several SYN-ACKs was sent, zero if that is not known.
func (l life) establish(e *event.Event, firstSynAck uint64) {
	l.established = e.Ktime
	h := handshakeOf(e, l.role)
	switch {
	case l.role != event.RoleServer:
		if l.opened != 0 && e.Ktime >= l.opened {
			h.Connect = time.Duration(e.Ktime - l.opened)
		}
	case h.Way == event.WayFastOpen: // the child was born by the SYN
		h.Took, _ = e.Duration()
	case firstSynAck != 0 && firstSynAck <= e.Ktime:
		h.Took = time.Duration(e.Ktime - firstSynAck)
	}
	l.handshake, e.Handshake = h, h
}

// handshakeOf judges what the kernel has measured. It takes no round trip time
// when a segment was sent again and carries no timestamp: then there is no
// telling which of the two was answered (Karn's algorithm, RFC 6298, 3), and
// with timestamps its measure contains the wait for the retransmission.
func handshakeOf(e *event.Event, role event.Role) event.Handshake {
	f := &e.Facts
	h := event.Handshake{Retransmits: f.Retransmits}
	if f.Unknown {
		return h
	}
	if f.Retransmits == 0 {
		h.RTT = time.Duration(f.SRTT) * time.Microsecond
		// The kernel's own samples count microseconds, those by timestamps
		// whole milliseconds (tcp_rtt_tsopt_us).
		h.Estimate = f.SRTT != 0 && f.MinRTT%1000 == 0
	}
	switch {
	case f.Flags.Has(event.FastOpen), e.OldState == event.SynSent && f.BytesAcked > 1:
		// To a client its flag comes later (tcp_rcv_fastopen_synack), but the
		// SYN-ACK has acknowledged more than the SYN.
		h.Way = event.WayFastOpen
	case role == event.RoleServer && f.Retransmits == 0 &&
		(f.SRTT == 0 || h.Estimate && f.Flags.Has(event.CookieEcho)):
		// A request's SYN-ACK is always timed; there was no request. The
		// timestamp of a SYN cookie carries options and measures nothing.
		h.Way, h.RTT, h.Estimate = event.WayCookie, 0, false
	}
	return h
}

// pass accounts for the time of a minisock in its state, which has changed
// between two batches: to the first of them it has lasted for sure. The new
// state begins at the second at the latest.
func (l life) pass(to event.State, seen, ktime uint64) {
	if l.detail != nil && seen > l.since && seen <= ktime {
		l.times[0] += seen - l.since
	}
	l.bounded = true
	l.since, l.state = max(l.since, ktime), to
}

// report fills d with the connection's end, of which e tells.
func (l life) report(d, e *event.Event) {
	l.describe(d, e)
	d.Kind = event.KindConn
	d.OldState = e.OldState
	d.End, d.Traffic = e.End, e.Traffic
	d.Facts.SoftErr = e.Facts.SoftErr
	l.complete(d, e.NewState)
}

// complete adds to d what is known of the connection as a whole.
func (l life) complete(d *event.Event, state event.State) {
	d.NewState = state
	d.Ktime = l.since // of the end, which no event is before
	d.Handshake, d.AcceptWait = l.handshake, l.wait
	var lived time.Duration
	for s := range l.times {
		d.Times[s] = time.Duration(l.times[s])
		lived += d.Times[s]
	}
	d.Since, d.Before = d.Ktime-uint64(lived), l.bounded
	if lived == 0 && d.Before {
		d.Since, d.Before = 0, false // nothing is known of its life but the end
	}
}

// describe fills d with what is known of the connection at e.
func (l life) describe(d, e *event.Event) {
	*d = event.Event{
		Ktime: e.Ktime, Wall: e.Wall,
		Netns: l.netns, Family: l.family,
		UID: l.uid, UIDUnknown: l.uidUnknown, Owner: l.owner.asEvent(), Role: l.role,
		Local: l.local.addrPort(l.family), Remote: l.remote.addrPort(l.family),
	}
	d.SetSocket(l.socket)
}
