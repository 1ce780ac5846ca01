package kerneltest

import (
	"cmp"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// readPages gives what was recorded from the pages of the ring buffer as they
// are, in order. It empties them. All kernels have these; that the text has the
// socket's address takes Linux 6.4.
func (tr *Truth) readPages(t testing.TB) []Transition {
	t.Helper()
	layout, err := readFormat(filepath.Join(tr.dir, "events", tracepoint, "format"))
	if err != nil {
		t.Fatalf("read the tracepoint's format: %v", err)
	}
	files, _ := filepath.Glob(filepath.Join(tr.dir, "per_cpu/cpu*/trace_pipe_raw"))
	if len(files) == 0 {
		t.Fatal("the tracefs instance has no pages")
	}
	var records []rawRecord
	for _, file := range files {
		if records, err = readCPU(records, file); err != nil {
			t.Fatalf("read %s: %v", filepath.Base(filepath.Dir(file)), err)
		}
	}
	slices.SortStableFunc(records, func(a, b rawRecord) int { return cmp.Compare(a.time, b.time) })
	shielded := threadsOfInit(t)
	var all []Transition
	for _, record := range records {
		values, err := layout.values(record.data)
		if err != nil {
			t.Fatalf("read a record: %v", err)
		}
		transition, isTCP, err := transitionOf(values)
		if err != nil {
			t.Fatalf("read a record: %v", err)
		}
		if isTCP {
			// The kernel keeps the interrupted thread beside each record.
			transition.Optional = shielded[strconv.FormatUint(values["common_pid"], 10)]
			all = append(all, transition)
		}
	}
	return all
}

// rawRecord is an event as it lies in a page, and its time by the instance's clock.
type rawRecord struct {
	time uint64
	data []byte
}

// readCPU appends what the buffer of a CPU holds. Each read gives a page, and
// the one after the last fails or gives nothing.
func readCPU(records []rawRecord, file string) ([]rawRecord, error) {
	fd, err := unix.Open(file, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	for {
		page := make([]byte, os.Getpagesize())
		n, err := unix.Read(fd, page)
		if errors.Is(err, unix.EAGAIN) || err == nil && n == 0 {
			return records, nil
		}
		if err != nil {
			return nil, err
		}
		if records, err = readPage(records, page[:n]); err != nil {
			return nil, err
		}
	}
}

// The layout of a page: events/header_page and events/header_event of tracefs,
// and include/linux/ring_buffer.h.
const (
	pageHeader = 16 // the time of the first event, and how much the page holds

	commitLength = 1<<27 - 1
	commitMissed = 1 << 31 // RB_MISSED_EVENTS

	typePadding    = 29 // RINGBUF_TYPE_PADDING
	typeTimeExtend = 30 // RINGBUF_TYPE_TIME_EXTEND
	typeTimeStamp  = 31 // RINGBUF_TYPE_TIME_STAMP

	deltaBits = 27
)

var errCutOff = errors.New("a page ends within an event")

// readPage appends the events of a page.
func readPage(records []rawRecord, page []byte) ([]rawRecord, error) {
	if len(page) < pageHeader {
		return nil, errCutOff
	}
	time := binary.NativeEndian.Uint64(page)
	commit := binary.NativeEndian.Uint64(page[8:])
	if commit&commitMissed != 0 {
		return nil, errors.New("events were overwritten before this page")
	}
	rest := page[pageHeader:]
	if used := commit & commitLength; used < uint64(len(rest)) {
		rest = rest[:used]
	}
	for len(rest) >= 4 {
		header := binary.NativeEndian.Uint32(rest)
		kind, delta := header&31, uint64(header>>5)
		size, begin := 4+4*int(kind), 4
		var second uint32 // of the event's words
		if kind == 0 || kind >= typePadding {
			if kind == typePadding && delta == 0 {
				break // nothing follows
			}
			if len(rest) < 8 {
				return nil, errCutOff
			}
			second = binary.NativeEndian.Uint32(rest[4:])
			size, begin = 4+int(second), 8
		}
		switch kind {
		case typeTimeExtend:
			delta += uint64(second) << deltaBits
			size = 8
		case typeTimeStamp:
			time, delta = uint64(second)<<deltaBits|delta, 0
			size = 8
		}
		if size < begin || size > len(rest) {
			return nil, errCutOff
		}
		time += delta
		if kind < typePadding {
			records = append(records, rawRecord{time, rest[begin:size]})
		}
		rest = rest[size:]
	}
	return records, nil
}
