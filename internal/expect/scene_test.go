package expect

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"tcpstates/internal/conn"
	"tcpstates/internal/event"
	"tcpstates/internal/record"
)

// life is a connection of a scene.
type life struct {
	cookie   uint64
	listener bool
	server   bool
	port     uint16 // the remote one, of a listener or a server the local one
	begins   time.Duration
	connect  time.Duration // how long it connects; 0: it stays in SYN_SENT
	refused  bool
	lasts    time.Duration // how long it is established; 0: it stays so
	reset    bool          // by the peer
	again    uint32        // SYNs
}

// events are the transitions of a life, as the kernel reports them.
func (l life) events() (all []event.Event) {
	now := uint64(time.Second + l.begins)
	client := netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(40000+l.cookie))
	peer := netip.AddrPortFrom(netip.MustParseAddr("10.0.0.2"), l.port)
	since := uint64(0)
	step := func(after time.Duration, from, to event.State, facts event.Facts) {
		now += uint64(after)
		e := event.Event{
			Kind: event.KindTransition, Ktime: now, Wall: int64(now), Since: since, Cookie: l.cookie, SkAddr: 1<<63 | l.cookie, Family: event.IPv4,
			OldState: from, NewState: to, Local: client, Remote: peer, Facts: facts, Netns: 1,
			Owner: event.Owner{Process: event.Process{PID: 4711, Comm: event.CommOf("curl")}, Source: event.SourceConnect},
		}
		if l.listener {
			e.Local, e.Remote, e.Owner.Source = peer, netip.MustParseAddrPort("0.0.0.0:0"), event.SourceListen
		}
		if l.server {
			e.Local, e.Remote, e.Owner.Source = peer, client, event.SourceAccept
		}
		all = append(all, e)
		since = now
	}
	opening := event.SynSent
	switch {
	case l.listener:
		step(0, event.Close, event.Listen, event.Facts{})
		if l.lasts > 0 {
			step(l.lasts, event.Listen, event.Close, event.Facts{Shutdown: 3})
		}
		return all
	case l.server:
		opening = event.SynRecv
		step(0, event.Listen, opening, event.Facts{})
	default:
		step(0, event.Close, opening, event.Facts{})
	}
	switch {
	case l.connect == 0:
		return all
	case l.refused:
		step(l.connect, opening, event.Close, event.Facts{Err: uint16(event.ECONNREFUSED), Flags: event.GotReset})
		return all
	}
	step(l.connect, opening, event.Established, event.Facts{SRTT: uint32(l.connect / time.Microsecond), MinRTT: 1, Retransmits: l.again, BytesAcked: 1})
	switch {
	case l.lasts == 0:
		return all
	case l.reset:
		step(l.lasts, event.Established, event.Close, event.Facts{Err: uint16(event.ECONNRESET), Flags: event.GotReset, SegsIn: 3, SegsOut: 3, BytesReceived: 100})
		return all
	}
	step(l.lasts, event.Established, event.FinWait1, event.Facts{Shutdown: 3})
	step(time.Millisecond, event.FinWait1, event.FinWait2, event.Facts{})
	step(time.Millisecond, event.FinWait2, event.Close, event.Facts{Flags: event.Dead | event.Done, SegsIn: 5, SegsOut: 5})
	return all
}

// scene are the events of some lives, in the order of time.
func scene(lives ...life) (all []event.Event) {
	for _, l := range lives {
		all = append(all, l.events()...)
	}
	slices.SortStableFunc(all, func(a, b event.Event) int { return int(int64(a.Ktime) - int64(b.Ktime)) })
	return all
}

// mixed is a scene with something of everything.
func mixed() []event.Event {
	const ms = time.Millisecond
	return scene(
		life{cookie: 1, listener: true, port: 80},
		life{cookie: 2, port: 5432, begins: ms, connect: 2 * ms, lasts: 40 * ms},
		life{cookie: 3, port: 5432, begins: 2 * ms, connect: 82 * ms, lasts: 40 * ms},
		life{cookie: 4, port: 80, begins: 3 * ms, connect: 31 * ms, lasts: 5 * ms, reset: true},
		life{cookie: 5, port: 81, begins: 4 * ms, connect: ms, refused: true},
		life{cookie: 6, port: 80, begins: 5 * ms, connect: 1100 * ms, lasts: ms, again: 1},
		life{cookie: 7, server: true, port: 80, begins: 6 * ms, connect: ms, lasts: 10 * ms},
		life{cookie: 8, port: 443, begins: 7 * ms, connect: 9 * ms}, // stays open
		life{cookie: 9, port: 444, begins: 8 * ms},                  // connects
	)
}

// judge lets a tracker and a judge see the events, to the end.
func judge(t testing.TB, maxConns int, events []event.Event, rules ...string) *Judge {
	t.Helper()
	var compiled []*Rule
	for _, text := range rules {
		compiled = append(compiled, compile(t, text))
	}
	j := NewJudge(compiled, maxConns)
	tracker := conn.NewTracker(conn.DefaultMaxConns)
	last := func(*event.Event) error { return nil }
	for _, e := range append(events, event.Event{Kind: event.KindTick, Ktime: ^uint64(0)}) {
		err := tracker.Apply(&e, func(e *event.Event) error { return j.Apply(e, last) })
		if err != nil {
			t.Fatal(err)
		}
	}
	return j
}

func compile(t testing.TB, text string) *Rule {
	t.Helper()
	rule, err := Compile("", "", text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return rule
}

// recordings are the files with what a kernel has reported.
func recordings(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("../../testdata/rec/*.rec")
	if err != nil || len(files) == 0 {
		t.Fatal("no recordings", err)
	}
	return files
}

// recorded are the events of a recording.
func recorded(t testing.TB, path string) (all []event.Event) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	source, err := record.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	for {
		var e event.Event
		switch err := source.Read(&e); {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatal(err)
		}
		all = append(all, e)
	}
}
