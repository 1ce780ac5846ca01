package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tcpstates/internal/kerneltest"
)

func TestMain(m *testing.M) {
	kerneltest.Main()
	os.Exit(m.Run())
}

// TestLines reads what each tracer has said of the same connection over IPv4,
// among headers, notes, losses and others' connections.
func TestLines(t *testing.T) {
	client := ends{netip.MustParseAddrPort("127.0.0.1:44836"), netip.MustParseAddrPort("127.77.0.0:58111")}
	server := ends{client.remote, client.local}
	for file, test := range map[string]struct {
		parse parser
		unit  time.Duration
		lost  int
	}{
		"table":    {parseArrow, time.Millisecond, 6521},
		"libbpf":   {parseArrow, time.Millisecond, 0},
		"json":     {parseJSON, time.Millisecond, 0},
		"bpftrace": {parseNumbers, time.Microsecond, 12},
		"csv":      {parseCSV, time.Millisecond, 0},
	} {
		t.Run(file, func(t *testing.T) {
			opened, err := os.Open(filepath.Join("testdata", "lines", file))
			if err != nil {
				t.Fatal(err)
			}
			defer opened.Close()
			var path []string
			times := map[ends]time.Duration{}
			lost := 0
			err = eachLine(opened, func(raw []byte) {
				l, ok := test.parse(raw)
				if !ok {
					lost += lostBy(raw)
					return
				}
				if !l.happened(false) {
					return
				}
				path = append(path, string(l.oldState)+">"+string(l.newState))
				if e, lasted, ok := l.established(test.unit); ok {
					times[e] = lasted
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			last := "FIN_WAIT2>TIME_WAIT"
			if file == "libbpf" || file == "bpftrace" {
				last = "FIN_WAIT2>CLOSE"
			}
			want := []string{
				"CLOSE>SYN_SENT", "SYN_SENT>ESTABLISHED", "LISTEN>SYN_RECV", "SYN_RECV>ESTABLISHED", "ESTABLISHED>FIN_WAIT1",
				"ESTABLISHED>CLOSE_WAIT", "CLOSE_WAIT>LAST_ACK", "FIN_WAIT1>FIN_WAIT2", "LAST_ACK>CLOSE", last,
			}
			if diff := cmp.Diff(want, path); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if times[client] != 114*time.Microsecond || times[server] != 62*time.Microsecond {
				t.Errorf("the times in ESTABLISHED are %v", times)
			}
			if lost != test.lost {
				t.Errorf("%d lost, want %d", lost, test.lost)
			}
		})
	}
}

func TestLives(t *testing.T) {
	for raw, want := range map[string]string{
		"01:29:25.914 31281   load            server   127.77.0.0      58111 127.0.0.1       44836 0.100     -         0.072     reset by peer\n": "58111",
		"01:29:25.914 31281   a server        client   127.0.0.1       44836 127.77.0.0      58111 0.100     -         0.072     \n":              "44836",
		"TIME         PID     COMM            ROLE     LADDR           LPORT RADDR           RPORT MS        HANDSHAKE RTT       NOTE\n":          "",
		"client\n": "",
	} {
		l, ok := parseLife([]byte(raw))
		if ok != (want != "") || string(l.lport) != want || ok && !l.happened(false) {
			t.Errorf("%q is read as %q, %v", raw, l.lport, ok)
		}
	}
	listener, ok := parseLife([]byte("01:29:27.119 31290   load            listener ::  53523 -  -  200.851   -  -  listener closed\n"))
	if !ok || !listener.isOfListener() || listener.happened(true) {
		t.Errorf("a listener is read as %v", listener)
	}
}

// TestIPv6Lines: the loopback has one address, which both ends have.
func TestIPv6Lines(t *testing.T) {
	raw := "ffff8882bbfdae40 31290   load       ::1             42566 ::1             35879 ESTABLISHED -> FIN_WAIT1   0.114\n"
	l, ok := parseArrow([]byte(raw))
	if !ok || !l.happened(true) || l.happened(false) {
		t.Errorf("it is read as %v, %v", l, ok)
	}
	if e, _, ok := l.established(time.Millisecond); !ok || e.local.Port() != 42566 || e.remote.Addr() != netip.IPv6Loopback() {
		t.Errorf("its ends are %v", e)
	}
}

// FuzzLines: whatever a line is, it is read or passed over.
func FuzzLines(f *testing.F) {
	f.Add([]byte("a 127.0.0.1 1 127.77.0.1 2 7 -> 2 0"))
	f.Add([]byte(" -> "))
	f.Add([]byte(`{"type":"transition","ms":`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, parse := range []parser{parseArrow, parseNumbers, parseJSON, parseCSV, parseLife} {
			if l, ok := parse(raw); ok {
				l.happened(false)
				l.established(time.Millisecond)
			}
		}
	})
}
