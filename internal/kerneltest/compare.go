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
// with the truth: none missing, none extra, none out of order. Sockets of
// other namespaces are left out; the events name those. It returns how many
// transitions were compared.
func RequireSame(t testing.TB, ns *Netns, truth []Transition, events []event.Event) int {
	t.Helper()
	foreign := map[uint64]bool{}
	for _, e := range events {
		if e.Netns != ns.Inode {
			foreign[e.SkAddr] = true
		}
	}
	seen := map[uint64][]Transition{}
	for i := range events {
		if tr := TransitionOf(&events[i]); !foreign[tr.SkAddr] {
			seen[tr.SkAddr] = append(seen[tr.SkAddr], tr)
		}
	}
	want := map[uint64][]Transition{}
	compared := 0
	for _, tr := range truth {
		if !foreign[tr.SkAddr] {
			want[tr.SkAddr] = append(want[tr.SkAddr], tr)
			compared++
		}
	}
	reported := 0
	report := func(socket uint64) {
		if reported++; reported <= maxReports {
			got, want := firstDifference(seen[socket], want[socket])
			t.Errorf("socket %x differs from the truth:\n got %v\nwant %v", socket, got, want)
		}
	}
	for socket := range want {
		knowRemotePorts(want[socket])
		if !same(seen[socket], want[socket]) {
			report(socket)
		}
	}
	for socket := range seen {
		if len(want[socket]) == 0 {
			report(socket)
		}
	}
	if reported > maxReports {
		t.Errorf("and %d more sockets", reported-maxReports)
	}
	return compared
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

// firstDifference cuts both to the surroundings of where they first differ.
func firstDifference(got, want []Transition) (gotPart, wantPart []Transition) {
	const before, after = 3, 5
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	from := max(0, i-before)
	return got[from:min(i+after, len(got))], want[from:min(i+after, len(want))]
}

// same compares what was seen of a socket with the truth, in which optional
// transitions may be the only ones that were not seen.
func same(got, want []Transition) bool {
	for _, tr := range want {
		optional := tr.Optional
		tr.Optional = false
		switch {
		case len(got) > 0 && got[0] == tr:
			got = got[1:]
		case !optional:
			return false
		}
	}
	return len(got) == 0
}
