package outlet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tcpstates/internal/event"
	"tcpstates/internal/output"
)

// disk has room for so many bytes, and takes whole lines.
type disk struct {
	text bytes.Buffer
	room int
	err  error // what it says when there is no more
	asks int   // how often it was written to
}

func (d *disk) Write(lines []byte) (int, error) {
	d.asks++
	n := len(lines)
	if n > d.room {
		n = bytes.LastIndexByte(lines[:d.room], '\n') + 1
	}
	d.room -= n
	d.text.Write(lines[:n])
	if n < len(lines) {
		return n, d.err
	}
	return n, nil
}

// bench is a format that writes to a disk.
type bench struct {
	*Sink
	disk   disk
	outlet *Outlet
	now    time.Time
	said   []string
	given  int // events
}

func newBench(t *testing.T, format string, o output.Options) *bench {
	t.Helper()
	b := &bench{disk: disk{room: 1 << 30, err: syscall.ENOSPC}, now: time.Unix(1, 0)}
	b.outlet = New(Options{
		To: &b.disk, Name: "the events", Now: func() time.Time { return b.now },
		Say: func(text string) { b.said = append(b.said, text) },
	})
	o.Out, o.Notes, o.Width, o.MaxConns = b.outlet, io.Discard, func() int { return 0 }, 100
	f, found := output.Find(format)
	if !found {
		t.Fatal(format)
	}
	b.Sink = NewSink(b.outlet, f.New(o))
	if err := errors.Join(b.Start(event.Start{Version: "v"}), b.Flush()); err != nil {
		t.Fatal(err)
	}
	b.outlet.Endure()
	return b
}

// give writes so many transitions, and flushes after each of some.
func (b *bench) give(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		b.given++
		e := event.Event{
			Kind: event.KindTransition, Wall: int64(b.given), Ktime: uint64(b.given), OldState: event.Close, NewState: event.SynSent,
			Family: event.IPv4, Cookie: uint64(b.given),
			Local: netip.MustParseAddrPort("127.0.0.1:0"), Remote: netip.MustParseAddrPort("127.0.0.1:80"),
		}
		err := b.Write(&e)
		if i%7 == 0 {
			err = errors.Join(err, b.Flush())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// end ends the trace, and gives its account.
func (b *bench) end(t *testing.T) event.Stop {
	t.Helper()
	stop := event.Stop{Shown: uint64(b.given)}
	if err := b.Stop(stop); err != nil {
		t.Fatal(err)
	}
	b.outlet.Account(&stop)
	return stop
}

// line is a record of JSON.
type line struct {
	Type      string `json:"type"`
	Sock      string `json:"sock"`
	Lost      uint64 `json:"lost"`
	Cause     string `json:"cause"`
	OneIn     uint64 `json:"one_in"`
	Shown     uint64 `json:"shown"`
	Unwritten uint64 `json:"unwritten"`
}

// linesOf reads what the disk holds, of which each line must be whole.
func (b *bench) linesOf(t *testing.T) (all []line) {
	t.Helper()
	for text := range strings.Lines(b.disk.text.String()) {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatalf("%v in %q", err, text)
		}
		all = append(all, l)
	}
	return all
}

// TestAHoleIsCountedWhereverItBegins has the room end at every byte of some lines,
// and come back.
func TestAHoleIsCountedWhereverItBegins(t *testing.T) {
	for room := range 700 {
		b := newBench(t, "json", output.Options{})
		b.disk.room = room
		b.give(t, 50)
		b.disk.room = 1 << 20
		b.give(t, 50) // too early to try
		b.now = b.now.Add(pause)
		b.give(t, 50)
		stop := b.end(t)
		shown, lost, last := 0, uint64(0), 0
		lines := b.linesOf(t)
		for _, l := range lines[1 : len(lines)-1] {
			switch l.Type {
			case "transition":
				shown++
				last = shown
			case "lost":
				if lost += l.Lost; l.Cause != "no space left on device" || last != shown {
					t.Errorf("room for %d: a loss of %+v", room, l)
				}
			}
		}
		said := lines[len(lines)-1]
		if uint64(shown)+lost != 150 || said.Type != "stop" || said.Shown != uint64(shown) || said.Unwritten != lost {
			t.Errorf("room for %d: %d shown and %d lost of 150, and the last record is %+v", room, shown, lost, said)
		}
		if stop.Shown != uint64(shown) || stop.Unwritten != lost || lost == 0 {
			t.Errorf("room for %d: the account is %+v, of %d shown and %d lost", room, stop, shown, lost)
		}
		if len(b.said) != 2 || b.outlet.Incomplete() == nil {
			t.Errorf("room for %d: it says %q, and that it is %v", room, b.said, b.outlet.Incomplete())
		}
	}
}

// TestWhatIsKeptIsCountedOnce has the room end twice in the same lines, wherever.
func TestWhatIsKeptIsCountedOnce(t *testing.T) {
	for first := 0; first < 1800; first += 89 {
		for second := 0; second < 1800; second += 97 {
			b := newBench(t, "json", output.Options{})
			b.disk.room = first
			b.give(t, 60)
			b.disk.room = second
			b.now = b.now.Add(pause)
			if err := b.Flush(); err != nil {
				t.Fatal(err)
			}
			stop := b.end(t)
			if shown := uint64(strings.Count(b.disk.text.String(), `"type":"transition"`)); stop.Shown != shown || stop.Unwritten != 60-shown {
				t.Errorf("room for %d and %d: %d lines, and the account is %+v", first, second, shown, stop)
			}
		}
	}
}

// TestNothingIsTriedBeforeThePause: a full disk is not asked with each event.
func TestNothingIsTriedBeforeThePause(t *testing.T) {
	b := newBench(t, "json", output.Options{})
	b.disk.room = 0
	for range 3 {
		b.give(t, 1)
		asks := b.disk.asks
		b.now = b.now.Add(pause - 1)
		if b.give(t, 50); b.disk.asks != asks {
			t.Errorf("the disk was asked %d times before the pause was over", b.disk.asks-asks)
		}
		b.now = b.now.Add(1)
		if b.give(t, 50); b.disk.asks != asks+1 {
			t.Errorf("the disk was asked %d times when the pause was over, want once", b.disk.asks-asks)
		}
	}
}

// TestNoRoomToTheEnd counts what never was written, in every format.
func TestNoRoomToTheEnd(t *testing.T) {
	for _, format := range []string{"table", "wide", "csv", "json", "logfmt", "bcc", "libbpf"} {
		for _, room := range []int{0, 1, 500, 3000, 9999} {
			b := newBench(t, format, output.Options{})
			begins := strings.Count(b.disk.text.String(), "\n")
			b.disk.room = room
			b.give(t, 200)
			stop := b.end(t)
			shown := strings.Count(b.disk.text.String(), "\n") - begins
			if !strings.HasSuffix(b.disk.text.String(), "\n") || stop.Shown != uint64(shown) || stop.Unwritten != uint64(200-shown) {
				t.Errorf("%s, room for %d: %d lines, and the account is %+v", format, room, shown, stop)
			}
			if len(b.said) != 1 {
				t.Errorf("%s, room for %d: it says %q", format, room, b.said)
			}
		}
	}
}

// TestLossesAreHeldWhileThereIsNoRoom: what was lost on the way is told afterwards.
func TestLossesAreHeldWhileThereIsNoRoom(t *testing.T) {
	b := newBench(t, "json", output.Options{})
	b.disk.room = 0
	b.give(t, 1)
	for range 2 {
		if err := b.Write(&event.Event{Kind: event.KindLost, Lost: 5}); err != nil {
			t.Fatal(err)
		}
	}
	for _, oneIn := range []uint64{2, 4} {
		if err := b.Write(&event.Event{Kind: event.KindSampling, OneIn: oneIn}); err != nil {
			t.Fatal(err)
		}
	}
	b.give(t, 3)
	b.disk.room = 1 << 20
	b.end(t)
	var losses []line
	for _, l := range b.linesOf(t) {
		switch l.Type {
		case "lost":
			losses = append(losses, l)
		case "sampling":
			if l.OneIn != 4 {
				t.Errorf("one in %d is told, want the last of them", l.OneIn)
			}
		}
	}
	if len(losses) != 2 || losses[0].Lost != 3 || losses[1].Lost != 10 || losses[1].Cause != "" {
		t.Errorf("the losses are %+v", losses)
	}
}

// TestEachHoleTellsItsOwn: what was told of one is not told of the next.
func TestEachHoleTellsItsOwn(t *testing.T) {
	b := newBench(t, "json", output.Options{})
	for i, held := range [][]event.Event{
		{{Kind: event.KindLost, Lost: 5}, {Kind: event.KindSampling, OneIn: 4}},
		{{Kind: event.KindLost, Lost: 7}},
		{},
	} {
		b.disk.room = 0
		b.give(t, 2+i) // the first is kept
		for _, e := range held {
			if err := b.Write(&e); err != nil {
				t.Fatal(err)
			}
		}
		b.disk.room = 1 << 20
		b.now = b.now.Add(pause)
		b.give(t, 1)
	}
	b.end(t)
	var got []string
	for _, l := range b.linesOf(t) {
		switch l.Type {
		case "lost":
			got = append(got, strings.TrimSpace(fmt.Sprint("lost ", l.Lost, " ", l.Cause)))
		case "sampling":
			got = append(got, fmt.Sprint("one in ", l.OneIn))
		}
	}
	want := []string{
		"lost 1 no space left on device", "lost 5", "one in 4",
		"lost 2 no space left on device", "lost 7",
		"lost 3 no space left on device",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestLinesWithoutEventsMustBeWrittenToo: without a part of a header, or without the
// line of a loss, what is written is incomplete, though no event is missing.
func TestLinesWithoutEventsMustBeWrittenToo(t *testing.T) {
	for name, write := range map[string]func(b *bench) error{
		"header": func(b *bench) error {
			_, err := b.outlet.Write([]byte("one\ntwo\n"))
			return err
		},
		"loss": func(b *bench) error {
			return errors.Join(b.Write(&event.Event{Kind: event.KindLost, Lost: 5}), b.Flush())
		},
	} {
		for _, room := range []int{0, 5, 1 << 20} {
			b := newBench(t, "json", output.Options{})
			b.disk.room = room
			if err := write(b); err != nil {
				t.Fatal(err)
			}
			if err := b.outlet.Incomplete(); (err == nil) != (room > 5) {
				t.Errorf("%s, room for %d: it says that it is %v", name, room, err)
			}
			b.disk.room = 1 << 20
			if stop := b.end(t); stop.Unwritten != 0 || b.outlet.Incomplete() != nil {
				t.Errorf("%s, room for %d and again: the account is %+v, and it says that it is %v", name, room, stop, b.outlet.Incomplete())
			}
		}
	}
}

func TestOnlyErrorsThatPassAreHeldOut(t *testing.T) {
	for err, passes := range map[error]bool{
		syscall.ENOSPC: true, syscall.EDQUOT: true, syscall.EPIPE: false, syscall.EIO: false, syscall.EFBIG: false,
	} {
		b := newBench(t, "csv", output.Options{})
		b.disk.room, b.disk.err = 0, err
		got := errors.Join(b.Write(&event.Event{Kind: event.KindTransition}), b.Flush())
		if passes != (got == nil) || !passes && !errors.Is(got, err) {
			t.Errorf("%v: got %v", err, got)
		}
	}
}

// TestTheFirstWordsMustBeWritten: who starts a trace sees at once that it has no room.
func TestTheFirstWordsMustBeWritten(t *testing.T) {
	o := New(Options{To: &disk{err: syscall.ENOSPC}})
	if _, err := o.Write([]byte("header\n")); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
}

func TestWritingAllocatesNothing(t *testing.T) {
	b := newBench(t, "json", output.Options{})
	b.disk.text.Grow(8 << 20)
	e := event.Event{Kind: event.KindTransition, OldState: event.Close, NewState: event.SynSent, Wall: 1}
	write := func() {
		if err := b.Write(&e); err != nil {
			t.Fatal(err)
		}
	}
	for range 2000 { // more than is written at once
		write()
	}
	if n := testing.AllocsPerRun(2000, write); n != 0 {
		t.Errorf("%v allocations an event", n)
	}
}

// TestBlocksAreCountedWithTheirLines has a connection's block find no room.
func TestBlocksAreCountedWithTheirLines(t *testing.T) {
	f, _ := output.Find("table")
	grouped, _ := f.Grouped()
	var d disk
	d.room, d.err = 1<<20, syscall.ENOSPC
	o := New(Options{To: &d, Now: func() time.Time { return time.Unix(1, 0) }, Say: func(string) {}})
	s := NewSink(o, grouped.New(output.Options{Out: o, Notes: io.Discard, Width: func() int { return 0 }, MaxConns: 9}))
	if err := errors.Join(s.Start(event.Start{}), s.Flush()); err != nil {
		t.Fatal(err)
	}
	o.Endure()
	d.room = 0
	states := []event.State{event.Close, event.SynSent, event.Established, event.Close}
	for i := range states[1:] {
		e := event.Event{Kind: event.KindTransition, OldState: states[i], NewState: states[i+1], Cookie: 1, Ktime: uint64(i + 1), Wall: int64(i + 1)}
		if err := s.Write(&e); err != nil {
			t.Fatal(err)
		}
	}
	stop := event.Stop{Shown: 10}
	if err := s.Stop(stop); err != nil {
		t.Fatal(err)
	}
	if o.Account(&stop); stop.Shown != 7 || stop.Unwritten != 3 {
		t.Errorf("the account is %+v", stop)
	}
}
