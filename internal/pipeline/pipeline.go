// Package pipeline carries events from where they come from to where they are
// written, on one goroutine, in order.
package pipeline

import (
	"errors"
	"fmt"
	"io"

	"tcpstates/internal/event"
)

// Source gives events one after the other.
type Source interface {
	// Read waits for the next event and fills e with it. It returns io.EOF
	// when there will be no more. Any other error ends the run.
	Read(e *event.Event) error
	// Pending tells whether Read has something to give without waiting.
	Pending() bool
}

// Stage stands between the source and the sink.
type Stage interface {
	// Apply may change the event in place. It calls next with it, if it is to
	// go on, and with others that follow from it, each of which is next's to
	// change until that returns. What next returns ends the run.
	Apply(e *event.Event, next func(*event.Event) error) error
}

// EndOfTime is the Ktime of the tick that the stages get when the source has ended,
// or the run: nothing that they hold back waits for more.
const EndOfTime = ^uint64(0)

// Sink writes events. No method keeps a reference to the event.
type Sink interface {
	// Start comes first, once.
	Start(s event.Start) error
	// Write takes the next event. What it wrote may stay in a buffer.
	Write(e *event.Event) error
	// Flush writes the buffer out.
	Flush() error
	// Stop comes last, once, and flushes.
	Stop(s event.Stop) error
}

// Run moves events from source through the stages to sink until the source
// ends or limit events are written, zero meaning no limit. What counts as
// written are transitions, and connections that have ended. Whenever the
// source would have to wait, the sink is flushed: so a lone event is seen at
// once, and in a burst the sink's buffer decides. It returns how many events
// were written.
func Run(source Source, stages []Stage, sink Sink, limit uint64) (written uint64, err error) {
	r := &run{sink: sink, limit: limit}
	first := r.write
	for i := len(stages) - 1; i >= 0; i-- {
		stage, next := stages[i], first
		first = func(e *event.Event) error { return stage.Apply(e, next) }
	}
	err = r.pump(source, first)
	if err == nil || errors.Is(err, errEnough) {
		err = first(&event.Event{Kind: event.KindTick, Ktime: EndOfTime})
	}
	if errors.Is(err, errEnough) {
		err = nil
	}
	return r.written, errors.Join(err, r.flush())
}

// run is a run under way.
type run struct {
	sink           Sink
	written, limit uint64
	broken         bool // the sink takes nothing any more
}

// errEnough ends a run that has written as much as it may.
var errEnough = errors.New("as many events are written as were asked for")

// pump hands on the source's events until it ends.
func (r *run) pump(source Source, next func(*event.Event) error) error {
	var e event.Event
	for {
		if err := source.Read(&e); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := next(&e); err != nil {
			return err
		}
		if !source.Pending() {
			if err := r.flush(); err != nil {
				return err
			}
		}
	}
}

// write is what comes after the last stage.
func (r *run) write(e *event.Event) error {
	switch e.Kind {
	case event.KindTick, event.KindMinisock, event.KindSocket, event.KindFork: // these are for the stages alone
		return nil
	}
	if r.limit > 0 && r.written == r.limit {
		return errEnough
	}
	if err := r.sink.Write(e); err != nil {
		r.broken = true
		return Writing(err)
	}
	if e.Kind == event.KindTransition || e.Kind == event.KindConn {
		if r.written++; r.written == r.limit {
			return errEnough
		}
	}
	return nil
}

// flush writes out what is in the sink, as long as it takes anything.
func (r *run) flush() error {
	if r.broken {
		return nil
	}
	err := r.sink.Flush()
	r.broken = err != nil
	return Writing(err)
}

// Writing says of a sink's error what was being done; nil stays nil.
func Writing(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("write the events: %w", err)
}
