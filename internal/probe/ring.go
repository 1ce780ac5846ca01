package probe

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
)

// transport brings the programs' records to user space, in the order of their
// time. flush may be called from any goroutine, the rest belongs to one.
type transport interface {
	// read gives the next record, which holds until the next call. It is
	// os.ErrDeadlineExceeded when there is none until the deadline, and
	// errFlushed when there is none left after flush.
	read() ([]byte, error)
	setDeadline(time.Time)
	// pending tells whether a record waits to be read.
	pending() bool
	// size is how many bytes of records fit in, where each CPU has its own
	// buffer in one of them.
	size() int
	// lost is how many records found no room, as far as the kernel tells this
	// side.
	lost() uint64
	flush() error
	Close() error
}

// errFlushed ends a transport's records.
var errFlushed = errors.New("there are no more records")

// ring is the ring buffer, which all CPUs share and which has their order.
type ring struct {
	reader *ringbuf.Reader
	record ringbuf.Record
}

func openRing(events *ebpf.Map, _ *Options) (transport, error) {
	reader, err := ringbuf.NewReader(events)
	if err != nil {
		return nil, fmt.Errorf("map the ring buffer: %w", err)
	}
	return &ring{reader: reader}, nil
}

func (r *ring) read() ([]byte, error) {
	err := r.reader.ReadInto(&r.record)
	if errors.Is(err, ringbuf.ErrFlushed) {
		err = errFlushed
	}
	return r.record.RawSample, err
}

func (r *ring) setDeadline(t time.Time) { r.reader.SetDeadline(t) }
func (r *ring) pending() bool           { return r.reader.AvailableBytes() > 0 }
func (r *ring) size() int               { return r.reader.BufferSize() }
func (r *ring) lost() uint64            { return 0 } // the programs count
func (r *ring) flush() error            { return r.reader.Flush() }
func (r *ring) Close() error            { return r.reader.Close() }
