package kerneltest

import (
	"slices"
	"testing"

	"tcpstates/internal/event"
)

// TransitionOf is the event in the words of the tracepoint.
func TransitionOf(e *event.Event) Transition {
	return Transition{
		SkAddr:     e.SkAddr,
		OldState:   e.OldState,
		NewState:   e.NewState,
		LocalPort:  e.RawLocalPort,
		RemotePort: e.Remote.Port(),
		Family:     e.Family,
	}
}

// Changes are the transitions that change a state.
func Changes(all []Transition) []Transition {
	return slices.DeleteFunc(slices.Clone(all), func(tr Transition) bool { return tr.OldState == tr.NewState })
}

// RequireSame compares, socket by socket, the transitions that a tracer saw
// with the truth: none missing, none extra, none out of order. The tracer must
// have run all the while that the truth was recorded; what it saw of other
// namespaces before and after may be extra. It returns how many transitions of
// the namespace agree.
func RequireSame(t testing.TB, ns *Netns, truth []Transition, events []event.Event) int {
	t.Helper()
	seen := map[uint64][]sighting{}
	for i := range events {
		tr := TransitionOf(&events[i])
		seen[tr.SkAddr] = append(seen[tr.SkAddr], sighting{tr, events[i].Netns != ns.Inode})
	}
	want := map[uint64][]Transition{}
	for _, tr := range truth {
		want[tr.SkAddr] = append(want[tr.SkAddr], tr)
	}
	for socket := range seen {
		if want[socket] == nil {
			want[socket] = []Transition{}
		}
	}
	agreed, reported := 0, 0
	for socket := range want {
		knowRemotePorts(want[socket])
		n, i, j := agree(want[socket], seen[socket])
		agreed += n
		if i == len(want[socket]) && j == len(seen[socket]) {
			continue
		}
		if reported++; reported <= maxReports {
			t.Errorf("socket %x differs from the truth:\n got %v\nwant %v", socket,
				surroundings(seen[socket], j), surroundings(want[socket], i))
		}
	}
	if reported > maxReports {
		t.Errorf("and %d more sockets", reported-maxReports)
	}
	return agreed
}

// sighting is a transition as a tracer saw it.
type sighting struct {
	Transition
	foreign bool // of another namespace
}

// agree goes through what is wanted of one address, and what was seen of it,
// as far as they agree: to the end of both if they do. Addresses are reused, so
// that sockets of several namespaces may follow each other; what was seen of
// others before the truth was recorded may stand before, and what was seen
// after it behind. It counts the transitions of the own namespace.
func agree(want []Transition, seen []sighting) (own, i, j int) {
	for before := 0; ; before++ {
		n, wantEnd, seenEnd := follow(want, seen[before:])
		if before == 0 || wantEnd > i || wantEnd == len(want) {
			own, i, j = n, wantEnd, before+seenEnd
		}
		if i == len(want) && j == len(seen) || before == len(seen) || !seen[before].foreign {
			return own, i, j
		}
	}
}

// follow compares from the first of both on.
func follow(want []Transition, seen []sighting) (own, i, j int) {
	for i < len(want) {
		switch {
		case j < len(seen) && seen[j].is(want[i]):
			if !seen[j].foreign {
				own++
			}
			j++
		case !want[i].Optional:
			return own, i, j
		}
		i++
	}
	for j < len(seen) && seen[j].foreign {
		j++
	}
	return own, i, j
}

func (s sighting) is(want Transition) bool {
	want.Optional = false
	return s.Transition == want
}

// knowRemotePorts makes the transitions of one socket say the remote port at
// LISTEN>SYN_RECV, which the tracepoint does not know before Linux 6.15, and a
// tracer learns at the next transition.
func knowRemotePorts(transitions []Transition) {
	for i := range transitions[:max(0, len(transitions)-1)] {
		tr := &transitions[i]
		if tr.OldState == event.Listen && tr.NewState == event.SynRecv && tr.RemotePort == 0 {
			tr.RemotePort = transitions[i+1].RemotePort
		}
	}
}

// maxReports is how many sockets a failure describes.
const maxReports = 5

// surroundings are what stands around the i-th.
func surroundings[T any](all []T, i int) []T {
	const before, after = 3, 5
	return all[max(0, i-before):min(i+after, len(all))]
}
