package cli

import (
	"time"

	"golang.org/x/sys/unix"
)

// clock tells the wall-clock time of kernel times. It keeps the two latest
// readings: an event from before the latest gets the time that the clock
// showed then, also when somebody set the clock in between.
type clock struct {
	read             func(id int32) int64
	latest, previous reading
}

// reading is how the clocks stood at one moment.
type reading struct {
	mono   int64 // ns, CLOCK_MONOTONIC
	offset int64 // ns to add for the time since the Unix epoch
}

func newClock() *clock {
	c := &clock{read: readClock}
	c.Sync()
	c.previous = c.latest
	return c
}

func readClock(id int32) int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(id, &ts) // fails for a bad clock alone
	return ts.Nano()
}

// Sync implements probe.Clock.
func (c *clock) Sync() {
	c.previous = c.latest
	c.latest = c.readBoth()
}

// A reading is only as good as the time that passed between the clocks: tries
// are repeated while the process was interrupted between them.
const (
	goodGap  = 5_000 // ns
	maxTries = 5
)

func (c *clock) readBoth() reading {
	var best reading
	bestGap := int64(-1)
	for range maxTries {
		before := c.read(unix.CLOCK_MONOTONIC)
		wall := c.read(unix.CLOCK_REALTIME)
		after := c.read(unix.CLOCK_MONOTONIC)
		if gap := after - before; bestGap < 0 || gap < bestGap {
			bestGap = gap
			best = reading{mono: after, offset: wall - (before + gap/2)}
		}
		if bestGap <= goodGap {
			break
		}
	}
	return best
}

// Wall implements probe.Clock.
func (c *clock) Wall(ktime uint64) int64 {
	mono := int64(ktime)
	if mono <= c.previous.mono {
		return mono + c.previous.offset
	}
	return mono + c.latest.offset
}

// In implements probe.Clock.
func (c *clock) In(d time.Duration) time.Time { return time.Now().Add(d) }

// Now is the present time since the Unix epoch in nanoseconds.
func (c *clock) Now() int64 { return c.read(unix.CLOCK_REALTIME) }
