package probe

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpstates/internal/event"
	"tcpstates/internal/kerneltest"
)

// program starts a server in the namespace, and waits until it listens and the connection
// by which that shows has ended, which no trace is to see a part of.
func program(t *testing.T, ns *kerneltest.Netns, address string, name string, args ...string) *exec.Cmd {
	t.Helper()
	kerneltest.RequireCommand(t, name)
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	ns.Do(t, func() {
		if err := cmd.Start(); err != nil {
			t.Errorf("start %s: %v", name, err)
			return
		}
		for begin := time.Now(); ; {
			c, err := net.Dial("tcp", address)
			if err == nil {
				c.Close()
				return
			}
			if time.Since(begin) > 20*time.Second {
				t.Errorf("%s does not listen: %v", name, err)
				return
			}
		}
	})
	t.Cleanup(func() {
		// Not SIGKILL, which would leave a master's workers behind.
		_ = cmd.Process.Signal(unix.SIGTERM)
		_ = cmd.Wait()
	})
	ns.SettleConnections(t)
	return cmd
}

// nginx starts a master with two workers.
func nginx(t *testing.T, ns *kerneltest.Netns, address string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(`daemon off; master_process on; worker_processes 2; pid %[1]s/pid; error_log %[1]s/error;
events {}
http { access_log off; keepalive_timeout 0; server { listen %[2]s; location / { return 200 "hello"; } } }
`, dir, address)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := program(t, ns, address, "nginx", "-c", config)
	for begin := time.Now(); len(children(t, cmd.Process.Pid)) < 2; {
		if time.Since(begin) > 20*time.Second {
			t.Fatal("nginx has no workers")
		}
	}
	return cmd
}

// children are the processes that a process has started.
func children(t *testing.T, parent int) map[uint32]bool {
	t.Helper()
	list, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", parent))
	if err != nil {
		t.Fatal(err)
	}
	pids := map[uint32]bool{}
	for word := range strings.FieldsSeq(string(list)) {
		pid, err := strconv.ParseUint(word, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		pids[uint32(pid)] = true
	}
	return pids
}

// TestServersLinesNeverNameTheClient asks servers of three kinds for a page,
// older than the trace and not.
func TestServersLinesNeverNameTheClient(t *testing.T) {
	requireSeeding(t)
	const address = "127.0.0.1:8080"
	for name, start := range map[string]func(t *testing.T, ns *kerneltest.Netns) int{
		"nginx": func(t *testing.T, ns *kerneltest.Netns) int { return nginx(t, ns, address).Process.Pid },
		"Python": func(t *testing.T, ns *kerneltest.Netns) int {
			return program(t, ns, address, "python3", "-c", `
from http.server import *
class Hello(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")
    def log_message(self, *args):
        pass
ThreadingHTTPServer(("127.0.0.1", 8080), Hello).serve_forever()
`).Process.Pid
		},
		"Go": func(t *testing.T, ns *kerneltest.Netns) int {
			ns.Do(t, func() {
				l, err := net.Listen("tcp", address) // multipath
				if err != nil {
					t.Errorf("listen: %v", err)
					return
				}
				server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })}
				go server.Serve(l)
				t.Cleanup(func() { server.Close() })
			})
			return os.Getpid()
		},
	} {
		for _, older := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, older %v", name, older), func(t *testing.T) {
				ns := kerneltest.NewNetns(t)
				var c *collector
				if !older {
					c = trace(t, Options{})
				}
				server := start(t, ns)
				owners := children(t, server)
				owners[uint32(server)] = true
				// A process makes the namespace one that the walk can find.
				client := kerneltest.StartHelper(t, ns, "the-client")
				if older {
					c = trace(t, Options{})
					seed(t, c)
				}
				for range 5 {
					client.Ask(t, "get "+address)
					client.Await(t)
				}
				client.End(t)
				requireServerLines(t, of(ns, c.end(t)), client.PID(), owners)
			})
		}
	}
}

func requireServerLines(t *testing.T, events []event.Event, client uint32, owners map[uint32]bool) {
	t.Helper()
	const port = 8080
	var lines, current int
	for _, e := range events {
		if e.Local.Port() != port {
			continue
		}
		lines++
		if e.Current.PID == client {
			current++
		}
		if !owners[e.Owner.PID] {
			t.Errorf("%v: owner %+v, want one of %v", kerneltest.TransitionOf(&e), e.Owner, owners)
		}
	}
	if lines < 20 || current == 0 {
		t.Errorf("%d lines of the server, at %d of which the client was on the CPU", lines, current)
	}
}

// TestWorkersUnderLoad has nginx serve as fast as it can.
func TestWorkersUnderLoad(t *testing.T) {
	requireSeeding(t)
	ns := kerneltest.NewNetns(t)
	const address, port = "127.0.0.1:8080", 8080
	master := nginx(t, ns, address).Process.Pid
	workers := children(t, master)
	c := trace(t, Options{})
	seed(t, c)
	kerneltest.Load(t, ns, address, 4000)
	var right, inherited, wrong int
	for _, e := range of(ns, c.end(t)) {
		if e.Local.Port() != port || e.NewState == event.SynRecv || e.NewState == event.Established {
			continue
		}
		switch {
		case workers[e.Owner.PID] && e.Owner.Source == event.SourceIO:
			right++
		case e.Owner.Source == event.SourceInherited && e.Owner.PID == uint32(master):
			inherited++
		case e.OldState == event.Listen: // the trace's end
		default:
			wrong++
			t.Logf("%v: owner %+v", kerneltest.TransitionOf(&e), e.Owner)
		}
	}
	t.Logf("%d lines name the worker, %d say inherited", right, inherited)
	if wrong > 0 || right < 999*inherited || right < 10_000 {
		t.Errorf("of the lines after the accept %d are right, %d inherited, %d wrong", right, inherited, wrong)
	}
}
