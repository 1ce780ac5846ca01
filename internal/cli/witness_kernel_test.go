package cli

import (
	"errors"
	"testing"

	"tcpstates/internal/event"
	"tcpstates/internal/kerneltest"
	"tcpstates/internal/pipeline"
	"tcpstates/internal/probe"
)

// witness is a trace beside the command's whose buffer holds all that a test does,
// and which the kernel's own text confirms: what it has seen is what has happened.
type witness struct {
	tracer *probe.Tracer
	truth  *kerneltest.Truth
	done   chan error
	events []event.Event // of every kind that the programs send
}

// startWitness begins, when the command has begun.
func startWitness(t *testing.T, o probe.Options) *witness {
	t.Helper()
	o.Clock, o.BufferSize = kerneltest.SteadyClock{}, 64<<20
	tracer, err := probe.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	w := &witness{tracer: tracer, done: make(chan error, 1)}
	go func() {
		_, err := pipeline.Run(tracer, nil, w, 0)
		w.done <- err
	}()
	t.Cleanup(func() { tracer.Close() })
	w.truth = kerneltest.StartTruth(t)
	return w
}

func (w *witness) Start(event.Start) error { return nil }
func (w *witness) Flush() error            { return nil }
func (w *witness) Stop(event.Stop) error   { return nil }
func (w *witness) Write(e *event.Event) error {
	w.events = append(w.events, *e)
	return nil
}

// end is what has happened in the namespace, of which the first are the transitions.
func (w *witness) end(t *testing.T, ns *kerneltest.Netns) (transitions, others []event.Event) {
	t.Helper()
	truth := w.truth.Stop(t)
	w.tracer.Stop()
	err := <-w.done
	totals, countErr := w.tracer.Totals()
	if err := errors.Join(err, countErr); err != nil || totals.Lost+totals.Missed+totals.Gaps > 0 {
		t.Fatalf("the witness has not seen all: %+v, %v", totals, err)
	}
	var everywhere []event.Event
	for _, e := range w.events {
		own := e.Netns == ns.Inode
		switch {
		case e.Kind != event.KindTransition && own:
			others = append(others, e)
		case e.Kind == event.KindTransition:
			everywhere = append(everywhere, e)
			if own {
				transitions = append(transitions, e)
			}
		}
	}
	if n := kerneltest.RequireSame(t, ns, kerneltest.Changes(truth), changesOf(everywhere)); n == 0 {
		t.Error("nothing has happened")
	}
	return transitions, others
}

// changesOf leaves out states that were set anew.
func changesOf(transitions []event.Event) (changes []event.Event) {
	for _, e := range transitions {
		if e.OldState != e.NewState {
			changes = append(changes, e)
		}
	}
	return changes
}
