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

// Stage adds to events what is known of them elsewhere.
type Stage interface {
	// Apply changes the event in place.
	Apply(e *event.Event)
}

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

// Run moves events from source through the stages to sink until the source ends or limit
// transitions are written, zero meaning no limit. Whenever the source would
// have to wait, the sink is flushed: so a lone event is seen at once, and in a
// burst the sink's buffer decides. It returns how many transitions were
// written.
func Run(source Source, stages []Stage, sink Sink, limit uint64) (written uint64, err error) {
	var e event.Event
	for {
		if err := source.Read(&e); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return written, errors.Join(err, Writing(sink.Flush()))
		}
		for _, stage := range stages {
			stage.Apply(&e)
		}
		if err := sink.Write(&e); err != nil {
			return written, Writing(err)
		}
		if e.Kind == event.KindTransition {
			if written++; written == limit {
				return written, Writing(sink.Flush())
			}
		}
		if !source.Pending() {
			if err := sink.Flush(); err != nil {
				return written, Writing(err)
			}
		}
	}
}

// Writing says of a sink's error what was being done; nil stays nil.
func Writing(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("write the events: %w", err)
}
