package cli

import (
	"testing"

	"golang.org/x/sys/unix"
)

// machine is a clock that a test sets.
type machine struct {
	mono, offset int64
	reads        int
	// stall passes this time at the given read, as an interruption does.
	stall, stallAt int64
}

func (m *machine) read(id int32) int64 {
	m.reads++
	m.mono += 100
	if int64(m.reads) == m.stallAt {
		m.mono += m.stall
	}
	if id == unix.CLOCK_REALTIME {
		return m.mono + m.offset
	}
	return m.mono
}

func TestWallFollowsAClockStep(t *testing.T) {
	const hour = int64(3600e9)
	m := &machine{mono: 1e9, offset: 1000 * hour}
	c := &clock{read: m.read}
	c.Sync()
	c.previous = c.latest

	near := func(what string, ktime, want int64) {
		t.Helper()
		if got := c.Wall(uint64(ktime)); got < want-1000 || got > want+1000 {
			t.Errorf("%s: %d off", what, got-want)
		}
	}
	before := m.mono
	near("before the step", before, before+1000*hour)

	m.mono += 5e6
	m.offset += hour // somebody sets the clock
	after := m.mono + 1e6
	m.mono += 2e6
	c.Sync()
	near("read late, from before the step", before, before+1000*hour)
	near("after the step", after, after+1001*hour)

	m.mono += 5e6
	m.offset -= 2 * hour // and back
	m.mono += 5e6
	c.Sync()
	near("between the steps", after, after+1001*hour)
	near("after the second step", m.mono, m.mono+999*hour)
}

func TestReadingIsNotSpoiltByAnInterruption(t *testing.T) {
	const offset = int64(1e18)
	for stallAt := range int64(7) {
		m := &machine{mono: 1e9, offset: offset, stall: 30e6, stallAt: stallAt}
		c := &clock{read: m.read}
		c.Sync()
		if off := c.latest.offset - offset; off < -1000 || off > 1000 {
			t.Errorf("interrupted at read %d: the offset is wrong by %d ns", stallAt, off)
		}
	}
}

func TestRealClock(t *testing.T) {
	c := newClock()
	now := c.Now()
	if off := c.Wall(uint64(readClock(unix.CLOCK_MONOTONIC))) - now; off < 0 || off > 1e9 {
		t.Errorf("the time of now is %d ns off", off)
	}
}
