package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"tcpstates/internal/conn"
	"tcpstates/internal/event"
	"tcpstates/internal/pipeline"
	"tcpstates/internal/probe"
	"tcpstates/internal/summary"
)

// kernelCounter counts in the kernel; *probe.Summary is the real one.
type kernelCounter interface {
	// Backend names the kernel mechanisms in use.
	Backend() string
	// Undecided are the filters that it does not decide.
	Undecided() []string
	Counted(*probe.Counted) error
	Totals() (probe.Totals, error)
	Stop()
	Close() error
}

// asCounter makes no counter of none.
func asCounter(s *probe.Summary, err error) (kernelCounter, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// withCounts are the flags that a summary in the kernel has a use for; the others are
// about events, or about other ways to trace.
var withCounts = []string{"summary", "in-kernel", "every", "duration", "verbose", "pidns", "btf", "drop-to", "ready-file", "ipv4", "ipv6"}

// checkInKernel refuses what only events tell. The filters are not decided here.
func (f *transitionsFlags) checkInKernel(flags *pflag.FlagSet) (err error) {
	if !f.summary && f.every == 0 {
		return usagef("--in-kernel without --summary: it is about how the summary is made: give both")
	}
	flags.Visit(func(flag *pflag.Flag) {
		if _, filters := flag.Value.(*filterValue); !filters && flag.Name != "tree" && !slices.Contains(withCounts, flag.Name) && err == nil {
			err = usagef("--%s with --in-kernel: no event leaves the kernel, and the summary is all there is: leave out one of them", flag.Name)
		}
	})
	return err
}

// checkCountable refuses filters that the kernel does not decide, as nobody else does.
func (f *transitionsFlags) checkCountable(rest []string) error {
	if f.tree && len(rest) > 0 && slices.Contains(rest, "pid") {
		rest = []string{"tree"}
	}
	if len(rest) == 0 {
		return nil
	}
	return usagef("--%s with --in-kernel: the kernel cannot decide that, and no event leaves it: leave out --in-kernel", rest[0])
}

// countInKernel has the kernel make the summary, until the trace ends.
func (a *app) countInKernel(ctx context.Context, flags *transitionsFlags, set *pflag.FlagSet) error {
	if err := flags.checkInKernel(set); err != nil {
		return err
	}
	filters, err := flags.filters()
	if err != nil {
		return err
	}
	pidns, err := pidNamespace(flags.pidns)
	if err != nil {
		return err
	}
	lowered, rest := filters.Lower()
	if err := flags.checkCountable(rest); err != nil {
		return err
	}
	source, err := a.openSummary(probe.Options{Filter: lowered, PIDNamespace: pidns, TypesFile: flags.btf})
	if err != nil {
		a.explain(&flags.viewFlags, err)
		return err
	}
	defer source.Close()
	if err := flags.checkCountable(source.Undecided()); err != nil {
		return err
	}
	if err := a.changeUser(&flags.traceFlags); err != nil {
		return err
	}
	fmt.Fprintln(a.stderr, "tcpstates: counting in the kernel with "+source.Backend())
	r := &run{app: a, flags: &flags.traceFlags}
	if err := r.beReady(); err != nil {
		return err
	}
	if flags.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(flags.duration))
		defer cancel()
	}
	return a.tellCounts(ctx, source, time.Duration(flags.every))
}

// tellCounts tells what was counted when the context ends, and so far each time every
// has passed; zero stands for never.
func (a *app) tellCounts(ctx context.Context, source kernelCounter, every time.Duration) error {
	ctx, hangUp := context.WithCancel(ctx)
	defer hangUp()
	onHangup(a.stdout, hangUp)
	var due <-chan time.Time
	if every > 0 {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		due = ticker.C
	}
	for {
		select {
		case <-due:
			if _, err := a.printCounts(source); err != nil {
				return err
			}
		case <-ctx.Done():
			source.Stop()
			a.leaveLine(ctx)
			counted, err := a.printCounts(source)
			if err != nil {
				return err
			}
			totals, err := source.Totals()
			if err != nil {
				return err
			}
			fmt.Fprintln(a.stderr, "tcpstates: "+accountOfCounts(counted, totals))
			return nil
		}
	}
}

// printCounts prints the summary, which is the data here, and gives what it is of.
func (a *app) printCounts(source kernelCounter) (*probe.Counted, error) {
	var counted probe.Counted
	if err := source.Counted(&counted); err != nil {
		return nil, err
	}
	text := summaryOf(&counted).AppendText(nil, widthOf(a.stdout)())
	_, err := a.stdout.Write(text)
	return &counted, pipeline.Writing(err)
}

// summaryOf judges what was counted.
func summaryOf(c *probe.Counted) *summary.Counted {
	s := summary.NewCounted()
	s.Transitions = c.Transitions
	s.Connect, s.RTT = summary.Buckets(c.Connect), summary.Buckets(c.RTT)
	for state := range c.InState {
		s.InState[state] = summary.Buckets(c.InState[state])
	}
	for i := range c.Ends {
		if end := &c.Ends[i]; conn.EndOf(&end.Event, end.Reported) {
			s.Add(&end.Event, end.N)
		}
	}
	s.AddOther(c.Unsorted)
	return s
}

// accountOfCounts tells in a sentence how much of what happened was counted.
func accountOfCounts(c *probe.Counted, totals probe.Totals) string {
	n := uint64(0)
	for from := range c.Transitions {
		for _, count := range c.Transitions[from] {
			n += count
		}
	}
	stop := event.Stop{Missed: totals.Missed, MissedUnknown: totals.MissedUnknown, Gaps: totals.Gaps}
	return fmt.Sprintf("%d transitions counted, ", n) + missedAndGaps(stop)
}
