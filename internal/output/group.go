package output

import (
	"cmp"
	"container/list"
	"fmt"
	"maps"
	"slices"
	"time"

	"tcpstates/internal/column"
	"tcpstates/internal/event"
	"tcpstates/internal/pipeline"
)

// Grouped is a table's format with the connections one after the other instead of
// the events: a block each when it has ended. It is false for others, which
// programs read. What it makes is also a pipeline.Stage, which takes the ends of
// connections as wholes (event.KindConn) out of the events: they are shown, and
// do not count.
func (f Format) Grouped() (Format, bool) {
	if !f.HasBlocks {
		return Format{}, false
	}
	ofTable, newTable := f.Columns, f.New
	f.Columns = func(o Options) []*column.Column { return withoutHead(ofTable(o)) }
	f.New = func(o Options) pipeline.Sink {
		o.Columns = slices.Insert(slices.Clone(o.columns(f.Columns)), 0, &indent)
		return newGroup(o, newTable)
	}
	return f, true
}

// indent sets the lines of a block off from its head; it exists in blocks alone.
var indent = column.Column{Width: 1, Remark: true, Of: column.Everything,
	Data: func(dst []byte, _ *event.Event, _ *column.State) []byte { return dst }}

// withoutHead leaves out what the head of a block says.
func withoutHead(columns []*column.Column) []*column.Column {
	head := []*column.Column{
		&column.Sock, &column.PID, &column.Comm, &column.Role,
		&column.Family, &column.LAddr, &column.LPort, &column.RAddr, &column.RPort,
	}
	return slices.DeleteFunc(slices.Clone(columns), func(c *column.Column) bool { return column.Has(head, c.Name) })
}

// group writes a block for each connection. Until that has ended it keeps the lines
// of its transitions.
type group struct {
	*table
	terminal func() int             // its width; zero: there is none
	conns    map[uint64]*connection // the latest of each socket
	quiet    *list.List             // of all, that which has been quiet longest first
	early    int                    // shown before their end, as there were too many
}

// connection is one whose block is not written yet.
type connection struct {
	began  uint64 // ktime of the first that was seen of it
	since  uint64 // as Since of event.KindConn
	before bool   // as Before
	times  [event.NewSynRecv + 1]time.Duration
	last   event.Event // transition

	lines    []byte      // of its events, but the last where there are too many
	count    int         // of lines
	shown    uint64      // how many of them count as shown
	end      []byte      // the last line, where there are too many
	previous *connection // of the same socket, whose end was not told yet
	place    *list.Element
}

// maxLines is how many lines a block has at most: a connection has some ten, and
// more only if a handshake is repeated beyond tcp_syn_retries' default.
const maxLines = 64

func newGroup(o Options, newTable func(Options) pipeline.Sink) pipeline.Sink {
	return &group{table: newTable(o).(*table), terminal: o.Width, conns: map[uint64]*connection{}, quiet: list.New()}
}

// Apply implements pipeline.Stage.
func (g *group) Apply(e *event.Event, next func(*event.Event) error) error {
	if e.Kind == event.KindConn {
		return pipeline.Writing(g.finish(e))
	}
	return next(e)
}

// Write implements pipeline.Sink.
func (g *group) Write(e *event.Event) error {
	if e.IsNotice() {
		return g.putEvent(g.appendNotice(append(g.lines, '\n'), e), e)
	}
	c := g.conns[e.Socket()]
	switch {
	case c == nil && e.Kind != event.KindTransition:
		return g.alone(e)
	case e.OldState == event.TimeWait && (c == nil || c.last.NewState != event.TimeWait):
		return nil // the block was written when it had ended
	case c == nil || e.Begins():
		var err error
		if c, err = g.begin(e); err != nil {
			return err
		}
	}
	g.quiet.MoveToBack(c.place)
	if hasLine(e) {
		g.addLine(c, e)
	}
	if e.Kind == event.KindTransition {
		c.advance(e)
		c.shown++
	}
	if e.IsDuplicate() {
		return g.show(c, "")
	}
	return nil
}

// alone writes the line of what is no connection yet, and may never be one: a
// handshake that is repeated.
func (g *group) alone(e *event.Event) error {
	if !hasLine(e) {
		return nil
	}
	w := g.wrapped(append(g.lines, '\n'), "")
	w.part(string(column.Time.Text(nil, e, &g.state)))
	g.appendHead(w, e)
	w.part(string(column.Why.Data(nil, e, &g.state)))
	return g.putEvent(w.end(), e)
}

// begin makes a connection, and writes the block of another if there are too many.
func (g *group) begin(e *event.Event) (*connection, error) {
	socket := e.Socket()
	if latest := g.conns[socket]; latest != nil && latest.previous != nil { // nobody will tell more of that
		if err := g.show(latest.previous, "its end was not seen"); err != nil {
			return nil, err
		}
	}
	if g.quiet.Len() >= max(1, g.options.MaxConns) {
		quietest := g.quiet.Front().Value.(*connection)
		if !quietest.hasEnded() {
			g.early++
		}
		if err := g.show(quietest, "not followed to its end: there were too many, see --max-conns"); err != nil {
			return nil, err
		}
	}
	c := newConnection(e)
	c.previous = g.conns[socket]
	c.place = g.quiet.PushBack(c)
	g.conns[socket] = c
	return c, nil
}

// addLine keeps the line of an event.
func (g *group) addLine(c *connection, e *event.Event) {
	if c.count++; c.count < maxLines {
		c.lines = g.appendLine(c.lines, e)
	} else {
		c.end = g.appendLine(c.end[:0], e)
	}
}

// newConnection makes one of the first transition that is seen of it.
func newConnection(e *event.Event) *connection {
	c := &connection{began: e.Ktime, since: e.Ktime, before: !e.Begins()}
	if least, known := e.AtLeast(); known && c.before {
		c.since -= uint64(least)
	}
	return c
}

// advance notes a transition, and how long the state before has lasted.
func (c *connection) advance(e *event.Event) {
	if least, known := e.AtLeast(); known && e.OldState != event.Close {
		c.times[stateOf(e.OldState, e.Before)] += least
	}
	c.last = *e
}

// stateOf is where the time in a state counts: with what is not known where only a
// part of it was seen.
func stateOf(s event.State, partly bool) event.State {
	if partly || s > event.NewSynRecv {
		return 0
	}
	return s
}

// whole is the connection as its last transition tells of it.
func (c *connection) whole() event.Event {
	e := c.last
	e.Kind, e.Since, e.Before, e.Times = event.KindConn, c.since, c.before, c.times
	return e
}

// hasEnded tells whether nothing follows but the end as a whole.
func (c *connection) hasEnded() bool {
	return c.last.NewState == event.Close || c.last.NewState == event.TimeWait
}

// finish writes the block of a connection that has ended so.
func (g *group) finish(e *event.Event) error {
	c := g.conns[e.Socket()]
	if c != nil && e.Ktime < c.began { // its socket did not wait for its end to be told
		c = c.previous
	}
	if c == nil {
		c = &connection{before: true} // all its transitions were filtered out
	}
	g.forget(c)
	return g.putBlock(c, e, "")
}

// show writes the block of a connection of which nothing more is told: it has
// ended, if its last state says so, and else what is said here.
func (g *group) show(c *connection, open string) error {
	g.forget(c)
	e := c.whole()
	if c.hasEnded() {
		open = ""
	}
	return g.putBlock(c, &e, open)
}

// forget takes a connection from those that are kept; one that is not among them
// stays so.
func (g *group) forget(c *connection) {
	if c.place == nil {
		return
	}
	g.quiet.Remove(c.place)
	socket := c.last.Socket()
	switch latest := g.conns[socket]; {
	case latest != c:
		latest.previous = nil
	case c.previous != nil:
		g.conns[socket] = c.previous
	default:
		delete(g.conns, socket)
	}
}

// Stop implements pipeline.Sink. The connections that are still open come in the
// order in which they began.
func (g *group) Stop(stop event.Stop) error {
	var open []*connection
	for c := range maps.Values(g.conns) {
		for ; c != nil; c = c.previous {
			open = append(open, c)
		}
	}
	slices.SortFunc(open, func(a, b *connection) int {
		return cmp.Or(cmp.Compare(a.began, b.began), cmp.Compare(a.last.Socket(), b.last.Socket()))
	})
	for _, c := range open {
		if err := g.putOpen(c, stop.Wall); err != nil {
			return err
		}
	}
	if g.early > 0 {
		fmt.Fprintf(g.options.Notes, "tcpstates: %d connections were shown before their end, as there were too many: see --max-conns\n", g.early)
	}
	return g.flush()
}

// putOpen writes the block of a connection that is there at the end of the trace.
func (g *group) putOpen(c *connection, wall int64) error {
	e := c.whole()
	if c.hasEnded() { // and nobody wanted to know its end as a whole
		return g.putBlock(c, &e, "")
	}
	if lasts := wall - e.Wall; e.Wall != 0 && lasts > 0 {
		e.Ktime, e.Wall = e.Ktime+uint64(lasts), wall
		e.Times[stateOf(e.NewState, false)] += time.Duration(lasts)
	}
	return g.putBlock(c, &e, "not ended")
}
