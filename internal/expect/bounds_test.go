package expect

import (
	"slices"
	"strings"
	"testing"
	"time"

	"tcpstates/internal/conn"
	"tcpstates/internal/event"
)

// TestBounds has more of everything than is kept.
func TestBounds(t *testing.T) {
	j := judge(t, 3, mixed(), `all(conns, .rport > 0)`)
	if got := j.Conns(); len(j.conns) != 3 || got.Judged != 2 || got.Listeners != 1 || j.Overflow() != 6 {
		t.Errorf("%d are kept, %d are beyond: %+v", len(j.conns), j.Overflow(), got)
	}
	if len(j.sockets) > 3 {
		t.Errorf("%d sockets are remembered", len(j.sockets))
	}
	// Whatever comes of a socket whose latest connection is beyond is none of the last's.
	j = NewJudge(nil, 1)
	feed(t, j, hopOf(1, event.Close, event.SynSent), hopOf(2, event.SynSent, event.Close),
		hopOf(3, event.Close, event.SynSent), hopOf(4, event.SynSent, event.Established), endOf(2, event.ReasonRefused))
	if got := pathsOf(j); !slices.Equal(got, []string{"CLOSE SYN_SENT CLOSE: refused"}) || j.Overflow() != 1 {
		t.Errorf("%q, %d", got, j.Overflow())
	}
	late := endOf(10, event.ReasonRefused)
	late.Since = 3e6
	if feed(t, j, late); j.Overflow() != 1 { // it was counted when it began
		t.Errorf("%d", j.Overflow())
	}
	late.Cookie, late.Before = 8, true
	if feed(t, j, late); j.Overflow() != 2 {
		t.Errorf("%d", j.Overflow())
	}

	j = NewJudge(nil, 10)
	for i := range 100 {
		feed(t, j, hopOf(2*i, event.Established, event.FinWait1), hopOf(2*i+1, event.FinWait1, event.Established))
	}
	c := j.all()[0]
	if len(c.hops) != maxHops || c.more != 200-maxHops || !strings.HasSuffix(string(c.appendPath(nil)), " ...") ||
		!strings.Contains(string(c.AppendText(nil)), "and 136 more transitions\n") {
		t.Errorf("%d hops, %d more: %s", len(c.hops), c.more, c.AppendText(nil))
	}

	if got := cut([]byte("a" + strings.Repeat("é", 300))); len(got) > maxNote+3 || strings.Contains(string(got), "�") || !strings.HasSuffix(string(got), "é...") {
		t.Errorf("%d: %s", len(got), got)
	}
}

func TestCounts(t *testing.T) {
	want := Counts{Judged: 8, Ended: 6, Listeners: 1}
	want.Reasons[event.ReasonFinished], want.Reasons[event.ReasonResetByPeer], want.Reasons[event.ReasonRefused] = 4, 1, 1
	if got := judge(t, 100, mixed()).Conns(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestWithoutCookies has a backend that tells sockets apart by addresses, which are used
// again.
func TestWithoutCookies(t *testing.T) {
	events := mixed()
	for i := range events {
		events[i].SkAddr = 1 << 63
		events[i].Cookie = 0
	}
	slices.SortStableFunc(events, func(a, b event.Event) int { return int(a.Local.Port()) - int(b.Local.Port()) })
	for i := range events { // one after the other
		events[i].Ktime, events[i].Since = uint64(i+1)*1e6, 0
	}
	j := judge(t, 100, events[:len(events)-1], `len(conns) == 7 and len(listeners) == 1`, `all(conns, path(#) startsWith "CLOSE SYN_SENT" or path(#) startsWith "LISTEN SYN_RECV")`)
	for _, v := range j.Verdicts("") {
		if !v.Held {
			t.Errorf("%s: %q\n%s", v.Rule.Name, v.Why, timelines(j))
		}
	}
}

// TestEveryConnectionIsKept compares with what the tracker has told of recordings.
func TestEveryConnectionIsKept(t *testing.T) {
	for _, path := range recordings(t) {
		wholes := 0
		tracker := conn.NewTracker(100)
		for _, e := range append(recorded(t, path), event.Event{Kind: event.KindTick, Ktime: ^uint64(0)}) {
			_ = tracker.Apply(&e, func(e *event.Event) error {
				if e.Kind == event.KindConn {
					wholes++
				}
				return nil
			})
		}
		j := judge(t, 100, recorded(t, path))
		ended := 0
		for _, c := range j.all() {
			if len(c.hops) == 0 {
				t.Errorf("%s: no transition of %s", path, c.AppendHead(nil))
			}
			if c.ended {
				ended++
			}
		}
		if ended != wholes {
			t.Errorf("%s: %d have ended, and %d were told", path, ended, wholes)
		}
	}
}

// BenchmarkApply has connections that come and go, of which all are kept.
func BenchmarkApply(b *testing.B) {
	lives := scene(life{cookie: 1, port: 80, connect: 1e6, lasts: 1e6})
	var events []event.Event
	tracker := conn.NewTracker(10)
	for _, e := range lives {
		_ = tracker.Apply(&e, func(e *event.Event) error { events = append(events, *e); return nil })
	}
	j := NewJudge(nil, 100_000)
	next := func(*event.Event) error { return nil }
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n%(100_000*len(events)) == 0 {
			j = NewJudge(nil, 100_000)
		}
		e := &events[n%len(events)]
		e.Cookie = uint64(1 + n/len(events))
		if err := j.Apply(e, next); err != nil {
			b.Fatal(err)
		}
		n++
	}
}

// BenchmarkVerdicts judges as many connections as are kept by default.
func BenchmarkVerdicts(b *testing.B) {
	var lives []life
	for i := range 100_000 {
		lives = append(lives, life{cookie: uint64(1 + i), port: 80, begins: time.Duration(i), connect: time.Duration(1 + i), lasts: 1e6})
	}
	j := judge(b, 100_000, scene(lives...), `all(conns, .connect_ms < 50)`, `p99(clients, "connect_ms") < 5`, `none(conns, .failed)`)
	b.ReportAllocs()
	for b.Loop() {
		j.Verdicts("")
	}
}
