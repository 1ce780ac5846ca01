package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"tcpstates/internal/cgroup"
	"tcpstates/internal/event"
	"tcpstates/internal/feature"
	"tcpstates/internal/minisock"
	"tcpstates/internal/output"
	"tcpstates/internal/pipeline"
	"tcpstates/internal/probe"
	"tcpstates/internal/snapshot"
	"tcpstates/internal/wire"

	"golang.org/x/sys/unix"
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
	if flags.from != "" {
		return a.replay(ctx, flags.from, &flags.viewFlags, show)
	}
	return a.trace(ctx, flags, show, nil)
}

// isNoConn keeps all but connections that have ended.
func isNoConn(e *event.Event) bool { return e.Kind != event.KindConn }

// isRaw keeps what the tracepoint reports, and losses.
func isRaw(e *event.Event) bool { return e.Kind == event.KindTransition || e.Kind == event.KindLost }

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
	// summary says that one is wanted at the end.
	summary bool
	// reasons is the flag that goes by the reasons of ends; empty: none does.
	reasons string
	// silent says that nothing is written.
	silent bool
}

// show is what the flags ask for.
func (f *transitionsFlags) show(given func(name string) bool) (show, error) {
	format, err := f.outputFormat(given("output"))
	if err != nil {
		return show{}, err
	}
	s := show{
		format: format, subject: output.OfTransitions, what: "transitions shown", keep: isNoConn,
		summary: f.summary || f.every > 0, reasons: f.reasons(),
	}
	if f.raw || format.Raw {
		if err := f.checkRaw(); err != nil {
			return s, err
		}
		if s.summary || given("max-conns") {
			return s, usagef("--summary, --every and --max-conns with what the tracepoint says alone: leave out --raw, -o bcc and -o libbpf")
		}
		s.subject, s.keep = output.OfRaw, isRaw
	}
	if f.group {
		s.format, err = f.grouped(format)
	}
	return s, err
}

// trace runs a live trace to its end. The recorder is nil if nothing is recorded.
func (a *app) trace(ctx context.Context, flags *traceFlags, show show, recorder *recorder) (err error) {
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
	source, seed, err := a.open(probe.Options{
		Filter:          lowered,
		SelfTransitions: show.subject == output.OfRaw,
		AcceptProbe:     flags.acceptProbe,
		PIDNamespace:    pidns,
		Forks:           flags.tree,
		BufferSize:      int(flags.buffer),
		Backend:         flags.backend.value,
		Transport:       flags.transport.value,
		TypesFile:       flags.btf,
		Clock:           a.clock,
	})
	if err != nil {
		a.explain(&flags.viewFlags, err)
		return err
	}
	defer source.Close()
	if show.reasons != "" && !source.Knows().Facts {
		return &feature.Missing{What: show.reasons + " goes by the reasons of ends, and " + source.Backend() +
			" knows none: leave it out, and see tcpstates doctor for a better way to trace"}
	}
	if name := flags.unknownTo(source.Knows()); name != "" {
		return &feature.Missing{What: "--" + name + " asks for what " + source.Backend() +
			" does not tell: leave it out, and see tcpstates doctor for a better way to trace"}
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
	if err := recorder.begin(start, source, show, flags); err != nil {
		return err
	}
	// While no other goroutine needs a capability.
	if err := a.changeUser(flags); err != nil {
		return err
	}
	fmt.Fprintln(a.stderr, "tcpstates: "+header(source))
	if err := source.Refused(); err != nil {
		fmt.Fprintln(a.stderr, "tcpstates: this kernel's verifier rejects programs that tell more: "+
			"please report it with the output of tcpstates doctor --json")
		flags.notef(a, "%v", err)
	}
	rest = append(rest, source.Undecided()...)
	slices.Sort(rest)
	rest = slices.Compact(rest)
	flags.noteRest(a, rest)
	recorder.tellMore(rest)
	flags.notef(a, "the buffer to user space holds %s", flags.buffer)

	run := a.newRun(source, seed, processes, flags, show, target, recorder)
	defer run.close()
	stop, err := run.pump(ctx, start)
	if err != nil {
		return errors.Join(err, recorder.breakOff(a.clock.Now()))
	}
	if file, ok := a.stderr.(*os.File); ok && ctx.Err() != nil && isTerminal(file) {
		fmt.Fprintln(a.stderr) // Ctrl-C has left its ^C on the line
	}
	run.way.summarize()
	fmt.Fprintln(a.stderr, "tcpstates: "+account(show.what, stop))
	tellHasty(a, run.way.filter)
	recorder.tell()
	if err := run.minisockErr(); err != nil {
		fmt.Fprintln(a.stderr, "tcpstates: some TIME_WAIT were not followed to their end; run with -v for why")
		flags.notef(a, "%v", err)
	}
	return nil
}

// header says what the trace uses, and what it therefore cannot tell.
func header(source tracer) string {
	text := "tracing with " + source.Backend()
	if less := source.Knows().Less; less != "" {
		text += " (" + less + "; see tcpstates doctor)"
	}
	return text
}

// account tells in a sentence how much of what happened was shown.
func account(what string, stop event.Stop) string {
	text := fmt.Sprintf("%d %s, %d events lost in the buffer, ", stop.Shown, what, stop.Lost)
	if stop.MissedUnknown {
		text += "and nobody knows how many missed by recursion"
	} else {
		text += fmt.Sprintf("%d missed by recursion", stop.Missed)
	}
	if stop.Gaps > 0 {
		text += fmt.Sprintf("; %d times a socket's transitions had a gap: "+
			"this kernel did not run the programs for all of them", stop.Gaps)
	}
	if stop.Evicted > 0 {
		text += fmt.Sprintf("; %d connections forgotten, see --max-conns", stop.Evicted)
	}
	if stop.Unfollowed > 0 {
		text += fmt.Sprintf("; %d TIME_WAIT not followed to their end, see --max-conns", stop.Unfollowed)
	}
	return text
}

// run is one trace under way.
type run struct {
	*app
	flags    *traceFlags
	source   tracer
	seed     seeder
	rest     *minisock.Follower // nil where nothing tells of minisocks, or nobody asks
	places   *cgroup.Resolver   // nil if nobody asks for places
	recorder *recorder          // nil if nothing is recorded
	target   *target
	way      *way
}

func (a *app) newRun(source tracer, seed seeder, processes []event.Event, flags *traceFlags, show show, target *target, recorder *recorder) *run {
	r := &run{app: a, flags: flags, source: source, seed: seed, recorder: recorder, target: target}
	var from pipeline.Source = source
	if show.subject != output.OfRaw && source.Knows().Sockets {
		r.rest = minisock.Follow(source, minisock.Options{
			Lister: a.minisocks(), Ktime: ktime, Wall: a.clock.Wall, Max: int(flags.maxConns),
		})
		from = r.rest
	}
	if len(processes) > 0 {
		from = &preceded{from, processes}
	}
	var before []pipeline.Stage
	// The other tools' formats have no room for cgroups.
	if !show.format.Raw || recorder != nil {
		r.places = cgroup.NewResolver()
		before = append(before, r.places)
	}
	if recorder != nil {
		before = append(before, recorder)
	}
	r.way = a.newWay(from, before, &flags.viewFlags, show, target.sink, source.Knows().Owners)
	recorder.watch(r.way)
	return r
}

// close ends what runs beside the trace.
func (r *run) close() {
	if r.rest != nil {
		r.rest.Close()
	}
	if r.places != nil {
		r.places.Close()
	}
}

// minisockErr is why some minisocks were not followed to their end.
func (r *run) minisockErr() error {
	if r.rest == nil {
		return nil
	}
	return r.rest.Err()
}

// ktime is the present time in nanoseconds of CLOCK_MONOTONIC.
func ktime() uint64 { return uint64(readClock(unix.CLOCK_MONOTONIC)) }

// breakdown ends a trace by an error, as a signal or the end of its time does
// not.
type breakdown struct{ error }

// pump moves events from source to sink until a signal, the end of the time or
// of the number that the flags give, or the end of who reads the output.
func (r *run) pump(ctx context.Context, start event.Start) (stop event.Stop, err error) {
	if r.flags.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(r.flags.duration))
		defer cancel()
	}
	ctx, hangUp := context.WithCancelCause(ctx)
	defer hangUp(nil)
	if r.target.file == nil {
		onHangup(r.stdout, func() { hangUp(breakdown{syscall.EPIPE}) })
	} else {
		defer r.reopenAtHangups(func(err error) { hangUp(breakdown{err}) })()
	}
	context.AfterFunc(ctx, r.source.Stop)
	done := make(chan struct{})
	defer close(done)
	context.AfterFunc(ctx, func() { r.giveUpWhenStuck(done) })

	err = r.way.sink.Start(start)
	if err = errors.Join(err, r.way.sink.Flush()); err != nil {
		return stop, pipeline.Writing(err)
	}
	// Beside the trace, because events must not wait in the buffer.
	var seeding sync.WaitGroup
	defer seeding.Wait()
	seeding.Go(func() {
		if err := r.begin(); err != nil {
			hangUp(breakdown{err})
		}
	})

	stop.Shown, err = pipeline.Run(r.way.source, r.way.stages, r.way.sink, uint64(r.flags.count))
	if err != nil {
		return stop, err
	}
	if broken := new(breakdown); errors.As(context.Cause(ctx), broken) {
		return stop, broken.error
	}
	r.source.Stop()
	totals, err := r.source.Totals()
	if err != nil {
		return stop, err
	}
	stop.Lost, stop.Missed, stop.Gaps = totals.Lost, totals.Missed, totals.Gaps
	stop.MissedUnknown = totals.MissedUnknown
	if r.rest != nil {
		stop.Unfollowed = r.rest.Skipped()
	}
	stop.Wall = r.clock.Now()
	if err := r.recorder.stop(stop); err != nil {
		return stop, err
	}
	r.way.account(&stop)
	r.flags.notef(r.app, "%d records through the buffer, %d recovered by a later program; %d connections are still followed",
		totals.Emitted, totals.Recovered, r.way.tracked())
	return stop, pipeline.Writing(r.way.sink.Stop(stop))
}

// patience is how long the last events may wait for who reads the output.
const patience = 3 * time.Second

// giveUpWhenStuck ends the process when the trace is over and the output takes
// nothing any more: a write that waits cannot be called back.
func (r *run) giveUpWhenStuck(done <-chan struct{}) {
	for taken := r.target.taken.Load(); ; {
		select {
		case <-done:
			return
		case <-time.After(patience):
		}
		now := r.target.taken.Load()
		if now == taken {
			fmt.Fprintf(r.stderr, "tcpstates: nobody reads the output: the last events are not in it\n")
			r.exit(exitFailed)
			return
		}
		taken = now
	}
}

// begin learns of the sockets that exist already, gives up the privileges that
// this took, and says that tracing has begun. Without the first the trace knows
// less, and says so; the others can fail.
func (r *run) begin() error {
	if r.source.Knows().Sockets {
		r.lookAround()
	}
	r.noteSockets()
	if r.flags.readyFile == "" {
		return r.dropPrivileges()
	}
	// Opened while the process may, and written when it has dropped what it drops.
	ready, err := os.OpenFile(r.flags.readyFile, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return telling(err)
	}
	if err := r.dropPrivileges(); err != nil {
		return errors.Join(err, ready.Close())
	}
	_, err = ready.WriteString(strconv.Itoa(os.Getpid()))
	return telling(errors.Join(err, ready.Close()))
}

// telling says of an error what was being done; nil stays nil.
func telling(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("tell that tracing has begun: %w", err)
}

// lookAround learns of the sockets that exist already, and tells where it could
// not.
func (r *run) lookAround() {
	report, err := r.seed(func(f wire.Found) {
		if r.places != nil {
			r.places.Place(&f.Owner, 0)
		}
	})
	if err != nil {
		fmt.Fprintln(r.stderr, "tcpstates: older sockets have no owner in this trace: the walk over them failed; run with -v for why")
		r.flags.notef(r.app, "%v", err)
	}
	if missing := r.missingForWalk(); missing != "" {
		fmt.Fprintf(r.stderr, "tcpstates: older sockets without a process, and the containers of processes that have ended, "+
			"stay unknown: run as root, or with %s, to know them\n", missing)
	}
	r.flags.notef(r.app, "%d older sockets have an owner; %d network namespaces vanished meanwhile, and %d processes or namespaces may not be looked into",
		report.Sockets, report.Vanished, report.Refused)
}

// noteSockets has the sockets that exist already recorded, if anything is.
func (r *run) noteSockets() {
	if r.recorder == nil {
		return
	}
	pidns, err := pidNamespace(r.flags.pidns)
	now := ktime()
	var listing snapshot.Listing
	if err == nil {
		listing, err = r.sockets(snapshot.ListOptions{PIDNamespace: pidns})
	}
	if err != nil {
		fmt.Fprintln(r.stderr, "tcpstates: older sockets are not in the recording: the kernel did not list them; run with -v for why")
		r.flags.notef(r.app, "%v", err)
		return
	}
	for i := range listing.Sockets {
		e := &listing.Sockets[i]
		e.Ktime, e.Wall = now, r.clock.Now()
		if e.Owner.Source != event.SourceUnknown {
			e.Owner.Place = r.places.Place(&e.Owner, 0)
		}
	}
	r.recorder.older.Store(&listing.Sockets)
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
