package main

import (
	"errors"
	"runtime"
	"sync"
	"time"

	"tcpstates/internal/traffic"
)

// slice is how long is slept when there is nothing to do yet: what became due
// meanwhile is caught up with in one go.
const slice = time.Millisecond

// pace spreads what is done over time.
type pace struct {
	begin time.Time
	every time.Duration // from one to the next; 0: as fast as possible
}

// paceOf begins with so many a second; 0: as fast as possible.
func paceOf(perSecond float64) pace {
	p := pace{begin: time.Now()}
	if perSecond > 0 {
		p.every = time.Duration(float64(time.Second) / perSecond)
	}
	return p
}

// isDue tells whether the n-th, from 0 on, may be done.
func (p *pace) isDue(n int, now time.Time) bool {
	return p.every == 0 || now.Sub(p.begin) >= time.Duration(n)*p.every
}

// await waits until the n-th may be done.
func (p *pace) await(n int) {
	for p.every > 0 && !p.isDue(n, time.Now()) {
		time.Sleep(slice)
	}
}

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
	s.perSecond = o.rate / traffic.MeanTransitions / float64(threads)
	return s
}

// share is what one thread does.
type share struct {
	options
	limited   bool    // to its connections
	perSecond float64 // how many it opens; 0: as fast as possible
	room      int     // how many connections may be open at a time
}

// worker opens and closes connections on its thread.
type worker struct {
	share
	source *traffic.Source
	bounds *traffic.BoundsWriter // nil if none are wanted
	pace   pace                  // of opening
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
	w.pace = paceOf(w.perSecond)
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
	return w.pace.isDue(w.opened, now) && !w.isOver(now) && w.opened-w.closed.Connections < len(w.open)
}

// isOver tells whether no more connections are to be opened.
func (w *worker) isOver(now time.Time) bool {
	return w.duration > 0 && now.Sub(w.pace.begin) >= w.duration || w.limited && w.opened == w.connections
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
