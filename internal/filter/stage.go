package filter

import (
	"cmp"
	"slices"

	"tcpstates/internal/event"
)

// wait is what a filter may have to wait for before it can judge a connection.
type wait uint8

const (
	forNothing  wait = iota
	forLocalEnd      // the kernel chooses it after CLOSE>SYN_SENT and CLOSE>LISTEN
	forOwner         // a child is its listener's until somebody uses it
	forUser          // and so is its user
	forRole          // of a connection whose beginning was not seen
	forReason        // until the end
)

// StageOptions say what a Stage may expect of its events.
type StageOptions struct {
	// OwnersChange says that the source tells when a child gets another owner than
	// its listener's, or a socket without one its first.
	OwnersChange bool
	// Whole says that a tracker tells of the end of each connection as a whole
	// (event.KindConn), after its last transition.
	Whole bool
	// MaxConns is how many connections are remembered at a time, at least one.
	MaxConns int
}

// Stage is a pipeline.Stage that lets pass what is wanted. A connection is judged
// once, as soon as all is known that the filters ask for, and shown wholly or not at
// all: until then its events are held. It stands behind the tracker, and belongs to
// one goroutine. Where nothing is held it allocates nothing but memory for
// connections.
type Stage struct {
	o          StageOptions
	set        *Set
	connection []condition // those of each subject
	event      []condition
	trees      []*tree

	verdicts verdicts
	held     holds
	hasty    uint64
	followed bool
}

// NewStage makes the stage of the filters.
func (s *Set) NewStage(o StageOptions) *Stage {
	st := &Stage{o: o, set: s, verdicts: newVerdicts(o.MaxConns), held: newHolds()}
	if s.follow {
		followed := &tree{in: map[uint32]struct{}{}, follows: true}
		st.trees = append(st.trees, followed)
		st.connection = append(st.connection, condition{row: &following, test: &numberTest{value: pidOf, tree: followed}})
	}
	for _, c := range s.conditions {
		if numbers, ok := c.test.(*numberTest); ok && s.tree && c.row.waits == forOwner {
			rooted := *numbers
			rooted.tree = newTree(numbers.numbers)
			st.trees = append(st.trees, rooted.tree)
			c.test = &rooted
		}
		if c.row.of == ofEvent {
			st.event = append(st.event, c)
		} else {
			st.connection = append(st.connection, c)
		}
	}
	return st
}

// Forgotten is how many connections had to be forgotten, as there were too many:
// what they do later is judged anew.
func (s *Stage) Forgotten() uint64 { return s.verdicts.forgotten }

// Hasty is how many connections were judged before all was known, as too many events
// were held.
func (s *Stage) Hasty() uint64 { return s.hasty }

// HasFollowed tells whether a followed process was seen.
func (s *Stage) HasFollowed() bool { return s.followed }

// endOfTime is the tick that ends a run (pipeline.EndOfTime).
const endOfTime = ^uint64(0)

// Apply implements pipeline.Stage.
func (s *Stage) Apply(e *event.Event, next func(*event.Event) error) error {
	switch e.Kind {
	case event.KindTick:
		if e.Ktime == endOfTime {
			if err := s.finish(next); err != nil {
				return err
			}
		}
		return next(e)
	case event.KindFork:
		s.followed = s.followed || e.Followed
		for _, t := range s.trees {
			t.fork(e)
		}
		return nil
	case event.KindLost, event.KindSampling, event.KindMinisock, event.KindSocket:
		return next(e)
	case event.KindSynAckRetransmit:
		// Of no socket yet: what comes of it is a connection of its own.
		return s.alone(e, next)
	}
	return s.ofConnection(e, next)
}

// alone judges an event by what it says itself.
func (s *Stage) alone(e *event.Event, next func(*event.Event) error) error {
	if s.judge(e) && s.isWanted(e, 0) {
		return next(e)
	}
	return nil
}

// endOfBefore judges the end of a connection whose socket carries another by now.
func (s *Stage) endOfBefore(e *event.Event, v verdict, next func(*event.Event) error) error {
	fell := v.fellBefore
	if fell == undecided {
		fell = s.decide(e)
	}
	if fell == passed && s.isWanted(e, v.touchedBefore) {
		return next(e)
	}
	return nil
}

// comesAfter tells whether an event of a connection that nobody remembers is one
// of what is left of it: nothing follows that would tell more.
func comesAfter(e *event.Event) bool {
	return e.Kind != event.KindTransition && e.Kind != event.KindConn &&
		(e.NewState == event.Close || e.NewState == event.TimeWait)
}

// ofConnection handles an event of a connection.
func (s *Stage) ofConnection(e *event.Event, next func(*event.Event) error) error {
	socket := e.Socket()
	v := s.verdicts.get(socket)
	switch {
	case e.Begins():
		last, err := s.settle(socket, v, next)
		if err != nil {
			return err
		}
		v = verdict{began: e.Ktime, fellBefore: last.fell, touchedBefore: last.touched}
	case e.Kind == event.KindConn && e.Ktime < v.began:
		// Its end waited for the report of a reset, and its socket did not.
		return s.endOfBefore(e, v, next)
	case v == verdict{} && comesAfter(e):
		return s.alone(e, next)
	}
	v.note(s.event, e)
	var err error
	if v.fell == undecided && s.mayYetChange(e) {
		if err := s.makeRoom(next); err != nil {
			return err
		}
		if s.held.add(socket, e) {
			s.verdicts.put(socket, v)
			return nil
		}
		s.hasty++
	}
	if v.fell == undecided {
		v.fell = s.decide(e)
		err = s.release(socket, v, next)
	}
	if s.isOver(e, &v) {
		s.verdicts.remove(socket)
	} else {
		s.verdicts.put(socket, v)
	}
	if err == nil && v.fell == passed && s.isWanted(e, v.touched) {
		err = next(e)
	}
	return err
}

// isOver tells whether nothing follows of the connection, and notes what of its end
// was told.
func (s *Stage) isOver(e *event.Event, v *verdict) bool {
	switch {
	case e.Kind == event.KindConn:
		v.told = true
		return e.NewState != event.TimeWait
	case e.Kind == event.KindTransition && e.NewState == event.Close:
		return v.told || !s.o.Whole || e.IsDuplicate()
	}
	return false
}

// isEnd tells whether more will not be known of the connection than the event says.
func (s *Stage) isEnd(e *event.Event) bool {
	if s.o.Whole && !e.IsDuplicate() {
		return e.Kind == event.KindConn
	}
	return e.Kind == event.KindTransition && e.NewState == event.Close
}

// mayYetChange tells whether a later event may say something else of what the
// filters ask for: not where one of them refuses the connection for good.
func (s *Stage) mayYetChange(e *event.Event) (awaited bool) {
	if s.isEnd(e) || s.set.family != 0 && s.set.family != e.Family {
		return false
	}
	for i := range s.connection {
		c := &s.connection[i]
		if s.isAwaited(c.row.waits, e) {
			awaited = true
		} else if !c.holds(e) {
			return false
		}
	}
	return awaited
}

func (s *Stage) isAwaited(w wait, e *event.Event) bool {
	closed := e.Kind == event.KindTransition && e.NewState == event.Close
	switch w {
	case forLocalEnd:
		return !closed && (e.Local.Port() == 0 || e.OldState == event.Close && e.Local.Addr().IsUnspecified() && e.NewState == event.SynSent)
	case forOwner:
		return s.o.OwnersChange && !closed && isProvisional(e.Owner.Source)
	case forUser:
		return !closed && (e.UIDUnknown || isProvisional(e.Owner.Source) && s.mayBeAccepted(e))
	case forRole:
		return !closed && (e.Role == event.RoleUnknown || mayMeetItself(e))
	case forReason:
		return true
	}
	return false
}

// mayBeAccepted tells whether a child may still be accepted, and so get another user
// than its listener's (sock_graft).
func (s *Stage) mayBeAccepted(e *event.Event) bool {
	if s.o.OwnersChange { // which is told
		return true
	}
	switch e.NewState {
	case event.SynRecv, event.Established, event.CloseWait:
		return true
	}
	return false
}

// mayMeetItself tells whether a client may turn out to be connected to itself (RFC
// 9293, 3.5, figure 7, of one socket).
func mayMeetItself(e *event.Event) bool {
	return e.Role == event.RoleClient && e.OldState == event.Close && e.Local.Addr() == e.Remote.Addr()
}

// isProvisional tells whether who serves the connection has not shown yet.
func isProvisional(source event.Source) bool {
	return source == event.SourceUnknown || source == event.SourceInherited || source == event.SourcePort
}

// judge judges a connection by an event.
func (s *Stage) judge(e *event.Event) bool {
	if s.set.family != 0 && s.set.family != e.Family {
		return false
	}
	for i := range s.connection {
		if !s.connection[i].holds(e) {
			return false
		}
	}
	return true
}

// isWanted judges an event of a connection that is shown. A connection as a whole is
// wanted for the transitions that it had.
func (s *Stage) isWanted(e *event.Event, touched uint32) bool {
	for i := range s.event {
		c := &s.event[i]
		if _, lasted := c.test.(leastTest); e.Kind == event.KindConn && !lasted {
			if touched&(1<<i) != 0 == c.exclude {
				return false
			}
		} else if !c.holds(e) {
			return false
		}
	}
	return true
}

// decide judges a connection by an event.
func (s *Stage) decide(e *event.Event) decision {
	if s.judge(e) {
		return passed
	}
	return dropped
}

// settle judges a connection that still waits by the last that is held of it.
func (s *Stage) settle(socket uint64, v verdict, next func(*event.Event) error) (verdict, error) {
	last := s.held.last(socket)
	if last == nil {
		return v, nil
	}
	v.fell = s.decide(last)
	return v, s.release(socket, v, next)
}

// makeRoom judges the connection that has waited longest, if there is no room for
// another event.
func (s *Stage) makeRoom(next func(*event.Event) error) error {
	if !s.held.isFull() {
		return nil
	}
	s.hasty++
	socket, _ := s.held.oldest() // all that is held is of one
	v, err := s.settle(socket, s.verdicts.get(socket), next)
	s.verdicts.put(socket, v)
	return err
}

// release hands on what was held of a connection that is shown, and forgets what was
// held of another.
func (s *Stage) release(socket uint64, v verdict, next func(*event.Event) error) error {
	events := s.held.take(socket)
	if v.fell != passed {
		return nil
	}
	for i := range events {
		if !s.isWanted(&events[i], v.touched) {
			continue
		}
		if err := next(&events[i]); err != nil {
			return err
		}
	}
	return nil
}

// finish judges all that still wait, and hands on what was held in the order of
// time.
func (s *Stage) finish(next func(*event.Event) error) error {
	var all []event.Event
	keep := func(e *event.Event) error {
		all = append(all, *e)
		return nil
	}
	for {
		socket, any := s.held.oldest()
		if !any {
			break
		}
		_, _ = s.settle(socket, s.verdicts.get(socket), keep) // whose error is keep's
	}
	slices.SortStableFunc(all, func(a, b event.Event) int { return cmp.Compare(a.Ktime, b.Ktime) })
	for i := range all {
		if err := next(&all[i]); err != nil {
			return err
		}
	}
	return nil
}
