package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpstates/internal/kerneltest"
	"tcpstates/internal/probe"
)

// port is one that the tests' servers listen at, in namespaces of their own.
const port = "47001"

// startPiped is startLive with a pipe for the command to write to, and only the
// clients of port shown. What is read from the pipe must come within a minute.
func startPiped(t *testing.T, prepare func(*exec.Cmd), args ...string) (*live, *bufio.Reader) {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reader.Close() })
	if err := reader.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	l := startPrepared(t, writer, prepare, append(args, "-D", port)...)
	writer.Close()
	return l, bufio.NewReader(reader)
}

// status is what the kernel tells of each thread of a process
// (proc_pid_status(5)), which must be the same.
func status(t *testing.T, pid int) map[string]string {
	t.Helper()
	threads, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/status")
	if err != nil || len(threads) < 2 {
		t.Fatalf("the process has the threads %q, %v", threads, err)
	}
	var first map[string]string
	for _, thread := range threads {
		text, err := os.ReadFile(thread)
		if err != nil {
			continue // it has ended
		}
		fields := map[string]string{}
		for line := range strings.Lines(string(text)) {
			name, value, _ := strings.Cut(line, ":")
			fields[name] = strings.Join(strings.Fields(value), " ")
		}
		if first == nil {
			first = fields
		}
		for _, name := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Uid", "Gid", "Groups"} {
			if fields[name] != first[name] {
				t.Errorf("%s: %s is %s, and %s of another thread", thread, name, fields[name], first[name])
			}
		}
	}
	return first
}

// setOf is a set of capabilities as /proc shows it.
func setOf(caps ...uintptr) string {
	var set uint64
	for _, c := range caps {
		set |= 1 << c
	}
	return strings.Repeat("0", 16-len(strconv.FormatUint(set, 16))) + strconv.FormatUint(set, 16)
}

// knowsSockets tells whether the best backend of this kernel follows TIME_WAIT.
func knowsSockets(t *testing.T) bool {
	t.Helper()
	tracer, err := probe.Open(probe.Options{Clock: kerneltest.SteadyClock{}})
	if err != nil {
		t.Fatal(err)
	}
	defer tracer.Close()
	return tracer.Knows().Sockets
}

var (
	forRaw   = []uintptr{unix.CAP_BPF}
	forTrace = []uintptr{unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_SYS_ADMIN, unix.CAP_SYS_PTRACE}
)

const asRoot, asNobody = "0 0 0 0", "65534 65534 65534 65534"

// TestPrivilegesThatStay looks at each thread of a trace that has begun, and
// again when it has shown a connection: then there may be others.
func TestPrivilegesThatStay(t *testing.T) {
	kerneltest.Require(t)
	forTrace := forTrace
	if !knowsSockets(t) { // then there is no TIME_WAIT to follow
		forTrace = forRaw
	}
	withPlaces := append(slices.Clone(forTrace), unix.CAP_DAC_READ_SEARCH)
	for args, want := range map[string]struct {
		caps     []uintptr
		uid, gid string
	}{
		"":                           {forTrace, asRoot, asRoot},
		"--raw":                      {forRaw, asRoot, asRoot},
		"-o bcc":                     {forRaw, asRoot, asRoot},
		"-o wide":                    {withPlaces, asRoot, asRoot},
		"conns":                      {forTrace, asRoot, asRoot},
		"conns --columns +unit":      {withPlaces, asRoot, asRoot},
		"--drop-to nobody":           {forTrace, asNobody, asNobody},
		"--raw --drop-to 65534":      {forRaw, asNobody, asNobody},
		"conns --drop-to 54321:1234": {forTrace, "54321 54321 54321 54321", "1234 1234 1234 1234"},
	} {
		t.Run(args, func(t *testing.T) {
			inGroups := func(cmd *exec.Cmd) {
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Groups: []uint32{4, 24}}}
			}
			groups := "4 24"
			if strings.Contains(args, "--drop-to") {
				groups = ""
			}
			trace, out := startPiped(t, inGroups, strings.Fields(args)...)
			requireStatus := func() {
				t.Helper()
				have := status(t, trace.Process.Pid)
				for name, want := range map[string]string{
					"CapPrm": setOf(want.caps...), "CapEff": setOf(want.caps...), "CapBnd": setOf(want.caps...),
					"CapInh": setOf(), "CapAmb": setOf(), "NoNewPrivs": "1",
					"Uid": want.uid, "Gid": want.gid, "Groups": groups,
				} {
					if have[name] != want {
						t.Errorf("%s is %q, want %q", name, have[name], want)
					}
				}
			}
			requireStatus()
			connectOnce(t, kerneltest.NewNetns(t), port)
			for range 2 { // the header, and what comes first
				if _, err := out.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
			}
			requireStatus()
			if said := trace.end(t); !strings.Contains(said, " 0 events lost in the buffer, 0 missed") {
				t.Errorf("stderr is %q", said)
			}
		})
	}
}

// TestDropAmidEvents has events come from before the trace until after it has
// dropped what it drops.
func TestDropAmidEvents(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	ctx, stop := context.WithCancel(t.Context())
	var storm sync.WaitGroup
	defer storm.Wait()
	defer stop()
	storm.Go(func() {
		for ctx.Err() == nil {
			kerneltest.Storm(t, ns, 100)
		}
	})
	out := outputFile(t)
	trace := startLive(t, out, "-o", "json", "--drop-to", "nobody")
	kerneltest.Storm(t, ns, 100)
	said := trace.end(t)
	if !strings.Contains(said, " 0 events lost in the buffer, 0 missed") || strings.Contains(said, "gap") {
		t.Errorf("stderr is %q", said)
	}
	if text, err := os.ReadFile(out.Name()); err != nil || bytes.Count(text, []byte(`"type":"transition"`)) < 1000 {
		t.Errorf("it has shown %d bytes, %v", len(text), err)
	}
}

// TestTraceWithoutPrivileges has a trace that has dropped what it drops follow an
// orphan in another network namespace to its end, and name the container of a
// process that has ended before the trace hears of it.
func TestTraceWithoutPrivileges(t *testing.T) {
	kerneltest.Require(t)
	follows := knowsSockets(t)
	for _, args := range []string{"", "--drop-to nobody"} {
		t.Run(args, func(t *testing.T) {
			trace, out := startPiped(t, nil, append(strings.Fields(args), "-o", "json")...)
			ns := kerneltest.NewNetns(t)
			ns.Sysctl(t, "net/ipv4/tcp_fin_timeout", "1")
			kerneltest.StartHelper(t, ns, "resident")
			var server net.Conn
			ns.Do(t, func() {
				l := kerneltest.Listen(t, "tcp4", "127.0.0.1:"+port)
				var client net.Conn
				client, server = kerneltest.Connect(t, l)
				client.Close()
				l.Close()
			})
			defer server.Close()
			left := awaitRecord(t, out, func(r jsonRecord) bool {
				return r.Netns == ns.Inode && r.OldState == "FIN_WAIT2" && r.NewState == "CLOSE"
			})
			if left.MSMin == nil && follows {
				t.Errorf("FIN_WAIT2 was not followed to its end: %+v", left)
			}

			pause(t, trace, unix.SIGSTOP)
			place := inContainer(t, ns)
			pause(t, trace, unix.SIGCONT)
			opened := awaitRecord(t, out, func(r jsonRecord) bool { return r.Netns == ns.Inode && r.Comm == "contained" })
			if opened.Contain != place {
				t.Errorf("it is in the container %s: %+v", place, opened)
			}
			if said := trace.end(t); !strings.Contains(said, " 0 events lost in the buffer, 0 missed") ||
				strings.Contains(said, "not followed") {
				t.Errorf("stderr is %q", said)
			}
		})
	}
}

// pause stops the trace, or has it go on.
func pause(t *testing.T, trace *live, signal syscall.Signal) {
	t.Helper()
	if err := trace.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

// inContainer has a process connect and end in a cgroup named as containers'.
func inContainer(t *testing.T, ns *kerneltest.Netns) (id string) {
	t.Helper()
	id = strings.Repeat("5e", 32)
	cgroup := filepath.Join(version2(t), "docker-"+id+".scope")
	if err := os.Mkdir(cgroup, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(cgroup) })
	helper := kerneltest.StartHelper(t, ns, "contained")
	pid := strconv.FormatUint(uint64(helper.PID()), 10)
	if err := os.WriteFile(filepath.Join(cgroup, "cgroup.procs"), []byte(pid), 0); err != nil {
		t.Fatal(err)
	}
	ns.Do(t, func() {
		l := kerneltest.Listen(t, "tcp4", "127.0.0.1:"+port)
		helper.Connect(t, l.Addr())
		l.Close()
	})
	helper.End(t)
	return id
}

// version2 is where the version 2 hierarchy of cgroups is mounted.
func version2(t *testing.T) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[2] == "cgroup2" {
			return fields[1]
		}
	}
	t.Fatal("the version 2 hierarchy is not mounted")
	return ""
}

// awaitRecord reads JSON until there is a record as wanted.
func awaitRecord(t *testing.T, out *bufio.Reader, wanted func(jsonRecord) bool) jsonRecord {
	t.Helper()
	for {
		line, err := out.ReadBytes('\n')
		if err != nil {
			t.Fatalf("no such record was shown: %v", err)
		}
		var r jsonRecord
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if wanted(r) {
			return r
		}
	}
}

func TestUserThatTheProcessMayNotBecome(t *testing.T) {
	cmd := command(t, "--drop-to", "54321")
	cmd.SysProcAttr = withCaps(unix.CAP_BPF, unix.CAP_PERFMON)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	requireExit(t, cmd, &said, exitCannot, "tcpstates: this process may not go on as the user 54321: ")
	if out.Len() > 0 || strings.Count(said.String(), "\n") != 1 {
		t.Errorf("stdout %q, stderr %q, want one sentence alone", &out, &said)
	}
}

// TestUserWithoutNames runs the command where there is nothing but itself.
func TestUserWithoutNames(t *testing.T) {
	cmd := command(t, "--drop-to", "nobody")
	root := t.TempDir()
	if err := os.Link(cmd.Path, filepath.Join(root, "tcpstates")); err != nil {
		t.Fatal(err)
	}
	cmd.Path, cmd.Dir = "/tcpstates", "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	var said bytes.Buffer
	cmd.Stderr = &said
	requireExit(t, cmd, &said, exitUsage, "tcpstates: invalid argument \"nobody\" for \"--drop-to\" flag: "+
		"there is no /etc/passwd here, so it takes numbers alone: UID, or UID:GID\n")
}
