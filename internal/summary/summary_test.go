package summary

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"tcpstates/internal/event"
	"tcpstates/internal/golden"
)

const (
	us = time.Microsecond
	ms = time.Millisecond
)

// conn makes a connection that has ended.
func conn(role event.Role, reason event.Reason, cause event.Cause, local, remote string) event.Event {
	return event.Event{
		Kind: event.KindConn, Role: role, End: event.End{Reason: reason, Cause: cause},
		Local: netip.MustParseAddrPort(local), Remote: netip.MustParseAddrPort(remote),
	}
}

// connected is a client's that took so long to connect and then lived.
func connected(connect, established time.Duration) event.Event {
	e := conn(event.RoleClient, event.ReasonFinished, event.CauseNone, "192.168.122.166:41538", "10.4.204.72:443")
	e.Handshake = event.Handshake{Connect: connect, RTT: connect - connect/10}
	e.Owner.Process = event.Process{PID: 17205, Comm: event.CommOf("curl")}
	e.Times[event.SynSent], e.Times[event.Established] = connect, established
	e.Times[event.FinWait1], e.Times[event.TimeWait] = 40*us, time.Minute
	return e
}

// served is a server's with such a handshake.
func served(took, rtt, wait, established time.Duration) event.Event {
	e := conn(event.RoleServer, event.ReasonFinished, event.CauseNone, "10.0.0.1:443", "10.0.0.99:50123")
	e.Handshake = event.Handshake{Took: took, RTT: rtt}
	e.AcceptWait = event.Wait{Time: wait, Known: true}
	e.Owner.Process = event.Process{PID: 812, Comm: event.CommOf("nginx")}
	e.Times[event.NewSynRecv], e.Times[event.Established] = took, established
	e.Times[event.CloseWait], e.Times[event.LastAck] = 90*us, 210*us
	return e
}

// scene has a connection of every kind, and what is none.
func scene() []event.Event {
	var events []event.Event
	for i := range 40 {
		events = append(events, connected(time.Duration(180+7*i)*us, time.Duration(3+i*i)*ms))
		events = append(events, served(time.Duration(20+i)*us, time.Duration(15+i)*us, time.Duration(1+i%5)*us, 2*time.Second))
	}
	add := func(e event.Event) { events = append(events, e) }
	ends := func(role event.Role, reason event.Reason, cause event.Cause, n int) {
		for range n {
			add(conn(role, reason, cause, "10.0.0.1:40000", "10.0.0.2:80"))
		}
	}
	long := connected(1234567*us, 26*time.Hour)
	long.Handshake.Retransmits, long.Handshake.RTT = 1, 0
	long.Local = netip.MustParseAddrPort("[2001:db8:aaaa:bbbb:cccc:dddd:eeee:1234]:41538")
	long.Remote = netip.MustParseAddrPort("[2001:db8:aaaa:bbbb:cccc:dddd:eeee:5678]:60443")
	add(long)
	again := served(3004*ms, 0, 15*ms, 0)
	again.Handshake.Retransmits = 2
	again.AcceptWait.AtMost = true
	again.Owner.Process = event.Process{}
	add(again)
	cookie := served(0, 12*ms, 15*ms, 0) // the estimate counts nowhere
	cookie.Handshake.Way, cookie.Handshake.Estimate = event.WayCookie, true
	add(cookie)
	self := connected(30*ms, ms)
	self.Role, self.Remote = event.RoleSelf, self.Local
	self.Owner.Comm = event.CommOf("a\x1b[2J")
	add(self)
	timedOut := conn(event.RoleClient, event.ReasonTimedOut, event.CauseConnect, "10.0.0.1:40000", "10.0.0.2:80")
	timedOut.Times[event.SynSent] = 127 * time.Second
	add(timedOut)
	ends(event.RoleUnknown, event.ReasonNone, event.CauseNone, 3)
	ends(event.RoleServer, event.ReasonResetSent, event.CauseUnreadData, 5)
	ends(event.RoleServer, event.ReasonResetSent, event.CauseFinWait2Time, 1)
	ends(event.RoleClient, event.ReasonResetByPeer, event.CauseNone, 9)
	ends(event.RoleClient, event.ReasonRefused, event.CauseNone, 5)
	ends(event.RoleClient, event.ReasonUnreachable, event.CauseHost, 2)
	ends(event.RoleClient, event.ReasonKilled, event.CauseNone, 1)
	listener := conn(event.RoleListener, event.ReasonListenerClosed, event.CauseNone, "[::]:443", "[::]:0")
	listener.Times[event.Listen] = time.Hour
	add(listener)
	add(listener)
	return append(events, event.Event{Kind: event.KindTransition}, event.Event{Kind: event.KindLost, Lost: 3})
}

// of is the summary of events.
func of(events []event.Event) *Summary {
	s := New()
	for i := range events {
		s.Add(&events[i])
	}
	return s
}

func TestGoldens(t *testing.T) {
	for _, width := range []int{100, 60} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			got := string(of(scene()).AppendText(nil, width))
			path := filepath.Join("testdata", fmt.Sprintf("summary-%d.txt", width))
			golden.Check(t, path, got)
		})
	}
}

func TestFewConnections(t *testing.T) {
	listener := conn(event.RoleListener, event.ReasonListenerClosed, event.CauseNone, "[::]:443", "[::]:0")
	refused := conn(event.RoleClient, event.ReasonRefused, event.CauseNone, "10.0.0.1:40000", "10.0.0.2:80")
	for _, test := range []struct {
		events []event.Event
		want   string
	}{
		{nil, "summary: no connection ended\n"},
		{[]event.Event{{Kind: event.KindTransition}}, "summary: no connection ended\n"},
		{[]event.Event{listener}, "summary: no connection ended, 1 listener closed\n"},
		{[]event.Event{refused}, "summary: 1 connection ended, 1 failed\n" +
			"  refused       1 100.0%  " + strings.Repeat("█", 30) + "\n"},
	} {
		if diff := cmp.Diff(test.want, string(of(test.events).AppendText(nil, 0))); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}

func TestAppendTextAppends(t *testing.T) {
	s := of(scene())
	want := "before\n" + string(s.AppendText(nil, 100))
	if diff := cmp.Diff(want, string(s.AppendText([]byte("before\n"), 0))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestLinesFit(t *testing.T) {
	s := of(scene())
	for i := range 1_234_567 { // numbers with many digits
		e := served(17*us, 0, 0, us)
		e.Handshake = event.Handshake{}
		if i%2 == 0 {
			e.End.Reason = event.ReasonRefused
		}
		s.Add(&e)
	}
	for width := 60; width <= 200; width++ {
		for line := range strings.Lines(string(s.AppendText(nil, width))) {
			line = strings.TrimSuffix(line, "\n")
			chars := utf8.RuneCountInString(line)
			if chars > width && !strings.Contains(line, "]:") {
				t.Errorf("a line of %d characters on %d: %s", chars, width, line)
			}
			if line != strings.TrimRight(line, " ") {
				t.Errorf("a line ends with blanks: %q", line)
			}
		}
	}
}

func TestSlowestAreTheSlowest(t *testing.T) {
	var all []time.Duration
	var events []event.Event
	for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(100) {
		d := time.Duration(1+i/2) * ms // each twice
		all = append(all, d)
		events = append(events, connected(d, 0))
	}
	slices.Sort(all)
	slices.Reverse(all)
	var got []time.Duration
	for _, h := range of(events).slowest {
		got = append(got, h.time)
	}
	if diff := cmp.Diff(all[:maxSlowest], got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestAppendDuration(t *testing.T) {
	for _, test := range []struct {
		d    time.Duration
		want string
	}{
		{0, "0.00µs"},
		{1, "0.00µs"},
		{999, "0.99µs"},
		{us, "1.00µs"},
		{15 * us, "15.0µs"},
		{99_999, "99.9µs"},
		{100 * us, "100µs"},
		{999_999, "999µs"},
		{ms, "1.00ms"},
		{1_009_999, "1.00ms"},
		{1_010_000, "1.01ms"},
		{12_345 * us, "12.3ms"},
		{999_999 * us, "999ms"},
		{time.Second, "1.00s"},
		{59_999 * ms, "59.9s"},
		{time.Minute, "1.00m"},
		{90 * time.Second, "1.50m"},
		{time.Hour - 1, "59.9m"},
		{time.Hour, "1.00h"},
		{24 * time.Hour, "24.0h"},
		{longest, "8760h"},
		{math.MaxInt64, "2562047h"},
	} {
		if got := string(appendDuration(nil, test.d)); got != test.want {
			t.Errorf("%d ns is %s, want %s", test.d, got, test.want)
		}
	}
}

func TestBar(t *testing.T) {
	for _, test := range []struct {
		n, largest uint64
		length     int
		want       string
	}{
		{0, 10, 30, ""},
		{10, 10, 4, "████"},
		{5, 10, 4, "██"},
		{1, 1_000_000, 4, "▏"},
		{15, 32, 4, "█▉"},
		{31, 32, 4, "███▉"},
		{1, 4, 2, "▌"},
	} {
		if got := bar(test.n, test.largest, test.length); got != test.want {
			t.Errorf("the bar for %d of %d in %d characters is %q, want %q", test.n, test.largest, test.length, got, test.want)
		}
	}
}

func TestSketch(t *testing.T) {
	for _, test := range []struct {
		counts decades
		want   string
	}{
		{decades{}, ""},
		{decades{7}, "█"},
		{decades{1, 2, 3, 4, 5, 6, 7, 8, 0, 1000}, "▁▁▁▁▁▁▁▁ █"},
		{decades{1, 2, 3, 4, 5, 6, 7, 8}, "▁▂▃▄▅▆▇█"},
		{decades{9: 1}, "         █"},
	} {
		if got := sketch(test.counts); got != test.want {
			t.Errorf("the sketch of %v is %q, want %q", test.counts, got, test.want)
		}
	}
}

func TestDecades(t *testing.T) {
	var x times
	for _, d := range []time.Duration{
		0, us, 9 * us, 10 * us, 99 * us, 100 * us, ms, 10 * ms, 100 * ms, time.Second, 10 * time.Second,
		100 * time.Second, 500 * time.Second, 1000 * time.Second, 2 * longest,
	} {
		x.add(d)
	}
	if want, got := (decades{3, 2, 1, 1, 1, 1, 1, 1, 2, 2}), x.decades(); got != want {
		t.Errorf("the decades are %v, want %v", got, want)
	}
	if utf8.RuneCountInString(sketchHeader) != len(decades{}) {
		t.Errorf("%s is not as wide as %d decades", sketchHeader, len(decades{}))
	}
}

// TestPercentiles compares with what sorting finds: the percentile is never
// less, and more by no more than the distribution's precision.
func TestPercentiles(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		var x times
		all := make([]time.Duration, 1+random.IntN(2000))
		for i := range all {
			// From 1 µs to the longest, as many of each magnitude.
			all[i] = time.Duration(math.Exp(random.Float64()*math.Log(float64(longest/us))) * float64(us))
			x.add(all[i])
		}
		slices.Sort(all)
		for _, p := range []float64{50, 90, 99, 100} {
			rank := max(int(p/100*float64(len(all))+0.5), 1)
			want, got := all[rank-1], x.percentile(p)
			if got < want-us/2 || got > want+max(want/128, us) {
				t.Errorf("of %d durations, %v%% do not exceed %v, and not %v", len(all), p, want, got)
			}
		}
		if x.max != all[len(all)-1] || x.count() != int64(len(all)) {
			t.Errorf("the longest of %d is %v; got %d and %v", len(all), all[len(all)-1], x.count(), x.max)
		}
	}
}

func TestDurationsOutOfRange(t *testing.T) {
	for _, d := range []time.Duration{0, 1, us - 1, longest - 1, longest + 1, math.MaxInt64} {
		var x times
		x.add(d)
		if want := min(d, longest+longest/128); x.percentile(50) > want || x.max != d || x.count() != 1 {
			t.Errorf("of %v alone, the percentile is %v and the longest %v", d, x.percentile(50), x.max)
		}
	}
}

func TestAddAllocatesNothing(t *testing.T) {
	events := scene()
	s := of(events)
	if n := testing.AllocsPerRun(100, func() {
		for i := range events {
			s.Add(&events[i])
		}
	}); n != 0 {
		t.Errorf("%v allocations for %d events", n, len(events))
	}
	slower := connected(time.Second, time.Second)
	if n := testing.AllocsPerRun(100, func() {
		slower.Handshake.Connect++
		s.Add(&slower)
	}); n != 0 {
		t.Errorf("%v allocations for a handshake among the slowest", n)
	}
}

func BenchmarkAdd(b *testing.B) {
	events := scene()
	s := of(events)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.Add(&events[i%80]) // those with times
	}
}

// BenchmarkLargest makes a summary with all of the times there are.
func BenchmarkLargest(b *testing.B) {
	e := connected(ms, ms)
	e.Role = event.RoleServer
	e.Handshake.Took, e.AcceptWait.Known = ms, true
	for i := range e.Times {
		e.Times[i] = ms
	}
	b.ReportAllocs()
	for b.Loop() {
		New().Add(&e)
	}
}

func BenchmarkAppendText(b *testing.B) {
	s := of(scene())
	var text []byte
	b.ReportAllocs()
	for b.Loop() {
		text = s.AppendText(text[:0], 0)
	}
}
