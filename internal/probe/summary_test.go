package probe

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tcpstates/bpf"
	"tcpstates/internal/conn"
	"tcpstates/internal/event"
	"tcpstates/internal/record"
	"tcpstates/internal/summary"
)

// follower is what the programs of the summary remember of a socket, as far as its end
// goes by it.
type follower struct {
	killed, closed, counted bool
	dataAtClose             uint32
	ended                   bpf.SummaryEnding
}

// endings counts ends as the programs do, by the rules of put_ending in
// bpf/summary.bpf.c, from the events of a trace.
func endings(events []event.Event) map[bpf.SummaryEnding]int64 {
	counts := map[bpf.SummaryEnding]int64{}
	sockets := map[uint64]*follower{}
	for i := range events {
		e := &events[i]
		f := sockets[e.Cookie]
		if f == nil || e.Begins() {
			f = &follower{}
			sockets[e.Cookie] = f
		}
		switch {
		case e.Kind == event.KindResetSent && f.counted:
			counts[f.ended]--
			f.ended.Signs |= uint8(bpf.SummaryEndingSignsENDING_REPORTED)
			counts[f.ended]++
			f.counted = false
		case e.Kind == event.KindTransition:
			f.killed = f.killed || e.Closes && e.Signal != 0
			if e.NewState == event.FinWait1 && e.Facts.Shutdown == 3 {
				f.closed, f.dataAtClose = true, e.Facts.DataSegsIn
			}
			if e.NewState == event.Close {
				f.ended, f.counted = f.endingOf(e), true
				counts[f.ended]++
			}
		}
	}
	return counts
}

func (f *follower) endingOf(e *event.Event) bpf.SummaryEnding {
	ending := bpf.SummaryEnding{Oldstate: uint8(e.OldState)}
	if e.OldState == event.Listen {
		return ending
	}
	ending.Err, ending.Shutdown = e.Facts.Err, e.Facts.Shutdown
	ending.Facts = uint16(e.Facts.Flags &^ (event.Child | event.CookieEcho))
	for sign, has := range map[bpf.SummaryEndingSigns]bool{
		bpf.SummaryEndingSignsENDING_KILLED:     f.killed,
		bpf.SummaryEndingSignsENDING_SILENT:     e.Facts.SegsOut == 0,
		bpf.SummaryEndingSignsENDING_NO_LINGER2: e.Facts.Linger2 < 0,
		bpf.SummaryEndingSignsENDING_NO_PORT:    e.Local.Port() == 0,
		bpf.SummaryEndingSignsENDING_LATE_DATA: (e.OldState == event.FinWait1 || e.OldState == event.FinWait2) &&
			e.Facts.Err != 0 && (!f.closed || e.Facts.DataSegsIn > f.dataAtClose),
	} {
		if has {
			ending.Signs |= uint8(sign)
		}
	}
	return ending
}

// told is how an end is told, and how often.
type told map[string]int64

func tellEnd(e *event.Event) string {
	if e.Role == event.RoleListener || e.End.Reason == event.ReasonListenerClosed {
		return "listener"
	}
	return e.OldState.String() + " " + e.End.Reason.String() + " " + e.End.Cause.String()
}

// exactEnds are those that a Tracker tells which follows no minisocks.
func exactEnds(t testing.TB, events []event.Event) told {
	t.Helper()
	ends := told{}
	tell := func(e *event.Event) error {
		if e.Kind == event.KindConn {
			ends[tellEnd(e)]++
		}
		return nil
	}
	track(t, events, tell)
	return ends
}

// track has a Tracker judge the events as those of sockets without cookies, to the end
// of what it waits for.
func track(t testing.TB, events []event.Event, next func(*event.Event) error) {
	t.Helper()
	tracker := conn.NewTracker(1 << 20)
	var last uint64
	for _, e := range events {
		if e.Kind == event.KindMinisock {
			continue
		}
		e.SkAddr, e.Cookie = e.Cookie|1<<63, 0
		last = max(last, e.Ktime)
		if err := tracker.Apply(&e, next); err != nil {
			t.Fatal(err)
		}
	}
	if err := tracker.Apply(&event.Event{Kind: event.KindTick, Ktime: last + uint64(time.Second)}, next); err != nil {
		t.Fatal(err)
	}
}

// countedEnds are those that ways to end, counted, stand for.
func countedEnds(ends []Ended) told {
	all := told{}
	for _, end := range ends {
		e := end.Event
		if conn.EndOf(&e, end.Reported) {
			all[tellEnd(&e)] += int64(end.N)
		}
	}
	return all
}

// requireSameEnds compares them.
func requireSameEnds(t testing.TB, want, got told) {
	t.Helper()
	for end, n := range want {
		if got[end] != n {
			t.Errorf("%d ended so: %s; counted were %d", n, end, got[end])
		}
	}
	for end, n := range got {
		if want[end] == 0 {
			t.Errorf("%d were counted, and none ended so: %s", n, end)
		}
	}
}

// isOfLess tells of a reset that a minisock sends: no socket's.
func isOfLess(e *event.Event) bool {
	return e.Kind == event.KindResetSent && e.NewState == event.TimeWait
}

// TestEveryEndingByItsCount: what the kernel counts ends by is enough to tell their
// reasons as a Tracker does that has seen all of it.
func TestEveryEndingByItsCount(t *testing.T) {
	files, err := filepath.Glob("../../testdata/rec/*.rec")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d recordings, %v", len(files), err)
	}
	ways := map[bpf.SummaryEnding]bool{}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".rec"), func(t *testing.T) {
			events := readRecording(t, file)
			var ends []Ended
			for ending, n := range endings(events) {
				ways[ending] = true
				if n > 0 {
					ends = append(ends, endedOf(&ending, uint64(n)))
				}
			}
			requireSameEnds(t, exactEnds(t, events), countedEnds(ends))
		})
	}
	spec, err := bpf.LoadSummary()
	if err != nil {
		t.Fatal(err)
	}
	if room := int(spec.Maps["endings"].MaxEntries); len(ways)*8 > room {
		t.Errorf("%d ways to end, and the map has room for %d", len(ways), room)
	}
}

// readRecording reads a recording of text, without what is of less than a socket.
func readRecording(t testing.TB, path string) (events []event.Event) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	reader, err := record.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	for {
		var e event.Event
		if err := reader.Read(&e); errors.Is(err, io.EOF) {
			return events
		} else if err != nil {
			t.Fatal(err)
		}
		if !isOfLess(&e) {
			events = append(events, e)
		}
	}
}

// TestOrphanIsTold: of a minisock in FIN_WAIT2 nothing is claimed but that.
func TestOrphanIsTold(t *testing.T) {
	key := bpf.SummaryEnding{Oldstate: uint8(event.FinWait2), Shutdown: 3, Facts: uint16(event.Dead | event.NoFile | event.AllAcked)}
	end := endedOf(&key, 1)
	if !conn.EndOf(&end.Event, false) || end.Event.NewState != event.FinWait2 || end.Event.End.Reason != event.ReasonNone {
		t.Errorf("an orphan is told as %v, %v", end.Event.NewState, end.Event.End)
	}
	key.Signs = uint8(bpf.SummaryEndingSignsENDING_REPORTED)
	end = endedOf(&key, 1)
	if !conn.EndOf(&end.Event, end.Reported) || end.Event.NewState != event.Close || end.Event.End.Cause != event.CauseLateData {
		t.Errorf("one that has sent a reset is told as %v, %v", end.Event.NewState, end.Event.End)
	}
}

// TestBucketsAreTheSame holds together what the programs count by and what is told.
func TestBucketsAreTheSame(t *testing.T) {
	_ = summary.Buckets(Times{}) // as many
	if got, want := summary.Bound(0), time.Duration(1)<<FirstBound; got != want {
		t.Errorf("the first bucket is told as %v, and counts times below %v", got, want)
	}
}
