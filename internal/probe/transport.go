package probe

import (
	"errors"
	"time"
)

// transport brings the programs' records to user space, in the order of their
// time. flush and nudge may be called from any goroutine, the rest belongs to one.
type transport interface {
	// read gives the next record, which holds until the next call. It is
	// os.ErrDeadlineExceeded when there is none until the deadline, errNudged once
	// when all is given that there was before nudge, and errFlushed when there is
	// none left after flush.
	read() ([]byte, error)
	setDeadline(time.Time)
	// pending tells whether a record waits to be read.
	pending() bool
	// size is how many bytes of records fit in, where each CPU has its own
	// buffer in one of them.
	size() int
	// lost is how many records found no room, as far as the kernel tells this
	// side.
	lost() uint64
	flush() error
	nudge() error
	Close() error
}

var (
	// errFlushed ends a transport's records.
	errFlushed = errors.New("there are no more records")
	// errNudged stands among them.
	errNudged = errors.New("all records are read that there were when somebody asked")
)
