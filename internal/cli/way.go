package cli

import (
	"time"

	"tcpstates/internal/cgroup"
	"tcpstates/internal/conn"
	"tcpstates/internal/event"
	"tcpstates/internal/expect"
	"tcpstates/internal/filter"
	"tcpstates/internal/output"
	"tcpstates/internal/pipeline"
	"tcpstates/internal/query"
	"tcpstates/internal/summary"
)

// way is what events go through from where they come from, live or recorded, to
// the output.
type way struct {
	source pipeline.Source
	stages []pipeline.Stage
	sink   pipeline.Sink

	tracker *conn.Tracker // nil for what the tracepoint says alone
	filter  *filter.Stage // nil if everything is wanted
	judge   *expect.Judge // nil if nothing is expected
	summer  *summarizer   // nil if no summary is wanted

	// filterAt is the index of the first stage that does not see all, and
	// filterOptions are of such.
	filterAt      int
	filterOptions filter.StageOptions
}

// newWay joins the stages that are needed. Those before come first: they see what
// the source gives. ownersChange is that of filter.StageOptions.
func (a *app) newWay(source pipeline.Source, before []pipeline.Stage, flags *viewFlags, show show, sink pipeline.Sink, ownersChange bool) *way {
	w := &way{source: source, sink: sink, stages: before}
	if show.names != nil {
		w.stages = append(w.stages, show.names)
	}
	if show.subject != output.OfRaw {
		w.tracker = conn.NewTracker(int(flags.maxConns))
		w.tracker.Wholes = show.subject == output.OfConns || show.summary || show.ends != nil || !flags.set.IsEmpty() || len(flags.rules) > 0
		w.stages = append(w.stages, withPlaces(w.tracker, show.places)...)
	}
	w.filterAt = len(w.stages)
	w.filterOptions = filter.StageOptions{
		OwnersChange: ownersChange, Whole: w.tracker != nil, MaxConns: int(flags.maxConns),
	}
	if !flags.set.IsEmpty() {
		w.filter = flags.set.NewStage(w.filterOptions)
		w.stages = append(w.stages, w.filter)
	}
	if len(flags.where) > 0 {
		rows := show.subject != output.OfConns && w.tracker != nil && w.tracker.Wholes
		w.stages = append(w.stages, query.NewStage(flags.where, !rows, int(flags.maxConns)))
	}
	if len(flags.rules) > 0 {
		w.judge = expect.NewJudge(flags.rules, maxJudged)
		w.stages = append(w.stages, w.judge)
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
	if show.ends != nil {
		w.stages = append(w.stages, show.ends)
	}
	w.stages = append(w.stages, keeper(show.keep))
	return w
}

// withPlaces are the stages around the tracker, which needs none but what it adds
// does, if somebody asks for places.
func withPlaces(tracker *conn.Tracker, asked bool) []pipeline.Stage {
	if !asked {
		return []pipeline.Stage{tracker}
	}
	places := cgroup.NewMemory()
	return []pipeline.Stage{places, tracker, cgroup.Recall{Memory: places}}
}

// tracked is how many connections are still followed.
func (w *way) tracked() int {
	if w.tracker == nil {
		return 0
	}
	return w.tracker.Tracked()
}

// account completes that of the source with what became of connections here.
func (w *way) account(stop *event.Stop) {
	if w.tracker == nil {
		return
	}
	stop.Evicted = w.tracker.Evicted()
	stop.Unfollowed = max(stop.Unfollowed, w.tracker.Unfollowed()) // a connection can be among both
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
