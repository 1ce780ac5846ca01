package expect

import (
	"cmp"
	"slices"

	"tcpstates/internal/column"
	"tcpstates/internal/event"
)

// Judge is a pipeline.Stage that keeps all connections that pass, with their
// transitions, until the rules are asked whether they hold. It belongs behind whatever
// chooses what is shown and a conn.Tracker that tells of connections as wholes. It
// belongs to one goroutine, and allocates nothing but memory for connections.
type Judge struct {
	rules []*Rule
	most  int
	conns []*Conn
	// sockets are the latest connections of each socket.
	sockets map[uint64]*Conn
	// waiting are those that have closed, and of which the end is not told yet, while
	// their sockets have others already: the report of a reset may change it.
	waiting  map[closing]*Conn
	overflow uint64

	state column.State
	note  []byte
}

// closing tells the connections of a socket apart by when they have closed.
type closing struct {
	socket, ktime uint64
}

// NewJudge makes a Judge that keeps up to maxConns connections, listeners among them.
func NewJudge(rules []*Rule, maxConns int) *Judge {
	return &Judge{rules: rules, most: maxConns, sockets: map[uint64]*Conn{}, waiting: map[closing]*Conn{}}
}

// Overflow is how many connections there was no room for, at least: if it is not zero,
// not all were judged.
func (j *Judge) Overflow() uint64 { return j.overflow }

// Apply implements pipeline.Stage. Everything passes as it is.
func (j *Judge) Apply(e *event.Event, next func(*event.Event) error) error {
	switch e.Kind {
	case event.KindTransition:
		if e.OldState != e.NewState { // as raw tracing reports
			j.transition(e)
		}
	case event.KindConn:
		j.whole(e)
	case event.KindOwner:
		if c := j.sockets[e.Socket()]; c != nil {
			c.serve(e)
		}
	}
	return next(e)
}

func (j *Judge) transition(e *event.Event) {
	c := j.sockets[e.Socket()]
	if c == nil || !c.goesOn(e) {
		if e.OldState == event.TimeWait { // all but its end was told, and that of a connection that is not kept
			return
		}
		j.leave(c, e.Socket())
		if c = j.add(e); c == nil {
			return
		}
		j.sockets[e.Socket()] = c
	}
	j.note = column.Why.Data(j.note[:0], e, &j.state)
	c.meet(e, j.note)
}

// leave makes room for another connection of a socket. c is the one before, or nil.
func (j *Judge) leave(c *Conn, socket uint64) {
	if c == nil {
		return
	}
	if c.left = true; c.at == event.Close && !c.ended {
		j.waiting[closing{socket, c.last}] = c
	}
	delete(j.sockets, socket)
}

// whole takes the end of a connection.
func (j *Judge) whole(e *event.Event) {
	by := closing{e.Socket(), e.Ktime}
	c := j.waiting[by]
	delete(j.waiting, by)
	if c == nil {
		c = j.sockets[e.Socket()]
		if c != nil && (c.ended || c.begun > e.Ktime) { // none of its transitions has passed
			c = nil
		}
	}
	if c == nil {
		if c = j.add(e); c == nil {
			return
		}
	}
	c.end(e)
}

// add keeps another connection, of which e is the first event; nil if there is no room.
func (j *Judge) add(e *event.Event) *Conn {
	if len(j.conns) >= j.most {
		// One whose beginning was seen is counted by that, and another by its end.
		if e.Begins() || e.Kind == event.KindConn && (e.Before || e.Since == 0) || j.overflow == 0 {
			j.overflow++
		}
		return nil
	}
	c := &Conn{begun: e.Ktime}
	j.conns = append(j.conns, c)
	return c
}

// all are the connections and listeners in the order of their beginning.
func (j *Judge) all() []*Conn {
	all := slices.Clone(j.conns)
	all = slices.DeleteFunc(all, func(c *Conn) bool { return !c.isShown() })
	slices.SortStableFunc(all, func(a, b *Conn) int { return cmp.Compare(a.began(), b.began()) })
	return all
}

// Counts are how many connections there were.
type Counts struct {
	// Judged are those that are shown, without Listeners. Ended are those among them whose
	// end was seen.
	Judged, Ended, Listeners int
	// Reasons count those that have ended, by event.Reason.
	Reasons [event.ReasonError + 1]int
}

// Conns counts the connections that were seen so far.
func (j *Judge) Conns() (counts Counts) {
	for _, c := range j.conns {
		switch {
		case !c.isShown():
		case c.isListener():
			counts.Listeners++
		default:
			counts.Judged++
			if c.ended {
				counts.Ended++
				counts.Reasons[c.event.End.Reason]++
			}
		}
	}
	return counts
}
