// Package conn tells the life of each connection from its events: its part in
// it, how it came up, what it spent in each state, why it ended. It is the one
// place that judges what the kernel reports, and needs no kernel to do it: the
// same events give the same lives, live or recorded.
package conn

import "tcpstates/internal/event"

// DefaultMaxConns is how many connections a Tracker follows at a time unless
// it is told otherwise: they take some 400 MiB.
const DefaultMaxConns = 1_000_000

// Tracker is a pipeline stage that follows every connection. It completes the
// events with what it concludes, and adds those that the tracepoint does not
// report: what becomes of a socket's minisock, and the end of each connection
// as a whole (event.KindConn). What it adds has owners without a place, so the
// stage that knows those comes after it. It belongs to one goroutine, and allocates
// nothing but memory for connections.
type Tracker struct {
	// Wholes says that the end of each connection as a whole is told. It must not be
	// changed once there were events.
	Wholes bool

	lives      *table
	evicted    uint64
	unfollowed uint64

	// halfOpen is when handshakes that retransmit sent their first SYN-ACK.
	halfOpen map[handshake]uint64

	unsettled queue // ends of which more may be told

	derived event.Event // to hand on what is added
}

// NewTracker makes a Tracker that follows up to maxConns connections, at least
// one. When there are more, it forgets the one that has been quiet longest. It tells
// of connections as wholes.
func NewTracker(maxConns int) *Tracker {
	return &Tracker{Wholes: true, lives: newTable(max(1, maxConns)), halfOpen: map[handshake]uint64{}}
}

// Evicted is how many connections had to be forgotten: later events of them
// are those of a connection whose beginning was not seen.
func (t *Tracker) Evicted() uint64 { return t.evicted }

// Unfollowed is how many connections were forgotten in TIME_WAIT, when all but
// its end was told.
func (t *Tracker) Unfollowed() uint64 { return t.unfollowed }

// Tracked is how many connections are followed at present.
func (t *Tracker) Tracked() int { return t.lives.len() }

// maxHalfOpen bounds the memory of half-open handshakes; beyond it those
// forgotten are told without the time of their first SYN-ACK.
const maxHalfOpen = 65536

// Apply handles the event and calls next with it, unless it changes nothing,
// and with those that follow from it.
func (t *Tracker) Apply(e *event.Event, next func(*event.Event) error) error {
	// What is not from the ring buffer is ahead of what still lies there.
	if e.Kind != event.KindMinisock && e.Kind != event.KindLost {
		if err := t.unsettled.settle(e.Ktime, next); err != nil {
			return err
		}
	}
	switch e.Kind {
	case event.KindTransition:
		return t.transition(e, next)
	case event.KindMinisock:
		return t.minisock(e, next)
	case event.KindResetSent:
		return t.resetSent(e, next)
	case event.KindOwner:
		if l, found := t.lives.find(e.Socket()); found {
			t.lives.complete(&l)
			l.serve(e)
			e.Role = l.role
		}
	case event.KindSynAckRetransmit:
		if len(t.halfOpen) >= maxHalfOpen {
			clear(t.halfOpen)
		}
		t.halfOpen[handshakeBy(e)] = e.Since
		e.Role = event.RoleServer
	case event.KindRetransmit, event.KindResetReceived:
		if l, found := t.lives.find(e.Socket()); found {
			e.Role = l.role
		}
	}
	return next(e)
}

// transition handles a change of state.
func (t *Tracker) transition(e *event.Event, next func(*event.Event) error) error {
	l, found := t.lives.find(e.Socket())
	if found && e.Begins() {
		if err := t.endUnseen(l, e, next); err != nil {
			return err
		}
		found = false
	}
	if !found {
		l = t.newLife(e)
		l.begin(e)
	}
	t.lives.complete(&l)
	l.meet(e)
	e.Role = l.role
	l.tellWait(e)
	if e.NewState == event.Established {
		l.establish(e, t.firstSynAck(e))
	}
	if e.NewState != event.Close {
		l.enter(e.NewState, e.Ktime)
		return next(e)
	}
	return t.close(l, e, next)
}

// handshake tells half-open connections apart. The socket to come has the
// cookie of the request, but not all backends know cookies.
type handshake struct {
	netns         uint32
	local, remote end
}

func handshakeBy(e *event.Event) handshake {
	return handshake{e.Netns, endOf(e.Local), endOf(e.Remote)}
}

// firstSynAck is when the connection that is established sent the first of
// several SYN-ACKs; zero if there were no several.
func (t *Tracker) firstSynAck(e *event.Event) uint64 {
	if len(t.halfOpen) == 0 {
		return 0
	}
	by := handshakeBy(e)
	first := t.halfOpen[by]
	delete(t.halfOpen, by)
	if e.Facts.Retransmits == 0 { // it was another handshake's, which has failed
		return 0
	}
	return first
}

// newLife makes a life, at the cost of another if there is no room.
func (t *Tracker) newLife(e *event.Event) life {
	if t.lives.isFull() {
		if t.lives.evict().state == event.TimeWait {
			t.unfollowed++
		} else {
			t.evicted++
		}
	}
	return t.lives.add(e.Socket())
}

// endUnseen hands on the end of a connection whose socket has begun another:
// when and why it ended is not known.
func (t *Tracker) endUnseen(l life, e *event.Event, next func(*event.Event) error) error {
	from := l.state
	if from == event.TimeWait || !t.Wholes { // told already; the minisock lives on beside the new connection
		t.lives.remove(l)
		return nil
	}
	l.state = 0
	l.enter(event.Close, e.Ktime)
	l.describe(&t.derived, e)
	t.derived.Kind, t.derived.OldState = event.KindConn, from
	t.derived.End.First = l.first
	l.complete(&t.derived, event.Close)
	t.lives.remove(l)
	return next(&t.derived)
}

// close handles a transition to CLOSE, which may be one to a minisock.
func (t *Tracker) close(l life, e *event.Event, next func(*event.Event) error) error {
	rest := Minisock(e)
	if rest == event.FinWait2 && e.Cookie == 0 {
		rest = event.Close // the minisock goes on, and nothing would tell how far
	}
	l.small = rest != event.Close
	if rest == event.FinWait2 { // no change: the minisock is in the same state
		l.traffic = l.trafficOf(e)
		if l.state != event.FinWait2 { // it was so before the trace, or before a gap
			l.enter(event.FinWait2, e.Ktime)
			l.partial = true
		}
		return nil
	}
	e.NewState, e.Derived = rest, rest != event.Close
	l.enter(rest, e.Ktime)
	e.End, e.Traffic = l.endOf(e), l.trafficOf(e)
	l.traffic = e.Traffic
	if err := next(e); err != nil {
		return err
	}
	isTold := t.Wholes && !isDuplicate(e)
	if isTold {
		l.report(&t.derived, e)
	}
	if rest == event.Close {
		t.lives.remove(l)
	} else {
		t.lives.retire(l)
	}
	if !isTold {
		return nil
	}
	if waitsForReset(e) {
		t.unsettled.add(&t.derived, e.Facts.Flags.Has(event.SentReset))
		return nil
	}
	return next(&t.derived)
}

// minisock handles what was seen of a minisock.
func (t *Tracker) minisock(e *event.Event, next func(*event.Event) error) error {
	l, found := t.lives.find(e.Socket())
	if !found || !l.small || l.state == e.NewState || l.local.port != e.Local.Port() || l.remote.port != e.Remote.Port() {
		return nil
	}
	if l.state == event.TimeWait && e.NewState != event.Close { // nothing else comes after
		return nil
	}
	var end event.End
	if l.state != event.TimeWait { // else its end was told
		end = event.End{First: event.SideUs, By: l.by, Signal: l.signal}
		end.Reason, end.Cause = l.whyMinisock(e)
	}
	return t.leave(l, e, e.NewState, end, next)
}

// leave hands on the transition of a connection's minisock, and its end if that
// was not told yet.
func (t *Tracker) leave(l life, e *event.Event, to event.State, end event.End, next func(*event.Event) error) error {
	from := l.state
	d := &t.derived
	l.describe(d, e)
	d.Kind, d.Derived = event.KindTransition, true
	d.OldState, d.NewState = from, to
	d.Since, d.Before = l.since, false
	d.Fate = e.Fate
	told := from == event.TimeWait
	if !told {
		d.End, d.Traffic = end, l.traffic
	}
	if e.Kind == event.KindMinisock {
		d.Since = 0
		if l.since < e.Since && e.Since <= e.Ktime {
			d.Since, d.Before = e.Ktime-(e.Since-l.since), true
		}
		l.pass(to, e.Since, e.Ktime)
	} else {
		if d.Before = l.partial; l.partial {
			l.state = 0
		}
		l.enter(to, e.Ktime)
	}
	l.partial = false
	if err := next(d); err != nil {
		return err
	}
	if !told && t.Wholes {
		d.Kind = event.KindConn
		l.complete(d, to)
		if err := next(d); err != nil {
			return err
		}
	}
	switch to {
	case event.Close:
		t.lives.remove(l)
	case event.TimeWait:
		t.lives.retire(l)
	}
	return nil
}

// resetSent handles the report of a reset: it may be what a connection's end
// waits for, or the end of a minisock.
func (t *Tracker) resetSent(e *event.Event, next func(*event.Event) error) error {
	if l, found := t.lives.find(e.Socket()); found {
		e.Role = l.role
		if err := next(e); err != nil {
			return err
		}
		if !l.small || l.state != event.FinWait2 {
			return nil
		}
		return t.leave(l, e, event.Close, event.End{
			Reason: event.ReasonResetSent, Cause: event.CauseLateData, First: event.SideUs,
			Reset: e.Facts.Reset, By: l.by, Signal: l.signal,
		}, next)
	}
	t.unsettled.report(e)
	return next(e)
}
