package pipeline

import (
	"errors"

	"tcpstates/internal/event"
)

// Tee joins sinks to one that writes to each, in their order. The first error
// ends a write, as it ends a run.
func Tee(sinks ...Sink) Sink { return tee(sinks) }

type tee []Sink

// Start implements Sink.
func (t tee) Start(s event.Start) error {
	return t.each(func(sink Sink) error { return sink.Start(s) })
}

// Write implements Sink.
func (t tee) Write(e *event.Event) error {
	for _, sink := range t {
		if err := sink.Write(e); err != nil {
			return err
		}
	}
	return nil
}

// Flush implements Sink.
func (t tee) Flush() error { return t.each(Sink.Flush) }

// Stop implements Sink. Each sink gets its chance, whatever becomes of others.
func (t tee) Stop(s event.Stop) error {
	return t.each(func(sink Sink) error { return sink.Stop(s) })
}

func (t tee) each(do func(Sink) error) (err error) {
	for _, sink := range t {
		err = errors.Join(err, do(sink))
	}
	return err
}
