package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpstates/internal/kerneltest"
)

// connection is one that a test has opened and closed, the client first.
type connection struct {
	netns                  uint32
	clientPort, serverPort uint16
}

func openAndClose(t *testing.T) (c connection) {
	t.Helper()
	ns := kerneltest.NewNetns(t)
	ns.Do(t, func() {
		l := kerneltest.Listen(t, "tcp4", "127.0.0.1:0")
		client, server := kerneltest.Connect(t, l)
		c = connection{ns.Inode, portOf(client.LocalAddr()), portOf(server.LocalAddr())}
		client.CloseWrite() // and not at once for good: in FIN_WAIT2 it would be an orphan
		server.Close()
		client.Close()
		l.Close()
	})
	ns.Settle(t)
	return c
}

func portOf(a net.Addr) uint16 { return uint16(a.(*net.TCPAddr).Port) }

// requireIn expects all of the connection in the records, and that both ends
// are this process's. Where sockets cannot be asked, the ports alone tell which
// records are of it, a server's end has no owner, and TIME_WAIT is not known.
func (c connection) requireIn(t *testing.T, all []jsonRecord, asked bool) {
	t.Helper()
	var client, server []string
	for _, r := range all {
		ours := asked && r.Netns == c.netns || !asked && r.Netns == 0 && (r.LPort == c.serverPort || r.RPort == c.serverPort)
		if r.Type != "transition" || !ours || r.RPort == 0 {
			continue
		}
		if r.PID != uint32(os.Getpid()) && (asked || r.LPort != c.serverPort || r.PID != 0) {
			t.Errorf("the owner is %d, want %d: %+v", r.PID, os.Getpid(), r)
		}
		change := r.OldState + " " + r.NewState
		switch {
		case r.RPort == c.serverPort && (r.LPort == c.clientPort || r.OldState == "CLOSE"):
			client = append(client, change)
		case r.RPort == c.clientPort && r.LPort == c.serverPort:
			server = append(server, change)
		default:
			t.Errorf("neither end of the connection has these ports: %+v", r)
		}
	}
	want := []string{"CLOSE SYN_SENT", "SYN_SENT ESTABLISHED", "ESTABLISHED FIN_WAIT1", "FIN_WAIT1 FIN_WAIT2", "FIN_WAIT2 TIME_WAIT"}
	if !asked {
		want[len(want)-1] = "FIN_WAIT2 CLOSE"
	}
	if !slices.Equal(client, want) {
		t.Errorf("the client's transitions are %q, want %q", client, want)
	}
	want = []string{"LISTEN SYN_RECV", "SYN_RECV ESTABLISHED", "ESTABLISHED CLOSE_WAIT", "CLOSE_WAIT LAST_ACK", "LAST_ACK CLOSE"}
	if !slices.Equal(server, want) {
		t.Errorf("the server's transitions are %q, want %q", server, want)
	}
}

// requireTraces runs the command, which writes JSON and need not see the test's
// files, through a connection, and expects that in its output and exit code 0
// after SIGINT. Before the connection the test may look at the process. See
// requireIn for asked.
func requireTraces(t *testing.T, cmd *exec.Cmd, asked bool, look func(pid int)) (stderr string) {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = writer, &said
	err = cmd.Start()
	writer.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	// The first record is there when tracing has begun.
	reader.SetReadDeadline(time.Now().Add(startLimit))
	lines := bufio.NewReader(reader)
	if first, err := lines.ReadString('\n'); err != nil || !strings.Contains(first, `"type":"start"`) {
		_ = cmd.Process.Kill()
		t.Fatalf("tracing has not begun: %q %v, %v %s", first, err, cmd.Wait(), &said)
	}
	look(cmd.Process.Pid)
	c := openAndClose(t)
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Error(err)
	}
	c.requireIn(t, allRecords(t, lines), asked)
	if err := cmd.Wait(); err != nil {
		t.Errorf("the trace ends: %v: %s", err, &said)
	}
	return said.String()
}

// allRecords reads JSON to its end, whatever fields it has besides.
func allRecords(t *testing.T, from io.Reader) (all []jsonRecord) {
	t.Helper()
	for decoder := json.NewDecoder(from); ; {
		var r jsonRecord
		if err := decoder.Decode(&r); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Errorf("read the records: %v", err)
			return all
		}
		all = append(all, r)
	}
}

func TestInAContainer(t *testing.T) {
	cmd := command(t, "-o", "json")
	kerneltest.Sandbox(cmd, kerneltest.Container)
	said := requireTraces(t, cmd, true, func(pid int) { requireContained(t, pid) })
	if !strings.Contains(said, saysLess) && knowsSockets(t) {
		t.Errorf("stderr is %q, want %q in it", said, saysLess)
	}
}

// saysLess is how the command tells what it does not know with the two
// capabilities.
const saysLess = "stay unknown: run as root, or with CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_DAC_READ_SEARCH, to know them\n"

// requireContained expects of the process that it has no more than the
// container is to have.
func requireContained(t *testing.T, pid int) {
	t.Helper()
	requireTwoCapabilities(t, pid, "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
	if got := statusOf(t, pid)["NSpid"]; got != fmt.Sprintf("%d\t1", pid) {
		t.Errorf("no PID namespace of its own: the process is %q", got)
	}
	proc := fmt.Sprintf("/proc/%d", pid)
	mounts, err := os.ReadFile(proc + "/mounts")
	if n := bytes.Count(mounts, []byte("\n")); err != nil || n != 3 {
		t.Errorf("%d mounts, %v, want /, /proc and /sys:\n%s", n, err, mounts)
	}
	entries, err := os.ReadDir(proc + "/root")
	if err != nil || len(entries) != 3 {
		t.Errorf("the root holds %v, %v, want the binary, proc and sys", entries, err)
	}
}

// requireTwoCapabilities expects in these sets of the process nothing but
// CAP_BPF and CAP_PERFMON.
func requireTwoCapabilities(t *testing.T, pid int, sets ...string) {
	t.Helper()
	status := statusOf(t, pid)
	for _, name := range sets {
		set, err := strconv.ParseUint(status[name], 16, 64)
		if err != nil || set&^(1<<unix.CAP_BPF|1<<unix.CAP_PERFMON) != 0 {
			t.Errorf("the process has the capabilities %s %q, %v", name, status[name], err)
		}
	}
}

// statusOf is what proc_pid_status(5) tells of the process.
func statusOf(t *testing.T, pid int) map[string]string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	status := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		status[name] = strings.TrimSpace(value)
	}
	return status
}

// TestWithoutBTF hides the kernel's type information, where tracefs is not
// mounted either.
func TestWithoutBTF(t *testing.T) {
	cmd := command(t, "-o", "json")
	kerneltest.Sandbox(cmd, kerneltest.NoBTF)
	said := requireTraces(t, cmd, false, func(int) {})
	if want := "tcpstates: tracing with tracepoint, ring buffer, LRU hash (only what the tracepoint itself says"; !strings.Contains(said, want) {
		t.Errorf("stderr is %q, want %q in it", said, want)
	}
}

// TestTypesFromAFile has the kernel's type information in a file alone.
func TestTypesFromAFile(t *testing.T) {
	kerneltest.Require(t)
	types, err := os.ReadFile("/sys/kernel/btf/vmlinux")
	if err != nil {
		t.Skipf("this kernel has no types to put into a file: %v", err)
	}
	file := filepath.Join(t.TempDir(), "vmlinux.btf")
	if err := os.WriteFile(file, types, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := command(t, "-o", "json", "--btf", file)
	kerneltest.Sandbox(cmd, kerneltest.NoBTF)
	said := requireTraces(t, cmd, true, func(int) {})
	if want := "tcpstates: tracing with raw_tp, ring buffer, LRU hash (no owners of sockets older than the trace"; !strings.Contains(said, want) {
		t.Errorf("stderr is %q, want %q in it", said, want)
	}
}
