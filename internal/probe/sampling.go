package probe

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"tcpstates/internal/event"
)

// sampling has a limiter choose the sample while a trace runs, and tells the trace's
// reader what it chooses.
type sampling struct {
	limiter limiter
	// standing tells how many events are shown so far, and all; set has the programs
	// show one new connection in 2^bits.
	standing func() (shown, all uint64, err error)
	set      func(bits uint32) error
	wall     func(ktime uint64) int64 // Clock's

	stop chan struct{}
	over sync.WaitGroup

	news    atomic.Bool // there are changes, or an error
	mu      sync.Mutex
	changes []change // that the reader was not told of
	err     error    // which ended it

	// The reader's own: an event that comes behind a change.
	ahead    event.Event
	hasAhead bool
}

// change is that of a sample.
type change struct {
	ktime uint64
	oneIn uint64
}

// lookEvery is how often a sampling looks at how things stand: a storm is noticed as soon.
const lookEvery = 100 * time.Millisecond

// startSampling begins to choose.
func (t *Tracer) startSampling(most uint64) {
	s := &sampling{
		limiter: limiter{most: most},
		standing: func() (shown, all uint64, err error) {
			c, err := t.counts()
			shown = c.Emitted + c.Lost
			return shown, shown + c.Unsampled, err
		},
		set:  func(bits uint32) error { return t.objects.Maps["sample"].Put(uint32(0), bits) },
		wall: t.clock.Wall,
		stop: make(chan struct{}),
	}
	t.sampling = s
	s.over.Go(s.run)
}

// run chooses until it is stopped.
func (s *sampling) run() {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		if err := s.choose(); err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.err = fmt.Errorf("choose which connections are shown: %w", err)
			s.news.Store(true)
			return
		}
		select {
		case <-s.stop:
			return
		case <-ticker.C:
		}
	}
}

// choose looks once.
func (s *sampling) choose() error {
	shown, all, err := s.standing()
	if err != nil || !s.limiter.observe(reading{time.Duration(monotonic()), shown, all}) {
		return err
	}
	if err := s.set(s.limiter.bits); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes = append(s.changes, change{monotonic(), 1 << s.limiter.bits})
	s.news.Store(true)
	return nil
}

// end ends the choice; what was chosen last holds.
func (s *sampling) end() {
	close(s.stop)
	s.over.Wait()
}

// read is Read of a source that next reads, with the changes among its events by their
// time.
func (s *sampling) read(e *event.Event, next func(*event.Event) error) error {
	if s.hasAhead {
		if s.takeBefore(s.ahead.Ktime, e) {
			return nil
		}
		*e, s.hasAhead = s.ahead, false
		return nil
	}
	err := next(e)
	if !s.news.Load() || e.Kind == event.KindLost && err == nil { // a loss is ahead of its time
		return err
	}
	switch {
	case errors.Is(err, io.EOF):
		if s.takeBefore(^uint64(0), e) {
			return nil
		}
	case err == nil:
		s.ahead = *e
		s.hasAhead = s.takeBefore(s.ahead.Ktime, e)
		err = s.failed()
	}
	return err
}

// takeBefore makes e the next change that is of before the time, if there is one.
func (s *sampling) takeBefore(ktime uint64, e *event.Event) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.changes) == 0 || s.changes[0].ktime > ktime {
		return false
	}
	c := s.changes[0]
	s.changes = s.changes[1:]
	s.news.Store(len(s.changes) > 0 || s.err != nil)
	*e = event.Event{Kind: event.KindSampling, Ktime: c.ktime, Wall: s.wall(c.ktime), OneIn: c.oneIn}
	return true
}

// failed is why the choice has ended, if not for the end of the trace.
func (s *sampling) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
