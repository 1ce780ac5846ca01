package cli

import (
	"errors"
	"sync/atomic"
	"syscall"

	"tcpstates/internal/event"
	"tcpstates/internal/filter"
	"tcpstates/internal/pipeline"
)

// quiet is the stage that notices when no socket of the command is open any more, whatever
// is shown of it. What is in TIME_WAIT is not. It stands before the filters.
type quiet struct {
	mine   *filter.Stage // lets pass what is the command's
	open   map[uint64]struct{}
	wanted atomic.Uint64 // ktime from when on that is asked for; zero: it is not
	come   chan struct{}
}

func newQuiet() *quiet {
	return &quiet{open: map[uint64]struct{}{}, come: make(chan struct{}, 1)}
}

// watch has it watch the command's sockets, as the options say.
func (q *quiet) watch(o filter.StageOptions) {
	var set filter.Set
	set.Follow()
	q.mine = set.NewStage(o)
}

// Apply implements pipeline.Stage.
func (q *quiet) Apply(e *event.Event, next func(*event.Event) error) error {
	_ = q.mine.Apply(e, q.note) // whose error is that of note
	if from := q.wanted.Load(); from > 0 && e.Ktime >= from && len(q.open) == 0 {
		select {
		case q.come <- struct{}{}:
		default:
		}
	}
	return next(e)
}

// note notes what becomes of a socket. It has no error.
func (q *quiet) note(e *event.Event) error {
	if e.Kind != event.KindTransition {
		return nil
	}
	switch e.NewState {
	case event.Close, event.TimeWait:
		delete(q.open, e.Socket())
	default:
		q.open[e.Socket()] = struct{}{}
	}
	return nil
}

// patient is a sink of which an error does not end the run: a command runs on, and rules
// are judged at the end. A nil one has no error.
type patient struct {
	pipeline.Sink
	failed error
}

// Start implements pipeline.Sink.
func (p *patient) Start(s event.Start) error { return p.try(func() error { return p.Sink.Start(s) }) }

// Write implements pipeline.Sink.
func (p *patient) Write(e *event.Event) error { return p.try(func() error { return p.Sink.Write(e) }) }

// Flush implements pipeline.Sink.
func (p *patient) Flush() error { return p.try(p.Sink.Flush) }

// Stop implements pipeline.Sink.
func (p *patient) Stop(s event.Stop) error { return p.try(func() error { return p.Sink.Stop(s) }) }

// err is the first error; nil if there was none but that nobody reads.
func (p *patient) err() error {
	if p == nil || errors.Is(p.failed, syscall.EPIPE) {
		return nil
	}
	return pipeline.Writing(p.failed)
}

func (p *patient) try(f func() error) error {
	if p.failed == nil {
		p.failed = f()
	}
	return nil
}
