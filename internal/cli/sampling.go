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
	oneIn  uint64 // of so many connections one is shown
	told   uint64 // of that
	toldAt uint64 // ktime
}

// newRateTeller makes one that takes all connections to be shown until it hears else.
func newRateTeller(a *app, most uint64) *rateTeller {
	return &rateTeller{app: a, most: most, oneIn: 1, told: 1}
}

// tellEvery is how much of the events' time passes between two words at least.
const tellEvery = uint64(time.Second)

// Apply implements pipeline.Stage.
func (r *rateTeller) Apply(e *event.Event, next func(*event.Event) error) error {
	if e.Kind == event.KindSampling {
		oneIn := max(e.OneIn, 1)
		if oneIn == r.oneIn {
			return nil
		}
		r.oneIn = oneIn
	}
	if r.oneIn != r.told && (r.toldAt == 0 || e.Ktime >= r.toldAt+tellEvery) {
		r.tell()
		r.told, r.toldAt = r.oneIn, e.Ktime
	}
	return next(e)
}

func (r *rateTeller) tell() {
	if r.oneIn == 1 {
		fmt.Fprintf(r.stderr, "tcpstates: all new connections are shown again: there is room for them in %d events a second\n", r.most)
		return
	}
	fmt.Fprintf(r.stderr, "tcpstates: one in %d new connections is shown: all would be more than %d events a second\n", r.oneIn, r.most)
}
