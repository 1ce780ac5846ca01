package probe

import "time"

// limiter chooses which part of the connections is shown: one in 2^bits of those that
// begin, so that no more events a second are shown than are wanted. Those that are shown
// already stay so to their end, which it cannot help. It is pure.
type limiter struct {
	most uint64 // events a second
	bits uint32

	past  []reading     // of the last second, oldest first
	since time.Duration // when bits were last changed
	calm  time.Duration // since when there has been room for twice as many
}

// reading is what has happened until a time.
type reading struct {
	at    time.Duration
	shown uint64 // events, lost ones included
	all   uint64 // those not in the sample included
}

const (
	// maxBits is the smallest sample: one connection in a million.
	maxBits = 20
	// calmFor is how long there must have been room before more are shown.
	calmFor = 5 * time.Second
	// A rate is known from so many events.
	meaningful = 100
)

// observe takes how things stand, some times a second, and tells whether bits have
// changed. They rise at once when more was shown within a second than is wanted,
// as far as what happens asks for it, and else by one a second. They fall by one
// when it has long been so little that twice as much would leave a fifth to spare.
func (l *limiter) observe(now reading) (changed bool) {
	if len(l.past) == 0 {
		l.begin(now)
		return false
	}
	latest := l.past[len(l.past)-1]
	for len(l.past) > 1 && now.at-l.past[1].at >= time.Second {
		l.past = l.past[1:]
	}
	oldest := l.past[0]
	l.past = append(l.past, now)

	shown := perSecond(now.shown-oldest.shown, now.at-oldest.at, time.Second)
	if shown > l.most {
		offered := perSecond(now.all-oldest.all, now.at-oldest.at, time.Second)
		if n := now.all - latest.all; n >= meaningful { // a storm may have begun since
			offered = max(offered, perSecond(n, now.at-latest.at, 0))
		}
		return l.change(max(l.bits, l.enough(offered), l.oneMore(now.at)), now)
	}
	if 5*shown > 2*l.most {
		l.calm = now.at
	}
	if l.bits > 0 && now.at-l.calm >= calmFor {
		return l.change(l.bits-1, now)
	}
	return false
}

// begin begins to look anew: what was before is no measure of what comes.
func (l *limiter) begin(now reading) {
	l.past = append(l.past[:0], now)
	l.since, l.calm = now.at, now.at
}

func (l *limiter) change(bits uint32, now reading) bool {
	if bits = min(bits, maxBits); bits == l.bits {
		return false
	}
	l.bits = bits
	l.begin(now)
	return true
}

// enough is how many bits leave of so many events a second as many as are wanted.
func (l *limiter) enough(offered uint64) (bits uint32) {
	for bits < maxBits && offered>>bits > l.most {
		bits++
	}
	return bits
}

// oneMore is one bit more, if the last change has had a second to show.
func (l *limiter) oneMore(now time.Duration) uint32 {
	if now-l.since < time.Second {
		return l.bits
	}
	return l.bits + 1
}

// perSecond is a rate: so many events in a time, which counts as no shorter than least.
func perSecond(n uint64, in, least time.Duration) uint64 {
	return uint64(float64(n) * float64(time.Second) / float64(max(in, least, 1)))
}
