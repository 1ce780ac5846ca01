//go:build linux

package conn_test

import (
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"tcpstates/internal/conn"
	"tcpstates/internal/event"
	"tcpstates/internal/kerneltest"
	"tcpstates/internal/minisock"
	"tcpstates/internal/pipeline"
	"tcpstates/internal/probe"
	"tcpstates/internal/snapshot"
)

func TestMain(m *testing.M) {
	kerneltest.Main()
	os.Exit(m.Run())
}

// tracking is a trace with a Tracker under way, that keeps what comes in and
// what comes out.
type tracking struct {
	mu      sync.Mutex
	changed *sync.Cond
	in      []event.Event // as the kernel reported it
	out     []event.Event // with what was concluded
	err     error
	knows   probe.Knows
}

// track begins one that ends with the test at the latest.
func track(t testing.TB, o probe.Options) *tracking {
	t.Helper()
	kerneltest.Require(t)
	o.Clock = kerneltest.SteadyClock{}
	force(t, &o)
	tracer, err := probe.Open(o)
	if err != nil {
		t.Fatalf("trace: %v", err)
	}
	var source pipeline.Source = tracer
	var rest *minisock.Follower
	if tracer.Knows().Sockets {
		rest = minisock.Follow(tracer, minisock.Options{Lister: &snapshot.Minisocks{}, Ktime: kerneltest.Ktime, Wall: kerneltest.SteadyClock{}.Wall, Max: 1 << 20})
		source = rest
	}
	k := &tracking{knows: tracer.Knows()}
	k.changed = sync.NewCond(&k.mu)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, k.err = pipeline.Run(source, []pipeline.Stage{keeping{k}, conn.NewTracker(1 << 20)}, k, 0)
	}()
	t.Cleanup(func() {
		tracer.Stop()
		<-done
		if rest != nil {
			rest.Close()
		}
		tracer.Close()
		if k.err != nil {
			t.Errorf("trace: %v", k.err)
		}
	})
	return k
}

// force has the trace use the backend and the transport that the environment
// names, if it does: so the tests show what others than the best can tell.
func force(t testing.TB, o *probe.Options) {
	t.Helper()
	var err error
	if name := os.Getenv("KERNELTEST_BACKEND"); name != "" && err == nil {
		o.Backend, err = probe.ParseBackend(name)
	}
	if name := os.Getenv("KERNELTEST_TRANSPORT"); name != "" && err == nil {
		o.Transport, err = probe.ParseTransport(name)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// keeping is a stage that keeps what comes in.
type keeping struct{ *tracking }

func (k keeping) Apply(e *event.Event, next func(*event.Event) error) error {
	if e.Kind != event.KindTick {
		k.mu.Lock()
		k.in = append(k.in, *e)
		k.mu.Unlock()
	}
	return next(e)
}

func (k *tracking) Start(event.Start) error { return nil }
func (k *tracking) Flush() error            { return nil }
func (k *tracking) Stop(event.Stop) error   { return nil }
func (k *tracking) Write(e *event.Event) error {
	k.mu.Lock()
	k.out = append(k.out, *e)
	k.mu.Unlock()
	k.changed.Broadcast()
	return nil
}

// patience is far more than anything here takes.
const patience = 30 * time.Second

// await waits until what came out of the namespace so far is enough, and
// returns it.
func (k *tracking) await(t testing.TB, ns *kerneltest.Netns, what string, enough func([]event.Event) bool) []event.Event {
	t.Helper()
	overdue := false
	timer := time.AfterFunc(patience, func() {
		k.mu.Lock()
		overdue = true
		k.mu.Unlock()
		k.changed.Broadcast()
	})
	defer timer.Stop()
	k.mu.Lock()
	defer k.mu.Unlock()
	for {
		got := of(ns, k.out)
		if enough(got) {
			return got
		}
		if overdue {
			t.Errorf("%s does not come; so far: %s", what, describe(got))
			return got
		}
		k.changed.Wait()
	}
}

// awaitEnds waits until so many connections have ended, listeners aside.
func (k *tracking) awaitEnds(t testing.TB, ns *kerneltest.Netns, n int) []event.Event {
	t.Helper()
	return k.await(t, ns, "the end of all connections", func(events []event.Event) bool {
		return len(ends(events)) >= n
	})
}

// awaitChange waits for a transition of any socket.
func (k *tracking) awaitChange(t testing.TB, ns *kerneltest.Netns, from, to event.State) event.Event {
	t.Helper()
	var found event.Event
	k.await(t, ns, from.String()+">"+to.String(), func(events []event.Event) bool {
		i := slices.IndexFunc(events, func(e event.Event) bool {
			return e.Kind == event.KindTransition && e.OldState == from && e.NewState == to
		})
		if i >= 0 {
			found = events[i]
		}
		return i >= 0
	})
	return found
}

// input is what came in of the namespace.
func (k *tracking) input(ns *kerneltest.Netns) []event.Event {
	k.mu.Lock()
	defer k.mu.Unlock()
	return of(ns, k.in)
}

// of keeps the events of the namespace.
func of(ns *kerneltest.Netns, events []event.Event) (kept []event.Event) {
	for _, e := range events {
		if e.Netns == ns.Inode {
			kept = append(kept, e)
		}
	}
	return kept
}
