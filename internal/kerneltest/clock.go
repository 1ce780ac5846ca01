package kerneltest

import (
	"time"

	"golang.org/x/sys/unix"
)

// Ktime is the present time in nanoseconds of CLOCK_MONOTONIC.
func Ktime() uint64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // fails for a bad clock alone
	return uint64(ts.Nano())
}

// SteadyClock is a clock of a trace that shows the kernel's own time.
type SteadyClock struct{}

// Sync does nothing.
func (SteadyClock) Sync() {}

// Wall is the kernel's time.
func (SteadyClock) Wall(ktime uint64) int64 { return int64(ktime) }

// In is the time so long after now.
func (SteadyClock) In(d time.Duration) time.Time { return time.Now().Add(d) }
