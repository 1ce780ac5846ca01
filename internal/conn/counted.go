package conn

import "tcpstates/internal/event"

// EndOf judges the end of a connection of which nothing but that was kept: a
// transition to CLOSE with its facts, where Signal, with Closes, is what has killed
// the process that closed it, at whatever transition, and Facts.DataSegsIn what came
// after close(), or anything if that is not known. reported tells whether it has sent
// a reset after its end. The event becomes what a Tracker would have made of it: its
// NewState tells of the minisock, FinWait2 of one of which nobody has seen more, that
// has no end yet. It is false for what never was a connection.
func EndOf(e *event.Event, reported bool) bool {
	l := life{&core{closed: true}, &detail{}}
	l.noteClose(e)
	rest := Minisock(e)
	if rest != event.FinWait2 {
		e.NewState, e.Derived = rest, rest != event.Close
	}
	e.End = l.endOf(e)
	if isDuplicate(e) {
		return false
	}
	if waitsForReset(e) {
		settleEnd(e, reported || e.Facts.Flags.Has(event.SentReset))
	}
	if rest == event.FinWait2 && !reported {
		e.NewState, e.Derived = rest, true
	}
	return true
}
