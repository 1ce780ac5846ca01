package outlet

import (
	"tcpstates/internal/event"
	"tcpstates/internal/pipeline"
)

// Writer makes of events what an Outlet writes.
type Writer interface {
	Write(e *event.Event) error
	Flush() error
}

// Gate stands before a Writer: it tries whether there is room, and puts what is
// missing in the place where it is missing.
type Gate struct {
	outlet *Outlet
	to     Writer
	ktime  uint64 // of the last event
	wall   int64

	// Of what came while there is no room:
	held uint64      // events lost on the way here
	rate event.Event // the last that tells of a sample
}

// NewGate makes a Gate before what writes to the Outlet.
func NewGate(o *Outlet, to Writer) *Gate { return &Gate{outlet: o, to: to} }

// Write hands on the event.
func (g *Gate) Write(e *event.Event) error {
	g.ktime, g.wall = e.Ktime, e.Wall
	if g.outlet.isFull() {
		if err := g.mend(false); err != nil {
			return err
		}
		if g.outlet.isFull() && g.holds(e) {
			return nil
		}
	}
	return g.to.Write(e)
}

// holds tells whether an event is one that nobody shall miss, which is held until there
// is room.
func (g *Gate) holds(e *event.Event) bool {
	switch e.Kind {
	case event.KindLost:
		g.held += e.Lost
	case event.KindSampling:
		g.rate = *e
	default:
		return false
	}
	return true
}

// Flush hands on what waits.
func (g *Gate) Flush() error {
	if err := g.mend(false); err != nil {
		return err
	}
	return g.to.Flush()
}

// End is Flush when nothing more comes: it tries at once.
func (g *Gate) End() error {
	if err := g.mend(true); err != nil {
		return err
	}
	return g.to.Flush()
}

// mend sees whether there is room again, when it is time or now, and says what is
// missing.
func (g *Gate) mend(now bool) error {
	if !g.outlet.isDue() && !(now && g.outlet.isFull()) {
		return nil
	}
	// What waits came when there was no room.
	if err := g.to.Flush(); err != nil {
		return err
	}
	missing, err := g.outlet.retry()
	if err != nil || g.outlet.isFull() {
		return err
	}
	hole := event.Event{Kind: event.KindLost, Ktime: g.ktime, Wall: g.wall, Lost: missing, Loss: g.outlet.loss}
	lost := event.Event{Kind: event.KindLost, Ktime: g.ktime, Wall: g.wall, Lost: g.held}
	rate := g.rate
	g.held, g.rate = 0, event.Event{}
	for _, e := range []*event.Event{&hole, &lost, &rate} {
		if e.Lost > 0 || e.OneIn > 0 {
			if err := g.to.Write(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// Sink is a format behind a Gate: a pipeline.Sink.
type Sink struct {
	format pipeline.Sink
	*Gate
}

// NewSink makes a Sink of a format that writes to the Outlet.
func NewSink(o *Outlet, format pipeline.Sink) *Sink { return &Sink{format, NewGate(o, format)} }

// Start implements pipeline.Sink.
func (s *Sink) Start(start event.Start) error { return s.format.Start(start) }

// Stop implements pipeline.Sink. What is shown is what is written.
func (s *Sink) Stop(stop event.Stop) error {
	if err := s.End(); err != nil {
		return err
	}
	s.outlet.Account(&stop)
	return s.format.Stop(stop)
}
