package pipeline

import (
	"errors"
	"io"
	"slices"
	"testing"

	"tcpstates/internal/event"
)

// tape is a source that gives what is on it; each batch but the last is
// followed by a wait.
type tape struct {
	batches [][]event.Event
	err     error
}

func (s *tape) Read(e *event.Event) error {
	for len(s.batches) > 0 && len(s.batches[0]) == 0 {
		s.batches = s.batches[1:]
	}
	if len(s.batches) == 0 {
		return s.err
	}
	*e, s.batches[0] = s.batches[0][0], s.batches[0][1:]
	return nil
}

func (s *tape) Pending() bool { return len(s.batches) > 0 && len(s.batches[0]) > 0 }

// log is a sink that notes what it is asked to do.
type log struct {
	did      []uint64 // the times of the events; 0 for a flush
	failWith error
}

func (l *log) Start(event.Start) error { return nil }
func (l *log) Stop(event.Stop) error   { return nil }
func (l *log) Flush() error            { l.did = append(l.did, 0); return nil }
func (l *log) Write(e *event.Event) error {
	l.did = append(l.did, e.Ktime)
	return l.failWith
}

// counter is a stage that counts, ticks aside.
type counter int

func (c *counter) Apply(e *event.Event, next func(*event.Event) error) error {
	if e.Kind != event.KindTick {
		*c++
	}
	return next(e)
}

// delayer is a stage that hands on each event after the one that follows it,
// and swallows those of odd times.
type delayer struct{ held *event.Event }

func (d *delayer) Apply(e *event.Event, next func(*event.Event) error) error {
	if d.held != nil {
		if err := next(d.held); err != nil {
			return err
		}
		d.held = nil
	}
	if e.Kind == event.KindTick {
		return next(e)
	}
	if e.Ktime%2 == 0 {
		held := *e
		d.held = &held
	}
	return nil
}

func TestStagesHoldBackUntilTheEnd(t *testing.T) {
	for _, test := range []struct {
		limit uint64
		did   []uint64
	}{
		{0, []uint64{2, 4, 0, 6, 0}},
		{2, []uint64{2, 4, 0}},
		{3, []uint64{2, 4, 0, 6, 0}},
	} {
		sink := &log{}
		source := &tape{batches: [][]event.Event{events(1, 2, 3, 4, 5, 6)}, err: io.EOF}
		written, err := Run(source, []Stage{&delayer{}}, sink, test.limit)
		if err != nil || !slices.Equal(sink.did, test.did) {
			t.Errorf("limit %d: %d written, error %v, the sink did %v, want %v", test.limit, written, err, sink.did, test.did)
		}
	}
}

// flushes counts those among what a sink did.
func flushes(did []uint64) (n int) {
	for _, time := range did {
		if time == 0 {
			n++
		}
	}
	return n
}

func events(times ...uint64) (all []event.Event) {
	for _, time := range times {
		all = append(all, event.Event{Kind: event.KindTransition, Ktime: time})
	}
	return all
}

func TestRun(t *testing.T) {
	lost := event.Event{Kind: event.KindLost, Ktime: 9}
	broken := errors.New("broken")
	for _, test := range []struct {
		name    string
		batches [][]event.Event
		limit   uint64
		readErr error
		failure error
		did     []uint64
		written uint64
		want    error
	}{
		{name: "nothing", readErr: io.EOF, did: []uint64{0}},
		{name: "flushes before it waits", batches: [][]event.Event{events(1), events(2, 3, 4)}, readErr: io.EOF,
			did: []uint64{1, 0, 2, 3, 4, 0, 0}, written: 4},
		{name: "a limit", batches: [][]event.Event{events(1, 2, 3)}, limit: 2, did: []uint64{1, 2, 0}, written: 2},
		{name: "a loss is written, and is no transition", batches: [][]event.Event{{lost}, events(1)}, limit: 1,
			did: []uint64{9, 0, 1, 0}, written: 1},
		{name: "the source fails", batches: [][]event.Event{events(1)}, readErr: broken,
			did: []uint64{1, 0, 0}, written: 1, want: broken},
		{name: "the sink fails", batches: [][]event.Event{events(1, 2)}, failure: broken,
			did: []uint64{1}, want: broken},
	} {
		sink := &log{failWith: test.failure}
		stage := new(counter)
		written, err := Run(&tape{batches: test.batches, err: test.readErr}, []Stage{stage, stage}, sink, test.limit)
		if written != test.written || !errors.Is(err, test.want) || test.want == nil && err != nil {
			t.Errorf("%s: %d written, error %v; want %d, %v", test.name, written, err, test.written, test.want)
		}
		if want := 2 * (len(sink.did) - flushes(sink.did)); int(*stage) != want {
			t.Errorf("%s: the stages were applied %d times, want %d", test.name, *stage, want)
		}
		if !slices.Equal(sink.did, test.did) {
			t.Errorf("%s: the sink did %v, want %v", test.name, sink.did, test.did)
		}
	}
}
