package column

import (
	"strings"
	"testing"
	"unicode/utf8"

	"tcpstates/internal/event"
)

func live() []*Column {
	return []*Column{&Time, &Sock, &PID, &Comm, &LAddr, &LPort, &RAddr, &RPort, &OldState, &NewState, &MS}
}

func names(columns []*Column) string {
	var names []string
	for _, c := range columns {
		names = append(names, c.Name)
	}
	return strings.Join(names, " ")
}

func TestFit(t *testing.T) {
	const (
		all       = "time sock pid comm laddr lport raddr rport oldstate newstate ms"
		withoutSK = "time pid comm laddr lport raddr rport oldstate newstate ms"
		withoutLA = "time pid comm lport raddr rport oldstate newstate ms"
		withoutPI = "time comm lport raddr rport oldstate newstate ms"
		least     = "comm lport raddr rport oldstate newstate ms"
	)
	for _, test := range []struct {
		width int
		want  string
		total int // of the line; 0: the width asked for
	}{
		{300, all, 12 + 8 + 7 + 15 + 39 + 5 + 39 + 5 + 11 + 11 + 9 + 10}, // nothing can use more
		{170, all, 0},
		{123, all, 0},
		{107, all, 0},
		{106, withoutSK, 0},
		{100, withoutSK, 0},
		{99, withoutLA, 99},
		{84, withoutLA, 0},
		{83, withoutPI, 83},
		{76, withoutPI, 0},
		{75, least, 75},
		{70, least, 70},
		{20, least, 7 + 5 + 15 + 5 + 11 + 11 + 7 + 6}, // what must stay
	} {
		l := Fit(live(), test.width)
		if got := names(l.Columns); got != test.want {
			t.Errorf("in %d characters: %s, want %s", test.width, got, test.want)
		}
		total := test.total
		if total == 0 {
			total = test.width
		}
		if got := spaced(l.Widths); got != total {
			t.Errorf("in %d characters: a line of %d, want %d", test.width, got, total)
		}
		for i, c := range l.Columns {
			if l.Widths[i] < c.min() || l.Widths[i] > c.max() {
				t.Errorf("in %d characters: %s has %d", test.width, c.Name, l.Widths[i])
			}
		}
	}
	for width := range 400 {
		if got := spaced(Fit(live(), width).Widths); got > width && got > 67 {
			t.Errorf("in %d characters: a line of %d", width, got)
		}
	}
}

func TestFitLeavesTheColumnsAlone(t *testing.T) {
	columns := live()
	Fit(columns, 60)
	if got := names(columns); !strings.HasPrefix(got, "time sock pid") {
		t.Errorf("the caller's columns became %s", got)
	}
}

func TestAppendCell(t *testing.T) {
	for _, test := range []struct {
		column Column
		width  int
		value  string
		want   string
	}{
		{PID, 7, "42", "42      |"},
		{PID, 7, "", "-       |"},
		{PID, 3, "12345", "12345 |"}, // a number is never cut
		{Comm, 7, "nginx", "nginx   |"},
		{Comm, 7, "systemd-resolve", "system… |"},
		{Comm, 7, "größer-als-7", "größer… |"},
		{LAddr, 9, "127.0.0.1", "127.0.0.1 |"},
		{LAddr, 9, "192.168.122.166", "192.….166 |"},
		{LAddr, 15, "::ffff:10.0.0.1", "::ffff:10.0.0.1 |"},
		{LAddr, 15, "::ffff:192.168.122.166", "192.168.122.166 |"},
		{LAddr, 10, "2001:db8::1234", "2001…:1234 |"},
		{Time, 8, "15:04:05.678", "15:04:05 |"},
		{Time, 9, "15:04:05.678", "15:04:05  |"},
	} {
		l := Layout{Columns: []*Column{&test.column, &MS}, Widths: []int{test.width, 9}, Cut: true}
		got := string(append(l.AppendCell([]byte(test.value), 0, 0), '|'))
		if got != test.want {
			t.Errorf("%s %q in %d characters: %q, want %q", test.column.Name, test.value, test.width, got, test.want)
		}
		if chars := utf8.RuneCountInString(test.value); chars > test.width {
			l.Cut = false
			if got := string(l.AppendCell([]byte(test.value), 0, 0)); got != test.value+" " {
				t.Errorf("%s %q is cut in a layout that does not: %q", test.column.Name, test.value, got)
			}
		}
	}
}

func TestAppendFixed(t *testing.T) {
	for _, test := range []struct {
		v             int64
		scale, digits int
		want          string
	}{
		{0, 6, 3, "0.000"},
		{999, 6, 3, "0.000"},
		{1_999_999, 6, 3, "1.999"},
		{252_507_123, 6, 6, "252.507123"},
		{86_400_000_000_000, 6, 3, "86400000.000"},
		{1_500_000_000, 9, 6, "1.500000"},
		{-1_500_000_000, 9, 6, "-1.500000"},
	} {
		if got := string(appendFixed(nil, test.v, test.scale, test.digits)); got != test.want {
			t.Errorf("%d/10^%d is %s, want %s", test.v, test.scale, got, test.want)
		}
	}
}

// TestOnlyFreeColumnsHoldAnything: of the others AppendCell takes bytes for characters.
func TestOnlyFreeColumnsHoldAnything(t *testing.T) {
	const odd = "größer"
	process := event.Process{PID: 1, Comm: event.CommOf(odd)}
	for _, kind := range []event.Kind{event.KindTransition, event.KindConn, event.KindSocket, event.KindResetSent, event.KindLost} {
		e := event.Event{
			Kind: kind, Ktime: 20_000_000, Since: 1, Wall: 1, Cookie: 1, SkAddr: 1, Netns: 1, Signal: 9, Current: process,
			OldState: event.Established, NewState: event.Close, Closes: true, Lost: 1, Derived: true,
			Owner:      event.Owner{Process: process, Source: event.SourceIO, Cgroup: 1, Place: &event.Place{Cgroup: odd, Container: odd, Unit: odd, Pod: odd}},
			Facts:      event.Facts{Reset: odd, Err: 104, SoftErr: 113},
			Handshake:  event.Handshake{Connect: 1500, RTT: 1500, Took: 1500, Estimate: true, Retransmits: 1, Way: event.WayCookie},
			AcceptWait: event.Wait{Known: true, AtMost: true, Time: 15_000},
			End:        event.End{Reason: event.ReasonAborted, By: process, Reset: odd, Errno: 104},
		}
		var s State
		for _, c := range All {
			if got := c.Data(nil, &e, &s); !c.Free && utf8.RuneCount(got) != len(got) {
				t.Errorf("%s has %q", c.Name, got)
			}
		}
	}
}
