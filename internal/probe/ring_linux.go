package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// ring is the ring buffer, which all CPUs share and which has their order. Records
// are read where they lie. Their room is given back many at a time: each program
// that makes a record looks how much room there is, and would have to fetch that
// from this CPU whenever it has changed.
type ring struct {
	// What the kernel and this side tell each other, in bytes since the
	// beginning: up to where records were given back, and up to where there are
	// some.
	consumer, producer *atomic.Uint64
	data               []byte
	joined             []byte // a copy of the record that goes on at the beginning of data

	consumed, produced uint64 // up to where records were read, and are known to be
	given              uint64 // what consumer says
	batch              uint64 // how many bytes are given back at a time

	pages    [2][]byte
	poll     int // epoll(7), of the buffer and the two that follow
	flushes  int // eventfd(2)
	nudges   int // eventfd(2), which wakes the reader to look at nudged
	flushed  bool
	deadline time.Time

	nudged atomic.Bool // somebody asks for errNudged, and the reader has not seen it
	owes   bool        // it has, and gives that
	until  uint64      // when it has read up to here
}

// The layout of a record (kernel/bpf/ringbuf.c): its length with two flags
// (include/uapi/linux/bpf.h: BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT), and the
// rest of the header, recordHead in all; the next begins at a multiple of 8.
const (
	ringBusy      = 1 << 31
	ringDiscarded = 1 << 30
)

// ringBatches is which part of the buffer is given back at a time, and so may be
// kept from new records.
const ringBatches = 16

func openRing(events *ebpf.Map, _ *Options) (transport, error) {
	r := &ring{poll: -1, flushes: -1, nudges: -1}
	if err := r.open(events.FD(), int(events.MaxEntries())); err != nil {
		return nil, errors.Join(fmt.Errorf("map the ring buffer: %w", err), r.Close())
	}
	return r, nil
}

func (r *ring) open(buffer, size int) (err error) {
	page := os.Getpagesize()
	if r.pages[0], err = unix.Mmap(buffer, 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return err
	}
	// The kernel offers the data twice in a row, so that all records are whole. That
	// would count as twice the memory.
	if r.pages[1], err = unix.Mmap(buffer, int64(page), page+size, unix.PROT_READ, unix.MAP_SHARED); err != nil {
		return err
	}
	r.consumer = (*atomic.Uint64)(unsafe.Pointer(&r.pages[0][0]))
	r.producer = (*atomic.Uint64)(unsafe.Pointer(&r.pages[1][0]))
	r.data = r.pages[1][page:]
	r.batch = uint64(size / ringBatches)
	return r.openPoll(buffer)
}

// openPoll makes what wait waits with.
func (r *ring) openPoll(buffer int) (err error) {
	for _, fd := range []*int{&r.flushes, &r.nudges} {
		if *fd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
			return err
		}
	}
	if r.poll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	for _, fd := range []int{buffer, r.flushes, r.nudges} {
		if err := unix.EpollCtl(r.poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			return err
		}
	}
	return nil
}

// read implements transport.
func (r *ring) read() ([]byte, error) {
	for {
		if r.answersNudge() {
			return nil, errNudged
		}
		if record, err := r.next(); record != nil || err != nil {
			return record, err
		}
		if r.flushed {
			return nil, errFlushed
		}
		if err := r.wait(); err != nil {
			return nil, err
		}
	}
}

// answersNudge tells whether all is read that was there when somebody nudged, once. It
// goes by the place in the buffer, as a storm may leave none empty.
func (r *ring) answersNudge() bool {
	if !r.owes && r.nudged.Load() && r.nudged.Swap(false) {
		r.owes, r.until = true, r.producer.Load()
	}
	if !r.owes || r.consumed < r.until {
		return false
	}
	r.owes = false
	return true
}

// next gives the next record; nil if there is none.
func (r *ring) next() ([]byte, error) {
	for r.pending() || r.giveBack() {
		at := r.consumed & r.mask()
		// The kernel clears the flag when all of the record is there.
		header := atomic.LoadUint32((*uint32)(unsafe.Pointer(&r.data[at])))
		if header&ringBusy != 0 {
			runtime.Gosched()
			continue
		}
		length := uint64(header &^ (ringBusy | ringDiscarded))
		whole := (recordHead + length + 7) &^ 7
		if whole > r.produced-r.consumed {
			return nil, fmt.Errorf("the ring buffer has a record of %d bytes where there are %d", whole, r.produced-r.consumed)
		}
		if r.consumed-r.given >= r.batch {
			r.giveBack()
		}
		r.consumed += whole
		if header&ringDiscarded == 0 {
			return r.record((at+recordHead)&r.mask(), length), nil
		}
	}
	return nil, nil
}

// record is the one of so many bytes that begins at a place.
func (r *ring) record(at, length uint64) []byte {
	if rest := r.data[at:]; uint64(len(rest)) < length {
		r.joined = append(append(r.joined[:0], rest...), r.data[:length-uint64(len(rest))]...)
		return r.joined
	}
	return r.data[at:][:length:length]
}

func (r *ring) mask() uint64 { return uint64(len(r.data)) - 1 }

// giveBack gives the kernel the room of all that was read, and tells whether there
// is more to read. That is looked for after: the program that makes the next record
// wakes who has given back all before it.
func (r *ring) giveBack() bool {
	if r.given != r.consumed {
		r.given = r.consumed
		r.consumer.Store(r.given)
	}
	return r.pending()
}

// pending implements transport. It asks what all CPUs write to when all is read that
// is known of, and not before.
func (r *ring) pending() bool {
	if r.consumed == r.produced {
		r.produced = r.producer.Load()
	}
	return r.consumed != r.produced
}

// wait waits for a record, a nudge, or that there will be no more, until the deadline.
func (r *ring) wait() error {
	var events [3]unix.EpollEvent
	for {
		left := time.Until(r.deadline)
		n, err := unix.EpollWait(r.poll, events[:], max(0, int((left+time.Millisecond-1)/time.Millisecond)))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("wait for the ring buffer: %w", err)
		case n == 0:
			return os.ErrDeadlineExceeded
		}
		for _, e := range events[:n] {
			switch int(e.Fd) {
			case r.flushes:
				r.flushed = true
			case r.nudges:
				var count [8]byte
				_, _ = unix.Read(r.nudges, count[:]) // it does not block, and then there is none
			}
		}
		return nil
	}
}

func (r *ring) setDeadline(t time.Time) { r.deadline = t }

func (r *ring) size() int { return len(r.data) }

func (r *ring) lost() uint64 { return 0 } // the programs count

func (r *ring) flush() error { return wake(r.flushes) }

func (r *ring) nudge() error {
	r.nudged.Store(true)
	return wake(r.nudges)
}

// wake makes an eventfd readable.
func wake(eventfd int) error {
	one := binary.NativeEndian.AppendUint64(nil, 1)
	_, err := unix.Write(eventfd, one)
	return err
}

func (r *ring) Close() error {
	var all error
	for _, fd := range []int{r.poll, r.flushes, r.nudges} {
		if fd >= 0 {
			all = errors.Join(all, unix.Close(fd))
		}
	}
	for _, pages := range r.pages {
		if pages != nil {
			all = errors.Join(all, unix.Munmap(pages))
		}
	}
	return all
}
