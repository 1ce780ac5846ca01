package conn

import (
	"slices"
	"time"

	"tcpstates/internal/event"
)

// queue are the ends of connections that wait for the report of a reset, in the
// order of time.
type queue struct {
	all  []unsettled
	head int // those before it were handed on
}

type unsettled struct {
	conn     event.Event
	reported bool // that a reset was sent
}

// settling is how long an end waits: the kernel reports the reset in the same
// run of its code, but a virtual CPU may stand still in the middle of it for some
// 20 ms.
const settling = uint64(50 * time.Millisecond)

func (q *queue) add(conn *event.Event, reported bool) {
	q.all = append(q.all, unsettled{*conn, reported})
}

// report notes that a socket has sent a reset. As a rule the end that waits for
// that is the latest.
func (q *queue) report(e *event.Event) {
	for i := len(q.all) - 1; i >= q.head; i-- {
		if u := &q.all[i]; u.conn.Socket() == e.Socket() {
			u.reported = true
			u.conn.End.Reset = e.Facts.Reset
			return
		}
	}
}

// settle hands on the ends that have waited long enough.
func (q *queue) settle(now uint64, next func(*event.Event) error) error {
	for ; q.head < len(q.all); q.head++ {
		u := &q.all[q.head]
		if now < u.conn.Ktime+settling {
			break
		}
		settleEnd(&u.conn, u.reported)
		if err := next(&u.conn); err != nil {
			return err
		}
	}
	// Rarely, as the events are large.
	if q.head > 0 && 2*q.head >= len(q.all) {
		q.all = slices.Delete(q.all, 0, q.head)
		q.head = 0
	}
	return nil
}

// waitsForReset tells whether the report of a reset may follow that says more
// of the end than the event, or belies it.
func waitsForReset(e *event.Event) bool {
	switch e.End.Reason {
	case event.ReasonResetSent, event.ReasonError:
		return true
	case event.ReasonNone: // of a minisock that nobody follows
		return Minisock(e) == event.FinWait2
	case event.ReasonKilled:
		return e.NewState == event.Close && e.Role != event.RoleListener
	}
	return false
}

// settleEnd judges the end of a connection anew when it is known whether it has
// sent a reset.
func settleEnd(d *event.Event, reported bool) {
	end := &d.End
	switch {
	case end.Reason == event.ReasonError && event.Errno(end.Errno) == event.ECONNRESET:
		switch {
		case !reported:
			end.Reason = event.ReasonResetByPeer
		case end.Signal != 0:
			end.Reason, end.Cause = event.ReasonKilled, event.CauseLateData
		default:
			end.Reason, end.Cause = event.ReasonResetSent, event.CauseLateData
		}
	case end.Reason == event.ReasonNone && reported:
		end.Reason, end.Cause = event.ReasonResetSent, event.CauseLateData
	case end.Reason == event.ReasonResetSent && !reported:
		end.Reason, end.Cause = event.ReasonNone, event.CauseNone
	}
}
