package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"tcpstates/internal/event"
	"tcpstates/internal/filter"
	"tcpstates/internal/pipeline"
	"tcpstates/internal/probe"
)

// inKernel is a flag that is given alone, or with a rate of transitions a second.
type inKernel struct {
	given bool
	rate  uint64 // zero: from the beginning
}

// fromTheBeginning is the flag's value where it has none.
const fromTheBeginning = "always"

// Set implements pflag.Value.
func (f *inKernel) Set(text string) (err error) {
	f.given, f.rate = true, 0
	if text == fromTheBeginning {
		return nil
	}
	if f.rate, err = strconv.ParseUint(text, 10, 63); err != nil || f.rate == 0 {
		return fmt.Errorf("it takes a number of transitions a second from 1 on after a =, or nothing")
	}
	return nil
}

// String implements pflag.Value.
func (f *inKernel) String() string {
	if f.rate == 0 {
		return ""
	}
	return strconv.FormatUint(f.rate, 10)
}

// Type implements pflag.Value.
func (f *inKernel) Type() string { return "RATE" }

func (f *inKernel) bind(flags *pflag.FlagSet) {
	flags.Var(f, "in-kernel", "with --summary: have the kernel count, and show no event, the summary goes to stdout; with =RATE from more than so many transitions a second on")
	flags.Lookup("in-kernel").NoOptDefVal = fromTheBeginning
}

// checkFlood refuses what does not go with a rate.
func (f *transitionsFlags) checkFlood(summary bool) error {
	switch {
	case !summary:
		return errWithoutSummary
	case f.from != "":
		return usagef("--from with --in-kernel: a recording is no kernel's to count: leave out one of them")
	case f.most > 0:
		return usagef("--max-events-per-second with --in-kernel=%d: of a sample there are never too many: leave out one of them", f.inKernel.rate)
	case len(f.rules) > 0:
		return usagef("--expect with --in-kernel=%d: what the kernel counts cannot be judged: leave out one of them", f.inKernel.rate)
	case f.count > 0:
		return usagef("--count with --in-kernel=%d: what the kernel counts is not shown, and would never be so many: leave out one of them", f.inKernel.rate)
	case f.backend.value != (probe.Backend{}) || f.transport.value != (probe.Transport{}):
		return usagef("--backend and --transport with --in-kernel=%d: the kernel counts by the best way alone: leave out one of them", f.inKernel.rate)
	}
	return nil
}

// flood is a stage that has the kernel count instead, when more transitions happen than
// the user wants to see. It is nil where nobody asks for that.
type flood struct {
	*app
	rate    uint64
	counter kernelCounter
	source  tracer
	every   time.Duration
	// Of the second that is under way: when it began, and transitions in it.
	begun, seen uint64
	over        bool
}

// watchForFlood makes the stage that the trace needs, while the process may load programs;
// nil if it needs none.
func (a *app) watchForFlood(flags *traceFlags, show show, lowered filter.Lowered, rest []string, pidns uint32) (*flood, error) {
	if show.maxRate == 0 {
		return nil, nil
	}
	counter, err := a.loadCounter(flags, lowered, rest, pidns)
	if err != nil {
		return nil, err
	}
	return &flood{app: a, rate: show.maxRate, counter: counter, every: time.Duration(flags.every)}, nil
}

// Apply implements pipeline.Stage.
func (f *flood) Apply(e *event.Event, next func(*event.Event) error) error {
	if !f.over && e.Kind != event.KindMinisock && e.Ktime != pipeline.EndOfTime && f.isTooMuch(e) {
		if err := f.goOver(); err != nil {
			return err
		}
	}
	return next(e)
}

// isTooMuch counts the event, and tells at the end of a second if there were too many.
func (f *flood) isTooMuch(e *event.Event) bool {
	if f.begun == 0 {
		f.begun = e.Ktime
	}
	switch e.Kind {
	case event.KindTransition:
		f.seen++
	case event.KindLost:
		f.seen += e.Lost
	}
	if e.Ktime < f.begun+uint64(time.Second) {
		return false
	}
	lasted := time.Duration(e.Ktime - f.begun).Seconds()
	tooMuch := float64(f.seen) > float64(f.rate)*lasted
	f.begun, f.seen = e.Ktime, 0
	return tooMuch
}

// goOver has the kernel begin before the trace ends, so that what happens between is
// told twice rather than by nobody.
func (f *flood) goOver() error {
	f.over = true
	if err := f.counter.Start(); err != nil {
		return err
	}
	go f.source.Stop() // it may wait for who reads, which is who calls this
	fmt.Fprintf(f.stderr, "tcpstates: more than %d transitions a second: from now on they are counted in the kernel, and none is shown\n", f.rate)
	return nil
}

// wait waits for the end of the context while the kernel counts, and tells the sink how
// many events it has so lost.
func (f *flood) wait(ctx context.Context, sink pipeline.Sink) error {
	if f == nil || !f.over {
		return nil
	}
	if err := f.awaitCounts(ctx, f.counter, f.every, f.stderr); err != nil {
		return err
	}
	var counted probe.Counted
	if err := f.counter.Counted(&counted); err != nil {
		return err
	}
	if counted.Sum() == 0 {
		return nil
	}
	lost := event.Event{Kind: event.KindLost, Ktime: ktime(), Wall: f.clock.Now(), Lost: counted.Sum(), Loss: event.LossCounted}
	return pipeline.Writing(sink.Write(&lost))
}

// tell tells what was counted; an error leaves nothing to tell.
func (f *flood) tell() {
	if f == nil || !f.over {
		return
	}
	fmt.Fprintln(f.stderr, "tcpstates: then the kernel has counted:")
	if err := f.accountForCounts(f.counter, f.stderr); err != nil {
		fmt.Fprintf(f.stderr, "tcpstates: %v\n", err)
	}
}

// close gives back what counts.
func (f *flood) close() {
	if f != nil {
		_ = f.counter.Close() // it goes with the process
	}
}
