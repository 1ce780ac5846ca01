package cli

import (
	"time"

	"golang.org/x/sys/unix"

	"tcpstates/internal/conn"
	"tcpstates/internal/event"
	"tcpstates/internal/minisock"
	"tcpstates/internal/output"
	"tcpstates/internal/pipeline"
	"tcpstates/internal/summary"
)

// way is what events go through from the kernel to the output.
type way struct {
	source pipeline.Source
	stages []pipeline.Stage
	sink   pipeline.Sink

	tracker *conn.Tracker      // nil for a raw trace
	rest    *minisock.Follower // nil for a raw trace, and where nothing tells of minisocks
	places  bool               // whether cgroups are looked up
	summer  *summarizer        // nil if no summary is wanted
}

// newWay joins the stages that the trace needs.
func (a *app) newWay(source tracer, places pipeline.Stage, flags *traceFlags, show show, sink pipeline.Sink) *way {
	// The other tools' formats have no room for cgroups.
	w := &way{source: source, sink: sink, places: !show.format.Raw}
	if show.subject != output.OfRaw && source.Knows().Sockets {
		w.rest = minisock.Follow(source, minisock.Options{
			Lister: a.minisocks(), Ktime: ktime, Wall: a.clock.Wall, Max: int(flags.maxConns),
		})
		w.source = w.rest
	}
	if show.subject != output.OfRaw {
		w.tracker = conn.NewTracker(int(flags.maxConns))
		w.stages = append(w.stages, w.tracker)
	}
	if w.places {
		w.stages = append(w.stages, places)
	}
	if show.summary {
		w.summer = &summarizer{
			app: a, sink: sink, sum: summary.New(), every: time.Duration(flags.every),
			ofWritten: show.subject == output.OfConns,
		}
		w.stages = append(w.stages, w.summer)
		if w.summer.ofWritten {
			w.sink = summing{sink, w.summer.sum}
		}
	}
	w.stages = append(w.stages, keeper(show.keep))
	return w
}

// ktime is the present time in nanoseconds of CLOCK_MONOTONIC.
func ktime() uint64 { return uint64(readClock(unix.CLOCK_MONOTONIC)) }

func (w *way) close() {
	if w.rest != nil {
		w.rest.Close()
	}
}

// tracked is how many connections are still followed.
func (w *way) tracked() int {
	if w.tracker == nil {
		return 0
	}
	return w.tracker.Tracked()
}

// forgotten is how many connections were forgotten, and how many others were
// not followed to the end of their TIME_WAIT.
func (w *way) forgotten() (evicted, unfollowed uint64) {
	if w.tracker == nil {
		return 0, 0
	}
	unfollowed = w.tracker.Unfollowed()
	if w.rest != nil { // a connection can be among both
		unfollowed = max(unfollowed, w.rest.Skipped())
	}
	return w.tracker.Evicted(), unfollowed
}

// minisockErr is why some minisocks were not followed to their end.
func (w *way) minisockErr() error {
	if w.rest == nil {
		return nil
	}
	return w.rest.Err()
}

func (w *way) summarize() {
	if w.summer != nil {
		w.summer.print()
	}
}

// keeper is a stage that lets only some events pass, and ticks.
type keeper func(*event.Event) bool

// Apply implements pipeline.Stage.
func (k keeper) Apply(e *event.Event, next func(*event.Event) error) error {
	if e.Kind != event.KindTick && !k(e) {
		return nil
	}
	return next(e)
}
