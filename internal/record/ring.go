package record

import (
	"encoding/binary"
	"io"
)

// Ring keeps the newest blocks of a recording in memory. It is what a Writer
// writes to, block by block, and belongs to the same goroutine.
type Ring struct {
	max     int
	head    []byte // the header, and the block that says how the trace began
	heads   int    // writes that head has
	blocks  [][]byte
	size    int // of blocks in bytes
	dropped uint64
}

// NewRing makes a Ring of up to so many bytes of blocks, and at least one.
func NewRing(max int) *Ring { return &Ring{max: max} }

// Write implements io.Writer.
func (r *Ring) Write(b []byte) (int, error) {
	if r.heads < 2 {
		r.heads++
		r.head = append(r.head, b...)
		return len(b), nil
	}
	r.blocks = append(r.blocks, append([]byte(nil), b...))
	r.size += len(b)
	for r.size > r.max && len(r.blocks) > 1 {
		oldest := r.blocks[0]
		r.size -= len(oldest)
		r.dropped += uint64(binary.LittleEndian.Uint32(oldest[eventsAt:]))
		r.blocks[0] = nil
		r.blocks = r.blocks[1:]
	}
	return len(b), nil
}

// Dropped is how many events were too old.
func (r *Ring) Dropped() uint64 { return r.dropped }

// WriteTo writes the recording as far as it is kept.
func (r *Ring) WriteTo(out io.Writer) (written int64, err error) {
	n, err := out.Write(r.head)
	written = int64(n)
	for _, b := range r.blocks {
		if err != nil {
			break
		}
		n, err = out.Write(b)
		written += int64(n)
	}
	return written, err
}
