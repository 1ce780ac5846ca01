package output

import (
	"bytes"
	"errors"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"tcpstates/internal/conn"
	"tcpstates/internal/event"
	"tcpstates/internal/golden"
	"tcpstates/internal/pipeline"
	"tcpstates/internal/record"
)

// recorded are the events of a text recording.
func recorded(t testing.TB, file string) []event.Event {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	events, err := record.Read(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// grouping is a sink of blocks with what it writes.
type grouping struct {
	*group
	out, notes bytes.Buffer
}

func newGrouping(t testing.TB, format string, o Options) *grouping {
	t.Helper()
	f, _ := Find(format)
	grouped, has := f.Grouped()
	if !has {
		t.Fatalf("%s has no blocks", format)
	}
	g := &grouping{}
	o.Out, o.Notes = &g.out, &g.notes
	if o.Width == nil {
		o.Width = func() int { return 0 }
	}
	g.group = grouped.New(o).(*group)
	return g
}

// take writes events, ends of connections as the pipeline does.
func (g *grouping) take(t testing.TB, events ...event.Event) {
	t.Helper()
	for i := range events {
		if err := g.Apply(&events[i], g.Write); err != nil {
			t.Fatal(err)
		}
	}
}

// track writes events with what a tracker concludes from them.
func (g *grouping) track(t testing.TB, events []event.Event) {
	t.Helper()
	tracker := conn.NewTracker(100)
	write := func(e *event.Event) error {
		if e.Kind == event.KindTick || e.Kind == event.KindMinisock {
			return nil
		}
		return g.Apply(e, g.Write)
	}
	for _, e := range append(events, event.Event{Kind: event.KindTick, Ktime: pipeline.EndOfTime}) {
		if err := tracker.Apply(&e, write); err != nil {
			t.Fatal(err)
		}
	}
}

// blocks are how a format shows some recordings, and a loss among them.
func blocks(t *testing.T, format string, o Options) string {
	o.MaxConns = 100
	g := newGrouping(t, format, o)
	err := g.Start(start)
	for i, name := range []string{"active-close", "refused", "orphan-whose-FIN-comes-late", "handshake-SYN-ACK-lost"} {
		events := recorded(t, filepath.Join("../../testdata/rec", name+".rec"))
		for j := range events {
			events[j].Cookie += uint64(100 * i)
		}
		g.track(t, events)
		g.take(t, event.Event{Kind: event.KindLost, Ktime: 1, Wall: events[0].Wall, Lost: 7})
	}
	if err = errors.Join(err, g.Stop(event.Stop{Wall: int64(10 * time.Second)})); err != nil {
		t.Fatal(err)
	}
	return g.out.String()
}

func TestBlocks(t *testing.T) {
	for name, test := range map[string]struct {
		format  string
		options Options
	}{
		"pipe":    {"table", Options{}},
		"80":      {"table", Options{Width: func() int { return 80 }}},
		"200":     {"table", Options{Width: func() int { return 200 }, Color: true}},
		"wide":    {"wide", Options{Width: func() int { return 80 }}},
		"columns": {"table", with("table", "elapsed,newstate,pid,ms", Options{})},
		"names": {"table", Options{
			Names:    func(netip.Addr) string { return "peer.example" },
			Services: func(port uint16, _ bool) string { return map[uint16]string{34667: "web"}[port] },
		}},
	} {
		golden.Check(t, filepath.Join(goldenDir, "group", name+".txt"), blocks(t, test.format, test.options))
	}
}

func TestBlocksFitTheirTerminal(t *testing.T) {
	for width := 60; width <= 220; width++ {
		out := blocks(t, "table", Options{Width: func() int { return width }})
		for line := range strings.Lines(out) {
			// A duration is never cut, nor is the sentence of a loss.
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width &&
				!strings.Contains(line, "-> ESTABLISHED 1111.625") && !strings.Contains(line, "lost") {
				t.Errorf("%d characters in a line of a terminal with %d: %s", n, width, line)
			}
		}
	}
}

func TestOnlyTablesHaveBlocks(t *testing.T) {
	for _, f := range Formats {
		if _, has := f.Grouped(); has != (f.Name == "table" || f.Name == "wide") {
			t.Errorf("%s: %v", f.Name, has)
		}
	}
}

// TestNoConnectionIsKeptForGood goes through all recordings: what has ended is
// forgotten, and what follows its end is not taken for another.
func TestNoConnectionIsKeptForGood(t *testing.T) {
	files, err := filepath.Glob("../../testdata/rec/*.rec")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		events := recorded(t, file)
		open := map[uint64]bool{}
		for _, e := range events {
			if e.Kind == event.KindTransition {
				open[e.Cookie] = e.NewState != event.Close
			}
			if e.Kind == event.KindMinisock {
				open[e.Cookie] = false
			}
		}
		g := newGrouping(t, "table", Options{MaxConns: 100})
		g.track(t, events)
		for socket := range g.conns {
			if !open[socket] {
				t.Errorf("%s: %d has ended and is kept", file, socket)
			}
		}
		if g.quiet.Len() != len(g.conns) {
			t.Errorf("%s: %d in the list, %d by socket", file, g.quiet.Len(), len(g.conns))
		}
	}
}

// life are the transitions of a client, and its end as a whole.
func life(cookie uint64, began time.Duration) (transitions []event.Event, end event.Event) {
	const local, remote = "10.0.0.1:40000", "10.0.0.2:443"
	owner := event.Process{PID: 7, Comm: event.CommOf("client")}
	transitions = []event.Event{
		hop(began, -1, event.Close, event.SynSent, local, remote, owner),
		hop(began+time.Second, time.Second, event.SynSent, event.Established, local, remote, owner),
		hop(began+4*time.Second, 3*time.Second, event.Established, event.Close, local, remote, owner),
	}
	for i := range transitions {
		transitions[i].Cookie, transitions[i].Role = cookie, event.RoleClient
	}
	transitions[2].End = event.End{Reason: event.ReasonResetSent, Cause: event.CauseUnreadData}
	end = transitions[2]
	end.Kind = event.KindConn
	end.Since = transitions[0].Ktime
	end.Times[event.SynSent], end.Times[event.Established] = time.Second, 3*time.Second
	return transitions, end
}

// headsOf are the lives that the heads of blocks tell.
func headsOf(out string) (lives []string) {
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "client[7]") {
			at := strings.Index(line, "  client  ")
			lives = append(lives, strings.TrimSpace(line[at+len("  client  "):]))
		}
	}
	return lives
}

// TestEndsThatAreToldLate: the end of a connection may come when its socket has
// begun another.
func TestEndsThatAreToldLate(t *testing.T) {
	g := newGrouping(t, "table", Options{MaxConns: 10})
	first, firstEnd := life(1, 0)
	second, secondEnd := life(1, 5*time.Second)
	third, _ := life(1, 10*time.Second)
	g.take(t, first...)
	g.take(t, second[0])
	if g.flush(); strings.Contains(g.out.String(), "client[7]") {
		t.Errorf("shown before the end was told:\n%s", &g.out)
	}
	g.take(t, firstEnd)
	g.take(t, second[1:]...)
	g.take(t, third[:2]...)
	g.take(t, secondEnd)
	if len(g.conns) != 1 || g.quiet.Len() != 1 || g.conns[1].previous != nil {
		t.Errorf("%d are kept, %d in the list, want the third", len(g.conns), g.quiet.Len())
	}
	wall, _ := at(12 * time.Second)
	if err := g.Stop(event.Stop{Wall: wall}); err != nil {
		t.Fatal(err)
	}
	out := g.out.String()
	if got := strings.Join(headsOf(out), ", "); got != "4000.000 ms, 4000.000 ms, 2000.000 ms" {
		t.Errorf("lives %s:\n%s", got, out)
	}
	if n := strings.Count(out, "reset sent (unread data)\n"); n != 4 { // of each, in its line and below
		t.Errorf("%d times told why they ended:\n%s", n, out)
	}
	if !strings.HasSuffix(out, "  ░ SYN_SENT 1000.000  █ ESTABLISHED 1000.000\n  not ended\n") {
		t.Errorf("the last is not open:\n%s", out)
	}
}

// TestEndsThatNobodyTells: where filters keep the ends back, or two CPUs have made
// one socket each of a handshake.
func TestEndsThatNobodyTells(t *testing.T) {
	g := newGrouping(t, "table", Options{MaxConns: 10})
	for i := range 4 {
		one, _ := life(1, time.Duration(5*i)*time.Second)
		g.take(t, one...)
		if g.quiet.Len() > 2 {
			t.Fatalf("%d of one socket are kept", g.quiet.Len())
		}
	}
	twin := hop(0, -1, event.SynRecv, event.Close, "10.0.0.1:443", "10.0.0.2:40000", event.Process{})
	twin.Cookie = 2
	g.take(t, twin)
	if g.conns[2] != nil {
		t.Error("the twin is kept")
	}
	if err := g.Stop(event.Stop{}); err != nil {
		t.Fatal(err)
	}
	if out := g.out.String(); strings.Count(out, "4000.000 ms") != 4 || strings.Contains(out, "not ended") {
		t.Errorf("got\n%s", out)
	}
}

// TestWhatFollowsTheEnd has no block, and is not kept.
func TestWhatFollowsTheEnd(t *testing.T) {
	g := newGrouping(t, "table", Options{MaxConns: 10})
	one, end := life(1, 0)
	one[2].NewState, end.NewState = event.TimeWait, event.TimeWait
	g.take(t, append(one, end)...)
	over := hop(64*time.Second, 60*time.Second, event.TimeWait, event.Close, "10.0.0.1:40000", "10.0.0.2:443", event.Process{})
	over.Cookie, over.Derived = 1, true
	owner := over
	owner.Kind = event.KindOwner
	g.take(t, over, owner)
	if err := g.Stop(event.Stop{}); err != nil {
		t.Fatal(err)
	}
	if out := g.out.String(); len(g.conns) != 0 || len(headsOf(out)) != 1 || strings.Contains(out, "TIME_WAIT   -> CLOSE") {
		t.Errorf("%d are kept:\n%s", len(g.conns), out)
	}
}

func TestTooManyConnections(t *testing.T) {
	g := newGrouping(t, "table", Options{MaxConns: 2})
	for cookie := range uint64(5) {
		one, _ := life(cookie+1, time.Duration(cookie))
		g.take(t, one[0])
		if oldest := g.conns[1]; oldest == nil { // which is never the quietest
			t.Fatalf("the first is gone with that of %d", cookie+1)
		}
		first, _ := life(1, 0)
		g.take(t, first[1])
	}
	if g.quiet.Len() != 2 || len(g.conns) != 2 {
		t.Errorf("%d are kept", g.quiet.Len())
	}
	if err := g.Stop(event.Stop{}); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(g.out.String(), "not followed to its end: there were too many, see --max-conns"); n != 3 {
		t.Errorf("%d were not followed to their end:\n%s", n, &g.out)
	}
	if want := "tcpstates: 3 connections were shown before their end, as there were too many: see --max-conns\n"; g.notes.String() != want {
		t.Errorf("told %q, want %q", &g.notes, want)
	}
}

func TestTooManyLines(t *testing.T) {
	g := newGrouping(t, "table", Options{MaxConns: 2})
	one, end := life(1, 0)
	again := one[0]
	again.Kind, again.OldState = event.KindRetransmit, event.SynSent
	g.take(t, one[0])
	for range 100 {
		g.take(t, again)
	}
	g.take(t, one[1], one[2], end)
	if err := g.Stop(event.Stop{}); err != nil {
		t.Fatal(err)
	}
	out := g.out.String()
	if n := strings.Count(out, "\n  22:"); n+strings.Count(out, "\n  00:")+strings.Count(out, "\n  23:") != maxLines || !strings.Contains(out, "  -- 39 lines left out --\n") ||
		!strings.Contains(out, "ESTABLISHED -> CLOSE") {
		t.Errorf("got\n%s", out)
	}
}

// account is a Marked that keeps the marks.
type account struct {
	bytes.Buffer
	marks []Mark
}

func (a *account) WriteMarked(lines []byte, marks []Mark) error {
	a.marks = append(a.marks, marks...)
	_, err := a.Write(lines)
	return err
}

// TestABlockAccountsForItsEvents, of which the transitions count as shown.
func TestABlockAccountsForItsEvents(t *testing.T) {
	var out account
	g := newGrouping(t, "table", Options{MaxConns: 2})
	g.buffer = newBuffer(&out)
	one, end := life(1, 0)
	again := one[0]
	again.Kind, again.OldState = event.KindRetransmit, event.SynSent
	g.take(t, one[0], again, one[1], one[2], end)
	if err := g.Stop(event.Stop{}); err != nil {
		t.Fatal(err)
	}
	if want := []Mark{{out.Len(), 4, 3}}; !slices.Equal(out.marks, want) {
		t.Errorf("marks %v, want %v, of\n%s", out.marks, want, &out)
	}
}

// TestBarsHoldTheirRoom: whatever the times, of a recording that nobody vouches for.
func TestBarsHoldTheirRoom(t *testing.T) {
	for _, times := range [][4]time.Duration{
		{}, {1}, {0, 1, 1}, {1, 1, 1, 1}, {math.MaxInt64, math.MaxInt64, math.MaxInt64}, {math.MinInt64, 5}, {1, math.MaxInt64, 1, 1}, {7, 11, 13},
	} {
		var all [event.NewSynRecv + 1]time.Duration
		copy(all[:], times[:])
		for _, room := range []int{2, 4, 78, 198} {
			sum, some := 0, 0
			for s, cells := range lengths(&all, room) {
				sum += cells
				if all[s] > 0 {
					some++
				}
				if (cells > 0) != (all[s] > 0) {
					t.Errorf("%v: %d characters for %v", times, cells, all[s])
				}
			}
			if some > 0 && sum != max(room, some) {
				t.Errorf("%v: %d characters of %d", times, sum, room)
			}
		}
	}
}
