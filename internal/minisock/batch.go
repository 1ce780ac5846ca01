package minisock

import (
	"errors"
	"time"

	"tcpstates/internal/event"
	"tcpstates/internal/snapshot"
	"tcpstates/internal/wire"
)

// batch is what the asking goroutine knows.
type batch struct {
	lister  Lister
	ktime   func() uint64
	spaces  map[uint32]snapshot.Space
	awaited map[key]awaited
}

// awaited is a minisock that will change.
type awaited struct {
	entry
	seen  uint64 // ktime of the last listing that had it; that of its entry before
	found bool   // by a listing
}

// add awaits those that have entered. It returns how many stand in the place of
// one that was awaited already, which must be gone.
func (b *batch) add(entered []entry) (replaced int64) {
	for _, m := range entered {
		if _, known := b.awaited[m.key]; known {
			replaced++
		}
		b.awaited[m.key] = awaited{entry: m, seen: m.since}
	}
	return replaced
}

// answer is what one namespace has told in a batch.
type answer struct {
	ktime      uint64 // when it was asked
	asked      bool   // false if it is not there any more
	space      snapshot.Space
	overflowed bool // there was no room for some minisocks since the last batch
}

// ask lists the minisocks of each namespace that has some awaited ones, and
// tells what has become of those. err is why it could not ask everywhere.
func (b *batch) ask() (outcomes []outcome, err error) {
	answers := map[uint32]answer{}
	for _, m := range b.awaited {
		answers[m.netns] = answer{}
	}
	for netns := range answers {
		a := answer{ktime: b.ktime()}
		var listErr error
		a.space, listErr = b.lister.List(netns, func(found wire.Minisock) {
			outcomes = b.see(found, a.ktime, outcomes)
		})
		switch {
		case listErr == nil:
			a.asked, a.overflowed = true, a.space.Overflows > b.spaces[netns].Overflows
			b.spaces[netns] = a.space
		case !errors.Is(listErr, snapshot.ErrNoNamespace):
			err = listErr // what was not asked is not answered
			delete(answers, netns)
			continue
		}
		answers[netns] = a
	}
	for k, m := range b.awaited {
		if a, answered := answers[m.netns]; answered && m.isGone(a) {
			outcomes = append(outcomes, m.gone(a))
			delete(b.awaited, k)
		}
	}
	return outcomes, err
}

// see notes a minisock that was listed, and appends an outcome if it has
// another state than before.
func (b *batch) see(found wire.Minisock, ktime uint64, outcomes []outcome) []outcome {
	k := key{found.Cookie, found.LocalPort, found.RemotePort}
	m, known := b.awaited[k]
	if !known {
		return outcomes
	}
	if m.state != found.State {
		outcomes = append(outcomes, m.outcome(found.State, ktime))
		m.state, m.since = found.State, m.seen
	}
	m.seen, m.found = ktime, true
	b.awaited[k] = m
	return outcomes
}

// isGone tells whether the answer shows that a minisock is no more.
func (m *awaited) isGone(a answer) bool {
	return m.seen < a.ktime && (a.asked || m.outlived(a.ktime))
}

// gone is the outcome of a minisock that is no more.
func (m *awaited) gone(a answer) outcome {
	o := m.outcome(event.Close, a.ktime)
	switch {
	case !a.asked:
	case a.overflowed && !m.found:
		o.fate = event.FateNoRoom
	default:
		o.fate = m.fate(a.ktime, a.space)
	}
	return o
}

func (m *awaited) outcome(state event.State, ktime uint64) outcome {
	return outcome{key: m.key, netns: m.netns, ktime: ktime, seen: m.seen, from: m.state, to: state}
}

// timeWaitLen is how long TIME_WAIT lasts (TCP_TIMEWAIT_LEN of
// include/net/tcp.h).
const timeWaitLen = 60 * time.Second

// outlived tells whether a minisock must be gone, though its namespace cannot be
// asked: nobody is in there, and most likely it is gone itself.
func (m *awaited) outlived(ktime uint64) bool {
	return time.Duration(ktime-m.since) >= 2*timeWaitLen
}

// The kernel's timer counts in ticks, of 10 ms at most; a listing takes time.
const slack = 100 * time.Millisecond

// fate judges what has become of a minisock that was found to be gone. That
// FIN_WAIT2 has lasted its time is told only by batches that follow each other
// closely: else a FIN and all of TIME_WAIT may lie between two of them.
func (m *awaited) fate(ktime uint64, space snapshot.Space) event.Fate {
	lasted := time.Duration(ktime - m.since)
	limit := timeWaitLen
	if m.state == event.FinWait2 {
		limit = space.FinTimeout
		// Above that the minisock stands for a part of the time alone (tcp_close).
		if m.own || limit > timeWaitLen {
			return event.FateUnknown
		}
	}
	switch {
	case lasted < limit-slack:
		return event.FateEarly
	case m.state == event.TimeWait || time.Duration(ktime-m.seen) < 3*interval:
		return event.FateExpired
	}
	return event.FateUnknown
}
