package cli

import (
	"bytes"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tcpstates/internal/event"
	"tcpstates/internal/kerneltest"
	"tcpstates/internal/probe"
)

// rate is an event that says which part of the connections is shown, so many
// seconds after the beginning.
func rate(oneIn uint64, seconds float64) event.Event {
	ktime := uint64(seconds * float64(time.Second))
	return event.Event{Kind: event.KindSampling, OneIn: oneIn, Ktime: ktime, Wall: int64(ktime)}
}

// sampled are transitions among which the rate changes.
func sampled() *fake {
	e := transitions(1)[0]
	tick := event.Event{Kind: event.KindTick, Ktime: uint64(9 * time.Second), Wall: int64(9 * time.Second)}
	return &fake{
		events: []event.Event{e, rate(8, 2), rate(16, 2.1), rate(16, 2.2), rate(32, 2.3), e, tick, rate(1, 10), e},
		totals: probe.Totals{Unsampled: 99, UnsampledConns: 11},
	}
}

func TestTheRateIsTold(t *testing.T) {
	var out bytes.Buffer
	code, said := runCommand(t, sampled(), &out, "-o", "json", "--duration", "30ms", "--summary", "--max-events-per-second", "1000")
	want := "tcpstates: one in 8 new connections is shown: all would be more than 1000 events a second\n" +
		"tcpstates: one in 32 new connections is shown: all would be more than 1000 events a second\n" +
		"tcpstates: all new connections are shown again: there is room for them in 1000 events a second\n" +
		"summary: no connection ended, of a sample, at times of one in 32\n" +
		"tcpstates: 3 transitions shown, 0 events lost in the buffer, 0 missed by recursion; " +
		"11 connections with 99 events not in the sample, see --max-events-per-second\n"
	if code != exitDone || said != want {
		t.Errorf("exit code %d, stderr\n%swant\n%s", code, said, want)
	}
	for _, field := range []string{`"one_in":8}`, `"one_in":16}`, `"one_in":32}`, `"one_in":1}`} {
		if strings.Count(out.String(), field) != 1 {
			t.Errorf("%s is not there once:\n%s", field, &out)
		}
	}
	if !strings.Contains(out.String(), `,"unsampled_conns":11,"unsampled":99}`) {
		t.Errorf("no account in\n%s", &out)
	}
}

// TestARecordedSampleIsReplayed in each format, of which not all have a place for the
// rate, and of connections.
func TestARecordedSampleIsReplayed(t *testing.T) {
	for _, args := range [][]string{{}, {"--ring", "1M"}} {
		for _, format := range []string{"table", "csv", "json", "logfmt", "bcc", "libbpf"} {
			file := filepath.Join(t.TempDir(), "file")
			var live, replayed bytes.Buffer
			args := append([]string{"record", file, "-o", format, "--duration", "30ms", "--max-events-per-second", "1000"}, args...)
			code, said := runCommand(t, sampled(), &live, args...)
			codeOfReplay, saidOfReplay := runCommand(t, &fake{}, &replayed, "replay", file, "-o", format)
			if code != exitDone || codeOfReplay != exitDone || live.String() != replayed.String() {
				t.Errorf("%v: live\n%sreplayed\n%s%s%s", args, &live, &replayed, said, saidOfReplay)
			}
			if !strings.Contains(saidOfReplay, "one in 32 new connections is shown") || lineWith(said, "not in the sample") != lineWith(saidOfReplay, "not in the sample") {
				t.Errorf("%v: live says\n%sthe replay\n%s", args, said, saidOfReplay)
			}
		}
	}
}

// TestConnectionsSayTheRate: so does conns, of a recording as live.
func TestConnectionsSayTheRate(t *testing.T) {
	var live, replayed bytes.Buffer
	args := []string{"conns", "-o", "json", "--duration", "30ms", "--max-events-per-second", "1000"}
	if code, said := runCommand(t, sampled(), &live, args...); code != exitDone || !strings.Contains(said, "of a sample, at times of one in 32\n") {
		t.Errorf("exit code %d: %s", code, said)
	}
	file, _, _ := recordedBy(t, sampled(), "--duration", "30ms", "--max-events-per-second", "1000")
	if code, said := runCommand(t, &fake{}, &replayed, "conns", "--from", file, "-o", "json"); code != exitDone {
		t.Errorf("exit code %d: %s", code, said)
	}
	for _, out := range []string{live.String(), replayed.String()} {
		if n := strings.Count(out, `"type":"sampling"`); n != 4 {
			t.Errorf("%d records of the rate, want 4:\n%s", n, out)
		}
	}
}

// TestEachBlockSaysTheRate: what a ring still has may begin behind the last change.
func TestEachBlockSaysTheRate(t *testing.T) {
	f := sampled()
	f.events = f.events[:2]
	for _, e := range many(t, 30_000) {
		e.Ktime += uint64(3 * time.Second)
		f.events = append(f.events, e)
	}
	file, _, said := recordedBy(t, f, "--ring", "1M", "--duration", "2s", "--max-events-per-second", "1000")
	var out bytes.Buffer
	code, _ := runCommand(t, &fake{}, &out, "replay", file, "-o", "json")
	lines := strings.SplitN(out.String(), "\n", 3)
	if code != exitDone || !strings.Contains(said, "older ones had no room") ||
		!strings.Contains(lines[1], `"type":"sampling"`) || !strings.Contains(lines[1], `"one_in":8}`) || strings.Contains(lines[2], `"sampling"`) {
		t.Errorf("exit code %d, the replay begins with\n%s\n%s\n%s", code, lines[0], lines[1], said)
	}
}

// TestAStormIsSampled records a storm of more than is wanted, and shows it, by a command
// that has dropped its privileges.
func TestAStormIsSampled(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	file, out := filepath.Join(t.TempDir(), "file"), outputFile(t)
	trace := startLive(t, out, "record", file, "--raw", "-o", "json", "-v", "--max-events-per-second", "2000", "--netns", inodeOf(ns), "--drop-to", "nobody")
	w := startWitness(t, probe.Options{SelfTransitions: true})
	kerneltest.Storm(t, ns, 5000)
	ns.Settle(t)
	happened, others := w.end(t, ns)
	said := trace.end(t)

	all := records(t, out)
	last := all[len(all)-1]
	if emitted := recordsThrough(t, said); emitted+last.Lost+last.Unsampled != uint64(len(happened)+len(others)) || last.Unsampled == 0 {
		t.Errorf("%d records came through the buffer, %d were lost and %d not in the sample, of %d", emitted, last.Lost, last.Unsampled, len(happened)+len(others))
	}
	if last.Lost == 0 {
		requireWhole(t, all, happened)
	}
	largest := uint64(0)
	for _, r := range all {
		largest = max(largest, r.OneIn)
	}
	if largest < 2 || !strings.Contains(said, "new connections is shown: all would be more than 2000 events a second\n") {
		t.Errorf("one in %d is the smallest sample, and stderr is %s", largest, said)
	}
	replayed, err := command(t, "replay", file, "--raw", "-o", "json").Output()
	if err != nil || string(replayed) != read(t, out.Name()) {
		t.Errorf("the replay differs, %v", err)
	}
}

// requireWhole checks that each socket of which anything is shown shows all that has
// happened to it, where its cookie is known.
func requireWhole(t *testing.T, shown []jsonRecord, happened []event.Event) {
	t.Helper()
	got, want := map[string][]sighting{}, map[string][]sighting{}
	for _, r := range shown {
		if r.Type == "transition" && r.Sock != "" {
			got[r.Sock] = append(got[r.Sock], sighting{r.OldState, r.NewState})
		}
	}
	for _, e := range happened {
		socket := strconv.FormatUint(e.Cookie, 16)
		want[socket] = append(want[socket], sighting{e.OldState.String(), e.NewState.String()})
	}
	for socket, of := range got {
		if !slices.Equal(of, want[socket]) {
			t.Errorf("socket %s: shown are %v, and this has happened: %v", socket, of, want[socket])
		}
	}
}
