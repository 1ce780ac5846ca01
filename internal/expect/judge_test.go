package expect

import (
	"net/netip"
	"slices"
	"testing"
	"time"

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
	early := endOf(9, event.ReasonFinished)
	early.Since, early.Cookie = 3e6, 8
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
		{"a lost beginning before an end is told", []event.Event{
			hopOf(1, event.SynSent, event.Close), hopOf(3, event.Established, event.FinWait1), endOf(1, event.ReasonRefused),
		}, []string{"SYN_SENT CLOSE: refused", "ESTABLISHED FIN_WAIT1: "}},
		{"an end of another, of which nothing has passed", []event.Event{hopOf(5, event.Close, event.SynSent), endOf(3, event.ReasonRefused)},
			[]string{": refused", "CLOSE SYN_SENT: "}},
		{"the order in which they begin", []event.Event{hopOf(5, event.Close, event.SynSent), early}, []string{": finished", "CLOSE SYN_SENT: "}},
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

// TestUntoldEnds has a stage before that lets no ends pass: so the connections are not
// shown.
func TestUntoldEnds(t *testing.T) {
	for _, test := range []struct {
		most   int
		events []event.Event
		want   []string
		beyond uint64
	}{
		{9, []event.Event{hopOf(1, event.Close, event.SynSent), hopOf(2, event.SynSent, event.Close)}, nil, 0},
		{9, []event.Event{hopOf(1, event.FinWait2, event.TimeWait)}, nil, 0},
		{9, []event.Event{hopOf(1, event.Close, event.SynSent), hopOf(2, event.Close, event.SynSent), hopOf(3, event.SynSent, event.Established)},
			[]string{"CLOSE SYN_SENT ESTABLISHED: "}, 0},
		{1, []event.Event{hopOf(1, event.Close, event.SynSent), hopOf(2, event.Close, event.SynSent), hopOf(3, event.SynSent, event.Established)}, nil, 1},
	} {
		j := NewJudge(nil, test.most)
		feed(t, j, test.events...)
		if got := pathsOf(j); !slices.Equal(got, test.want) || j.Overflow() != test.beyond || j.Conns().Judged != len(test.want) {
			t.Errorf("%q, %d, %+v", got, j.Overflow(), j.Conns())
		}
	}
}

// TestOpenConnections looks at what is known of connections that have not ended.
func TestOpenConnections(t *testing.T) {
	last := hopOf(9, event.Established, event.CloseWait)
	last.Local, last.Remote = netip.MustParseAddrPort("0.0.0.0:0"), netip.MustParseAddrPort("0.0.0.0:0") // forgotten
	last.Current = event.Process{PID: 77}
	established := hopOf(4, event.SynSent, event.Established)
	established.Since, established.Handshake.Connect = 1e6, 3*time.Millisecond
	established.Owner = event.Owner{Process: event.Process{PID: 3, Comm: event.CommOf("a")}, Source: event.SourceConnect}
	established.AcceptWait = event.Wait{Known: true, Time: 5}
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
	if e.Kind != event.KindConn || e.Handshake.Connect != 3*time.Millisecond || e.Times[event.SynSent] != 3*time.Millisecond || e.Current.PID != 0 || e.AcceptWait.Time != 5 {
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
		{[]event.Event{hopOf(1, event.FinWait2, event.TimeWait), endOf(1, event.ReasonFinished)}, true}, // it was past it
		{[]event.Event{hopOf(1, event.Close, event.SynSent), hopOf(3, event.CloseWait, event.LastAck)}, true},
		{[]event.Event{hopOf(1, event.Listen, event.SynRecv), hopOf(2, event.SynRecv, event.FinWait1), hopOf(3, event.FinWait1, event.Close), endOf(3, event.ReasonResetSent)}, false}, // closed before
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
