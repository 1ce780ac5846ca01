package filter

import (
	"net/netip"
	"slices"
	"testing"

	"tcpstates/internal/event"
)

// whole is a trace as the command has it as a rule.
var whole = StageOptions{OwnersChange: true, Whole: true, MaxConns: 10}

// clientHop is a transition of a client whose owner is final.
func clientHop(socket, ktime uint64, oldState, newState event.State, rport uint16) event.Event {
	e := event.Event{Kind: event.KindTransition, Cookie: socket, Ktime: ktime, OldState: oldState, NewState: newState,
		Family: event.IPv4, Role: event.RoleClient}
	e.Owner.PID, e.Owner.Source = 9, event.SourceConnect
	e.Local = netip.AddrPortFrom(netip.IPv4Unspecified(), 5)
	e.Remote = netip.AddrPortFrom(netip.IPv4Unspecified(), rport)
	return e
}

// TestEndIsToldWhenTheSocketHasBegunAnother: an end may wait for the report of a
// reset (package conn), and connect(AF_UNSPEC) sets the socket free at once.
func TestEndIsToldWhenTheSocketHasBegunAnother(t *testing.T) {
	stage := setOf(t, "rport", "80").NewStage(whole)
	end := clientHop(1, 3, event.Established, event.Close, 80)
	end.Kind = event.KindConn
	var got []event.Event
	for _, e := range []event.Event{
		clientHop(1, 1, event.Close, event.SynSent, 80),
		clientHop(1, 2, event.SynSent, event.Established, 80),
		clientHop(1, 3, event.Established, event.Close, 0),
		clientHop(1, 4, event.Close, event.SynSent, 81), // which is not wanted
		end,
		clientHop(1, 5, event.SynSent, event.Established, 81),
	} {
		_ = stage.Apply(&e, func(e *event.Event) error { got = append(got, *e); return nil })
	}
	var times []uint64
	for _, e := range got {
		times = append(times, e.Ktime)
	}
	if want := []uint64{1, 2, 3, 3}; !slices.Equal(times, want) || got[3].Kind != event.KindConn {
		t.Errorf("shown are the events of the times %v, want %v", times, want)
	}
}

func TestNothingIsHeldInVain(t *testing.T) {
	reset := clientHop(1, 1, event.Close, event.Close, 80)
	reset.Kind = event.KindResetSent
	for name, test := range map[string]struct {
		filters []string
		e       event.Event
	}{
		"another filter refuses it for good": {[]string{"comm", "x", "reason", "refused"}, clientHop(1, 1, event.Close, event.SynSent, 80)},
		"it comes after the end":             {[]string{"reason", "refused"}, reset},
	} {
		stage := setOf(t, test.filters...).NewStage(whole)
		_ = stage.Apply(&test.e, func(*event.Event) error { t.Errorf("%s: it is shown", name); return nil })
		if stage.held.last(1) != nil {
			t.Errorf("%s: it is held", name)
		}
	}
}

func TestAtTheEndWhatWasHeldComesInTheOrderOfTime(t *testing.T) {
	stage := setOf(t, "reason", "!refused").NewStage(whole)
	var times []uint64
	for _, e := range []event.Event{
		clientHop(1, 1, event.Close, event.SynSent, 80),
		clientHop(2, 2, event.Close, event.SynSent, 80),
		clientHop(1, 3, event.SynSent, event.Established, 80),
		{Kind: event.KindTick, Ktime: endOfTime},
	} {
		_ = stage.Apply(&e, func(e *event.Event) error { times = append(times, e.Ktime); return nil })
	}
	if want := []uint64{1, 2, 3, endOfTime}; !slices.Equal(times, want) {
		t.Errorf("the times are %v, want %v", times, want)
	}
}

// TestUserOfAChild: before it is accepted a child has its listener's user, whether or
// not the source tells of that.
func TestUserOfAChild(t *testing.T) {
	for _, tells := range []bool{true, false} {
		events := child(1)
		for i := range events {
			if i >= 3 || tells && i == 2 {
				events[i].UID = 33
			}
			if !tells {
				events[i].Owner.Source = event.SourceInherited
			}
		}
		if !tells {
			events = slices.Delete(events, 2, 3)
		}
		o := live
		o.OwnersChange = tells
		for user, want := range map[string]int{"33": len(events), "0": 0} {
			if got := run(t, setOf(t, "uid", user), o, events); len(got) != want {
				t.Errorf("--uid %s, told %v: %v", user, tells, got)
			}
		}
	}
}

// TestSelfIsNoClient: a socket that meets itself begins as a client.
func TestSelfIsNoClient(t *testing.T) {
	events := child(1)[:3]
	events[0].OldState, events[0].NewState, events[0].Role = event.Close, event.SynSent, event.RoleClient
	events[1].OldState, events[1].NewState, events[1].Role = event.SynSent, event.SynRecv, event.RoleSelf
	events[2].Role = event.RoleSelf
	for role, want := range map[string]int{"self": 3, "client": 0} {
		if got := run(t, setOf(t, "role", role), live, events); len(got) != want {
			t.Errorf("--role %s: %v", role, got)
		}
	}
}

// TestDuplicatesDoNotWait: of a socket that never was a connection no end is told.
func TestDuplicatesDoNotWait(t *testing.T) {
	events := child(1)[:2]
	events[1].NewState = event.Close
	st := setOf(t, "reason", "finished").NewStage(live)
	for i := range events {
		if err := st.Apply(&events[i], func(*event.Event) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if st.held.count != 0 || len(st.verdicts.young) != 0 {
		t.Errorf("%d events are held of %d connections", st.held.count, len(st.verdicts.young))
	}
}

func TestTooManyFiltersOfEvents(t *testing.T) {
	var set Set
	for i := range maxEventFilters + 1 {
		if err := set.Add(Find("state"), "close", Env{}); (err != nil) != (i == maxEventFilters) {
			t.Fatalf("filter %d: %v", i+1, err)
		}
	}
}
