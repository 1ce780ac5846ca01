package expect

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"tcpstates/internal/conn"
	"tcpstates/internal/event"
)

// feed gives events to a judge as they are, without a tracker.
func feed(t testing.TB, j *Judge, events ...event.Event) {
	t.Helper()
	passed := 0
	for _, e := range events {
		before := e
		if err := j.Apply(&e, func(*event.Event) error { passed++; return nil }); err != nil || e != before {
			t.Errorf("%+v has become %+v, %v", before, e, err)
		}
	}
	if passed != len(events) {
		t.Errorf("%d of %d events passed", passed, len(events))
	}
}

// hopOf is a transition of the socket 7 at a time in milliseconds.
func hopOf(ms int, from, to event.State) event.Event {
	return event.Event{
		Kind: event.KindTransition, Ktime: uint64(ms) * uint64(time.Millisecond), Cookie: 7, OldState: from, NewState: to,
		Local: netip.MustParseAddrPort("10.0.0.1:1234"), Remote: netip.MustParseAddrPort("10.0.0.2:80"), Family: event.IPv4, Role: event.RoleClient,
	}
}

// endOf is the end of a connection of the same socket as a whole.
func endOf(ms int, reason event.Reason) event.Event {
	e := hopOf(ms, event.Established, event.Close)
	e.Kind, e.End.Reason = event.KindConn, reason
	return e
}

func pathsOf(j *Judge) (paths []string) {
	for _, c := range j.all() {
		paths = append(paths, string(c.appendPath(nil))+": "+c.event.End.Reason.String())
	}
	return paths
}

func TestSockets(t *testing.T) {
	owner := hopOf(5, event.Established, event.Established)
	owner.Kind, owner.Owner.PID = event.KindOwner, 9
	duplicate := hopOf(2, event.SynRecv, event.Close)
	ofDuplicate := endOf(2, event.ReasonNone)
	self := hopOf(3, event.Close, event.Close)
	for _, test := range []struct {
		name   string
		events []event.Event
		want   []string
	}{
		{"nothing", nil, nil},
		{"what is of no socket", []event.Event{{Kind: event.KindTick}, {Kind: event.KindLost, Lost: 3}, {Kind: event.KindFork}, {Kind: event.KindSampling, OneIn: 2}}, nil},
		{"the same socket again, at once", []event.Event{
			hopOf(1, event.Close, event.SynSent), hopOf(2, event.SynSent, event.Close), endOf(2, event.ReasonRefused),
			hopOf(3, event.Close, event.SynSent), hopOf(4, event.SynSent, event.Established),
		}, []string{"CLOSE SYN_SENT CLOSE: refused", "CLOSE SYN_SENT ESTABLISHED: "}},
		{"an end that waits while its socket goes on", []event.Event{
			hopOf(1, event.Close, event.SynSent), hopOf(2, event.SynSent, event.Established), hopOf(3, event.Established, event.Close),
			hopOf(4, event.Close, event.SynSent), hopOf(5, event.SynSent, event.Close), endOf(5, event.ReasonRefused),
			hopOf(6, event.Close, event.SynSent), endOf(3, event.ReasonResetSent), hopOf(7, event.SynSent, event.Established),
		}, []string{"CLOSE SYN_SENT ESTABLISHED CLOSE: reset sent", "CLOSE SYN_SENT CLOSE: refused", "CLOSE SYN_SENT ESTABLISHED: "}},
		{"an end that nobody has seen", []event.Event{
			hopOf(1, event.Close, event.SynSent), hopOf(2, event.SynSent, event.Established), endOf(9, event.ReasonNone), hopOf(9, event.Close, event.SynSent),
		}, []string{"CLOSE SYN_SENT ESTABLISHED: ", "CLOSE SYN_SENT: "}},
		{"the end of TIME_WAIT", []event.Event{
			hopOf(1, event.FinWait1, event.FinWait2), hopOf(2, event.FinWait2, event.TimeWait), endOf(2, event.ReasonFinished), hopOf(60000, event.TimeWait, event.Close),
		}, []string{"FIN_WAIT1 FIN_WAIT2 TIME_WAIT CLOSE: finished"}},
		{"a socket that goes on in TIME_WAIT", []event.Event{
			hopOf(2, event.FinWait2, event.TimeWait), endOf(2, event.ReasonFinished), hopOf(3, event.Close, event.SynSent),
		}, []string{"FIN_WAIT2 TIME_WAIT: finished", "CLOSE SYN_SENT: "}},
		{"the end of a TIME_WAIT of which nothing has passed", []event.Event{hopOf(60000, event.TimeWait, event.Close)}, nil},
		{"an end of which nothing has passed", []event.Event{endOf(5, event.ReasonRefused), hopOf(6, event.Close, event.SynSent)},
			[]string{": refused", "CLOSE SYN_SENT: "}},
		{"a lost beginning after an end", []event.Event{
			hopOf(1, event.SynSent, event.Close), endOf(1, event.ReasonRefused), hopOf(3, event.Established, event.FinWait1),
		}, []string{"SYN_SENT CLOSE: refused", "ESTABLISHED FIN_WAIT1: "}},
		{"a gap", []event.Event{hopOf(1, event.Close, event.SynSent), hopOf(3, event.Established, event.CloseWait)},
			[]string{"CLOSE SYN_SENT ESTABLISHED CLOSE_WAIT: "}},
		{"no change", []event.Event{self, hopOf(4, event.Close, event.SynSent), owner}, []string{"CLOSE SYN_SENT: "}},
		{"a duplicate", []event.Event{hopOf(1, event.Listen, event.SynRecv), duplicate}, nil},
		{"no duplicate, as an end is told", []event.Event{hopOf(1, event.Listen, event.SynRecv), duplicate, ofDuplicate},
			[]string{"LISTEN SYN_RECV CLOSE: "}},
	} {
		j := NewJudge(nil, 100)
		feed(t, j, test.events...)
		if got := pathsOf(j); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
		if j.Overflow() != 0 || len(j.waiting) != 0 {
			t.Errorf("%s: %d beyond, %d wait", test.name, j.Overflow(), len(j.waiting))
		}
	}
}

// TestOpenConnections looks at what is known of connections that have not ended.
func TestOpenConnections(t *testing.T) {
	last := hopOf(9, event.Established, event.CloseWait)
	last.Remote = netip.MustParseAddrPort("0.0.0.0:0") // forgotten
	established := hopOf(4, event.SynSent, event.Established)
	established.Since, established.Handshake.Connect = 1e6, 3*time.Millisecond
	established.Owner = event.Owner{Process: event.Process{PID: 3, Comm: event.CommOf("a")}, Source: event.SourceConnect}
	established.Current = event.Process{PID: 77}
	first := hopOf(1, event.Close, event.SynSent)
	first.Local = netip.MustParseAddrPort("10.0.0.1:0") // not chosen yet
	owner := hopOf(5, event.Established, event.Established)
	owner.Kind, owner.Owner = event.KindOwner, event.Owner{Process: event.Process{PID: 9, Comm: event.CommOf("b")}, Source: event.SourceIO}
	j := NewJudge(nil, 100)
	for i, want := range []string{
		"- 10.0.0.1:- -> 10.0.0.2:80 client, still in SYN_SENT", "a[3] 10.0.0.1:1234 -> 10.0.0.2:80 client, still in ESTABLISHED",
		"b[9] 10.0.0.1:1234 -> 10.0.0.2:80 client, still in ESTABLISHED", "b[9] 10.0.0.1:1234 -> 10.0.0.2:80 client, still in CLOSE_WAIT",
	} {
		feed(t, j, []event.Event{first, established, owner, last}[i])
		if got := string(j.all()[0].AppendHead(nil)); got != want {
			t.Errorf("%d: %s, want %s", i, got, want)
		}
	}
	e := j.all()[0].Event()
	if e.Kind != event.KindConn || e.Handshake.Connect != 3*time.Millisecond || e.Times[event.SynSent] != 3*time.Millisecond || e.Current.PID != 0 {
		t.Errorf("%+v", e)
	}
	if _, known := e.Duration(); known {
		t.Error("nobody knows how long it lasts")
	}
	if least, known := e.AtLeast(); !known || least != 8*time.Millisecond {
		t.Errorf("it has lasted %v at least", least)
	}
}

func TestEstablished(t *testing.T) {
	for _, test := range []struct {
		events []event.Event
		want   bool
	}{
		{[]event.Event{hopOf(1, event.Close, event.SynSent)}, false},
		{[]event.Event{hopOf(1, event.Close, event.SynSent), hopOf(2, event.SynSent, event.Close), endOf(2, event.ReasonRefused)}, false},
		{[]event.Event{hopOf(1, event.SynSent, event.Established)}, true},
		{[]event.Event{hopOf(1, event.Established, event.CloseWait)}, true},
		{[]event.Event{hopOf(1, event.FinWait2, event.TimeWait)}, true}, // it was past it
		{[]event.Event{hopOf(1, event.Close, event.SynSent), hopOf(3, event.CloseWait, event.LastAck)}, true},
		{[]event.Event{hopOf(1, event.Listen, event.SynRecv), hopOf(2, event.SynRecv, event.FinWait1), hopOf(3, event.FinWait1, event.Close)}, false}, // closed before
		{[]event.Event{endOf(1, event.ReasonFinished)}, true},
		{[]event.Event{hopOf(1, event.Close, event.Listen)}, false},
	} {
		j := NewJudge(nil, 100)
		feed(t, j, test.events...)
		if c := j.all()[0]; c.established != test.want {
			t.Errorf("%s: %t", c.appendPath(nil), c.established)
		}
	}
}

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

	if got := cut([]byte(strings.Repeat("é", 300))); len(got) > maxNote+3 || strings.Contains(string(got), "�") || !strings.HasSuffix(string(got), "é...") {
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
			if c.Ended() {
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
