package cli

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"tcpstates/internal/column"
	"tcpstates/internal/event"
	"tcpstates/internal/snapshot"
)

// servicesFile is a file of ports' names.
func servicesFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "services")
	if err := os.WriteFile(path, []byte("https 443/tcp\ntcpmux 1/tcp\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// lookupOf knows the name of one address.
func lookupOf(known, name string) func(context.Context, string) ([]string, error) {
	return func(_ context.Context, addr string) ([]string, error) {
		if addr == known {
			return []string{name}, nil
		}
		return nil, errors.New("no such host")
	}
}

func TestChosenColumns(t *testing.T) {
	for args, want := range map[string]string{
		"-n1 --columns raddr,newstate,pid":                            "RADDR           NEWSTATE    PID\n127.0.0.1       ESTABLISHED -\n",
		"-n1 -o csv --columns rport,lport":                            "rport,lport\r\n2,1\r\n",
		"-n1 --columns oldstate,newstate":                             "OLDSTATE    -> NEWSTATE\nSYN_SENT    -> ESTABLISHED\n",
		"-n1 -t --columns elapsed,rport":                              "TIME(s)    RPORT\n0.000000   2\n",
		"-n1 -w --columns raddr,pid":                                  "RADDR                                   PID\n127.0.0.1                               -\n",
		"-n1 -s --port-names --columns rport,lport,lservice,rservice": "rport,lport,lservice,rservice\r\n2,1,tcpmux,\r\n",
		"-n1 --port-names --columns lport,rport":                      "LPORT      RPORT\ntcpmux     2\n",
	} {
		var out bytes.Buffer
		f := &fake{events: transitions(1), services: servicesFile(t)}
		if code, said := runCommand(t, f, &out, strings.Fields(args)...); code != exitDone || out.String() != want {
			t.Errorf("%s: exit code %d, stdout %q, want %q; stderr %s", args, code, &out, want, said)
		}
	}
}

func TestWithoutServicesPortsHaveNoNames(t *testing.T) {
	f := &fake{services: filepath.Join(t.TempDir(), "none")}
	code, said := runCommand(t, f, &bytes.Buffer{}, "--port-names")
	if code != exitFailed || !strings.HasPrefix(said, "tcpstates: read the names of ports: open ") ||
		!strings.HasSuffix(said, "leave out --port-names, or install them (Debian: apt-get install netbase)\n") {
		t.Errorf("exit code %d, stderr %q", code, said)
	}
}

// TestConnsAskForNamesWhileConnectionsLive: the last event of a connection comes
// only when its name was asked for.
func TestConnsAskForNamesWhileConnectionsLive(t *testing.T) {
	asked := make(chan struct{})
	f := &fake{events: client(1, time.Millisecond, time.Second, 0)}
	f.lookup = func(context.Context, string) ([]string, error) { close(asked); return nil, nil }
	f.reading = func(left int) {
		if left != 1 {
			return
		}
		select {
		case <-asked:
		case <-time.After(10 * time.Second):
			t.Error("nobody asks for the name")
		}
	}
	if code, said := runCommand(t, f, &bytes.Buffer{}, "conns", "-N", "--duration", "50ms"); code != exitDone {
		t.Errorf("exit code %d: %s", code, said)
	}
}

// TestNoNameDelaysNoEvent: the events are out while the answer is not.
func TestNoNameDelaysNoEvent(t *testing.T) {
	f := &fake{events: transitions(3)}
	f.lookup = func(ctx context.Context, _ string) ([]string, error) { <-ctx.Done(); return nil, ctx.Err() }
	var out bytes.Buffer
	if code, said := runCommand(t, f, &out, "-N", "-n3", "-o", "csv", "--columns", "raddr,rname"); code != exitDone ||
		out.String() != "raddr,rname\r\n"+strings.Repeat("127.0.0.1,\r\n", 3) {
		t.Errorf("exit code %d, stdout %q: %s", code, &out, said)
	}
}

func TestListWaitsForNames(t *testing.T) {
	socket := event.Event{
		Kind: event.KindSocket, NewState: event.Established, OldState: event.Established, Family: event.IPv4,
		Local: netip.MustParseAddrPort("10.0.0.1:1"), Remote: netip.MustParseAddrPort("192.0.2.1:443"),
	}
	for args, want := range map[string]string{
		"--columns state,raddr,rport":           "STATE       RADDR                     RPORT\nESTABLISHED web.example.com           https\n",
		"-o csv --columns raddr,rname,rservice": "raddr,rname,rservice\r\n192.0.2.1,web.example.com,https\r\n",
	} {
		var out, said bytes.Buffer
		a := &app{
			stdout: &out, stderr: &said, getenv: func(string) string { return "" }, clock: newClock(),
			missingForWalk: func() string { return "" },
			lookup:         lookupOf("192.0.2.1", "web.example.com."),
			services:       servicesFile(t),
			sockets: func(snapshot.ListOptions) (snapshot.Listing, error) {
				return snapshot.Listing{Sockets: []event.Event{socket}}, nil
			},
		}
		code := a.run(t.Context(), append([]string{"list", "-N", "--port-names"}, strings.Fields(args)...))
		if code != exitDone || out.String() != want {
			t.Errorf("%s: exit code %d, stdout %q, want %q: %s", args, code, &out, want, &said)
		}
	}
}

// TestColumnsFitTheTerminal: every column is there with its meaning, broken but
// whole, in lines that the terminal does not break.
func TestColumnsFitTheTerminal(t *testing.T) {
	for _, width := range []int{0, 80, 100, 120, 200} {
		var out bytes.Buffer
		if err := writeColumns(&out, width); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(out.String()) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); width > 0 && n > width {
				t.Errorf("%d characters in a terminal of %d: %s", n, width, line)
			}
		}
		text := strings.Join(strings.Fields(out.String()), " ")
		for _, c := range column.All {
			if !strings.Contains(text, c.Source+" "+c.Help) || !strings.Contains(out.String(), "\n"+c.Name+" ") {
				t.Errorf("in %d characters %s is not as it should be", width, c.Name)
			}
		}
	}
}
