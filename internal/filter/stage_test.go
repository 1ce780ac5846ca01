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
