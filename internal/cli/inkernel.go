package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"tcpstates/internal/conn"
	"tcpstates/internal/event"
	"tcpstates/internal/filter"
	"tcpstates/internal/probe"
	"tcpstates/internal/summary"
)

// kernelCounter counts in the kernel; *probe.Summary is the real one.
type kernelCounter interface {
	// Backend names the kernel mechanisms in use.
	Backend() string
	// Undecided are the filters that it does not decide.
	Undecided() []string
	// Start has it begin.
	Start() error
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

var errWithoutSummary = usagef("--in-kernel without --summary: it is about how the summary is made: give both")

// withCounts are the flags that a summary in the kernel has a use for; the others are
// about events, or about other ways to trace.
var withCounts = []string{"summary", "in-kernel", "every", "duration", "verbose", "pidns", "btf", "drop-to", "ready-file", "ipv4", "ipv6"}

// checkInKernel refuses what only events tell. The filters are not decided here.
func (f *transitionsFlags) checkInKernel(flags *pflag.FlagSet) (err error) {
	if !f.summary && f.every == 0 {
		return errWithoutSummary
	}
	flags.Visit(func(flag *pflag.Flag) {
		if _, filters := flag.Value.(*filterValue); !filters && flag.Name != "tree" && !slices.Contains(withCounts, flag.Name) && err == nil {
			err = usagef("--%s with --in-kernel: no event leaves the kernel, and the summary is all there is: leave out one of them", flag.Name)
		}
	})
	return err
}

// checkCountable refuses filters that the kernel does not decide, as nobody else does.
func (f *traceFlags) checkCountable(rest []string) error {
	if f.tree && len(rest) > 0 && slices.Contains(rest, "pid") {
		rest = []string{"tree"}
	}
	if len(rest) == 0 {
		return nil
	}
	return usagef("--%s with --in-kernel: the kernel cannot decide that, and no event leaves it: leave out --in-kernel", rest[0])
}

// loadCounter loads what counts in the kernel, for filters of which those of rest are not
// lowered.
func (a *app) loadCounter(flags *traceFlags, lowered filter.Lowered, rest []string, pidns uint32) (kernelCounter, error) {
	if err := flags.checkCountable(rest); err != nil {
		return nil, err
	}
	source, err := a.loadSummary(probe.Options{Filter: lowered, PIDNamespace: pidns, TypesFile: flags.btf})
	if err != nil {
		a.explain(&flags.viewFlags, err)
		return nil, err
	}
	if err := flags.checkCountable(source.Undecided()); err != nil {
		return nil, errors.Join(err, source.Close())
	}
	return source, nil
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
	source, err := a.loadCounter(&flags.traceFlags, lowered, rest, pidns)
	if err != nil {
		return err
	}
	defer source.Close()
	if err := source.Start(); err != nil {
		a.explain(&flags.viewFlags, err)
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
	if err := a.awaitCounts(ctx, source, every, a.stdout); err != nil {
		return err
	}
	a.leaveLine(ctx.Err() != nil)
	return a.accountForCounts(source, a.stdout)
}

// awaitCounts has the kernel count until the context ends, and tells so far what it has
// each time every has passed; zero stands for never.
func (a *app) awaitCounts(ctx context.Context, source kernelCounter, every time.Duration, out io.Writer) error {
	var due <-chan time.Time
	if every > 0 {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		due = ticker.C
	}
	for {
		select {
		case <-due:
			if _, err := a.printCounts(source, out); err != nil {
				return err
			}
		case <-ctx.Done():
			source.Stop()
			return nil
		}
	}
}

// accountForCounts tells what was counted, and accounts for it.
func (a *app) accountForCounts(source kernelCounter, out io.Writer) error {
	counted, err := a.printCounts(source, out)
	if err != nil {
		return err
	}
	totals, err := source.Totals()
	if err != nil {
		return err
	}
	stop := event.Stop{Missed: totals.Missed, Gaps: totals.Gaps}
	fmt.Fprintf(a.stderr, "tcpstates: %d transitions counted, %s\n", counted.Sum(), missedAndGaps(stop))
	return nil
}

// printCounts prints the summary, and gives what it is of.
func (a *app) printCounts(source kernelCounter, out io.Writer) (*probe.Counted, error) {
	var counted probe.Counted
	if err := source.Counted(&counted); err != nil {
		return nil, err
	}
	if _, err := out.Write(summaryOf(&counted).AppendText(nil, widthOf(out)())); err != nil {
		return nil, fmt.Errorf("write the summary: %w", err)
	}
	return &counted, nil
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
