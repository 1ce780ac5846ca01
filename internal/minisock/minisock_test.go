package minisock

import (
	"errors"
	"io"
	"runtime"
	"sync"
	"testing"
	"time"

	"tcpstates/internal/event"
	"tcpstates/internal/snapshot"
	"tcpstates/internal/wire"
)

const second = uint64(time.Second)

// tables are a machine's minisocks, by namespace.
type tables struct {
	mu     sync.Mutex
	spaces map[uint32]snapshot.Space
	socks  map[uint32][]wire.Minisock
	errs   map[uint32]error
	load   error
	asked  int
}

func (l *tables) Prepare() error { return l.load }
func (l *tables) Close()         {}

func (l *tables) Spaces() map[uint32]snapshot.Space { return map[uint32]snapshot.Space{} }

func (l *tables) List(netns uint32, found func(wire.Minisock)) (snapshot.Space, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	for _, m := range l.socks[netns] {
		found(m)
	}
	return l.spaces[netns], l.errs[netns]
}

// asking makes what the asking goroutine has, at a time that the test sets.
func asking(l *tables, now *uint64) *batch {
	return &batch{lister: l, ktime: func() uint64 { return *now }, spaces: map[uint32]snapshot.Space{}, awaited: map[key]awaited{}}
}

func TestBatch(t *testing.T) {
	const timeWait, finWait2, gone = event.TimeWait, event.FinWait2, event.Close
	sock := func(lport uint16, s event.State) wire.Minisock {
		return wire.Minisock{Cookie: 7, LocalPort: lport, RemotePort: 80, State: s}
	}
	type step struct {
		at    uint64 // s
		socks []wire.Minisock
		space snapshot.Space
		err   error
		want  []outcome
	}
	for _, test := range []struct {
		name  string
		state event.State // from 1 s on
		own   bool        // it has a limit of its own
		steps []step
	}{
		{"expires", timeWait, false, []step{
			{at: 2, socks: []wire.Minisock{sock(7, timeWait), sock(8, finWait2)}},
			{at: 60, socks: []wire.Minisock{sock(7, timeWait)}},
			{at: 62, want: []outcome{{from: timeWait, to: gone, seen: 60, ktime: 62, fate: event.FateExpired}}},
			{at: 63},
		}},
		{"is killed", timeWait, false, []step{
			{at: 2, socks: []wire.Minisock{sock(7, timeWait)}},
			{at: 3, want: []outcome{{from: timeWait, to: gone, seen: 2, ktime: 3, fate: event.FateEarly}}},
		}},
		{"never was", timeWait, false, []step{
			{at: 2, space: snapshot.Space{Overflows: 1}, want: []outcome{{from: timeWait, to: gone, seen: 1, ktime: 2, fate: event.FateNoRoom}}},
		}},
		{"others never were", timeWait, false, []step{
			{at: 2, socks: []wire.Minisock{sock(7, timeWait)}},
			{at: 3, space: snapshot.Space{Overflows: 1}, want: []outcome{{from: timeWait, to: gone, seen: 2, ktime: 3, fate: event.FateEarly}}},
		}},
		{"gets its FIN", finWait2, false, []step{
			{at: 2, socks: []wire.Minisock{sock(7, finWait2)}},
			{at: 3, socks: []wire.Minisock{sock(7, timeWait)}, want: []outcome{{from: finWait2, to: timeWait, seen: 2, ktime: 3}}},
			{at: 61, socks: []wire.Minisock{sock(7, timeWait)}},
			// It may have begun as early as at 2.
			{at: 62, want: []outcome{{from: timeWait, to: gone, seen: 61, ktime: 62, fate: event.FateExpired}}},
		}},
		{"gets no FIN", finWait2, false, []step{
			{at: 4, socks: []wire.Minisock{sock(7, finWait2)}, space: snapshot.Space{FinTimeout: 5 * time.Second}},
			{at: 6, space: snapshot.Space{FinTimeout: 5 * time.Second},
				want: []outcome{{from: finWait2, to: gone, seen: 4, ktime: 6, fate: event.FateExpired}}},
		}},
		{"gets no FIN, or all between two batches", finWait2, false, []step{
			{at: 2, socks: []wire.Minisock{sock(7, finWait2)}, space: snapshot.Space{FinTimeout: 5 * time.Second}},
			{at: 6, space: snapshot.Space{FinTimeout: 5 * time.Second},
				want: []outcome{{from: finWait2, to: gone, seen: 2, ktime: 6}}},
		}},
		{"gets no FIN in a time of its own", finWait2, true, []step{
			{at: 5, socks: []wire.Minisock{sock(7, finWait2)}, space: snapshot.Space{FinTimeout: 5 * time.Second}},
			{at: 6, space: snapshot.Space{FinTimeout: 5 * time.Second},
				want: []outcome{{from: finWait2, to: gone, seen: 5, ktime: 6}}},
		}},
		{"is reset before its time", finWait2, false, []step{
			{at: 2, socks: []wire.Minisock{sock(7, finWait2)}, space: snapshot.Space{FinTimeout: 5 * time.Second}},
			{at: 3, space: snapshot.Space{FinTimeout: 5 * time.Second},
				want: []outcome{{from: finWait2, to: gone, seen: 2, ktime: 3, fate: event.FateEarly}}},
		}},
		{"cannot be asked for", timeWait, false, []step{
			{at: 2, socks: []wire.Minisock{sock(7, timeWait)}},
			{at: 70, err: errors.New("refused")},
			{at: 200, err: errors.New("refused")},
			{at: 201, socks: []wire.Minisock{sock(7, timeWait)}},
		}},
		{"has no namespace any more", timeWait, false, []step{
			{at: 2, socks: []wire.Minisock{sock(7, timeWait)}},
			{at: 120, err: snapshot.ErrNoNamespace},
			{at: 121, err: snapshot.ErrNoNamespace, want: []outcome{{from: timeWait, to: gone, seen: 2, ktime: 121}}},
		}},
	} {
		var now uint64
		tables := &tables{}
		b := asking(tables, &now)
		seven := entry{key: key{7, 7, 80}, since: second, netns: 3, state: test.state, own: test.own}
		if n := b.add([]entry{seven}) + b.add([]entry{seven}); n != 1 {
			t.Errorf("%s: %d replaced, want 1", test.name, n)
		}
		for _, step := range test.steps {
			now = step.at * second
			tables.socks = map[uint32][]wire.Minisock{3: step.socks}
			tables.spaces = map[uint32]snapshot.Space{3: step.space}
			tables.errs = map[uint32]error{3: step.err}
			got, err := b.ask()
			if (err != nil) != (step.err != nil && !errors.Is(step.err, snapshot.ErrNoNamespace)) {
				t.Errorf("%s: at %d s: %v", test.name, step.at, err)
			}
			if len(got) != len(step.want) {
				t.Errorf("%s: at %d s: %+v, want %+v", test.name, step.at, got, step.want)
				continue
			}
			for i, want := range step.want {
				want.key, want.netns, want.seen, want.ktime = seven.key, 3, want.seen*second, want.ktime*second
				if got[i] != want {
					t.Errorf("%s: at %d s: %+v, want %+v", test.name, step.at, got[i], want)
				}
			}
		}
	}
}

// source gives events that the test sends.
type source struct{ events chan event.Event }

func (s source) Pending() bool { return len(s.events) > 0 }
func (s source) Read(e *event.Event) error {
	got, open := <-s.events
	*e = got
	if !open {
		return io.EOF
	}
	return nil
}

// closing is a transition that leaves a minisock in TIME_WAIT.
func closing(cookie uint64) event.Event {
	return event.Event{
		Kind: event.KindTransition, OldState: event.FinWait2, NewState: event.Close, Cookie: cookie, Netns: 3, Ktime: 5,
		Facts: event.Facts{Flags: event.Done},
	}
}

// TestFollower hands on the events of its source in order, and what becomes of
// their minisocks after.
func TestFollower(t *testing.T) {
	s := source{make(chan event.Event, 10)}
	ktime := func() uint64 { return 7 * second }
	tables := &tables{}
	f := Follow(s, Options{Lister: tables, Ktime: ktime, Wall: func(ktime uint64) int64 { return int64(ktime) + 1 }, Max: 2})
	defer f.Close()
	for cookie := range uint64(4) {
		s.events <- closing(cookie)
	}
	var e event.Event
	for cookie := range uint64(4) {
		if err := f.Read(&e); err != nil || e.Cookie != cookie || e.Kind != event.KindTransition {
			t.Fatalf("event %d is %+v, %v", cookie, e, err)
		}
	}
	// Two are followed, and both are gone already.
	seen := map[uint64]bool{}
	for len(seen) < 2 {
		s.events <- event.Event{Kind: event.KindTick}
		if err := f.Read(&e); err != nil {
			t.Fatal(err)
		}
		if e.Kind != event.KindMinisock {
			continue
		}
		seen[e.Cookie] = true
		if e.Cookie > 1 || e.NewState != event.Close || e.Ktime != 7*second || e.Wall != int64(7*second)+1 || e.Since != 5 || e.Netns != 3 {
			t.Errorf("got %+v", e)
		}
		<-s.events
	}
	if n := f.Skipped(); n != 2 {
		t.Errorf("%d were not followed, want 2", n)
	}
	close(s.events)
	if err := f.Read(&e); err != io.EOF {
		t.Errorf("the end is told as %v", err)
	}
}

// TestNothingToAskFor has no minisock: nobody is asked, and the end does not
// wait for anything.
func TestNothingToAskFor(t *testing.T) {
	s := source{make(chan event.Event, 1)}
	tables := &tables{}
	f := Follow(s, Options{Lister: tables, Ktime: func() uint64 { return 0 }, Wall: func(uint64) int64 { return 0 }, Max: 1})
	s.events <- event.Event{Kind: event.KindTransition, OldState: event.LastAck, NewState: event.Close}
	var e event.Event
	if err := f.Read(&e); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if tables.asked != 0 || f.Err() != nil {
		t.Errorf("asked %d times, %v", tables.asked, f.Err())
	}
}

// TestErrIsTold has a kernel that refuses.
func TestErrIsTold(t *testing.T) {
	s := source{make(chan event.Event, 1)}
	refusal := errors.New("refused")
	f := Follow(s, Options{Lister: &tables{load: refusal}, Ktime: func() uint64 { return 0 }, Wall: func(uint64) int64 { return 0 }, Max: 1})
	defer f.Close()
	s.events <- closing(1)
	var e event.Event
	if err := f.Read(&e); err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); f.Err() == nil; runtime.Gosched() {
		if time.Since(begin) > 10*time.Second {
			t.Fatal("the refusal is not told")
		}
	}
	if !errors.Is(f.Err(), refusal) {
		t.Errorf("got %v", f.Err())
	}
}
