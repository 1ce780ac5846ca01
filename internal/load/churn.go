package main

import (
	"errors"
	"runtime"
	"sync"
	"time"

	"tcpstates/internal/traffic"
)

// slice is how long a worker sleeps when it is ahead of its rate: what became
// due meanwhile it catches up with in one go.
const slice = time.Millisecond

// churn opens and closes connections on so many threads.
func churn(o options, threads int) (report, error) {
	var (
		total  report
		failed error
		mu     sync.Mutex
		group  sync.WaitGroup
	)
	begin := time.Now()
	for i := range threads {
		group.Go(func() {
			done, err := churnOne(o.share(i, threads))
			mu.Lock()
			defer mu.Unlock()
			total.add(done)
			failed = errors.Join(failed, err)
		})
	}
	group.Wait()
	total.Seconds = time.Since(begin).Seconds()
	return total, failed
}

// share is the part of the i-th of so many threads.
func (o options) share(i, threads int) share {
	s := share{options: o, limited: o.connections > 0, room: max(1, o.room()/threads)}
	s.connections = (o.connections + i) / threads
	if o.rate > 0 {
		s.every = time.Duration(float64(threads) * traffic.MeanTransitions / o.rate * float64(time.Second))
	}
	return s
}

// share is what one thread does.
type share struct {
	options
	limited bool          // to its connections
	every   time.Duration // from one opening to the next; 0: as fast as possible
	room    int           // how many connections may be open at a time
}

// worker opens and closes connections on its thread.
type worker struct {
	share
	source *traffic.Source
	bounds *traffic.BoundsWriter // nil if none are wanted
	begin  time.Time
	opened int
	open   []traffic.Conn // a ring: the n-th connection is at n modulo its length
	closed report
}

func churnOne(s share) (done report, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	w := &worker{share: s, open: make([]traffic.Conn, s.room)}
	file, err := s.openBounds()
	if err != nil {
		return report{}, err
	}
	if file != nil {
		w.bounds = traffic.NewBoundsWriter(file)
		defer func() { err = errors.Join(err, w.bounds.Flush(), file.Close()) }()
	}
	if w.source, err = traffic.NewSource(s.ipv6); err != nil {
		return report{}, err
	}
	defer func() { err = errors.Join(err, w.source.Close()) }()
	err = w.run()
	return w.closed.with(w.source), err
}

// with is the report with the source's listeners, which are closed next.
func (r report) with(source *traffic.Source) report {
	r.Listeners = source.Listeners()
	r.Transitions += traffic.OfListener * r.Listeners
	return r
}

// run closes what is due, or else opens what is due, until all is done. Its
// time is bounded by the duration or the number of connections, and a life.
func (w *worker) run() error {
	w.begin = time.Now()
	for {
		now := time.Now()
		switch {
		case w.mayClose(now):
			if err := w.closed.closeOne(w.oldest(), w.bounds); err != nil {
				return err
			}
		case w.mayOpen(now):
			c, err := w.source.Open()
			if err != nil {
				return err
			}
			w.open[w.opened%len(w.open)] = c
			w.opened++
		case w.isOver(now) && w.opened == w.closed.Connections:
			return nil
		default:
			time.Sleep(slice)
		}
	}
}

// oldest is the connection that is open for longest.
func (w *worker) oldest() *traffic.Conn { return &w.open[w.closed.Connections%len(w.open)] }

func (w *worker) mayClose(now time.Time) bool {
	return w.opened > w.closed.Connections && now.Sub(w.oldest().Opened()) >= w.life
}

func (w *worker) mayOpen(now time.Time) bool {
	due := w.every == 0 || now.Sub(w.begin) >= time.Duration(w.opened)*w.every
	return due && !w.isOver(now) && w.opened-w.closed.Connections < len(w.open)
}

// isOver tells whether no more connections are to be opened.
func (w *worker) isOver(now time.Time) bool {
	return w.duration > 0 && now.Sub(w.begin) >= w.duration || w.limited && w.opened == w.connections
}

// closeOne closes a connection, and counts it.
func (r *report) closeOne(c *traffic.Conn, bounds *traffic.BoundsWriter) error {
	b, err := c.Close()
	if err == nil && bounds != nil {
		err = bounds.Write(b)
	}
	r.Connections++
	r.Transitions += c.Transitions()
	return err
}
