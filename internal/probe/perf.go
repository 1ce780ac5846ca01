package probe

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/perf"

	"tcpstates/internal/feature"
	"tcpstates/internal/wire"
)

// perCPU is the perf event array: a buffer for each CPU, and nothing that
// orders what is in one against what is in another. So records are held until
// all that happened before them must have been read, and sorted by their time.
type perCPU struct {
	reader   *perf.Reader
	clock    Clock
	deadline time.Time
	record   perf.Record

	held    []timed // in the order of their time up to the last sweep
	next    int     // the first of held that was not given yet
	ready   int     // the first of held that must wait
	room    int     // bytes of records that fit into all buffers
	swept   uint64  // ns, CLOCK_MONOTONIC, when the last sweep began
	missed  uint64
	flushed bool

	nudged atomic.Bool // somebody asks for errNudged, and the reader has not seen it
	until  uint64      // when it did: it gives that when it has given all of before; zero: did not
}

type timed struct {
	time   uint64 // ns, CLOCK_MONOTONIC
	length int
	record [wire.Size]byte
}

// settle is how much later than its time a record may come into its buffer: the
// program that makes it can be interrupted by softirqs, which have 2 ms at a
// time (kernel/softirq.c, MAX_SOFTIRQ_TIME).
const settle = 10 * time.Millisecond

// look is how often the buffers are looked at while there is nothing in them: with
// settle it is below the 50 ms that a person notices.
const look = 20 * time.Millisecond

// openPerCPU gives each CPU its part of the size: a power of two, as the kernel
// wants it, and at least a page.
func openPerCPU(events *ebpf.Map, o *Options) (transport, error) {
	part := uint(o.BufferSize) / uint(events.MaxEntries())
	part = max(1<<(bits.Len(part)-1), uint(os.Getpagesize()))
	// Waking the reader for each record costs the program ten times what all else
	// of it does: the kernel does so for buffers that fill, and sweep looks by
	// itself for the rest.
	reader, err := perf.NewReaderWithOptions(events, int(part), perf.ReaderOptions{Watermark: int(part / 2)})
	if err != nil {
		return nil, &feature.Missing{
			What: "the buffers to user space cannot be locked into memory: give a smaller --buffer, " +
				"or raise the limit (ulimit -l, LimitMEMLOCK in a service), or run it as root or with CAP_IPC_LOCK",
			Err: fmt.Errorf("map the perf event buffers: %w", err),
		}
	}
	return &perCPU{reader: reader, clock: o.Clock, room: int(part) * int(events.MaxEntries())}, nil
}

func (p *perCPU) read() ([]byte, error) {
	for p.next == p.ready {
		if p.flushed {
			return nil, errFlushed
		}
		if p.answersNudge() {
			return nil, errNudged
		}
		if err := p.sweep(); err != nil {
			return nil, err
		}
	}
	next := &p.held[p.next]
	p.next++
	return next.record[:next.length], nil
}

// answersNudge tells whether all is given that was there when somebody nudged, once.
func (p *perCPU) answersNudge() bool {
	if p.until == 0 && p.nudged.Swap(false) {
		p.until = monotonic()
	}
	if p.until == 0 || p.until+uint64(settle) >= p.swept {
		return false
	}
	p.until = 0
	return true
}

// sweep waits for records, reads all there are, and finds out which have
// nothing to wait for any more.
func (p *perCPU) sweep() error {
	p.held = slices.Delete(p.held, 0, p.next)
	p.next, p.ready = 0, 0
	wait := look
	if len(p.held) > 0 || p.until != 0 {
		wait = settle
	}
	switch err := p.take(p.clock.In(wait)); {
	case errors.Is(err, perf.ErrFlushed):
		p.flushed = true
	case errors.Is(err, os.ErrDeadlineExceeded):
		if len(p.held) == 0 && !p.clock.In(0).Before(p.deadline) {
			return err
		}
	case err != nil:
		return err
	}
	p.swept = monotonic()
	// What the reader had begun before that, and then all that there is.
	for range 2 {
		if err := p.drain(); err != nil {
			return err
		}
	}
	slices.SortStableFunc(p.held, func(a, b timed) int { return cmp.Compare(a.time, b.time) })
	for p.ready < len(p.held) && (p.flushed || p.held[p.ready].time+uint64(settle) < p.swept) {
		p.ready++
	}
	return nil
}

// drain reads what there is. In a storm that does not end it stops when it has
// read all buffers over at least.
func (p *perCPU) drain() error {
	past := p.clock.In(-time.Second)
	for n := 0; n <= p.room; n += wire.Size {
		switch err := p.take(past); {
		case errors.Is(err, perf.ErrFlushed):
			p.flushed = true
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			return err
		}
	}
	return nil
}

// take reads one record, or the news that some were lost.
func (p *perCPU) take(deadline time.Time) error {
	p.reader.SetDeadline(deadline)
	if err := p.reader.ReadInto(&p.record); err != nil {
		return err
	}
	if p.missed += p.record.LostSamples; p.record.LostSamples > 0 {
		return nil
	}
	sample := p.record.RawSample
	length := wire.Length(sample) // the kernel pads, and never cuts
	if length == 0 || length > wire.Size {
		return fmt.Errorf("a record of %d bytes that says it has another length: the programs are of another version", len(sample))
	}
	p.held = append(p.held, timed{length: length, time: wire.Time(sample)})
	copy(p.held[len(p.held)-1].record[:], sample[:length])
	return nil
}

func (p *perCPU) setDeadline(t time.Time) { p.deadline = t }
func (p *perCPU) pending() bool           { return p.next < p.ready }
func (p *perCPU) size() int               { return p.reader.BufferSize() }
func (p *perCPU) lost() uint64            { return p.missed }
func (p *perCPU) flush() error            { return p.reader.Flush() }

// nudge wakes nobody: sweep comes soon enough.
func (p *perCPU) nudge() error {
	p.nudged.Store(true)
	return nil
}

func (p *perCPU) Close() error { return p.reader.Close() }
