package traffic

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"
)

// Bounds is what the one who opened and closed a connection knows of the time
// that its client was ESTABLISHED: it was no shorter than from connect()'s return
// to the first call of close(), and no longer than from the call of connect() to
// the return of the last close().
type Bounds struct {
	Local, Remote netip.AddrPort // as the client has them
	Min, Max      time.Duration
}

// boundsSize is the size of bounds as bytes: both addresses as IPv6, both ports,
// both times in nanoseconds.
const boundsSize = 2*16 + 2*2 + 2*8

// BoundsWriter writes bounds to a pipe or to the end of a file. Several
// processes may write to the same one: what it writes at once are whole ones,
// and no more than a pipe takes in one piece (PIPE_BUF, pipe(7)). It is not for
// concurrent use.
type BoundsWriter struct {
	to  io.Writer
	buf []byte
}

const pipeBuf = 4096

// NewBoundsWriter makes a writer to the given one.
func NewBoundsWriter(to io.Writer) *BoundsWriter {
	return &BoundsWriter{to, make([]byte, 0, pipeBuf/boundsSize*boundsSize)}
}

// Write takes the bounds, and writes when there are enough.
func (w *BoundsWriter) Write(b Bounds) error {
	for _, end := range []netip.AddrPort{b.Local, b.Remote} {
		addr := end.Addr().As16()
		w.buf = append(w.buf, addr[:]...)
		w.buf = binary.NativeEndian.AppendUint16(w.buf, end.Port())
	}
	w.buf = binary.NativeEndian.AppendUint64(w.buf, uint64(b.Min))
	w.buf = binary.NativeEndian.AppendUint64(w.buf, uint64(b.Max))
	if len(w.buf) == cap(w.buf) {
		return w.Flush()
	}
	return nil
}

// Flush writes what is left.
func (w *BoundsWriter) Flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	_, err := w.to.Write(w.buf)
	w.buf = w.buf[:0]
	if err != nil {
		return fmt.Errorf("write the times of connections: %w", err)
	}
	return nil
}

// ReadBounds reads bounds to the end.
func ReadBounds(from io.Reader, each func(Bounds)) error {
	var record [boundsSize]byte
	for {
		switch _, err := io.ReadFull(from, record[:]); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the times of connections: %w", err)
		}
		each(Bounds{
			Local: readEnd(record[:]), Remote: readEnd(record[18:]),
			Min: time.Duration(binary.NativeEndian.Uint64(record[36:])),
			Max: time.Duration(binary.NativeEndian.Uint64(record[44:])),
		})
	}
}

func readEnd(b []byte) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b)).Unmap(), binary.NativeEndian.Uint16(b[16:]))
}
