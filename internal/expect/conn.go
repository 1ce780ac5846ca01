package expect

import (
	"unicode/utf8"

	"tcpstates/internal/event"
)

// Conn is a connection, or a listener, as far as a trace has seen it.
type Conn struct {
	event event.Event // of the whole: as it was told at the end, or what is known of one that has not ended
	begun uint64      // ns, CLOCK_MONOTONIC: the first event of it
	last  uint64      // the last transition
	hops  []hop
	room  [usualHops]hop
	notes []byte      // those of all hops
	more  int         // hops beyond those that are kept
	at    event.State // the last one that was seen; zero if none was

	ended, established bool
	left               bool // its socket has another
}

// hop is a transition of a connection. It takes up little room, and is written when
// somebody asks.
type hop struct {
	ktime, since uint64
	notes        uint32 // where its note ends in the connection's notes
	from, to     event.State
	before       bool
}

// usualHops are what most connections make do with. Even those that are closed from both
// sides at once have no more than maxHops; a damaged recording can have any number.
const (
	usualHops = 8
	maxHops   = 64
)

// maxNote bounds a note in bytes: with two names of processes they have some 100.
const maxNote = 256

// Event is what is known of the connection as a whole, which nobody may change: a
// KindConn, of which NewState is the last state that was seen.
func (c *Conn) Event() *event.Event { return &c.event }

// isShown tells whether it is a connection, and one of those that are to be judged. The
// end of each is told as it closes, or when its socket begins another: where none is, it
// never was one (event.IsDuplicate), or a stage before has taken it away.
func (c *Conn) isShown() bool {
	return c.ended || !c.left && c.at != event.Close && c.at != event.TimeWait
}

// goesOn tells whether a transition is one of this connection, and not of the next that
// its socket has.
func (c *Conn) goesOn(e *event.Event) bool {
	if c.at == event.TimeWait {
		return e.OldState == event.TimeWait
	}
	return c.at != event.Close && !c.ended && !e.Begins()
}

// meet takes from a transition what it tells. The note is what explains it.
func (c *Conn) meet(e *event.Event, note []byte) {
	c.established = c.established || e.NewState == event.Established || e.OldState == event.Established ||
		isPastEstablished(e.OldState) && c.at != e.OldState
	c.addHop(e, note)
	if c.ended {
		return
	}
	was := c.event
	c.event = *e
	now := &c.event
	now.Kind, now.Derived, now.Closes = event.KindConn, false, false
	now.Current, now.Facts, now.Fate = event.Process{}, event.Facts{SoftErr: e.Facts.SoftErr}, 0
	// So long it has lived at least.
	now.Since, now.Before = c.begun, true
	if was.Kind == 0 {
		was.Since, was.Local, was.Remote = 0, e.Local, e.Remote
	}
	keep(now, &was, e)
	now.Times = was.Times
	if took, isKnown := e.Duration(); isKnown && int(e.OldState) < len(now.Times) && e.OldState != event.Close && e.OldState != event.Listen {
		now.Times[e.OldState] += took
	}
}

// keep keeps what an earlier event has told, and the event e, which is now, does not.
func keep(now, was, e *event.Event) {
	if e.Local.Port() == 0 {
		now.Local = was.Local
	}
	if e.Remote.Port() == 0 { // who dissolves a connection forgets it (tcp_disconnect)
		now.Remote = was.Remote
	}
	if e.Owner.Source == event.SourceUnknown {
		now.Owner = was.Owner
	}
	if e.NewState != event.Established {
		now.Handshake = was.Handshake
	}
	if !e.AcceptWait.Known {
		now.AcceptWait = was.AcceptWait
	}
}

// isPastEstablished tells whether a connection in the state was established as a rule
// (RFC 9293, figure 5).
func isPastEstablished(s event.State) bool {
	switch s {
	case event.FinWait1, event.FinWait2, event.Closing, event.TimeWait, event.CloseWait, event.LastAck:
		return true
	}
	return false
}

func (c *Conn) addHop(e *event.Event, note []byte) {
	c.last, c.at = e.Ktime, e.NewState
	if len(c.hops) >= maxHops {
		c.more++
		return
	}
	if c.hops == nil {
		c.hops = c.room[:0]
	}
	c.notes = append(c.notes, cut(note)...)
	c.hops = append(c.hops, hop{
		ktime: e.Ktime, since: e.Since, before: e.Before,
		from: e.OldState, to: e.NewState, notes: uint32(len(c.notes)),
	})
}

// cut shortens a note that is too long to be one.
func cut(note []byte) []byte {
	if len(note) <= maxNote {
		return note
	}
	end := maxNote
	for !utf8.RuneStart(note[end]) {
		end--
	}
	return append(note[:end], "..."...)
}

// end takes what is told of the connection as a whole when it has ended.
func (c *Conn) end(e *event.Event) {
	c.event = *e
	c.ended = true
	if c.at == 0 {
		c.established = e.OldState == event.Established || e.Times[event.Established] > 0 || isPastEstablished(e.OldState)
	}
}

// serve takes who the connection belongs to from now on.
func (c *Conn) serve(e *event.Event) {
	if !c.ended {
		c.event.Owner = e.Owner
	}
}

// began is when the connection began, as far as that is known.
func (c *Conn) began() uint64 {
	if c.event.Since != 0 {
		return min(c.begun, c.event.Since)
	}
	return c.begun
}

// appendPath appends the states from the first old one on.
func (c *Conn) appendPath(dst []byte) []byte {
	start := len(dst)
	at := event.State(0)
	add := func(s event.State) {
		if s == at {
			return
		}
		if at = s; len(dst) > start {
			dst = append(dst, ' ')
		}
		dst = append(dst, s.String()...)
	}
	for _, h := range c.hops {
		add(h.from)
		add(h.to)
	}
	if c.more > 0 {
		dst = append(dst, " ..."...)
	}
	return dst
}

// isListener tells whether it is a listener, and no connection.
func (c *Conn) isListener() bool { return c.event.Role == event.RoleListener }
