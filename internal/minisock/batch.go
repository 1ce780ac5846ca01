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

// ask lists the minisocks of each namespace that has some awaited ones, and
// tells what has become of those. err is why it could not ask everywhere.
func (b *batch) ask() (outcomes []outcome, err error) {
	namespaces := map[uint32]bool{}
	for _, m := range b.awaited {
		namespaces[m.netns] = true
	}
	for netns := range namespaces {
		began := b.ktime()
		before := b.spaces[netns]
		space, listErr := b.lister.List(netns, func(found wire.Minisock) {
			k := key{found.Cookie, found.LocalPort, found.RemotePort}
			m, known := b.awaited[k]
			if !known {
				return
			}
			if m.state != found.State {
				outcomes = append(outcomes, m.outcome(found.State, began))
				m.state, m.since = found.State, m.seen
			}
			m.seen, m.found = began, true
			b.awaited[k] = m
		})
		if listErr != nil && !errors.Is(listErr, snapshot.ErrNoNamespace) {
			err = listErr // what was not asked is not answered
			continue
		}
		asked := listErr == nil
		if asked {
			b.spaces[netns] = space
		}
		for k, m := range b.awaited {
			if m.netns != netns || m.seen >= began || !asked && !m.outlived(began) {
				continue
			}
			gone := m.outcome(event.Close, began)
			switch {
			case !asked:
			case space.Overflows > before.Overflows && !m.found:
				gone.fate = event.FateNoRoom
			default:
				gone.fate = m.fate(began, space)
			}
			outcomes = append(outcomes, gone)
			delete(b.awaited, k)
		}
	}
	return outcomes, err
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
