// Package outlet writes to where there may be no room for a while. What finds none is
// left out and counted, and when there is room again what comes next stands behind
// a word of what is missing.
package outlet

import (
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"tcpstates/internal/event"
	"tcpstates/internal/output"
)

// Options shape an Outlet.
type Options struct {
	// To takes what is written. Of what it has taken before an error it says how
	// much that was: the rest follows when there is room.
	To io.Writer
	// Name says what is written: "the events".
	Name string
	// Now is the present time.
	Now func() time.Time
	// Say tells a person, in a sentence, that there is no room, and that there is
	// some again.
	Say func(text string)
}

// pause is how long nothing is tried when there was no room.
const pause = time.Second

// Outlet is an output.Marked. Until Endure is called all errors are told. It belongs
// to one goroutine, and holds as much as the largest piece that is written.
type Outlet struct {
	o       Options
	endures bool

	full  error      // why there is no room; nil: there is
	loss  event.Loss // the same in a word
	tryAt time.Time
	// What was begun when there was no room goes before all else.
	rest  []byte
	marks []output.Mark // of rest

	missing   count // since there is no room
	unwritten count // before
}

// count counts events that are left out.
type count struct{ events, shown uint64 }

func (c *count) add(marks []output.Mark) {
	for _, m := range marks {
		c.events += m.Events
		c.shown += m.Shown
	}
}

// New makes an Outlet.
func New(o Options) *Outlet { return &Outlet{o: o} }

// Endure has errors that may pass held out from now on: the first words are written.
func (o *Outlet) Endure() { o.endures = true }

// Write implements io.Writer, for what tells of no events.
func (o *Outlet) Write(b []byte) (int, error) {
	if err := o.WriteMarked(b, nil); err != nil {
		return 0, err
	}
	return len(b), nil
}

// WriteMarked implements output.Marked.
func (o *Outlet) WriteMarked(b []byte, marks []output.Mark) error {
	if o.full != nil {
		o.missing.add(marks)
		return nil
	}
	return o.write(b, marks)
}

// write writes what goes next, or as much of it as there is room for.
func (o *Outlet) write(b []byte, marks []output.Mark) error {
	n, err := o.o.To.Write(b)
	if err == nil {
		o.full, o.rest, o.marks = nil, o.rest[:0], o.marks[:0]
		return nil
	}
	loss := lossOf(err)
	if loss == event.LossBuffer || !o.endures {
		return err
	}
	o.keep(b[n:], marks, n)
	if o.full == nil {
		o.loss = loss
		o.o.Say(fmt.Sprintf("write %s: %v: the trace goes on without, and tries again every second", o.o.Name, err))
	}
	o.full, o.tryAt = err, o.o.Now().Add(pause)
	return nil
}

// lossOf is what an error makes of events, if it is one that may pass; LossBuffer
// for others.
func lossOf(err error) event.Loss {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return event.LossDisk
	case errors.Is(err, syscall.EDQUOT):
		return event.LossQuota
	}
	return event.LossBuffer
}

// keep keeps what is left of a piece, of which so many bytes are written. Both may
// lie in what is kept already.
func (o *Outlet) keep(left []byte, marks []output.Mark, written int) {
	o.rest = append(o.rest[:0], left...)
	kept := o.marks[:0]
	for _, m := range marks {
		if m.End > written {
			m.End -= written
			kept = append(kept, m)
		}
	}
	o.marks = kept
}

// isFull tells whether what is written now is left out.
func (o *Outlet) isFull() bool { return o.full != nil }

// isDue tells whether it is time to see if there is room.
func (o *Outlet) isDue() bool { return o.full != nil && !o.o.Now().Before(o.tryAt) }

// retry writes what is left, and tells what is missing behind it if there was room:
// from then on all is written.
func (o *Outlet) retry() (missing uint64, err error) {
	if err := o.write(o.rest, o.marks); err != nil || o.full != nil {
		return 0, err
	}
	missing = o.missing.events
	o.unwritten.events += missing
	o.unwritten.shown += o.missing.shown
	o.missing = count{}
	o.o.Say(fmt.Sprintf("write %s: there is room again: %d events are missing", o.o.Name, missing))
	return missing, nil
}

// left is how much is not written, what is kept included.
func (o *Outlet) left() (all count) {
	all.add(o.marks)
	all.events += o.missing.events + o.unwritten.events
	all.shown += o.missing.shown + o.unwritten.shown
	return all
}

// Account adds to the account of a trace what is not written, and takes it from what
// is shown.
func (o *Outlet) Account(stop *event.Stop) {
	left := o.left()
	stop.Unwritten += left.events
	stop.Shown -= min(stop.Shown, left.shown)
}

// Incomplete is the error that something is not written; nil if all is.
func (o *Outlet) Incomplete() error {
	left := o.left()
	if left.events == 0 && o.full == nil {
		return nil
	}
	return fmt.Errorf("write %s: %d events could not be written: %v", o.o.Name, left.events, o.loss)
}
