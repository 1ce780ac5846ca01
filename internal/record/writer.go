package record

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/klauspost/compress/zstd"

	"tcpstates/internal/event"
)

// Writer writes a recording. It belongs to one goroutine. Its memory is that of
// a block.
type Writer struct {
	out      io.Writer
	compress *zstd.Encoder
	said     said
	head     blockHead
	events   []byte // of the block under way
	block    []byte // as it goes out
}

// largestEvent is more bytes than an event takes: each field has at most some
// 4 KiB, which is a path (PATH_MAX).
const largestEvent = 64 << 10

// NewWriter begins a recording of a trace that began so.
func NewWriter(out io.Writer, start event.Start) (*Writer, error) {
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

// Write takes an event, which may stay in memory until a block is full. Events
// of kinds that are concluded from others are not kept.
func (w *Writer) Write(e *event.Event) error {
	kind := slices.Index(kinds, e.Kind)
	if kind < 0 {
		return nil
	}
	if w.head.events == 0 {
		w.head.wall = e.Wall
	}
	w.events = w.said.put(w.events, byte(kind), e)
	w.head.events++
	if w.head.events == eventsPerBlock || len(w.events) > bytesPerBlock-largestEvent {
		return w.Flush()
	}
	return nil
}

// Flush writes what is in memory as a block.
func (w *Writer) Flush() error {
	if w.head.events == 0 {
		return nil
	}
	err := w.put(blockEvents, w.events)
	w.events, w.head = w.events[:0], blockHead{}
	w.said.reset()
	return err
}

// Stop ends the recording of a trace that has ended so.
func (w *Writer) Stop(stop event.Stop) error {
	if err := w.Flush(); err != nil {
		return err
	}
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
