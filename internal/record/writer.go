package record

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"

	"tcpstates/internal/event"
)

// Writer is the Sink of a recording in blocks, each of which is one write. Its
// memory is that of a block.
type Writer struct {
	out      io.Writer
	compress *zstd.Encoder
	said     said
	head     blockHead
	began    uint64 // ktime of the block under way
	events   []byte // of that block
	block    []byte // as it goes out
}

// largestEvent is more bytes than an event takes: each field has at most some
// 4 KiB, which is a path (PATH_MAX).
const largestEvent = 64 << 10

// NewWriter begins a recording of a trace that began so.
func NewWriter(out io.Writer, start Start) (*Writer, error) {
	compress, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(bytesPerBlock))
	if err != nil {
		return nil, err
	}
	w := &Writer{out: out, compress: compress, said: said{socketAt: map[uint64]int{}, wordAt: map[string]int{}}}
	if _, err := out.Write(appendHeader(nil)); err != nil {
		return nil, err
	}
	return w, w.tell(blockStart, start.Wall, start)
}

// What was written may wait in memory for so long: a trace that is killed leaves
// so much less. A block of few events takes more room for each.
const (
	maxWait       = uint64(10 * time.Second)
	maxWaitOfMany = uint64(time.Second)
	few           = 512
)

// Write implements Sink. Time goes on with the events, ticks among them.
func (w *Writer) Write(e *event.Event) error {
	kind := slices.Index(kinds, e.Kind)
	if kind < 0 {
		return nil
	}
	if w.head.events == 0 {
		w.head.wall, w.began = e.Wall, e.Ktime
	}
	w.events = w.said.put(w.events, byte(kind), e)
	w.head.events++
	if w.head.events == eventsPerBlock || len(w.events) > bytesPerBlock-largestEvent || w.isDue(e.Ktime) {
		return w.Flush()
	}
	return nil
}

// isDue tells whether the block has waited long enough.
func (w *Writer) isDue(now uint64) bool {
	if now < w.began { // what is not from the ring buffer is ahead of what lies there
		return false
	}
	if w.head.events >= few {
		return now-w.began > maxWaitOfMany
	}
	return now-w.began > maxWait
}

// Flush implements Sink: what is in memory becomes a block.
func (w *Writer) Flush() error {
	if w.head.events == 0 {
		return nil
	}
	err := w.put(blockEvents, w.events)
	w.events, w.head = w.events[:0], blockHead{}
	w.said.reset()
	return err
}

// Stop implements Sink.
func (w *Writer) Stop(stop Stop) error {
	if err := w.Flush(); err != nil {
		return err
	}
	return w.tell(blockStop, stop.Wall, stop)
}

// StopTo is Stop of a recording that out has so far as a Ring gave it. The Writer
// goes on.
func (w *Writer) StopTo(out io.Writer, stop Stop) error {
	own := w.out
	defer func() { w.out = own }()
	w.out = out
	return w.tell(blockStop, stop.Wall, stop)
}

// tell writes a block that is no events.
func (w *Writer) tell(what byte, wall int64, told any) error {
	text, err := json.Marshal(told)
	if err != nil {
		return err
	}
	w.head = blockHead{wall: wall}
	err = w.put(what, text)
	w.head = blockHead{}
	return err
}

func (w *Writer) put(what byte, content []byte) error {
	if len(content) > bytesPerBlock {
		return fmt.Errorf("a block of %d bytes", len(content))
	}
	// The head is made when what it tells of is: room is left for it.
	w.block = append(w.block[:0], make([]byte, blockHeadSize)...)
	w.block = w.compress.EncodeAll(content, w.block)
	stored := w.block[blockHeadSize:]
	w.head.what, w.head.bytes, w.head.stored = what, uint32(len(content)), uint32(len(stored))
	w.head.checksum = crc32.Checksum(stored, castagnoli)
	w.head.append(w.block[:0])
	_, err := w.out.Write(w.block)
	return err
}
