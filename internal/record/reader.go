package record

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/zstd"

	"tcpstates/internal/event"
)

// Reader is the Source of a recording in blocks. Its memory is bounded by that of a
// block, whatever it reads.
type Reader struct {
	in         *bufio.Reader
	decompress *zstd.Decoder
	start      Start
	stop       *Stop
	block      input
	left       uint32 // events of the block
	stored     []byte
	content    []byte
	damage     Damage
}

// ErrBeginning is the error of a recording whose header is damaged: of what version
// the rest is, nobody knows.
var ErrBeginning = errors.New("its first bytes are damaged or cut off, and nothing else says how to read the rest")

// newReader begins to read what begins with the magic.
func newReader(in *bufio.Reader) (*Reader, error) {
	decompress, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(2*bytesPerBlock))
	if err != nil {
		return nil, err
	}
	r := &Reader{in: in, decompress: decompress}
	head, err := r.in.Peek(headerSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(head) < headerSize {
		return nil, ErrBeginning
	}
	if crc32.Checksum(head[:headerSize-4], castagnoli) != binary.LittleEndian.Uint32(head[headerSize-4:]) {
		return nil, ErrBeginning
	}
	if v := binary.LittleEndian.Uint32(head[len(magic):]); v > version {
		return nil, fmt.Errorf("it is of version %d, and this tcpstates reads up to %d: read it with a newer one", v, version)
	}
	_, _ = r.in.Discard(headerSize) // it was there to be seen
	what, err := r.next()
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return nil, err
	case what == blockStart && json.Unmarshal(r.content, &r.start) == nil:
		return r, nil
	case err == nil:
		r.take(what)
	}
	r.start = everything // as far as is known, and the rest can be read without
	return r, nil
}

// Start implements Source.
func (r *Reader) Start() Start { return r.start }

// Stop implements Source.
func (r *Reader) Stop() *Stop { return r.stop }

// Damage implements Source.
func (r *Reader) Damage() Damage { return r.damage }

// Pending implements Source. From a pipe more may have to be waited for.
func (r *Reader) Pending() bool { return r.left > 0 || r.in.Buffered() > 0 }

// Read implements Source.
func (r *Reader) Read(e *event.Event) error {
	for {
		for r.left > 0 {
			r.left--
			if r.block.get(e) == nil {
				return nil
			}
			r.left = 0
			r.damage.Blocks++
		}
		what, err := r.next()
		if errors.Is(err, io.EOF) {
			r.damage.CutOff = r.stop == nil
			return io.EOF
		}
		if err != nil {
			return err
		}
		r.take(what)
	}
}

// take notes what is in a block, of which only the first tells of the start.
func (r *Reader) take(what byte) {
	stop := new(Stop)
	switch {
	case what == blockEvents: // they are read one by one
	case what == blockStop && json.Unmarshal(r.content, stop) == nil:
		r.stop = stop
	default:
		r.damage.Blocks++
	}
}

// next reads the next whole block.
func (r *Reader) next() (what byte, err error) {
	for skipped := false; ; {
		head, err := r.in.Peek(blockHeadSize)
		if len(head) < blockHeadSize {
			if len(head) > 0 && !skipped {
				r.damage.CutOff = true
			}
			if err == nil || errors.Is(err, io.EOF) {
				return 0, io.EOF
			}
			return 0, err
		}
		var h blockHead
		if !h.parse(head) {
			if !skipped {
				r.damage.Blocks++
				skipped = true
			}
			r.skipToMark()
			continue
		}
		skipped = false
		_, _ = r.in.Discard(blockHeadSize)
		r.stored = append(r.stored[:0], make([]byte, h.stored)...)
		if _, err := io.ReadFull(r.in, r.stored); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			r.damage.CutOff = true
			return 0, io.EOF
		} else if err != nil {
			return 0, err
		}
		if !r.unpack(&h) {
			r.damage.Blocks++
			continue
		}
		return h.what, nil
	}
}

// unpack makes the stored bytes the present block, unless they are damaged.
func (r *Reader) unpack(h *blockHead) (whole bool) {
	if crc32.Checksum(r.stored, castagnoli) != h.checksum {
		return false
	}
	content, err := r.decompress.DecodeAll(r.stored, r.content[:0])
	if err != nil || len(content) != int(h.bytes) {
		return false
	}
	r.content = content
	if h.what == blockEvents {
		r.block.reset()
		r.block.rest, r.block.err = content, nil
		r.left = h.events
	}
	return true
}

// skipToMark goes on to where a block may begin.
func (r *Reader) skipToMark() {
	_, _ = r.in.Discard(1)
	seen, _ := r.in.Peek(r.in.Buffered())
	if at := bytes.Index(seen, []byte(mark)); at >= 0 {
		_, _ = r.in.Discard(at)
		return
	}
	_, _ = r.in.Discard(max(0, len(seen)-len(mark)+1))
}
