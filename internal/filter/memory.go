package filter

import (
	"slices"

	"tcpstates/internal/event"
)

// verdict is what is remembered of a connection.
type verdict struct {
	fell    decision
	told    bool   // its end was told, and its TIME_WAIT goes on
	touched uint32 // which filters of events have matched a transition of it
	began   uint64 // ktime of its first transition, if that was seen
	// Of the socket's connection before, whose end may still be told.
	fellBefore    decision
	touchedBefore uint32
}

// decision is whether a connection is shown.
type decision uint8

const (
	undecided decision = iota
	passed
	dropped
)

// note notes which of the filters match a transition.
func (v *verdict) note(filters []condition, e *event.Event) {
	if e.Kind != event.KindTransition {
		return
	}
	for i := range filters {
		if is, known := filters[i].test.of(e); is && known {
			v.touched |= 1 << i
		}
	}
}

// verdicts are those of connections, of which the ones that have been quiet longest
// go when there are too many: up to twice as many are remembered as a tracker follows.
type verdicts struct {
	young, old map[uint64]verdict
	most       int
	forgotten  uint64
}

func newVerdicts(most int) verdicts {
	return verdicts{young: map[uint64]verdict{}, old: map[uint64]verdict{}, most: max(1, most)}
}

// get gives a verdict; the zero one, which is undecided, if none is known.
func (v *verdicts) get(socket uint64) verdict {
	if found, known := v.young[socket]; known {
		return found
	}
	return v.old[socket]
}

func (v *verdicts) put(socket uint64, verdict verdict) {
	delete(v.old, socket)
	v.young[socket] = verdict
	if len(v.young) > v.most {
		v.forgotten += uint64(len(v.old))
		clear(v.old)
		v.young, v.old = v.old, v.young
	}
}

func (v *verdicts) remove(socket uint64) {
	delete(v.young, socket)
	delete(v.old, socket)
}

// What is held is bounded, for one connection and in all: some 40 MiB.
const (
	maxHeldOfOne = 1 << 10
	maxHeld      = 1 << 16
)

// holds are the events that wait until their connections are judged.
type holds struct {
	of     map[uint64]*held
	count  int     // of events
	queue  []place // of connections, in the order in which they began to wait
	number uint64  // of the last of them
}

// held are the events of a connection.
type held struct {
	events []event.Event
	number uint64
}

// place is that of a connection in the queue. It may have left.
type place struct{ socket, number uint64 }

func newHolds() holds { return holds{of: map[uint64]*held{}} }

// isFull tells whether there is no room at all.
func (h *holds) isFull() bool { return h.count == maxHeld }

// add keeps a copy of the event, unless there are too many of the connection.
func (h *holds) add(socket uint64, e *event.Event) bool {
	one := h.of[socket]
	if one == nil {
		h.number++
		one = &held{number: h.number}
		h.of[socket] = one
		h.line(place{socket, h.number})
	}
	if len(one.events) == maxHeldOfOne {
		return false
	}
	one.events = append(one.events, *e)
	h.count++
	return true
}

// line puts a connection into the queue, which those that have left give room when
// they are the more.
func (h *holds) line(p place) {
	if len(h.queue) > 2*len(h.of)+16 {
		h.queue = slices.DeleteFunc(h.queue, func(p place) bool { return !h.waits(p) })
	}
	h.queue = append(h.queue, p)
}

// waits tells whether a connection is still in its place.
func (h *holds) waits(p place) bool {
	one := h.of[p.socket]
	return one != nil && one.number == p.number
}

// oldest is the connection that has waited longest; false if none waits.
func (h *holds) oldest() (socket uint64, any bool) {
	for len(h.queue) > 0 {
		if first := h.queue[0]; h.waits(first) {
			return first.socket, true
		}
		h.queue = h.queue[1:]
	}
	return 0, false
}

// last is the last event that is held of a connection; nil if none is.
func (h *holds) last(socket uint64) *event.Event {
	one := h.of[socket]
	if one == nil {
		return nil
	}
	return &one.events[len(one.events)-1]
}

// take gives what is held of a connection, and holds it no more.
func (h *holds) take(socket uint64) []event.Event {
	one := h.of[socket]
	if one == nil {
		return nil
	}
	delete(h.of, socket)
	h.count -= len(one.events)
	return one.events
}
