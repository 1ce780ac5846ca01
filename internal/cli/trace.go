package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"tcpstates/internal/cgroup"
	"tcpstates/internal/event"
	"tcpstates/internal/feature"
	"tcpstates/internal/output"
	"tcpstates/internal/pipeline"
	"tcpstates/internal/probe"
	"tcpstates/internal/wire"
)

// traceTransitions shows every change of state. given tells whether a flag was
// given.
func (a *app) traceTransitions(ctx context.Context, flags *transitionsFlags, given func(name string) bool) error {
	format, err := flags.outputFormat(given("output"))
	if err != nil {
		return err
	}
	show := show{
		format: format, subject: output.OfTransitions, what: "transitions", keep: isNoConn,
		summary: flags.summary || flags.every > 0,
	}
	if flags.raw || format.Raw {
		if show.summary || given("max-conns") {
			return usagef("--summary, --every and --max-conns with what the tracepoint says alone: leave out --raw, -o bcc and -o libbpf")
		}
		show.subject, show.keep = output.OfRaw, isRaw
	}
	return a.trace(ctx, &flags.traceFlags, show)
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
	// summary says that one is wanted at the end.
	summary bool
	// needsReasons says that it goes by the reasons of ends.
	needsReasons bool
}

// trace runs a live trace to its end.
func (a *app) trace(ctx context.Context, flags *traceFlags, show show) error {
	filters, err := flags.filters()
	if err != nil {
		return err
	}
	pidns, err := flags.pidNamespace()
	if err != nil {
		return err
	}
	source, seed, err := a.open(probe.Options{
		Filter:          filters,
		SelfTransitions: show.subject == output.OfRaw,
		AcceptProbe:     flags.acceptProbe,
		PIDNamespace:    pidns,
		BufferSize:      int(flags.buffer),
		Backend:         flags.backend.value,
		Transport:       flags.transport.value,
		TypesFile:       flags.btf,
		Clock:           a.clock,
	})
	if err != nil {
		a.explain(flags, err)
		return err
	}
	defer source.Close()
	if show.needsReasons && !source.Knows().Facts {
		return &feature.Missing{What: "--failed goes by the reasons of ends, and " + source.Backend() +
			" knows none: leave it out, and see tcpstates doctor for a better way to trace"}
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
	flags.notef(a, "the buffer to user space holds %s", flags.buffer)

	options := flags.options(a)
	options.Time, options.Elapsed, options.Of = flags.time, flags.elapsed, show.subject
	taken := new(atomic.Uint64)
	options.Out = countingWriter{a.stdout, taken}
	places := cgroup.NewResolver()
	defer places.Close()
	way := a.newWay(source, places, flags, show, show.format.New(options))
	defer way.close()
	run := &run{app: a, flags: flags, source: source, seed: seed, places: places, way: way, taken: taken}
	stop, err := run.pump(ctx)
	if err != nil {
		return err
	}
	if file, ok := a.stderr.(*os.File); ok && ctx.Err() != nil && isTerminal(file) {
		fmt.Fprintln(a.stderr) // Ctrl-C has left its ^C on the line
	}
	way.summarize()
	fmt.Fprintln(a.stderr, "tcpstates: "+account(show.what, stop))
	if err := way.minisockErr(); err != nil {
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
	text := fmt.Sprintf("%d %s shown, %d events lost in the buffer, ", stop.Shown, what, stop.Lost)
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
	flags  *traceFlags
	source tracer
	seed   seeder
	places *cgroup.Resolver
	way    *way
	taken  *atomic.Uint64 // writes that the output has taken
}

// countingWriter counts the writes that come to their end.
type countingWriter struct {
	io.Writer
	taken *atomic.Uint64
}

func (w countingWriter) Write(b []byte) (int, error) {
	defer w.taken.Add(1)
	return w.Writer.Write(b)
}

// breakdown ends a trace by an error, as a signal or the end of its time does
// not.
type breakdown struct{ error }

// pump moves events from source to sink until a signal, the end of the time or
// of the number that the flags give, or the end of who reads the output.
func (r *run) pump(ctx context.Context) (stop event.Stop, err error) {
	if r.flags.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(r.flags.duration))
		defer cancel()
	}
	ctx, hangUp := context.WithCancelCause(ctx)
	defer hangUp(nil)
	onHangup(r.stdout, func() { hangUp(breakdown{syscall.EPIPE}) })
	context.AfterFunc(ctx, r.source.Stop)
	done := make(chan struct{})
	defer close(done)
	context.AfterFunc(ctx, func() { r.giveUpWhenStuck(done) })

	err = r.way.sink.Start(event.Start{
		Wall:    r.clock.Now(),
		Version: version,
		Kernel:  feature.KernelRelease(),
		Backend: r.source.Backend(),
	})
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
	stop.Evicted, stop.Unfollowed = r.way.forgotten()
	stop.Wall = r.clock.Now()
	r.flags.notef(r.app, "%d records through the buffer, %d recovered by a later program; %d connections are still followed",
		totals.Emitted, totals.Recovered, r.way.tracked())
	return stop, pipeline.Writing(r.way.sink.Stop(stop))
}

// patience is how long the last events may wait for who reads the output.
const patience = 3 * time.Second

// giveUpWhenStuck ends the process when the trace is over and the output takes
// nothing any more: a write that waits cannot be called back.
func (r *run) giveUpWhenStuck(done <-chan struct{}) {
	for taken := r.taken.Load(); ; {
		select {
		case <-done:
			return
		case <-time.After(patience):
		}
		now := r.taken.Load()
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
	report, err := r.seed(func(f wire.Found) { r.places.Place(&f.Owner, 0) })
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

// notef tells the user of -v what is going on.
func (f *traceFlags) notef(a *app, format string, args ...any) {
	if f.verbose {
		fmt.Fprintf(a.stderr, "tcpstates: "+format+"\n", args...)
	}
}

// explain tells the user of -v the kernel's own words of its refusal.
func (a *app) explain(flags *traceFlags, err error) {
	var missing *feature.Missing
	if errors.As(err, &missing) {
		flags.notef(a, "the kernel says: %+v", missing.Err)
	}
}
