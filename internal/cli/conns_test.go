package cli

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpstates/internal/event"
)

// client are the events of a client's connection: how long connecting took, how
// long it lived after that, and with which error it ended; with none it ended
// in order.
func client(cookie uint64, connecting, living time.Duration, err unix.Errno) []event.Event {
	at := uint64(time.Hour) + cookie*uint64(time.Minute)
	change := func(from, to event.State, after time.Duration) event.Event {
		e := event.Event{
			Kind: event.KindTransition, Cookie: cookie, OldState: from, NewState: to, Family: event.IPv4, Since: at,
			Ktime: at + uint64(after), Wall: int64(at) + int64(after), SkAddr: 1,
			Local: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(cookie)), Remote: netip.MustParseAddrPort("127.0.0.1:443"),
			Facts: event.Facts{SegsOut: 1, SegsIn: 1},
		}
		at = e.Ktime
		return e
	}
	first := change(event.Close, event.SynSent, 0)
	first.Since = 0
	events := []event.Event{first, change(event.SynSent, event.Established, connecting)}
	if err != 0 {
		end := change(event.Established, event.Close, living)
		end.Facts.Err = uint16(err)
		return append(events, end)
	}
	return append(events,
		change(event.Established, event.CloseWait, living),
		change(event.CloseWait, event.LastAck, 0),
		change(event.LastAck, event.Close, 0))
}

func all(lives ...[]event.Event) (events []event.Event) {
	for _, l := range lives {
		events = append(events, l...)
	}
	return events
}

// scene are a connection that was quick, one whose handshake was slow, one that
// lived long, and one that was reset.
func scene() *fake {
	return &fake{events: all(
		client(1, time.Millisecond, 20*time.Millisecond, 0),
		client(2, 70*time.Millisecond, 20*time.Millisecond, 0),
		client(3, time.Millisecond, 5*time.Second, 0),
		client(4, time.Millisecond, 20*time.Millisecond, unix.ECONNRESET),
	)}
}

func TestConnsKeepWhatIsAskedFor(t *testing.T) {
	for args, want := range map[string]string{
		"":                                  "1 2 3 4 ",
		"--min-handshake 50ms":              "2 ",
		"--min-duration 80ms":               "2 3 ",
		"--min-duration 1s":                 "3 ",
		"--failed":                          "4 ",
		"--failed --min-handshake 50ms":     "",
		"--min-handshake 1ms --failed -n 1": "4 ",
		"-n 2":                              "1 2 ",
	} {
		var out bytes.Buffer
		code, said := runCommand(t, scene(), &out, append(strings.Fields("conns -o csv --duration 50ms"), strings.Fields(args)...)...)
		got := ""
		for line := range strings.Lines(out.String()) {
			if fields := strings.Split(line, ","); fields[0] == "conn" {
				got += fields[4] + " "
			}
		}
		if code != 0 || got != want {
			t.Errorf("conns %s: exit code %d, connections %q, want %q:\n%s%s", args, code, got, want, &out, said)
		}
		shown := strings.Count(want, " ")
		if !strings.Contains(said, fmt.Sprintf("tcpstates: %d connections shown", shown)) {
			t.Errorf("conns %s: stderr %q", args, said)
		}
		total := "summary: no connection ended"
		if shown > 0 {
			total = fmt.Sprintf("summary: %d connection", shown)
		}
		if !strings.Contains(said, total) {
			t.Errorf("conns %s: stderr %q, want %q in it", args, said, total)
		}
	}
}

func TestSummaryBesideTheTrace(t *testing.T) {
	for _, test := range []struct {
		args string
		want int // summaries
	}{
		{"-n 100 --duration 50ms", 0},
		{"--summary --duration 50ms", 1},
		{"--every 1m --duration 50ms", 1 + 3}, // the connections are a minute apart
		{"--every 1m --duration 50ms -n 8", 1 + 1},
	} {
		var out bytes.Buffer
		code, said := runCommand(t, scene(), &out, strings.Fields(test.args)...)
		if got := strings.Count(said, "summary: "); code != 0 || got != test.want {
			t.Errorf("%s: exit code %d, %d summaries, want %d:\n%s", test.args, code, got, test.want, said)
		}
		if strings.Contains(out.String(), "summary") || strings.Contains(out.String(), "conn ") {
			t.Errorf("%s: among the data:\n%s", test.args, &out)
		}
	}
}

// TestRawIsWhatTheTracepointSays looks for conclusions in a raw trace.
func TestRawIsWhatTheTracepointSays(t *testing.T) {
	timeWait := client(1, time.Millisecond, time.Second, 0)
	end := &timeWait[len(timeWait)-1]
	end.OldState, end.Facts.Flags = event.FinWait2, event.Done
	owner := timeWait[1]
	owner.Kind = event.KindOwner
	for args, want := range map[string]string{
		"-o csv":       "FIN_WAIT2,TIME_WAIT,",
		"-o csv --raw": "FIN_WAIT2,CLOSE,",
	} {
		f := &fake{events: append(append([]event.Event{}, timeWait...), owner)}
		var out bytes.Buffer
		code, said := runCommand(t, f, &out, append(strings.Fields(args), "--duration", "50ms")...)
		raw := strings.Contains(args, "--raw")
		if code != 0 || !strings.Contains(out.String(), want) || strings.Contains(out.String(), "connect") == raw ||
			strings.Contains(out.String(), "owner,") == raw || f.options.SelfTransitions != raw {
			t.Errorf("%s: exit code %d, options %+v, want %s in\n%s%s", args, code, f.options, want, &out, said)
		}
	}
}

func TestMaxConns(t *testing.T) {
	f := &fake{events: all(
		client(1, time.Millisecond, time.Second, 0)[:2], client(2, time.Millisecond, time.Second, 0)[:2],
	)}
	code, said := runCommand(t, f, &bytes.Buffer{}, "--max-conns", "1", "--duration", "50ms")
	if code != 0 || !strings.Contains(said, "; 1 connections forgotten, see --max-conns\n") {
		t.Errorf("exit code %d, stderr %q", code, said)
	}
}

// TestMinisocksThatCannotBeFollowed tells of a kernel that does not let itself
// be asked.
func TestMinisocksThatCannotBeFollowed(t *testing.T) {
	events := client(1, time.Millisecond, time.Second, 0)
	end := &events[len(events)-1]
	end.OldState, end.Facts.Flags = event.FinWait2, event.Done
	f := &fake{events: events, minisockErr: errors.New("refused")}
	code, said := runCommand(t, f, &bytes.Buffer{}, "-v", "--duration", "500ms")
	if code != 0 || !strings.Contains(said, "some TIME_WAIT were not followed to their end; run with -v for why\ntcpstates: refused\n") {
		t.Errorf("exit code %d, stderr %q", code, said)
	}
}
