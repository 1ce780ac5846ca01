package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"tcpstates/internal/event"
	"tcpstates/internal/feature"
	"tcpstates/internal/filter"
	"tcpstates/internal/output"
	"tcpstates/internal/pipeline"
	"tcpstates/internal/probe"
)

// traceTransitions shows every change of state. given tells whether a flag was
// given.
func (a *app) traceTransitions(ctx context.Context, flags *transitionsFlags, given func(name string) bool) error {
	show, err := flags.show(given)
	if err != nil {
		return err
	}
	return a.traceOrReplay(ctx, &flags.traceFlags, show, given)
}

// traceOrReplay shows what happens, or what a recording has.
func (a *app) traceOrReplay(ctx context.Context, flags *traceFlags, show show, given func(name string) bool) error {
	if err := flags.checkFrom(given); err != nil {
		return err
	}
	if err := flags.checkAnswers(); err != nil {
		return err
	}
	if flags.from != "" {
		return a.replay(ctx, flags.from, &flags.viewFlags, show)
	}
	if flags.onFailure != "" && len(flags.rules) == 0 {
		return usagef("--record-on-failure without --expect: nothing can fail: give a rule, or see tcpstates record --snapshot-on-failure")
	}
	if err := flags.checkOnFailure(); err != nil {
		return err
	}
	recorder := flags.recorderOnFailure(a)
	return errors.Join(a.trace(ctx, flags, show, company{recorder: recorder}), recorder.close())
}

// isNoConn keeps all but connections that have ended.
func isNoConn(e *event.Event) bool { return e.Kind != event.KindConn }

// isRaw keeps what the tracepoint reports, and what tells of what is missing.
func isRaw(e *event.Event) bool { return e.Kind == event.KindTransition || e.IsNotice() }

// show is what a live trace shows.
type show struct {
	format  output.Format
	subject output.Subject
	// what is the word for what is counted.
	what string
	// keep tells which events are written.
	keep func(*event.Event) bool
	// names looks up those of remote ends before they are shown; nil: not needed.
	names pipeline.Stage
	// ends shows connections that have ended beside what is counted; nil: nobody does.
	ends pipeline.Stage
	// places says that somebody asks where owners run.
	places bool
	// summary says that one is wanted at the end.
	summary bool
	// maxRate is how many transitions a second are shown, and not counted in the
	// kernel; zero: all.
	maxRate uint64
	// reasons is the flag that goes by the reasons of ends; empty: none does.
	reasons string
	// silent says that nothing is written, and quiet that nothing is said of the trace.
	silent, quiet bool
}

// show is what the flags ask for.
func (f *transitionsFlags) show(given func(name string) bool) (show, error) {
	format, err := f.outputFormat(given("output"))
	if err != nil {
		return show{}, err
	}
	s := show{
		format: format, subject: output.OfTransitions, what: "transitions shown", keep: isNoConn,
		summary: f.summary || f.every > 0, maxRate: f.inKernel.rate, reasons: f.reasons(),
	}
	if s.maxRate > 0 {
		if err := f.checkFlood(s.summary); err != nil {
			return s, err
		}
	}
	if f.raw || format.Raw {
		if err := errors.Join(f.checkRaw(), f.checkExpected()); err != nil {
			return s, err
		}
		if s.summary || given("max-conns") {
			return s, usagef("--summary, --every and --max-conns with what the tracepoint says alone: leave out --raw, -o bcc and -o libbpf")
		}
		s.subject, s.keep = output.OfRaw, isRaw
	}
	if f.group {
		if s.format, err = f.grouped(format); err != nil {
			return s, err
		}
	}
	return s, f.where.check(s.subject)
}

// company is what goes along with a live trace.
type company struct {
	recorder *recorder // nil: nothing is recorded
	child    *child    // nil: no command is run
	waiting  *waiting  // nil: nobody waits for a socket
}

// trace runs a live trace to its end.
func (a *app) trace(ctx context.Context, flags *traceFlags, show show, with company) (err error) {
	begun := false
	defer func() {
		if err != nil && !begun {
			err = errors.Join(err, a.answerUnjudged(&flags.expectFlags, err))
		}
	}()
	filters, err := flags.filters()
	if err != nil {
		return err
	}
	pidns, err := pidNamespace(flags.pidns)
	if err != nil {
		return err
	}
	target, err := a.openTarget(&flags.viewFlags, &show, !flags.pidns)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.close()) }()
	lowered, rest := filters.Lower()
	flood, err := a.watchForFlood(flags, show, lowered, rest, pidns)
	if err != nil {
		return err
	}
	defer flood.close()
	source, seed, err := a.open(flags.options(a, lowered, pidns, show))
	if err != nil {
		a.explain(&flags.viewFlags, err)
		return err
	}
	defer source.Close()
	if err := flags.checkSource(source, show); err != nil {
		return err
	}
	var processes []event.Event
	if flags.tree {
		if processes, err = a.listProcesses(source, pidns); err != nil {
			return err
		}
	}
	start := event.Start{
		Wall:    a.clock.Now(),
		Version: version,
		Kernel:  feature.KernelRelease(),
		Backend: source.Backend(),
	}
	// While the process has the right to.
	if err := with.recorder.begin(start, source, show, flags); err != nil {
		return err
	}
	answers, err := a.openAnswers(&flags.expectFlags)
	if err != nil {
		return err
	}
	// While no other goroutine needs a capability.
	if err := a.changeUser(flags); err != nil {
		return err
	}
	if !show.quiet {
		a.announce(flags, source, with)
	}
	rest = append(rest, source.Undecided()...)
	if len(flags.where) > 0 {
		rest = append(rest, "where")
	}
	rest = slices.Compact(slices.Sorted(slices.Values(rest)))
	flags.noteRest(a, rest)
	with.recorder.tellMore(rest)

	begun = true
	run := a.newRun(source, seed, processes, flags, show, target, with, flood)
	defer run.close()
	stop, err := run.pump(ctx, start)
	if err != nil {
		with.child.leave() // which runs on
		run.conclude(start, event.Stop{Wall: a.clock.Now(), MissedUnknown: true}, "the trace broke off: "+err.Error())
		return errors.Join(run.verdict.answer(&flags.expectFlags, answers), err, with.recorder.breakOff(a.clock.Now()))
	}
	a.leaveLine(ctx.Err() != nil || with.child.wasAsked())
	if with.waiting != nil {
		with.waiting.stop = stop
	}
	if !show.quiet {
		run.tell(show, stop)
	}
	return errors.Join(run.verdict.answer(&flags.expectFlags, answers), run.patient.err(), run.unkept, target.incomplete(), with.recorder.incomplete())
}

// leaveLine begins a new line on a terminal where a signal has ended the trace: Ctrl-C has
// left its ^C on this one.
func (a *app) leaveLine(interrupted bool) {
	if file, ok := a.stderr.(*os.File); ok && interrupted && isTerminal(file) {
		fmt.Fprintln(a.stderr)
	}
}

// options are those of the trace that the flags ask for.
func (f *traceFlags) options(a *app, filters filter.Lowered, pidns uint32, show show) probe.Options {
	return probe.Options{
		Filter:          filters,
		SelfTransitions: show.subject == output.OfRaw,
		AcceptProbe:     f.acceptProbe,
		PIDNamespace:    pidns,
		Forks:           f.tree,
		Follow:          f.follow,
		BufferSize:      int(f.buffer),

		MaxEventsPerSecond: uint64(f.most),

		Backend:   f.backend.value,
		Transport: f.transport.value,
		TypesFile: f.btf,
		Clock:     a.clock,
	}
}

// checkSource refuses what the flags ask for and the source does not tell.
func (f *traceFlags) checkSource(source tracer, show show) error {
	const remedy = ": leave it out, and see tcpstates doctor for a better way to trace"
	knows := source.Knows()
	if show.reasons != "" && !knows.Facts {
		return &feature.Missing{What: show.reasons + " goes by the reasons of ends, and " + source.Backend() + " knows none" + remedy}
	}
	if f.follow && !knows.Forks {
		return &feature.Missing{What: "exec follows new processes, and " + source.Backend() + " tells of none: see tcpstates doctor for a better way to trace"}
	}
	name := f.unknownTo(knows)
	if name == "" && !knows.Facts {
		name = f.asksFacts()
	}
	if name != "" {
		return &feature.Missing{What: "--" + name + " asks for what " + source.Backend() + " does not tell" + remedy}
	}
	return nil
}

// announce says what the trace is made with.
func (a *app) announce(flags *traceFlags, source tracer, with company) {
	fmt.Fprintln(a.stderr, "tcpstates: "+header(source)+with.child.took())
	if err := source.Refused(); err != nil {
		fmt.Fprintln(a.stderr, "tcpstates: this kernel's verifier rejects programs that tell more: "+
			"please report it with the output of tcpstates doctor --json")
		flags.notef(a, "%v", err)
	}
	flags.notef(a, "the buffer to user space holds %s", flags.buffer)
}

// notef tells the user of -v what is going on.
func (f *viewFlags) notef(a *app, format string, args ...any) {
	if f.verbose {
		fmt.Fprintf(a.stderr, "tcpstates: "+format+"\n", args...)
	}
}

// explain tells the user of -v the kernel's own words of its refusal.
func (a *app) explain(flags *viewFlags, err error) {
	var missing *feature.Missing
	if errors.As(err, &missing) {
		flags.notef(a, "the kernel says: %+v", missing.Err)
	}
}
