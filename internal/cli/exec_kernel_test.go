package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tcpstates/internal/kerneltest"
)

// execution is a run of exec that has ended.
type execution struct {
	code           int
	stdout, stderr string
	rows           []jsonRecord // of transitions
}

// execIn runs exec in the namespace, with flags and a command, and its timeline in a
// file.
func execIn(t *testing.T, ns *kerneltest.Netns, flags []string, argv ...string) execution {
	t.Helper()
	kerneltest.RequireCommand(t, argv[0])
	file := outputFile(t)
	flags = append([]string{"exec", "--file", file.Name(), "-o", "json"}, flags...)
	cmd := command(t, append(append(flags, "--"), argv...)...)
	var out, said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader("input\n"), &out, &said
	var err error
	ns.Do(t, func() { err = cmd.Run() })
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	e := execution{code: cmd.ProcessState.ExitCode(), stdout: out.String(), stderr: said.String()}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	for _, r := range allRecords(t, file) {
		if r.Type == "transition" {
			e.rows = append(e.rows, r)
		}
	}
	return e
}

// clients are the connections that were opened, by their socks: the states after each of
// the transitions.
func (e *execution) clients() map[string][]string {
	states := map[string][]string{}
	for _, r := range e.rows {
		if _, known := states[r.Sock]; known || r.NewState == "SYN_SENT" {
			states[r.Sock] = append(states[r.Sock], r.NewState)
		}
	}
	return states
}

// greeter answers every connection in the namespace with a page, and is no business of
// what exec runs.
func greeter(t *testing.T, ns *kerneltest.Netns) (address string) {
	ns.Do(t, func() {
		l := kerneltest.Listen(t, "tcp4", "127.0.0.1:0")
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "hello")
		})}
		server.SetKeepAlivesEnabled(false)
		go server.Serve(l)
		t.Cleanup(func() { server.Close() })
		address = l.Addr().String()
	})
	return address
}

// isWhole tells whether these are the states of a client from its beginning to its end. Of
// an orphan in FIN_WAIT2 the rest is asked of the kernel's tables, each second.
func isWhole(states []string) bool {
	return states[0] == "SYN_SENT" && states[1] == "ESTABLISHED" &&
		slices.Contains([]string{"FIN_WAIT2", "TIME_WAIT", "CLOSE"}, states[len(states)-1])
}

// python has a child that a parent forks get a page, and another close by its exit.
const python = `import os, socket, sys
for i in range(5):
    if os.fork() == 0:
        c = socket.create_connection((sys.argv[1], int(sys.argv[2])))
        c.sendall(b"GET / HTTP/1.0\r\n\r\n")
        while c.recv(100): pass
        os._exit(0)
for i in range(5): os.wait()
`

func TestExecFollows(t *testing.T) {
	ns := kerneltest.NewNetns(t)
	address := greeter(t, ns)
	host, port, _ := net.SplitHostPort(address)
	url := "http://" + address + "/"
	for name, test := range map[string]struct {
		argv    []string
		clients int
		stdout  string
	}{
		"a command":              {[]string{"curl", "-s", url}, 1, "hello"},
		"children of a script":   {[]string{"python3", "-c", python, host, port}, 5, ""},
		"a pipeline":             {[]string{"sh", "-c", "curl -s " + url + " | { cat; curl -s " + url + "; }"}, 2, "hellohello"},
		"a moment":               {[]string{"bash", "-c", "(exec 3<>/dev/tcp/" + host + "/" + port + ") && echo done"}, 1, "done\n"},
		"200 at once":            {[]string{"bash", "-c", "for i in {1..200}; do (exec 3<>/dev/tcp/" + host + "/" + port + ") & done; wait"}, 200, ""},
		"what a daemon does":     {[]string{"sh", "-c", "setsid sh -c 'curl -s " + url + " -o /dev/null; curl -s " + url + " -o /dev/null' </dev/null >/dev/null 2>&1 & echo started"}, 2, "started\n"},
		"stdin and nothing else": {[]string{"cat"}, 0, "input\n"},
	} {
		t.Run(name, func(t *testing.T) {
			e := execIn(t, ns, nil, test.argv...)
			clients := e.clients()
			if e.code != 0 || e.stdout != test.stdout || len(clients) != test.clients {
				t.Errorf("exit code %d, stdout %q, %d clients, want %d:\n%s", e.code, e.stdout, len(clients), test.clients, e.stderr)
			}
			for sock, states := range clients {
				if !isWhole(states) {
					t.Errorf("%s went through %v", sock, states)
				}
			}
			for _, r := range e.rows {
				if r.PID == uint32(os.Getpid()) || clients[r.Sock] == nil {
					t.Errorf("this is none of the command's: %+v", r)
				}
			}
			if want := "summary: "; !strings.Contains(e.stderr, want) || !strings.Contains(e.stderr, "attached in ") {
				t.Errorf("it says %s", e.stderr)
			}
		})
	}
}

// serverName is the environment variable that makes the test binary a server, and its
// own client so many times.
const serverName = "CLI_TEST_SERVER"

// serveSelf is a Go server, whose listener is MPTCP's where the kernel has that, and its
// client.
func serveSelf(times string) {
	n, err := strconv.Atoi(times)
	if err != nil {
		panic(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "served") }))
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for range n {
		response, err := client.Get("http://" + l.Addr().String())
		if err != nil {
			panic(err)
		}
		io.Copy(os.Stdout, response.Body)
		response.Body.Close()
	}
	l.Close()
}

func TestExecFollowsAServer(t *testing.T) {
	ns := kerneltest.NewNetns(t)
	t.Setenv(serverName, "1")
	e := execIn(t, ns, nil, "/proc/"+strconv.Itoa(os.Getpid())+"/exe")
	born := map[string]int{}
	for _, r := range e.rows {
		born[r.OldState+">"+r.NewState]++
		if r.Comm == "" || r.PID == 0 || r.PID == uint32(os.Getpid()) {
			t.Errorf("the owner is not the server: %+v", r)
		}
	}
	for _, change := range []string{"CLOSE>LISTEN", "LISTEN>SYN_RECV", "SYN_RECV>ESTABLISHED", "CLOSE>SYN_SENT", "SYN_SENT>ESTABLISHED", "LISTEN>CLOSE"} {
		if born[change] != 1 {
			t.Errorf("%d times %s", born[change], change)
		}
	}
	if e.code != 0 || e.stdout != "served" {
		t.Errorf("exit code %d, stdout %q: %s", e.code, e.stdout, e.stderr)
	}
}

func TestExecTellsOfEnds(t *testing.T) {
	ns := kerneltest.NewNetns(t)
	var free string
	resets := resetter(t, ns)
	ns.Do(t, func() {
		l := kerneltest.Listen(t, "tcp4", "127.0.0.1:0")
		free = l.Addr().String()
		l.Close()
	})
	for reason, test := range map[string]struct {
		argv []string
		code int
	}{
		"refused":       {[]string{"curl", "-s", "http://" + free}, 7},
		"reset by peer": {[]string{"curl", "-s", "http://" + resets}, 56},
	} {
		e := execIn(t, ns, nil, test.argv...)
		said := fmt.Sprintf("tcpstates: exec: the command has exited with %d\n", test.code)
		if e.code != test.code || !strings.Contains(e.stderr, reason) || !strings.HasSuffix(e.stderr, said) {
			t.Errorf("%s: exit code %d: %s", reason, e.code, e.stderr)
		}
	}
}

// resetter resets every connection in the namespace, once something has come.
func resetter(t *testing.T, ns *kerneltest.Netns) (address string) {
	ns.Do(t, func() {
		l := kerneltest.Listen(t, "tcp4", "127.0.0.1:0")
		t.Cleanup(func() { l.Close() })
		address = l.Addr().String()
		go func() {
			for {
				c, err := l.AcceptTCP()
				if err != nil {
					return
				}
				c.Read(make([]byte, 1))
				c.SetLinger(0)
				c.Close()
			}
		}()
	})
	return address
}

// TestExecChangesNothing compares how a command finds itself with and without a trace.
func TestExecChangesNothing(t *testing.T) {
	ns := kerneltest.NewNetns(t)
	const look = `grep -E '^(Cap|Sig(Blk|Ign|Cgt)|NoNewPrivs|Seccomp:|Groups|Uid|Gid)' /proc/self/status; ulimit -a; ls -l /proc/self/fd | wc -l; pwd; env | grep -Ev '^(_|SHLVL)=' | sort`
	for _, before := range []string{"", "trap '' HUP INT; "} {
		path, err := binary()
		if err != nil {
			t.Fatal(err)
		}
		run := func(script string) (out []byte) {
			ns.Do(t, func() {
				cmd := exec.Command("bash", "-c", before+script)
				cmd.Stderr = io.Discard // the same kind of file for both
				if out, err = cmd.Output(); err != nil {
					t.Error(err)
				}
			})
			return out
		}
		file := filepath.Join(t.TempDir(), "script")
		if err := os.WriteFile(file, []byte(look), 0o644); err != nil {
			t.Fatal(err)
		}
		plain, traced := run("bash "+file), run(path+" exec -- bash "+file)
		if diff := cmp.Diff(strings.Split(string(plain), "\n"), strings.Split(string(traced), "\n")); diff != "" || !strings.Contains(string(plain), "CapEff") {
			t.Errorf("%sit finds (-without a trace +with one):\n%s", before, diff)
		}
	}
}
