// Package minisock follows what is left of sockets in TIME_WAIT, or in
// FIN_WAIT2 without a process: no tracepoint tells what becomes of it, so the
// kernel's tables are asked, in batches, while there is something to ask for.
package minisock

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"tcpstates/internal/conn"
	"tcpstates/internal/event"
	"tcpstates/internal/pipeline"
	"tcpstates/internal/snapshot"
	"tcpstates/internal/wire"
)

// Lister lists the minisocks of network namespaces; *snapshot.Minisocks is the
// real one.
type Lister interface {
	Prepare() error
	Spaces() map[uint32]snapshot.Space
	List(netns uint32, found func(wire.Minisock)) (snapshot.Space, error)
	Close()
}

// Options say how a Follower asks.
type Options struct {
	Lister Lister
	// Ktime is the time of CLOCK_MONOTONIC in nanoseconds. It is called on any
	// goroutine.
	Ktime func() uint64
	// Wall is the time since the Unix epoch at which CLOCK_MONOTONIC showed
	// ktime. It is called on Read's goroutine alone.
	Wall func(ktime uint64) int64
	// Max is how many minisocks are followed at a time; beyond it they are
	// passed over.
	Max int
}

// Follower is a pipeline.Source that adds to another's events what becomes of
// minisocks, as events of event.KindMinisock. Read and Pending belong to one
// goroutine, as the inner ones do.
type Follower struct {
	inner pipeline.Source
	o     Options

	mu       sync.Mutex
	entered  []entry   // since the last batch
	outcomes []outcome // of the last batches
	err      error     // why the last batch is not complete

	wake    chan struct{} // something has entered
	stop    chan struct{}
	done    chan struct{}
	waiting atomic.Int64 // minisocks that are followed
	ready   atomic.Bool  // outcomes has some

	handing []outcome // that Read hands on
	skipped uint64
}

// outcome is what has become of a minisock.
type outcome struct {
	key
	ktime, seen uint64
	netns       uint32
	from, to    event.State
	fate        event.Fate
}

// key tells minisocks apart: one socket can leave several, one after the other.
type key struct {
	cookie       uint64
	lport, rport uint16
}

// entry is a minisock that has come to be.
type entry struct {
	key
	since uint64 // ktime; when state began, at the earliest
	netns uint32
	state event.State
	// own says that the socket has its own limit for FIN_WAIT2 (TCP_LINGER2).
	own bool
}

// Follow makes a Follower of the source. It asks on a goroutine of its own,
// until Close.
func Follow(inner pipeline.Source, o Options) *Follower {
	f := &Follower{inner: inner, o: o, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	// Before anything can overflow that will be asked for.
	go f.run(o.Lister.Spaces())
	return f
}

// Close ends the asking and closes the Lister. It may be called from any
// goroutine, once.
func (f *Follower) Close() {
	close(f.stop)
	<-f.done
	f.o.Lister.Close()
}

// Err is why some minisocks cannot be followed; nil if all can, as far as is
// known.
func (f *Follower) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// Skipped is how many minisocks were not followed, as there were too many. It
// belongs to Read's goroutine.
func (f *Follower) Skipped() uint64 { return f.skipped }

// Pending implements pipeline.Source.
func (f *Follower) Pending() bool {
	return len(f.handing) > 0 || f.ready.Load() || f.inner.Pending()
}

// Read implements pipeline.Source.
func (f *Follower) Read(e *event.Event) error {
	if len(f.handing) == 0 && f.ready.Load() {
		f.take()
	}
	if len(f.handing) > 0 {
		o := f.handing[0]
		f.handing = f.handing[1:]
		*e = event.Event{
			Kind: event.KindMinisock, Ktime: o.ktime, Wall: f.o.Wall(o.ktime), Cookie: o.cookie, Netns: o.netns,
			Local:    netip.AddrPortFrom(netip.IPv4Unspecified(), o.lport),
			Remote:   netip.AddrPortFrom(netip.IPv4Unspecified(), o.rport),
			OldState: o.from, NewState: o.to, Since: o.seen, Fate: o.fate,
		}
		return nil
	}
	if err := f.inner.Read(e); err != nil {
		return err
	}
	if e.Kind == event.KindTransition && e.NewState == event.Close {
		if state := conn.Minisock(e); state != event.Close {
			f.follow(entry{keyOf(e), e.Ktime, e.Netns, state, e.Facts.Linger2 != 0})
		}
	}
	return nil
}

func keyOf(e *event.Event) key { return key{e.Cookie, e.Local.Port(), e.Remote.Port()} }

func (f *Follower) take() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.handing, f.outcomes = f.outcomes, nil
	f.ready.Store(false)
}

func (f *Follower) follow(m entry) {
	if f.waiting.Load() >= int64(f.o.Max) {
		f.skipped++
		return
	}
	f.waiting.Add(1)
	f.mu.Lock()
	f.entered = append(f.entered, m)
	f.mu.Unlock()
	f.rouse()
}

// rouse has the asking goroutine look for what has entered.
func (f *Follower) rouse() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Asking costs time in proportion to the sockets of a machine: half a second where
// there are a million. It takes less than a hundredth of one CPU, unless there are
// hundreds of thousands: what has entered meanwhile takes memory.
const (
	interval  = time.Second
	idleness  = 150 // times as long as the last batch took
	longPause = 15 * time.Second
)

// run asks while there is something to ask for.
func (f *Follower) run(spaces map[uint32]snapshot.Space) {
	defer close(f.done)
	b := &batch{lister: f.o.Lister, ktime: f.o.Ktime, spaces: spaces, awaited: map[key]awaited{}}
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		if len(b.awaited) == 0 {
			select {
			case <-f.wake:
			case <-f.stop:
				return
			}
		}
		select {
		case <-pause.C:
		case <-f.stop:
			return
		}
		if err := f.o.Lister.Prepare(); err != nil {
			f.publish(nil, err)
			f.rouse() // to try again
			pause.Reset(interval)
			continue
		}
		began := f.o.Ktime()
		f.mu.Lock()
		entered := f.entered
		f.entered = nil
		f.mu.Unlock()
		f.waiting.Add(-b.add(entered))
		f.publish(b.ask())
		pause.Reset(min(longPause, max(interval, idleness*time.Duration(f.o.Ktime()-began))))
	}
}

// publish lets Read have what a batch has found out, or why it has not.
func (f *Follower) publish(outcomes []outcome, err error) {
	for i := range outcomes {
		if outcomes[i].to == event.Close {
			f.waiting.Add(-1)
		}
	}
	f.mu.Lock()
	f.outcomes = append(f.outcomes, outcomes...)
	f.err = err
	f.ready.Store(len(f.outcomes) > 0)
	f.mu.Unlock()
}
