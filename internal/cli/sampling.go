package cli

import (
	"fmt"
	"time"

	"tcpstates/internal/event"
)

// rateTeller is a stage that tells, beside the events, which part of the connections
// is shown whenever that changes, and that keeps what says it again from passing. At
// most once a second it says so: then what holds by now.
type rateTeller struct {
	*app
	most   uint64
	oneIn  uint64 // zero: nothing was said yet, and all are shown
	told   uint64 // of that
	toldAt uint64 // ktime
}

// tellEvery is how much of the events' time passes between two words at least.
const tellEvery = uint64(time.Second)

// Apply implements pipeline.Stage.
func (r *rateTeller) Apply(e *event.Event, next func(*event.Event) error) error {
	if e.Kind == event.KindSampling {
		if e.OneIn == r.oneIn {
			return nil
		}
		r.oneIn = e.OneIn
	}
	if r.oneIn != r.told && (r.toldAt == 0 || e.Ktime >= r.toldAt+tellEvery) {
		r.tell()
		r.told, r.toldAt = r.oneIn, e.Ktime
	}
	return next(e)
}

func (r *rateTeller) tell() {
	if r.oneIn <= 1 {
		fmt.Fprintf(r.stderr, "tcpstates: all new connections are shown again: there is room for them in %d events a second\n", r.most)
		return
	}
	fmt.Fprintf(r.stderr, "tcpstates: one in %d new connections is shown: all would be more than %d events a second\n", r.oneIn, r.most)
}
