package cgroup

import (
	"testing"

	"tcpstates/internal/event"
)

func TestMemory(t *testing.T) {
	m := NewMemory()
	pass := func(stage interface {
		Apply(*event.Event, func(*event.Event) error) error
	}, pid uint32, place *event.Place) (got *event.Place) {
		t.Helper()
		e := event.Event{Owner: event.Owner{Process: event.Process{PID: pid}, Source: event.SourceIO, Cgroup: 7, Place: place}}
		if err := stage.Apply(&e, func(e *event.Event) error { got = e.Owner.Place; return nil }); err != nil {
			t.Fatal(err)
		}
		return got
	}
	first, second, empty := &event.Place{Unit: "a"}, &event.Place{Unit: "b"}, new(event.Place)
	if got := pass(Recall{m}, 1, nil); got != nil {
		t.Errorf("%v is recalled of nothing", got)
	}
	pass(m, 1, first)
	pass(m, 2, second)
	pass(m, 1, empty) // the process has ended
	for pid, want := range map[uint32]*event.Place{1: first, 2: second, 3: nil} {
		for _, place := range []*event.Place{nil, empty} {
			if got := pass(Recall{m}, pid, place); got != want {
				t.Errorf("process %d: %v, want %v", pid, got, want)
			}
		}
	}
	if got := pass(Recall{m}, 1, second); got != second {
		t.Errorf("what is known already becomes %v", got)
	}
	pass(m, 1, second) // it has moved
	if got := pass(Recall{m}, 1, nil); got != second {
		t.Errorf("after a move: %v", got)
	}
	for pid := range uint32(3 * maxKnown) {
		pass(m, pid+10, first)
	}
	if len(m.places) > maxKnown {
		t.Errorf("%d places are remembered", len(m.places))
	}
}
