package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fakeRing is a ring buffer that the test fills in the kernel's place.
type fakeRing struct {
	ring
	made uint64 // bytes of records, since the beginning
}

func newFakeRing(size int) *fakeRing {
	f := &fakeRing{ring: ring{
		consumer: new(atomic.Uint64), producer: new(atomic.Uint64), data: make([]byte, size),
		batch: uint64(size / ringBatches), poll: -1, flushes: -1, nudges: -1,
	}}
	return f
}

// put adds a record with the flags, as bpf_ringbuf_submit leaves it.
func (f *fakeRing) put(record string, flags uint32) {
	whole := binary.NativeEndian.AppendUint32(nil, uint32(len(record))|flags)
	whole = append(append(whole, 0, 0, 0, 0), record...)
	for i, b := range whole {
		f.data[(f.made+uint64(i))%uint64(len(f.data))] = b
	}
	f.made += uint64(len(whole)+7) &^ 7
	f.producer.Store(f.made)
}

func TestRingGivesRecordsInOrder(t *testing.T) {
	f := newFakeRing(4096)
	for i := range 10_000 { // many times around, with lengths that leave gaps
		want := fmt.Sprintf("record %d%.*s", i, i%9, "xxxxxxxxx")
		if i%7 == 0 {
			f.put("nobody sees this", ringDiscarded)
		}
		f.put(want, 0)
		if !f.pending() {
			t.Fatal("nothing is pending")
		}
		got, err := f.next()
		if err != nil || string(got) != want {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
		if kept := f.consumed - f.consumer.Load(); kept > f.batch+64 {
			t.Fatalf("%d bytes are not given back", kept)
		}
	}
	if got, err := f.next(); got != nil || err != nil || f.pending() {
		t.Errorf("an empty ring gives %q, %v", got, err)
	}
	if f.consumer.Load() != f.made {
		t.Error("who waits has not given back all")
	}
}

// TestRingKeepsWhatIsInUse shows that the room of a record is not given back before
// the next is asked for, and that of many not one by one.
func TestRingKeepsWhatIsInUse(t *testing.T) {
	f := newFakeRing(1 << 16)
	const records = 500
	for range records {
		f.put("a record of some length", 0)
	}
	times, before := 0, uint64(0)
	for range records {
		begin := f.consumed
		if _, err := f.next(); err != nil {
			t.Fatal(err)
		}
		if given := f.consumer.Load(); given > begin {
			t.Fatalf("what begins at %d is given back up to %d", begin, given)
		} else if given != before {
			times, before = times+1, given
		}
	}
	if times == 0 || times > records/50 {
		t.Errorf("%d records were given back %d times", records, times)
	}
}

func TestRingRefusesRecordsThatCannotBe(t *testing.T) {
	f := newFakeRing(4096)
	f.put("short", 0)
	binary.NativeEndian.PutUint32(f.data, 4000)
	if record, err := f.next(); err == nil {
		t.Errorf("got %q", record)
	}
}

// newWaitingRing is a fake ring that its reader waits for. An eventfd that nobody writes
// to stands for the buffer.
func newWaitingRing(t *testing.T) *fakeRing {
	t.Helper()
	f := newFakeRing(4096)
	t.Cleanup(func() { f.Close() })
	buffer, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(buffer) })
	if err := f.openPoll(buffer); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestRingWaits(t *testing.T) {
	f := newWaitingRing(t)
	f.setDeadline(time.Now().Add(-time.Second))
	if _, err := f.read(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("past the deadline: %v", err)
	}
	f.put("last", 0)
	if err := f.flush(); err != nil {
		t.Fatal(err)
	}
	if got, err := f.read(); string(got) != "last" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	for range 2 {
		if _, err := f.read(); !errors.Is(err, errFlushed) {
			t.Errorf("after flush: %v", err)
		}
	}
}

// TestRingAnswersNudges asks while there are records, which go on to come, and while
// the reader waits.
func TestRingAnswersNudges(t *testing.T) {
	f := newWaitingRing(t)
	f.setDeadline(time.Now().Add(time.Hour))
	nudge := func() {
		if err := f.nudge(); err != nil {
			t.Error(err)
		}
	}
	require := func(want string) {
		t.Helper()
		got, err := f.read()
		if want == "" && !errors.Is(err, errNudged) || want != "" && (err != nil || string(got) != want) {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
	}
	f.put("first", 0)
	f.put("second", 0)
	nudge()
	nudge() // which is answered with the one before
	require("first")
	f.put("third", 0)
	nudge()
	require("second")
	require("")
	f.put("fourth", 0)
	require("third")
	require("fourth")
	require("")
	for range 3 {
		go nudge()
		require("")
	}
	f.put("last", 0)
	nudge()
	if err := f.flush(); err != nil {
		t.Fatal(err)
	}
	require("last")
	require("")
	if _, err := f.read(); !errors.Is(err, errFlushed) {
		t.Errorf("after flush: %v", err)
	}
}
