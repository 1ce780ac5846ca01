package conn_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"tcpstates/internal/conn"
	"tcpstates/internal/event"
	"tcpstates/internal/golden"
	"tcpstates/internal/output"
	"tcpstates/internal/record"
)

// endOfTime is the tick that ends a run.
var endOfTime = event.Event{Kind: event.KindTick, Ktime: ^uint64(0)}

// replay gives the events to a new tracker and returns what comes out.
func replay(t testing.TB, maxConns int, in []event.Event) (out []event.Event, tracker *conn.Tracker) {
	t.Helper()
	tracker = conn.NewTracker(maxConns)
	return through(t, tracker, in), tracker
}

// through gives the events to the tracker and returns what comes out.
func through(t testing.TB, tracker *conn.Tracker, in []event.Event) (out []event.Event) {
	t.Helper()
	for _, e := range append(in, endOfTime) {
		if err := tracker.Apply(&e, func(e *event.Event) error {
			out = append(out, *e)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return out[:len(out)-1] // without the tick
}

// TestRecordings looks at what is told of the scenarios that were recorded: no
// kernel is needed.
func TestRecordings(t *testing.T) {
	time.Local = time.UTC
	for _, file := range recorded(t) {
		name := strings.TrimSuffix(filepath.Base(file), ".rec")
		t.Run(name, func(t *testing.T) {
			in := read(t, file)
			out, _ := replay(t, conn.DefaultMaxConns, in)
			requireAccounted(t, ends(out))
			got := render(t, output.OfTransitions, out) + "\n" + render(t, output.OfConns, out)
			golden.Check(t, strings.TrimSuffix(file, ".rec")+".txt", got)
		})
	}
}

// TestTransitionsAlone shows that what is told of transitions does not depend on
// whether connections are told of as wholes.
func TestTransitionsAlone(t *testing.T) {
	for _, file := range recorded(t) {
		in := read(t, file)
		want, _ := replay(t, conn.DefaultMaxConns, in)
		want = slices.DeleteFunc(want, func(e event.Event) bool { return e.Kind == event.KindConn })
		tracker := conn.NewTracker(conn.DefaultMaxConns)
		tracker.Wholes = false
		got := through(t, tracker, in)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %d events, want %d:\n%s", filepath.Base(file), len(got), len(want), render(t, output.OfTransitions, got))
		}
	}
}

// recorded are the files of all recordings.
func recorded(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(recordings, "*.rec"))
	if err != nil || len(files) < 30 {
		t.Fatalf("%d recordings, %v", len(files), err)
	}
	return files
}

func read(t *testing.T, file string) []event.Event {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	in, err := record.Read(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// TestRecordingsAsLesserBackendsTellThem takes from the recordings what other
// backends than the best do not know: less is concluded, and nothing else.
func TestRecordingsAsLesserBackendsTellThem(t *testing.T) {
	same := 0
	for _, file := range recorded(t) {
		in := read(t, file)
		out, _ := replay(t, conn.DefaultMaxConns, in)
		told := map[[2]string]event.End{}
		for _, c := range ends(out) {
			told[endsOf(&c)] = c.End
		}
		out, _ = replay(t, conn.DefaultMaxConns, withoutCookies(in))
		requireAccounted(t, ends(out))
		for _, c := range ends(out) {
			best := told[endsOf(&c)]
			if c.End.Reason == best.Reason && c.End.Cause == best.Cause {
				same++
			} else if c.End.Reason != event.ReasonNone {
				t.Errorf("%s: %v without cookies, %v with", file, c.End, best)
			}
		}
		out, _ = replay(t, conn.DefaultMaxConns, withoutFacts(in))
		requireAccounted(t, ends(out))
		for _, e := range out {
			if e.Derived || e.Traffic.Known || e.Handshake.RTT != 0 || e.Handshake.Took != 0 || e.Handshake.Retransmits != 0 ||
				e.Handshake.Way != 0 || e.End.Reason != event.ReasonNone && e.End.Reason != event.ReasonListenerClosed || e.End.Errno != 0 {
				t.Errorf("%s: concluded of nothing: %+v", file, e)
			}
		}
	}
	if same < 60 {
		t.Errorf("the reasons of %d ends are known without cookies", same)
	}
}

func endsOf(e *event.Event) [2]string { return [2]string{e.Local.String(), e.Remote.String()} }

// withoutCookies are the events as backends without socket storage tell them.
func withoutCookies(in []event.Event) (out []event.Event) {
	for _, e := range in {
		if e.Kind == event.KindMinisock {
			continue
		}
		e.SkAddr = e.Cookie | 1<<63
		e.Cookie = 0
		out = append(out, e)
	}
	return out
}

// withoutFacts are the events as the classic tracepoint tells them.
func withoutFacts(in []event.Event) (out []event.Event) {
	for _, e := range withoutCookies(in) {
		if e.Kind == event.KindTransition {
			e.Facts, e.Netns, e.UID, e.UIDUnknown, e.Accepted = event.Facts{Unknown: true}, 0, 0, true, 0
			out = append(out, e)
		}
	}
	return out
}

// render shows the events as a table.
func render(t *testing.T, of output.Subject, events []event.Event) string {
	t.Helper()
	var text bytes.Buffer
	table, _ := output.Find("table")
	sink := table.New(output.Options{Out: &text, Width: func() int { return 0 }, Of: of})
	err := sink.Start(event.Start{})
	for i := range events {
		if (events[i].Kind == event.KindConn) == (of == output.OfConns) {
			err = errors.Join(err, sink.Write(&events[i]))
		}
	}
	if err := errors.Join(err, sink.Stop(event.Stop{})); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

var (
	local  = netip.MustParseAddrPort("127.0.0.1:80")
	remote = netip.MustParseAddrPort("127.0.0.1:40000")
)

// arbitrary makes an event of bytes.
func arbitrary(b [16]byte) event.Event {
	kinds := []event.Kind{
		event.KindTransition, event.KindTransition, event.KindTransition, event.KindTransition, event.KindOwner,
		event.KindResetSent, event.KindResetReceived, event.KindRetransmit, event.KindSynAckRetransmit,
		event.KindMinisock, event.KindLost, event.KindTick,
	}
	e := event.Event{
		Kind: kinds[int(b[0])%len(kinds)], Ktime: uint64(binary.LittleEndian.Uint16(b[1:])) << (b[3] % 48),
		OldState: event.State(b[4] % 16), NewState: event.State(b[5] % 16),
		Since: uint64(binary.LittleEndian.Uint16(b[6:])), Before: b[8]&1 != 0, Cookie: uint64(b[9] % 8),
		Family: event.IPv4, Local: local, Remote: remote, Closes: b[8]&2 != 0, Signal: b[8] & 4,
		Accepted: uint64(b[8] & 8), Fate: event.Fate(b[8] >> 4 & 3),
		Facts: event.Facts{
			Err: uint16(b[10]), Shutdown: b[11] % 4, Flags: event.SockFlags(binary.LittleEndian.Uint16(b[12:])),
			Linger2: int32(int8(b[14])), SRTT: uint32(b[15]), MinRTT: uint32(b[15]), Retransmits: uint32(b[14] % 3),
			SegsIn: uint32(b[15]), BytesAcked: uint64(b[15]), DataSegsIn: uint32(b[14]),
		},
	}
	if e.Kind == event.KindOwner {
		e.Owner.Source = event.SourceIO
	}
	return e
}

// requireSane checks what must hold whatever came in.
func requireSane(t *testing.T, in, out []event.Event, tracker *conn.Tracker) {
	t.Helper()
	for _, e := range out {
		h := e.Handshake
		for _, d := range append([]time.Duration{h.Connect, h.Took, h.RTT, e.AcceptWait.Time}, e.Times[:]...) {
			if d < 0 {
				t.Fatalf("a negative time in %+v", e)
			}
		}
		if e.Kind != event.KindConn {
			continue
		}
		var sum time.Duration
		for _, d := range e.Times {
			sum += d
		}
		if lived, known := e.AtLeast(); known && sum != lived {
			t.Fatalf("%v in its states, %v in all: %+v", sum, lived, e)
		}
	}
	if n := tracker.Tracked(); n > 4 {
		t.Fatalf("%d connections followed, want 4 at most", n)
	}
}

// TestAnySequence gives a tracker nonsense.
func TestAnySequence(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var in []event.Event
		for range random.IntN(60) {
			var b [16]byte
			binary.LittleEndian.PutUint64(b[:], random.Uint64())
			binary.LittleEndian.PutUint64(b[8:], random.Uint64())
			in = append(in, arbitrary(b))
		}
		out, tracker := replay(t, 4, in)
		requireSane(t, in, out, tracker)
	}
}

// FuzzTracker looks for sequences of events that make a tracker panic, tell
// negative times, or forget to forget.
func FuzzTracker(f *testing.F) {
	f.Add([]byte("sixteen bytes!!!and sixteen more"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var in []event.Event
		for ; len(data) >= 16; data = data[16:] {
			in = append(in, arbitrary([16]byte(data)))
		}
		out, tracker := replay(t, 4, in)
		requireSane(t, in, out, tracker)
	})
}

// change makes a transition.
func change(cookie, ktime, since uint64, from, to event.State) event.Event {
	return event.Event{
		Kind: event.KindTransition, Cookie: cookie, Ktime: ktime, Since: since, OldState: from, NewState: to,
		Family: event.IPv4, Local: local, Remote: remote, Facts: event.Facts{SegsIn: 1, SegsOut: 1, Shutdown: 3},
	}
}

// TestEviction has more connections than are followed: the quietest goes, and
// is counted.
func TestEviction(t *testing.T) {
	var in []event.Event
	for cookie := range uint64(4) {
		in = append(in, change(cookie+1, 100+cookie, 0, event.Close, event.SynSent))
	}
	in = append(in,
		change(1, 200, 100, event.SynSent, event.Established), // so that 2 is the quietest
		change(5, 300, 0, event.Close, event.SynSent),
		change(1, 400, 200, event.Established, event.Close),
		change(2, 500, 101, event.SynSent, event.Close),
	)
	out, tracker := replay(t, 4, in)
	if n := tracker.Evicted(); n != 1 {
		t.Errorf("%d evicted, want 1", n)
	}
	if n := tracker.Tracked(); n != 3 {
		t.Errorf("%d followed at the end, want 3", n)
	}
	conns := ends(out)
	slices.SortFunc(conns, func(a, b event.Event) int { return int(a.Cookie) - int(b.Cookie) })
	if len(conns) != 2 || conns[0].Before || conns[0].Times[event.SynSent] != 100 || !conns[1].Before {
		t.Errorf("the ends are %s", describe(conns))
	}
}

// TestGapIsNotAttributed leaves out a transition: the time of the gap belongs
// to no state that is known.
func TestGapIsNotAttributed(t *testing.T) {
	out, _ := replay(t, 4, []event.Event{
		change(1, 1000, 0, event.Close, event.SynSent),
		// SYN_SENT>ESTABLISHED is missing.
		change(1, 5000, 0, event.Established, event.Close),
	})
	conns := ends(out)
	if len(conns) != 1 || conns[0].Times[0] != 4000 || conns[0].Times[event.SynSent] != 0 || conns[0].Times[event.Established] != 0 {
		t.Errorf("got %+v", conns)
	}
}

// TestReasonsThatAreNotKnown are ends that look like others.
func TestReasonsThatAreNotKnown(t *testing.T) {
	for name, test := range map[string]struct {
		from event.State
		with func(e *event.Event)
	}{
		"in repair mode": {event.Established, func(e *event.Event) { e.Facts.Flags = event.Repair | event.Unread }},
		"no SYN was sent, and there is a local port": {event.SynSent, func(e *event.Event) {
			e.Facts = event.Facts{}
		}},
		"a child that lost a race": {event.SynRecv, func(e *event.Event) { e.Facts.Flags = event.NoFile }},
	} {
		e := change(1, 1000, 0, test.from, event.Close)
		test.with(&e)
		out, _ := replay(t, 4, []event.Event{e})
		for _, e := range out {
			if e.End.Reason != event.ReasonNone {
				t.Errorf("%s: %v", name, e.End.Reason)
			}
		}
		// Of a child that lost a race the other is the connection.
		if isConn := len(ends(out)) == 1; isConn == (test.from == event.SynRecv) {
			t.Errorf("%s: told as a connection: %v", name, isConn)
		}
	}
	e := change(1, 1000, 0, event.SynSent, event.Close)
	e.Facts, e.Local = event.Facts{}, netip.AddrPortFrom(local.Addr(), 0)
	if out, _ := replay(t, 4, []event.Event{e}); out[0].End.Reason != event.ReasonNoLocalPort {
		t.Errorf("without a local port: %v", out[0].End.Reason)
	}
}

// TestOlderStateIsNotAttributed has a connection that was in its state before
// the trace: the part that was seen is no time in that state.
func TestOlderStateIsNotAttributed(t *testing.T) {
	first := change(1, 5000, 1000, event.Established, event.CloseWait)
	first.Before = true
	out, _ := replay(t, 4, []event.Event{first, change(1, 6000, 5000, event.CloseWait, event.LastAck),
		change(1, 8000, 6000, event.LastAck, event.Close)})
	conns := ends(out)
	if len(conns) != 1 {
		t.Fatalf("got %s", describe(conns))
	}
	times := conns[0].Times
	if least, known := conns[0].AtLeast(); !known || !conns[0].Before || least != 7000 || times[event.Established] != 0 ||
		times[0] != 4000 || times[event.CloseWait] != 1000 || times[event.LastAck] != 2000 {
		t.Errorf("lived %v, in its states %v", least, times)
	}
}

// TestTimeWaitGoesFirst evicts what was told before what lives.
func TestTimeWaitGoesFirst(t *testing.T) {
	in := []event.Event{
		change(1, 100, 0, event.Close, event.SynSent),
		change(1, 200, 100, event.SynSent, event.Established),
	}
	for cookie := range uint64(20) {
		all := life(cookie+2, 1000*(cookie+1))
		in = append(in, all[:len(all)-1]...) // up to TIME_WAIT
	}
	in = append(in, change(1, 100_000, 200, event.Established, event.Close))
	out, tracker := replay(t, 4, in)
	conns := ends(out)
	last := conns[len(conns)-1]
	if len(conns) != 21 || last.Cookie != 1 || last.Before || last.Times[event.Established] != 99_800 ||
		tracker.Evicted() != 0 || tracker.Unfollowed() != 17 {
		t.Errorf("%d evicted, %s", tracker.Evicted(), describe(conns[len(conns)-1:]))
	}
}

// TestOrphanAfterAGap has an orphan's FIN_WAIT2 follow a transition that went
// unseen.
func TestOrphanAfterAGap(t *testing.T) {
	orphan := change(1, 3000, 0, event.FinWait2, event.Close)
	orphan.Facts.Flags = event.Dead
	fin := event.Event{Kind: event.KindMinisock, Cookie: 1, Ktime: 9000, Since: 8000, NewState: event.TimeWait, Local: local, Remote: remote}
	out, _ := replay(t, 4, []event.Event{change(1, 1000, 0, event.Close, event.SynSent), orphan, fin})
	conns := ends(out)
	if len(conns) != 1 || conns[0].OldState != event.FinWait2 || conns[0].End.Reason != event.ReasonFinished {
		t.Errorf("got %s", describe(conns))
	}
}

// TestLateDataOrReset tells the two apart by the report of the reset that late
// data is answered with, which may lie behind something of another source.
func TestLateDataOrReset(t *testing.T) {
	minisock := event.Event{Kind: event.KindMinisock, Cookie: 9, Ktime: 3000 + uint64(time.Second)}
	lost := event.Event{Kind: event.KindLost, Ktime: 3000 + uint64(time.Second)}
	report := event.Event{Kind: event.KindResetSent, Cookie: 1, Ktime: 3100, Facts: event.Facts{Reset: "WHY"}}
	for _, test := range []struct {
		from   event.State
		signal uint8
		after  []event.Event
		line   event.Reason
		end    event.Reason
	}{
		{event.FinWait1, 0, []event.Event{minisock, lost, report}, event.ReasonError, event.ReasonResetSent},
		{event.FinWait2, 9, []event.Event{report}, event.ReasonError, event.ReasonKilled},
		{event.FinWait2, 9, nil, event.ReasonError, event.ReasonResetByPeer},
		{event.LastAck, 0, nil, event.ReasonResetByPeer, event.ReasonResetByPeer},
	} {
		closing := change(1, 2000, 1000, event.Established, event.FinWait1)
		closing.Closes, closing.Signal, closing.Current.PID = true, test.signal, 7
		end := change(1, 3000, 2000, test.from, event.Close)
		end.Facts.Err, end.Facts.Flags, end.Facts.DataSegsIn = 104, event.Dead|event.GotReset, 1
		out, _ := replay(t, 4, append([]event.Event{change(1, 1000, 0, event.Close, event.SynSent), closing, end}, test.after...))
		conns := ends(out)
		if len(conns) != 1 || out[2].End.Reason != test.line || conns[0].End.Reason != test.end {
			t.Errorf("%v, %d: %v, then %s", test.from, test.signal, out[2].End.Reason, describe(conns))
		}
	}
}

// TestOlderOrphan has a socket that was in FIN_WAIT2 before the trace: how long
// in all is not known.
func TestOlderOrphan(t *testing.T) {
	orphan := change(1, 3000, 1000, event.FinWait2, event.Close)
	orphan.Before, orphan.Facts.Flags = true, event.Dead
	reset := event.Event{Kind: event.KindResetSent, Cookie: 1, Ktime: 9000, OldState: event.TimeWait, NewState: event.TimeWait}
	out, _ := replay(t, 4, []event.Event{orphan, reset})
	conns := ends(out)
	if len(conns) != 1 || conns[0].Times[event.FinWait2] != 0 || conns[0].Times[0] != 8000 || !conns[0].Before {
		t.Fatalf("got %s %v", describe(conns), conns)
	}
	for _, e := range out {
		if e.Kind == event.KindTransition && !e.Before {
			t.Errorf("exactly so long: %s", describe([]event.Event{e}))
		}
	}
}

// TestUnseenEnd has a socket begin a second connection before the end of its
// first was seen: that is told as not known, and leaves nothing to the second.
func TestUnseenEnd(t *testing.T) {
	out, tracker := replay(t, 4, []event.Event{
		change(1, 1000, 0, event.Close, event.SynSent),
		change(1, 2000, 1000, event.SynSent, event.Established),
		change(1, 5000, 0, event.Close, event.SynSent),
		change(1, 7000, 5000, event.SynSent, event.Close),
	})
	conns := ends(out)
	if len(conns) != 2 || tracker.Tracked() != 0 {
		t.Fatalf("got %s", describe(conns))
	}
	first, second := conns[0], conns[1]
	if first.End.Reason != event.ReasonNone || first.Times[event.SynSent] != 1000 || first.Times[0] != 3000 || first.Times[event.Established] != 0 {
		t.Errorf("the first: %s %v", describeEnd(&first), first.Times)
	}
	if second.Times[event.SynSent] != 2000 || second.Since != 5000 || second.Handshake.Connect != 0 {
		t.Errorf("the second: %s %v", describeEnd(&second), second.Times)
	}
}

// TestMinisockBesideANewConnection has a socket begin a second connection while
// the minisock of its first, which has the same cookie, is in TIME_WAIT: the
// end of the one is not the other's.
func TestMinisockBesideANewConnection(t *testing.T) {
	first := life(1, 1000)
	gone := first[len(first)-1]
	out, tracker := replay(t, 4, append(first[:len(first)-1],
		change(1, 5000, 0, event.Close, event.SynSent),
		change(1, 6000, 5000, event.SynSent, event.Established),
		gone,
		change(1, 9000, 6000, event.Established, event.Close),
	))
	conns := ends(out)
	if len(conns) != 2 || tracker.Tracked() != 0 {
		t.Fatalf("got %s", describe(conns))
	}
	for _, e := range out {
		if e.Kind == event.KindTransition && e.Cookie == 1 && e.Ktime == gone.Ktime {
			t.Errorf("the end of the one is told of the other: %s", describe([]event.Event{e}))
		}
	}
	if conns[0].NewState != event.TimeWait || conns[1].NewState != event.Close || conns[1].Times[event.Established] != 3000 {
		t.Errorf("got %s", describe(conns))
	}
}

// TestTwoMinisocks has a socket leave two, of which the first goes: the second,
// at other ports, stays.
func TestTwoMinisocks(t *testing.T) {
	first := life(1, 1000)
	gone := first[len(first)-1]
	second := life(1, 5000)
	in := first[:len(first)-1]
	for _, e := range second[:len(second)-1] {
		e.Local = netip.AddrPortFrom(local.Addr(), 81)
		in = append(in, e)
	}
	gone.Ktime, gone.Since = 9000, 8000
	_, tracker := replay(t, 4, append(in, gone))
	if n := tracker.Tracked(); n != 1 {
		t.Errorf("%d are followed, want the second", n)
	}
}

// TestResetsAreWaitedFor tells the end of a connection that sends a reset only
// when that was reported, or does not come.
func TestResetsAreWaitedFor(t *testing.T) {
	reset := event.Event{Kind: event.KindResetSent, Cookie: 1, Ktime: 2100, Facts: event.Facts{Reset: "WHY"}}
	begin := change(1, 1000, 0, event.Close, event.SynSent)
	end := change(1, 2000, 1000, event.Established, event.Close)
	late := event.Event{Kind: event.KindTick, Ktime: 2000 + uint64(50*time.Millisecond)}
	for _, test := range []struct {
		name string
		in   []event.Event
		want string
		last event.Kind
	}{
		{"it comes", []event.Event{begin, end, reset, late}, "WHY", event.KindConn},
		{"it does not come", []event.Event{begin, end, late, reset}, "", event.KindResetSent},
		{"another's comes", []event.Event{begin, end, func() event.Event { r := reset; r.Cookie = 2; return r }()}, "", event.KindConn},
	} {
		out, _ := replay(t, 4, test.in)
		conns := ends(out)
		reason := event.ReasonNone // a reset that nobody reports is none
		if test.want != "" {
			reason = event.ReasonResetSent
		}
		if len(conns) != 1 || conns[0].End.Reset != test.want || conns[0].End.Reason != reason {
			t.Errorf("%s: %s", test.name, describe(conns))
		}
		var kinds []event.Kind
		for _, e := range out {
			if e.Kind != event.KindTick {
				kinds = append(kinds, e.Kind)
			}
		}
		if kinds[len(kinds)-1] != test.last {
			t.Errorf("%s: the kinds are %v", test.name, kinds)
		}
	}
}

// life are the events of one connection, on both sides.
func life(cookie, at uint64) []event.Event {
	established := change(cookie, at+1, at, event.SynSent, event.Established)
	established.Facts = event.Facts{SRTT: 31, MinRTT: 31, SegsIn: 1, SegsOut: 1}
	last := change(cookie, at+4, at+3, event.FinWait2, event.Close)
	last.Facts.Flags = event.Done
	gone := event.Event{Kind: event.KindMinisock, Cookie: cookie, Ktime: at + 6, Since: at + 5, NewState: event.Close, Fate: event.FateExpired,
		Local: local, Remote: remote}
	return []event.Event{
		change(cookie, at, 0, event.Close, event.SynSent), established,
		change(cookie, at+2, at+1, event.Established, event.FinWait1),
		change(cookie, at+3, at+2, event.FinWait1, event.FinWait2), last, gone,
	}
}

func nowhere(*event.Event) error { return nil }

func TestSteadyStateAllocatesNothing(t *testing.T) {
	tracker := conn.NewTracker(100)
	events := life(1, 1)
	cookie := uint64(0)
	var e event.Event
	run := func() {
		cookie++
		for _, e = range events {
			e.Cookie = cookie
			_ = tracker.Apply(&e, nowhere)
		}
	}
	for range 10_000 {
		run()
	}
	if n := testing.AllocsPerRun(10_000, run); n != 0 {
		t.Errorf("%v allocations a connection", n)
	}
}

// TestMemory measures what a connection costs.
func TestMemory(t *testing.T) {
	const conns = 200_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	tracker := conn.NewTracker(conns)
	for cookie := range uint64(conns) {
		e := change(cookie+1, cookie+1, 0, event.Close, event.SynSent)
		_ = tracker.Apply(&e, nowhere)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	perConn := float64(after.HeapAlloc-before.HeapAlloc) / conns
	runtime.KeepAlive(tracker)
	if perConn > 400 {
		t.Errorf("%.0f bytes of heap a connection, want 400 at most", perConn)
	}
	t.Logf("%.0f bytes of heap a connection", perConn)
}

// BenchmarkTracker gives it one event after the other, of 10,000 connections
// at a time.
func BenchmarkTracker(b *testing.B) {
	const width = 10_000
	var events []event.Event
	for step := range 6 {
		for cookie := range uint64(width) {
			events = append(events, life(cookie+1, cookie*100+1)[step])
		}
	}
	tracker := conn.NewTracker(conn.DefaultMaxConns)
	b.ReportAllocs()
	i := 0
	var e event.Event
	for b.Loop() {
		e = events[i]
		if i++; i == len(events) {
			i = 0
		}
		_ = tracker.Apply(&e, nowhere)
	}
}
