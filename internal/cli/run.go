package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tcpstates/internal/cgroup"
	"tcpstates/internal/event"
	"tcpstates/internal/minisock"
	"tcpstates/internal/output"
	"tcpstates/internal/pipeline"
	"tcpstates/internal/snapshot"
	"tcpstates/internal/wire"
)

// run is one trace under way.
type run struct {
	*app
	flags  *traceFlags
	source tracer
	seed   seeder
	rest   *minisock.Follower // nil where nothing tells of minisocks, or nobody asks
	places *cgroup.Resolver   // nil if nobody asks for places
	company
	flood   *flood // nil if nobody fears one
	target  *target
	way     *way
	unkept  error         // why the recording of a failure could not be written
	patient *patient      // nil where an output that takes nothing ends the trace
	verdict *verdict      // when the trace has ended; nil if nothing was asked
	works   atomic.Uint64 // what was begun and what was done of atWork: it is odd meanwhile
}

func (a *app) newRun(source tracer, seed seeder, processes []event.Event, flags *traceFlags, show show, target *target, with company, flood *flood) *run {
	r := &run{app: a, flags: flags, source: source, seed: seed, company: with, target: target, flood: flood}
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
	if show.places || r.recorder != nil {
		r.places = cgroup.NewResolver()
		before = append(before, r.places)
	}
	if r.recorder != nil {
		before = append(before, r.recorder)
	}
	if flags.most > 0 {
		before = append(before, newRateTeller(a, uint64(flags.most)))
	}
	if flood != nil {
		flood.source = source
		before = append(before, flood)
	}
	r.way = a.newWay(from, before, &flags.viewFlags, show, target.sink, source.Knows().Owners)
	r.recorder.watch(r.way)
	if r.child != nil {
		r.child.quiet.watch(r.way.filterOptions)
		r.way.stages = slices.Insert(r.way.stages, r.way.filterAt, pipeline.Stage(r.child.quiet))
	}
	if r.child != nil || r.way.judge != nil {
		r.patient = &patient{Sink: r.way.sink}
		r.way.sink = r.patient
	}
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
	switch {
	case r.child != nil, r.patient != nil && r.target.file == nil: // whose signals they are; who is judged to the end
	case r.target.file == nil:
		onHangup(r.stdout, func() { hangUp(breakdown{syscall.EPIPE}) })
	default:
		defer r.reopenAtHangups(func(err error) { hangUp(breakdown{err}) })()
	}
	context.AfterFunc(ctx, r.source.Stop)
	done := make(chan struct{})
	defer close(done)
	context.AfterFunc(ctx, func() { r.giveUpWhenStuck(done) })
	if r.child != nil {
		go func() {
			<-r.child.done // with which the trace ends
			r.giveUpWhenStuck(done)
		}()
	}

	err = r.way.sink.Start(start)
	if err = errors.Join(err, r.way.sink.Flush()); err != nil {
		return stop, pipeline.Writing(err)
	}
	r.target.endure()
	r.recorder.endure()
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
	if err := r.flood.wait(ctx, r.way.sink); err != nil {
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
	stop.Unsampled, stop.UnsampledConns = totals.Unsampled, totals.UnsampledConns
	if r.rest != nil {
		stop.Unfollowed = r.rest.Skipped()
	}
	stop.Wall = r.clock.Now()
	r.atWork(func() { r.conclude(start, stop) })
	if r.recorder.keepsFailure() {
		r.atWork(func() { r.unkept = r.recorder.stop(stop) }) // what was judged stands all the same
	} else if err := r.recorder.stop(stop); err != nil {
		return stop, err
	}
	r.way.account(&stop)
	r.flags.notef(r.app, "%d records through the buffer, %d recovered by a later program; %d connections are still followed",
		totals.Emitted, totals.Recovered, r.way.tracked())
	err = r.way.sink.Stop(stop)
	r.target.account(&stop)
	return stop, pipeline.Writing(err)
}

// conclude judges the trace that has ended so.
func (r *run) conclude(start event.Start, stop event.Stop, more ...string) {
	r.way.account(&stop)
	if _, failed, err := r.source.Followed(); failed > 0 || err != nil {
		more = append(more, fmt.Sprintf("%d processes could not be followed", failed))
	}
	if r.child.wasRun() && !r.way.filter.HasFollowed() {
		fmt.Fprintln(r.stderr, "tcpstates: exec: the kernel did not follow the command, and nothing of it was seen: is this process in too many nested PID namespaces?")
		more = append(more, "the kernel did not follow the command")
	}
	r.verdict = r.judge(judged{
		flags: &r.flags.viewFlags, judge: r.way.judge, child: r.child,
		began: time.Unix(0, start.Wall), took: time.Duration(stop.Wall - start.Wall),
		missing: r.way.unknown(stop, more...),
	})
	r.recorder.heed(r.verdict)
}

// giveUpWhenStuck ends the process when the trace is over and the output takes
// nothing any more: a write that waits cannot be called back. That rules take their time
// to be judged is something else.
func (r *run) giveUpWhenStuck(done <-chan struct{}) {
	for before := r.progress(); ; {
		select {
		case <-done:
			return
		case <-time.After(r.patience):
		}
		now := r.progress()
		if now == before && r.works.Load()%2 == 0 {
			r.tellBriefly("tcpstates: nobody reads the output: the last events are not in it\n")
			_, err := r.child.outcome()
			r.exit(exitCode(err)) // without a command, or if it has succeeded, as for any other error
			return
		}
		before = now
	}
}

// progress grows with what the output takes, and with the work that was done.
func (r *run) progress() uint64 { return r.target.taken.Load() + r.works.Load() }

// atWork does what takes its time and waits for no reader.
func (r *run) atWork(do func()) {
	r.works.Add(1)
	defer r.works.Add(1)
	do()
}

// begin learns of the sockets that exist already, gives up the privileges that
// this took, and says that tracing has begun. Without the first the trace knows
// less, and says so; the others can fail.
func (r *run) begin() error {
	if r.child != nil {
		if err := r.child.start(r.source); err != nil {
			return err
		}
		return r.beReady()
	}
	if r.source.Knows().Sockets {
		r.lookAround()
	}
	r.noteSockets()
	if r.waiting != nil {
		if err := r.lookForWaited(); err != nil {
			return err
		}
	}
	return r.beReady()
}

// lookForWaited looks whether a socket that is waited for exists already.
func (r *run) lookForWaited() error {
	pidns, err := pidNamespace(r.flags.pidns)
	if err != nil {
		return err
	}
	return r.waiting.look(r.app, pidns, r.places)
}

// beReady gives up privileges, and says that tracing has begun.
func (r *run) beReady() error {
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
