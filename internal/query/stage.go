package query

import "tcpstates/internal/event"

// Stage is a pipeline.Stage that lets pass what all of the expressions are true of. It
// belongs to one goroutine.
type Stage struct {
	wheres []*Where
	// touched are the sockets of which a transition has passed, until their connection
	// ends; nil: connections as wholes are judged like all else.
	touched map[uint64]struct{}
	most    int
}

// NewStage makes a Stage that judges each event. If connections as wholes are told beside
// rows that are shown, wholes is false: then one passes if a transition of it has, as
// far as so many are remembered.
func NewStage(wheres []*Where, wholes bool, maxConns int) *Stage {
	s := &Stage{wheres: wheres, most: maxConns}
	if !wholes {
		s.touched = map[uint64]struct{}{}
	}
	return s
}

// Apply implements pipeline.Stage. What is of no socket passes.
func (s *Stage) Apply(e *event.Event, next func(*event.Event) error) error {
	switch e.Kind {
	case event.KindTick, event.KindLost, event.KindSampling, event.KindFork, event.KindMinisock, event.KindSocket:
		return next(e)
	case event.KindConn:
		if s.touched != nil {
			return s.whole(e, next)
		}
	}
	for _, where := range s.wheres {
		if holds, err := where.Holds(e); err != nil || !holds {
			return err
		}
	}
	s.touch(e)
	return next(e)
}

// whole handles the end of a connection that is judged by its transitions.
func (s *Stage) whole(e *event.Event, next func(*event.Event) error) error {
	if _, is := s.touched[e.Socket()]; !is {
		return nil
	}
	delete(s.touched, e.Socket())
	return next(e)
}

// touch notes a transition that has passed. After TIME_WAIT no end is told.
func (s *Stage) touch(e *event.Event) {
	if s.touched != nil && e.Kind == event.KindTransition && e.OldState != event.TimeWait && len(s.touched) < s.most {
		s.touched[e.Socket()] = struct{}{}
	}
}
