package cli

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"tcpstates/internal/event"
	"tcpstates/internal/probe"
)

// listener is a socket that listens already.
func listener(port uint16) event.Event {
	return event.Event{
		Kind: event.KindSocket, NewState: event.Listen, OldState: event.Listen, Family: event.IPv4, RecvQ: 0, SendQ: 128,
		Local:  netip.AddrPortFrom(netip.IPv4Unspecified(), port),
		Remote: netip.AddrPortFrom(netip.IPv4Unspecified(), 0),
		Owner:  event.Owner{Process: event.Process{PID: 812, Comm: event.CommOf("nginx")}, Source: event.SourceSeed},
	}
}

func TestWait(t *testing.T) {
	for args, test := range map[string]struct {
		sockets []event.Event
		totals  probe.Totals
		code    int
		row     string // of the socket
		said    string
	}{
		// Two transitions to ESTABLISHED come, from port 1 to port 2.
		"":                       {row: "ESTABLISHED -      -      127.0.0.1       1     127.0.0.1       2 "},
		"-D 2 --timeout 1m":      {row: "ESTABLISHED"},
		"-D 3 --timeout 1ms":     {code: exitTimedOut, said: "tcpstates: wait: no socket was in ESTABLISHED within 1ms\n"},
		"--state listen -L 443 ": {sockets: []event.Event{listener(80), listener(443)}, row: "LISTEN      0      128    0.0.0.0         443   -               -     812     nginx"},
		"--state close,listen":   {sockets: []event.Event{listener(80)}, row: "LISTEN"},
		"--state listen --where comm=='sshd' --timeout 1ms": {
			sockets: []event.Event{listener(80)}, code: exitTimedOut, said: "no socket was in LISTEN within 1ms"},
		"--state listen --where comm=='nginx' --timeout 1m": {sockets: []event.Event{listener(80)}, row: "LISTEN"},
		"--state syn-sent --timeout 1ms": {
			totals: probe.Totals{Lost: 2, Missed: 1}, code: exitInconclusive,
			said: "tcpstates: wait: nobody knows: no socket was seen in SYN_SENT within 1ms, and 2 events were lost in the buffer, see --buffer, and 1 events were missed by recursion\n"},
		"--where failed": {code: exitUsage, said: "failed says nothing of what is shown here"},
		"--where ms>5":   {code: exitUsage, said: "ms says nothing of what is shown here: it is a column of trace and conns"},
		"-o bcc":         {code: exitUsage, said: "-o bcc with wait: that tool lists no sockets"},
		"--role client":  {code: exitUsage, said: "unknown flag"},
	} {
		var out bytes.Buffer
		f := &fake{events: transitions(2), sockets: test.sockets, totals: test.totals}
		code, said := runCommand(t, f, &out, append([]string{"wait"}, strings.Fields(args)...)...)
		if code != test.code || !strings.Contains(out.String(), test.row) || test.row != "" && strings.Count(out.String(), "\n") != 2 || test.row == "" && out.Len() > 0 {
			t.Errorf("%s: exit code %d, want %d, and a row %q:\n%s%s", args, code, test.code, test.row, &out, said)
		}
		if test.said == "" && said != "" || !strings.Contains(said, test.said) {
			t.Errorf("%s: it says %q, want %q", args, said, test.said)
		}
	}
}
