package record

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tcpstates/internal/event"
)

// scenarios are the events of all recordings of the tests, one after the other.
func scenarios(t testing.TB) (all []event.Event) {
	t.Helper()
	files, err := filepath.Glob("../../testdata/rec/*.rec")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d recordings, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		events, err := Read(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, events...)
	}
	return all
}

var (
	aStart = Start{Start: event.Start{Wall: 5, Version: "v1", Kernel: "6.18", Backend: "tp_btf"}, Sockets: true, Less: "less", Follows: true}
	aStop  = Stop{Stop: event.Stop{Wall: 9, Shown: 3, Lost: 1, Gaps: 2}, Dropped: 7}
)

// recordingOf is a recording of the events, with a block of every so many.
func recordingOf(t testing.TB, events []event.Event, perBlock int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, aStart)
	if err != nil {
		t.Fatal(err)
	}
	for i := range events {
		if err := w.Write(&events[i]); err != nil {
			t.Fatal(err)
		}
		if (i+1)%perBlock == 0 {
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Stop(aStop); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// readAll reads what can be read.
func readAll(t testing.TB, recording []byte) (events []event.Event, r Source, err error) {
	t.Helper()
	if r, err = Open(bytes.NewReader(recording)); err != nil {
		return nil, nil, err
	}
	for {
		var e event.Event
		if err := r.Read(&e); errors.Is(err, io.EOF) {
			return events, r, nil
		} else if err != nil {
			return events, r, err
		}
		events = append(events, e)
	}
}

// eventsOfAllKinds are events of each kind with all that they can say, and with nothing.
func eventsOfAllKinds(t testing.TB) []event.Event {
	all := scenarios(t)
	for _, kind := range kinds {
		e := full()
		e.Kind = kind
		e.Owner.Place = &event.Place{Cgroup: "/a b\xff", Container: "c", Unit: `"u"`, Pod: "p"}
		all = append(all, e, event.Event{Kind: kind})
	}
	return all
}

func TestForms(t *testing.T) {
	want := eventsOfAllKinds(t)
	for _, form := range Forms {
		var out bytes.Buffer
		sink, err := form.New(&out, aStart)
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if err := sink.Write(&want[i]); err != nil {
				t.Fatal(err)
			}
		}
		if err := sink.Stop(aStop); err != nil {
			t.Fatal(err)
		}
		got, r, err := readAll(t, out.Bytes())
		if err != nil {
			t.Fatalf("%s: %v", form.Name, err)
		}
		if diff := cmp.Diff(want, got, byText); diff != "" {
			t.Errorf("%s: -want +got:\n%s", form.Name, diff)
		}
		if r.Start() != aStart || r.Stop() == nil || *r.Stop() != aStop || r.Damage() != (Damage{}) {
			t.Errorf("%s: start %+v, stop %+v, damage %+v", form.Name, r.Start(), r.Stop(), r.Damage())
		}
	}
}

func TestLinesWithoutTheirEndAreCutOff(t *testing.T) {
	for text, want := range map[string]bool{
		"lost lost=1\n":                              false, // a person wrote it
		"start {}\nlost lost=1\n":                    true,
		"start {}\nlost lost=1\nstop {}\n":           false,
		`{"type":"start"}` + "\n":                    true,
		`{"type":"start"}` + "\n{\"type\":\"stop\"}": false,
	} {
		if _, r, err := readAll(t, []byte(text)); err != nil || r.Damage().CutOff != want {
			t.Errorf("%q: %v, damage %+v", text, err, r.Damage())
		}
	}
}

// TestRing keeps the newest events, whole blocks of them, and says how many went.
func TestRing(t *testing.T) {
	want := scenarios(t)
	ring := NewRing(4 << 10)
	w, err := NewWriter(ring, aStart)
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if err := w.Write(&want[i]); err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 {
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if ring.size > ring.max {
			t.Fatalf("%d bytes are kept", ring.size)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if n, err := ring.WriteTo(&out); err != nil || n != int64(out.Len()) {
		t.Fatal(n, err)
	}
	if err := w.StopTo(&out, aStop); err != nil {
		t.Fatal(err)
	}
	got, r, err := readAll(t, out.Bytes())
	if err != nil || r.Start() != aStart || r.Stop() == nil || *r.Stop() != aStop || r.Damage() != (Damage{}) {
		t.Fatalf("%v, start %+v, stop %+v, damage %+v", err, r.Start(), r.Stop(), r.Damage())
	}
	if len(got) == 0 || uint64(len(want)-len(got)) != ring.Dropped() {
		t.Fatalf("%d events of %d are kept, and %d dropped", len(got), len(want), ring.Dropped())
	}
	if diff := cmp.Diff(want[ring.Dropped():], got, byText); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestNothingWaitsLong reads what a trace would leave that is killed.
func TestNothingWaitsLong(t *testing.T) {
	for _, events := range []int{1, few} {
		var out bytes.Buffer
		w, err := NewWriter(&out, aStart)
		if err != nil {
			t.Fatal(err)
		}
		e := event.Event{Kind: event.KindTransition, Ktime: uint64(time.Hour)}
		for range events {
			if err := w.Write(&e); err != nil {
				t.Fatal(err)
			}
		}
		tick := event.Event{Kind: event.KindTick, Ktime: e.Ktime + maxWait}
		if events == few {
			tick.Ktime = e.Ktime + maxWaitOfMany
		}
		for _, want := range []int{0, events + 2} {
			if err := w.Write(&tick); err != nil {
				t.Fatal(err)
			}
			if got, _, err := readAll(t, out.Bytes()); err != nil || len(got) != want {
				t.Errorf("%d of %d events are written, %v", len(got), want, err)
			}
			tick.Ktime++
		}
	}
}

// TestDamagedStart: the events can be read all the same.
func TestDamagedStart(t *testing.T) {
	want := scenarios(t)[:20]
	damaged := recordingOf(t, want, 10)
	damaged[headerSize+blockHeadSize+3] ^= 1
	got, r, err := readAll(t, damaged)
	if err != nil || r.Damage() != (Damage{Blocks: 1}) || !r.Start().Facts {
		t.Fatalf("%v, damage %+v, start %+v", err, r.Damage(), r.Start())
	}
	if diff := cmp.Diff(want, got, byText); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestDamagedStartBeforeTheStop has nothing else between.
func TestDamagedStartBeforeTheStop(t *testing.T) {
	damaged := recordingOf(t, nil, 10)
	damaged[headerSize+blockHeadSize+3] ^= 1
	_, r, err := readAll(t, damaged)
	if err != nil || r.Damage() != (Damage{Blocks: 1}) || r.Stop() == nil || *r.Stop() != aStop {
		t.Errorf("%v, damage %+v, stop %+v", err, r.Damage(), r.Stop())
	}
}

// TestUnknownBlocksAreDamage: what they held is missing.
func TestUnknownBlocksAreDamage(t *testing.T) {
	var out bytes.Buffer
	w, err := NewWriter(&out, aStart)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.tell(blockStop+1, 1, aStop), w.tell(blockStart, 1, aStart), w.Stop(aStop)); err != nil {
		t.Fatal(err)
	}
	if _, r, err := readAll(t, out.Bytes()); err != nil || r.Damage() != (Damage{Blocks: 2}) {
		t.Errorf("%v, damage %+v", err, r.Damage())
	}
}

// TestDamagedBlocksAreCounted: each on its own, whatever of it is damaged.
func TestDamagedBlocksAreCounted(t *testing.T) {
	damaged := recordingOf(t, scenarios(t)[:40], 10)
	marks := 0
	for at := headerSize; at < len(damaged)-len(mark); at++ {
		if string(damaged[at:at+len(mark)]) != mark {
			continue
		}
		switch marks++; marks {
		case 2, 4:
			damaged[at+5] ^= 1 // the head
		case 3:
			damaged[at+blockHeadSize] ^= 1 // what is stored
		}
	}
	if got, r, err := readAll(t, damaged); err != nil || r.Damage() != (Damage{Blocks: 3}) || len(got) != 10 {
		t.Errorf("%v, %d events, damage %+v", err, len(got), r.Damage())
	}
}

func TestRecordingRoundTrip(t *testing.T) {
	want := eventsOfAllKinds(t)
	for _, perBlock := range []int{1, 7, 1 << 30} {
		got, r, err := readAll(t, recordingOf(t, want, perBlock))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, byText); diff != "" {
			t.Errorf("%d to a block: -want +got:\n%s", perBlock, diff)
		}
		if diff := cmp.Diff(aStart, r.Start()); diff != "" {
			t.Errorf("start -want +got:\n%s", diff)
		}
		if diff := cmp.Diff(&aStop, r.Stop()); diff != "" {
			t.Errorf("stop -want +got:\n%s", diff)
		}
		if r.Damage() != (Damage{}) {
			t.Errorf("damage: %+v", r.Damage())
		}
	}
}

// TestCutRecording cuts a recording at each byte: what can be read are the first
// events, all of whole blocks.
func TestCutRecording(t *testing.T) {
	const perBlock = 5
	want := scenarios(t)[:23]
	whole := recordingOf(t, want, perBlock)
	for size := range len(whole) {
		got, r, err := readAll(t, whole[:size])
		if err != nil {
			if r != nil || size > 300 {
				t.Fatalf("cut at %d of %d: %v", size, len(whole), err)
			}
			continue
		}
		if len(got) > len(want) || len(got)%perBlock != 0 && len(got) != len(want) {
			t.Errorf("cut at %d: %d events", size, len(got))
		} else if !slices.Equal(want[:len(got)], got) {
			t.Errorf("cut at %d: other events than were written: %+v", size, got)
		}
		if !r.Damage().CutOff || r.Damage().Blocks != 0 {
			t.Errorf("cut at %d of %d: damage %+v", size, len(whole), r.Damage())
		}
	}
}

// TestDamagedRecording flips bits: what can still be read are events that were
// written, in their order, and what is missing is said.
func TestDamagedRecording(t *testing.T) {
	want := scenarios(t)[:200]
	whole := recordingOf(t, want, 10)
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		damaged := bytes.Clone(whole)
		for range 1 + random.IntN(3) {
			at := random.IntN(len(damaged) * 8)
			damaged[at/8] ^= 1 << (at % 8)
		}
		got, r, err := readAll(t, damaged)
		if err != nil {
			continue // the beginning is damaged
		}
		rest := want
		for i := range got {
			for len(rest) > 0 && rest[0] != got[i] {
				rest = rest[1:]
			}
			if len(rest) == 0 {
				t.Fatalf("it reads an event that was not written: %+v", got[i])
			}
			rest = rest[1:]
		}
		if len(got) != len(want) && r.Damage() == (Damage{}) {
			t.Fatalf("%d events of %d, and no damage", len(got), len(want))
		}
	}
}

// TestPending reads a pipe that stays open: what has come of it is to be had at once.
func TestPending(t *testing.T) {
	for _, text := range []string{"lost lost=1\n", "{\"type\":\"lost\"}\n"} {
		in, out := io.Pipe()
		go func() { _, _ = io.WriteString(out, text+text+text[:5]) }()
		r, err := Open(in)
		if err != nil {
			t.Fatal(err)
		}
		var e event.Event
		for _, want := range []bool{true, false} {
			if err := r.Read(&e); err != nil || r.Pending() != want {
				t.Errorf("%q: %v, pending: %v", text, err, r.Pending())
			}
		}
		in.Close()
	}
}

func TestOtherFilesAreNoRecordings(t *testing.T) {
	newer := bytes.Clone(recordingOf(t, nil, 1))
	newer[len(magic)]++
	for name, text := range map[string]string{
		"nothing": "", "text": "transition ktime=1 and more of it", "newer": string(newer), "a head alone": string(newer[:headerSize]),
	} {
		_, _, err := readAll(t, []byte(text))
		if err == nil {
			t.Errorf("%s is read as a recording", name)
		}
		if isNone := errors.Is(err, ErrNoRecording); isNone == (name == "newer" || name == "a head alone") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add(recordingOf(f, scenarios(f)[:20], 5))
	f.Fuzz(func(t *testing.T, recording []byte) {
		_, _, _ = readAll(t, recording) // no panic, and an end
	})
}

// FuzzBlock reads what stands in a block, behind the checksums.
func FuzzBlock(f *testing.F) {
	w := said{socketAt: map[uint64]int{}, wordAt: map[string]int{}}
	var block []byte
	for _, e := range scenarios(f)[:20] {
		block = w.put(block, 0, &e)
	}
	f.Add(block)
	f.Fuzz(func(t *testing.T, block []byte) {
		in := input{rest: block}
		var e event.Event
		for len(in.rest) > 0 && in.get(&e) == nil {
			if e.NewState > event.NewSynRecv || e.OldState > event.NewSynRecv {
				t.Errorf("the states %d and %d", e.OldState, e.NewState)
			}
		}
	})
}

func BenchmarkWriter(b *testing.B) {
	events := scenarios(b)
	w, err := NewWriter(io.Discard, aStart)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := w.Write(&events[i%len(events)]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReader(b *testing.B) {
	var many []event.Event
	for range 20 {
		many = append(many, scenarios(b)...)
	}
	recording := recordingOf(b, many, 1<<30)
	b.ReportMetric(float64(len(recording))/float64(len(many)), "B/event")
	b.ReportAllocs()
	var r Source
	var e event.Event
	for b.Loop() {
		for r == nil || r.Read(&e) != nil {
			var err error
			if r, err = Open(bytes.NewReader(recording)); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(len(recording))/float64(len(many)), "B/event")
}
