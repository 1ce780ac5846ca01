package conn_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tcpstates/internal/event"
)

// ends keeps the connections that have ended.
func ends(events []event.Event) (kept []event.Event) {
	for _, e := range events {
		if e.Kind == event.KindConn && e.Role != event.RoleListener {
			kept = append(kept, e)
		}
	}
	return kept
}

// requireAccounted checks that each connection's times add up to its life.
func requireAccounted(t *testing.T, conns []event.Event) {
	t.Helper()
	for _, e := range conns {
		var sum time.Duration
		for _, d := range e.Times {
			sum += d
		}
		// What is asked for in batches has bounds; the rest has none.
		if lived, known := e.AtLeast(); !known || sum != lived || (e.Times[0] != 0) && !e.Before {
			t.Errorf("%s: %v in its states, %v in all: %v", describeEnd(&e), sum, lived, e.Times)
		}
	}
}

// describe words events for the messages of failing tests.
func describe(events []event.Event) string {
	var text strings.Builder
	for i := range events {
		e := &events[i]
		fmt.Fprintf(&text, "\n%d kind %d %x %v>%v", e.Ktime, e.Kind, e.Cookie, e.OldState, e.NewState)
		if e.Kind == event.KindConn {
			text.WriteString(" " + describeEnd(e))
		}
	}
	return text.String()
}

// describeEnd words the end of a connection: what it was, its last transition,
// why, and who closed first.
func describeEnd(e *event.Event) string {
	text := fmt.Sprintf("%s %s>%s %s", e.Role, e.OldState, e.NewState, e.End.Reason)
	if e.End.Cause != event.CauseNone {
		text += " (" + e.End.Cause.String() + ")"
	}
	if e.End.First != event.SideUnknown {
		text += " first " + e.End.First.String()
	}
	if e.End.Errno != 0 {
		text += " " + event.Errno(e.End.Errno).Name()
	}
	if e.End.Signal != 0 {
		text += " " + event.Signal(e.End.Signal).Name()
	}
	if e.End.Reset != "" {
		text += " " + e.End.Reset
	}
	return text
}
