package cgroup

import "tcpstates/internal/event"

// Memory remembers where owners ran, as the events of a source tell it, for those
// that are concluded from them. Live and replayed events so get the same places.
type Memory struct{ places map[key]*event.Place }

// NewMemory makes a Memory that knows of none.
func NewMemory() *Memory { return &Memory{places: map[key]*event.Place{}} }

// Apply implements pipeline.Stage: the events that pass are a source's.
func (m *Memory) Apply(e *event.Event, next func(*event.Event) error) error {
	if isKnown(e.Owner.Place) {
		at := key{e.Owner.Cgroup, e.Owner.Process}
		if m.places[at] != e.Owner.Place {
			if len(m.places) >= maxKnown {
				clear(m.places)
			}
			m.places[at] = e.Owner.Place
		}
	}
	return next(e)
}

func isKnown(p *event.Place) bool { return p != nil && *p != event.Place{} }

// Recall is the stage for events that may be concluded from others: their owners
// get the place that was told last.
type Recall struct{ Memory *Memory }

// Apply implements pipeline.Stage.
func (r Recall) Apply(e *event.Event, next func(*event.Event) error) error {
	if !isKnown(e.Owner.Place) && e.Owner.Source != event.SourceUnknown {
		e.Owner.Place = r.Memory.places[key{e.Owner.Cgroup, e.Owner.Process}]
	}
	return next(e)
}
