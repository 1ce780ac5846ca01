package cli

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"tcpstates/internal/kerneltest"
)

// startWithJournal traces the clients of port in a namespace, itself in a sandbox
// with a journald.
func startWithJournal(t *testing.T, stdout *os.File, args ...string) (*live, *kerneltest.Journald, *kerneltest.Netns) {
	t.Helper()
	kerneltest.Require(t)
	journald, ns := kerneltest.StartJournald(t), kerneltest.NewNetns(t)
	return startPrepared(t, stdout, journald.Sandbox, append(args, "-Y", "-D", port, "--netns", inodeOf(ns))...), journald, ns
}

// TestJournal: each event of a connection comes, beside the table.
func TestJournal(t *testing.T) {
	out := outputFile(t)
	l, journald, ns := startWithJournal(t, out)
	client := kerneltest.StartHelper(t, ns, "a=b\n\x1b[2Jc")
	ns.Do(t, func() {
		listener := kerneltest.Listen(t, "tcp4", "127.0.0.1:"+port)
		client.Connect(t, listener.Addr())
		listener.Close()
	})
	client.End(t)
	pid := strconv.Itoa(int(client.PID()))
	const name = `a=b\x0a\x1b[2Jc`
	opening := journald.Next(t)
	for field, want := range map[string]string{
		"SYSLOG_IDENTIFIER": "tcpstates", "PRIORITY": "6", "OBJECT_PID": pid,
		"MESSAGE":             name + "[" + pid + "] 127.0.0.1:- -> 127.0.0.1:" + port + " CLOSE -> SYN_SENT",
		"TCPSTATES_TYPE":      "transition",
		"TCPSTATES_OLD_STATE": "CLOSE", "TCPSTATES_NEW_STATE": "SYN_SENT",
		"TCPSTATES_PID": pid, "TCPSTATES_COMM": name, "TCPSTATES_ROLE": "client",
		"TCPSTATES_LADDR": "127.0.0.1", "TCPSTATES_RADDR": "127.0.0.1", "TCPSTATES_RPORT": port, "TCPSTATES_FAMILY": "4",
		"TCPSTATES_UID": "0",
	} {
		if opening[field] != want {
			t.Errorf("%s is %q, want %q", field, opening[field], want)
		}
	}
	for _, field := range []string{"TCPSTATES_LPORT", "TCPSTATES_MS", "TCPSTATES_NOTE"} {
		if value, known := opening[field]; known {
			t.Errorf("%s, which is not known, is %q", field, value)
		}
	}
	established := journald.Next(t)
	if established["TCPSTATES_NEW_STATE"] != "ESTABLISHED" || established["TCPSTATES_CONNECT_MS"] == "" ||
		!strings.Contains(established["MESSAGE"], " SYN_SENT -> ESTABLISHED after 0.") || !strings.Contains(established["MESSAGE"], " ms: connect ") {
		t.Errorf("then comes %q", established)
	}
	if said := l.end(t); strings.Contains(said, "journal") {
		t.Errorf("stderr is %q", said)
	}
	if table := read(t, out.Name()); !strings.Contains(table, "SYN_SENT    -> ESTABLISHED") {
		t.Errorf("the table is\n%s", table)
	}
}

// TestJournalOfFailures: they matter more than others.
func TestJournalOfFailures(t *testing.T) {
	l, journald, ns := startWithJournal(t, outputFile(t))
	ns.Do(t, func() { refuse(t) })
	entry := journald.Next(t)
	for entry["TCPSTATES_REASON"] == "" {
		entry = journald.Next(t)
	}
	if entry["PRIORITY"] != "4" || entry["TCPSTATES_REASON"] != "refused" || !strings.HasSuffix(entry["MESSAGE"], " ms: refused") {
		t.Errorf("the refusal is %q", entry)
	}
	l.end(t)
}

// refuse connects to port, where nobody listens.
func refuse(t *testing.T) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	to := &syscall.SockaddrInet4{Port: number, Addr: [4]byte{127, 0, 0, 1}}
	if err := syscall.Connect(fd, to); err != syscall.ECONNREFUSED {
		t.Errorf("got %v", err)
	}
}

// TestConnsInTheJournal: what is shown is what is sent.
func TestConnsInTheJournal(t *testing.T) {
	l, journald, ns := startWithJournal(t, outputFile(t), "conns")
	ns.Do(t, func() { refuse(t) })
	entry := journald.Next(t)
	if entry["TCPSTATES_TYPE"] != "conn" || entry["TCPSTATES_SYN_SENT_MS"] == "" || !strings.Contains(entry["MESSAGE"], " ended after 0.") {
		t.Errorf("the connection is %q", entry)
	}
	l.end(t)
}

// TestJournaldThatGoesAway is told once, what it misses is counted, and another
// one is found.
func TestJournaldThatGoesAway(t *testing.T) {
	kerneltest.Require(t)
	journald := kerneltest.StartJournald(t)
	stderr, ns := outputFile(t), kerneltest.NewNetns(t)
	l := startPrepared(t, outputFile(t), func(cmd *exec.Cmd) {
		journald.Sandbox(cmd)
		cmd.Stderr = stderr
	}, "-Y", "-D", port, "--netns", inodeOf(ns))
	journald.Close()
	ns.Do(t, func() { refuse(t) })
	await(t, stderr.Name(), "takes no events")
	journald.Listen(t)
	ns.Do(t, func() { refuse(t); refuse(t) })
	for beginnings := 0; beginnings < 2; { // of the first connection there may be a part
		if entry := journald.Next(t); entry["TCPSTATES_OLD_STATE"] == "CLOSE" {
			beginnings++
		}
	}
	l.end(t)
	said := read(t, stderr.Name())
	if n := strings.Count(said, "journald takes no events: write unixgram"); n != 1 {
		t.Errorf("told %d times: %s", n, said)
	}
	if !strings.Contains(said, " events are not in the journal: ") {
		t.Errorf("nobody has counted: %s", said)
	}
}

// TestJournaldThatIsStuck does not keep the trace from going on, nor from
// ending.
func TestJournaldThatIsStuck(t *testing.T) {
	kerneltest.Require(t)
	journald := kerneltest.StartJournald(t)
	l := startPrepared(t, outputFile(t), journald.Sandbox, "-Y")
	ns := kerneltest.NewNetns(t)
	const connections = 400 // more than the socket holds (unix(7), max_dgram_qlen), and the queue
	kerneltest.Storm(t, ns, connections)
	ns.Settle(t)
	said := l.end(t)
	if !strings.Contains(said, " 0 events lost in the buffer") || !strings.Contains(said, " events are not in the journal: ") {
		t.Errorf("stderr is %s", said)
	}
}

func TestWithoutJournald(t *testing.T) {
	kerneltest.Require(t)
	journald := kerneltest.StartJournald(t)
	journald.Close()
	cmd := command(t, "-Y")
	journald.Sandbox(cmd)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitCannot ||
		!strings.HasPrefix(string(out), "tcpstates: --journal needs systemd-journald, and it does not answer: start it with ") {
		t.Errorf("%v: %s", err, out)
	}
}
