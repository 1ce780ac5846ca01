package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpstates/internal/event"
	"tcpstates/internal/kerneltest"
)

// binaryDir is where the built binary is; empty if none was built.
var binaryDir string

// binary builds the command, once, where every user can run it.
var binary = sync.OnceValues(func() (path string, err error) {
	if kerneltest.Emulated() {
		return "/tests/tcpstates", nil // test/kernels/run has built it
	}
	if binaryDir, err = os.MkdirTemp("", "tcpstates-test-"); err != nil {
		return "", err
	}
	if err := os.Chmod(binaryDir, 0o755); err != nil {
		return "", err
	}
	path = filepath.Join(binaryDir, "tcpstates")
	build := exec.Command("go", "build", "-o", path, "tcpstates/cmd/tcpstates")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	if err != nil {
		return "", errors.Join(err, errors.New(string(out)))
	}
	return path, nil
})

// command prepares a run of the built binary.
func command(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	kerneltest.Require(t)
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return exec.Command(path, args...)
}

// live is a trace by the built binary.
type live struct {
	*exec.Cmd
	stderr bytes.Buffer
}

// startLive starts the command and returns when tracing has begun.
func startLive(t testing.TB, stdout *os.File, args ...string) *live {
	t.Helper()
	return startPrepared(t, stdout, nil, args...)
}

// startPrepared is startLive of a command that prepare, if there is one, has
// changed.
func startPrepared(t testing.TB, stdout *os.File, prepare func(*exec.Cmd), args ...string) *live {
	t.Helper()
	ready := filepath.Join(t.TempDir(), "ready")
	if err := unix.Mkfifo(ready, 0o600); err != nil {
		t.Fatal(err)
	}
	l := &live{Cmd: command(t, append(args, "--ready-file", ready)...)}
	l.Stdout, l.Stderr = stdout, &l.stderr
	if prepare != nil {
		prepare(l.Cmd)
	}
	if err := l.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if l.ProcessState == nil {
			_ = l.Process.Kill()
			_ = l.Cmd.Wait()
		}
	})
	// Opening the pipe waits for the command to open it, too; should the
	// command fail before, the test's own hold on it ends the wait.
	overdue := time.AfterFunc(startLimit, func() {
		if f, err := os.OpenFile(ready, os.O_RDWR, 0); err == nil {
			f.Close()
		}
	})
	defer overdue.Stop()
	pid, err := os.ReadFile(ready)
	if err != nil || string(pid) != strconv.Itoa(l.Process.Pid) {
		t.Fatalf("tracing has not begun: %q %v %s", pid, err, &l.stderr)
	}
	return l
}

const startLimit = 20 * time.Second

// end interrupts the command as Ctrl-C does, and expects a clean end.
func (l *live) end(t testing.TB) (stderr string) {
	t.Helper()
	if err := l.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := l.Wait(); err != nil {
		t.Errorf("the trace ends: %v: %s", err, &l.stderr)
	}
	return l.stderr.String()
}

// outputFile makes a file for the command to write to.
func outputFile(t testing.TB) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// jsonRecord is a line of -o json, with its fields' types as documented.
type jsonRecord struct {
	Type     string     `json:"type"`
	Time     time.Time  `json:"time"`
	Sock     string     `json:"sock"`
	SkAddr   string     `json:"skaddr"`
	Netns    uint32     `json:"netns"`
	UID      *uint32    `json:"uid"`
	PID      uint32     `json:"pid"`
	Comm     string     `json:"comm"`
	Source   string     `json:"source"`
	CgroupID uint64     `json:"cgroupid"`
	Cgroup   string     `json:"cgroup"`
	Contain  string     `json:"container"`
	Unit     string     `json:"unit"`
	Pod      string     `json:"pod"`
	CurPID   *uint32    `json:"curpid"`
	CurComm  string     `json:"curcomm"`
	ClosePID *uint32    `json:"closerpid"`
	Closer   string     `json:"closercomm"`
	Family   uint8      `json:"family"`
	LAddr    netip.Addr `json:"laddr"`
	LPort    uint16     `json:"lport"`
	RAddr    netip.Addr `json:"raddr"`
	RPort    uint16     `json:"rport"`
	OldState string     `json:"oldstate"`
	NewState string     `json:"newstate"`
	MS       *float64   `json:"ms"`
	MSMin    *float64   `json:"ms_min"`
	Shown    uint64     `json:"shown"`
	Lost     uint64     `json:"lost"`
	Missed   uint64     `json:"missed"`
	Gaps     uint64     `json:"gaps"`
	Evicted  uint64     `json:"evicted"`

	Cause      string `json:"cause"`
	Unwritten  uint64 `json:"unwritten"`
	OneIn      uint64 `json:"one_in"`
	Unsampled  uint64 `json:"unsampled"`
	Conns      uint64 `json:"unsampled_conns"`
	Unfollowed uint64 `json:"unfollowed"`
	Schema     int    `json:"schema"`
	Version    string `json:"version"`
	Kernel     string `json:"kernel"`
	Backend    string `json:"backend"`
}

// records reads the JSON that the command wrote to the file.
func records(t *testing.T, f *os.File) []jsonRecord {
	t.Helper()
	if _, err := f.Seek(0, 0); err != nil {
		t.Fatal(err)
	}
	var all []jsonRecord
	for lines := bufio.NewScanner(f); lines.Scan(); {
		decoder := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		decoder.DisallowUnknownFields()
		var r jsonRecord
		if err := decoder.Decode(&r); err != nil {
			t.Fatalf("%v in %s", err, lines.Text())
		}
		all = append(all, r)
	}
	return all
}

var stateOf = func() map[string]event.State {
	states := map[string]event.State{}
	for s := event.Established; s <= event.NewSynRecv; s++ {
		states[s.String()] = s
	}
	return states
}()

// eventOf is a transition's record as an event, as far as the truth can be
// compared with it.
func eventOf(t *testing.T, r jsonRecord) event.Event {
	t.Helper()
	address, err := strconv.ParseUint(r.SkAddr, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	e := event.Event{
		SkAddr: address, Netns: r.Netns, Family: event.Family(r.Family),
		OldState: stateOf[r.OldState], NewState: stateOf[r.NewState],
		RawLocalPort: r.LPort, Remote: netip.AddrPortFrom(r.RAddr, r.RPort),
	}
	if opens(e.OldState, e.NewState) {
		e.RawLocalPort = 0
	}
	return e
}

// opens tells whether a socket leaves CLOSE: then the tracepoint may say the
// port of its last connection, where the command says none.
func opens(oldState, newState event.State) bool {
	return oldState == event.Close && newState != event.Close
}

func TestStormThroughTheCommand(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	out := outputFile(t)
	trace := startLive(t, out, "--raw", "-o", "json")
	truth := kerneltest.StartTruth(t)
	kerneltest.Storm(t, ns, 20_000)
	ns.Settle(t)
	want := kerneltest.Changes(truth.Stop(t))
	said := trace.end(t)

	all := records(t, out)
	first, last := all[0], all[len(all)-1]
	if first.Type != "start" || first.Schema != 1 || first.Kernel == "" || first.Backend == "" || first.Version == "" {
		t.Errorf("the first record is %+v", first)
	}
	var events []event.Event
	for _, r := range all[1 : len(all)-1] {
		if r.Type != "transition" {
			t.Fatalf("a record of type %s in between", r.Type)
		}
		if age := r.Time.Sub(first.Time); age < -time.Second || r.Time.After(last.Time) {
			t.Fatalf("an event at %v in a trace from %v to %v", r.Time, first.Time, last.Time)
		}
		events = append(events, eventOf(t, r))
	}
	for i := range want {
		if opens(want[i].OldState, want[i].NewState) {
			want[i].LocalPort = 0
		}
	}
	if n := kerneltest.RequireSame(t, ns, want, events); n < 100_000 {
		t.Errorf("the storm made %d transitions, want 100,000", n)
	}
	if last.Type != "stop" || last.Shown != uint64(len(events)) || last.Lost != 0 || last.Missed != 0 {
		t.Errorf("the last record is %+v after %d events", last, len(events))
	}
	if want := strconv.Itoa(len(events)) + " transitions shown, 0 events lost in the buffer, 0 missed by recursion"; !strings.Contains(said, want) {
		t.Errorf("stderr is %q, want %q in it", said, want)
	}
}

// connectOnce opens and closes a connection in the namespace, to a port or, if
// that is 0, to any.
func connectOnce(t *testing.T, ns *kerneltest.Netns, port string) {
	t.Helper()
	ns.Do(t, func() {
		l := kerneltest.Listen(t, "tcp4", "127.0.0.1:"+port)
		client, server := kerneltest.Connect(t, l)
		client.CloseWrite() // and not at once for good: in FIN_WAIT2 it would be an orphan
		server.Close()
		client.Close()
		l.Close()
	})
	ns.Settle(t)
}

func TestHostileProcessName(t *testing.T) {
	kerneltest.Require(t)
	for _, test := range []struct{ format, want string }{
		{"table", `\x1b[2J,"\xff`},
		{"csv", `,"\x1b[2J,""\xff",`},
		{"json", `"comm":"\\x1b[2J,\"\\xff"`},
		{"bcc", `\x1b[2J,"\`},
		{"libbpf", `\x1b[2J,"\`},
	} {
		ns := kerneltest.NewNetns(t)
		out := outputFile(t)
		trace := startLive(t, out, "-o", test.format)
		ns.Do(t, func() {
			l := kerneltest.Listen(t, "tcp4", "127.0.0.1:0")
			kerneltest.StartHelper(t, ns, "\x1b[2J,\"\xff").Connect(t, l.Addr())
			l.Close()
		})
		trace.end(t)
		text, err := os.ReadFile(out.Name())
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), test.want) || bytes.ContainsAny(text, "\x1b") || bytes.Contains(text, []byte{0xff}) {
			t.Errorf("%s: want %s in\n%q", test.format, test.want, text)
		}
	}
}

// TestClosedPipe lets the reader of the output go while the trace is idle: it
// must not wait for an event to learn of it.
func TestClosedPipe(t *testing.T) {
	kerneltest.Require(t)
	for _, filter := range []string{"", "-L1"} { // the second sees no event at all
		reader, writer, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		args := []string{"-o", "csv"}
		if filter != "" {
			args = append(args, filter)
		}
		trace := startLive(t, writer, args...)
		writer.Close()
		if header, err := bufio.NewReader(reader).ReadString('\n'); err != nil || !strings.HasPrefix(header, "type,") {
			t.Errorf("the header is %q, %v", header, err)
		}
		reader.Close()
		if err := trace.Wait(); err != nil || afterHeader(trace.stderr.String()) != "" {
			t.Errorf("%v, stderr %q, want a quiet end", err, &trace.stderr)
		}
	}
}

// TestStuckOutput ends a trace whose output nobody reads: a full pipe must not
// keep it from ending.
func TestStuckOutput(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	trace := startLive(t, writer, "-o", "json")
	writer.Close()
	kerneltest.Storm(t, ns, 200) // more than the pipe holds
	if err := trace.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := trace.Wait(); !errors.As(err, &exit) || exit.ExitCode() != exitFailed {
		t.Errorf("got %v, want exit code 1", err)
	}
	if want := "tcpstates: nobody reads the output: the last events are not in it\n"; afterHeader(trace.stderr.String()) != want {
		t.Errorf("stderr is %q, want %q", &trace.stderr, want)
	}
}

func TestHangupIsIgnoredUnderNohup(t *testing.T) {
	kerneltest.Require(t)
	signal.Ignore(syscall.SIGHUP)
	defer signal.Reset(syscall.SIGHUP)
	trace := startLive(t, outputFile(t))
	if err := trace.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	connectOnce(t, kerneltest.NewNetns(t), "0")
	if said := trace.end(t); !strings.Contains(said, " 0 events lost") || strings.Contains(said, " 0 transitions") {
		t.Errorf("stderr is %q", said)
	}
}

// afterHeader is what the command says after what it traces with, if it says
// that.
func afterHeader(said string) string {
	header, rest, _ := strings.Cut(said, "\n")
	if strings.HasPrefix(header, "tcpstates: tracing with ") {
		return rest
	}
	return said
}

// requireExit runs the command and expects the exit code, and what it says.
func requireExit(t *testing.T, cmd *exec.Cmd, said *bytes.Buffer, code int, want string) {
	t.Helper()
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != code || !strings.HasPrefix(afterHeader(said.String()), want) {
		t.Errorf("got %v, stderr %q, want exit code %d, %q", err, said, code, want)
	}
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	kerneltest.Require(t)
	nobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	for _, test := range []struct {
		name    string
		prepare func(cmd *exec.Cmd)
		want    string
	}{
		{"root", func(cmd *exec.Cmd) { cmd.SysProcAttr = nobody },
			"tcpstates: tracing needs root, or the capabilities CAP_BPF and CAP_PERFMON: run it as root"},
		{"CAP_PERFMON", func(cmd *exec.Cmd) { cmd.SysProcAttr = withCaps(unix.CAP_BPF) },
			"tcpstates: tracing needs the capability CAP_PERFMON: "},
		{"user namespace", func(cmd *exec.Cmd) {
			cmd.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags:  unix.CLONE_NEWUSER,
				UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 65534, Size: 1}},
			}
		}, "tcpstates: tracing needs the machine's own user namespace"},
		{"bpf()", func(cmd *exec.Cmd) { kerneltest.Sandbox(cmd, kerneltest.NoBPF) },
			"tcpstates: a seccomp filter of the container or service refuses bpf(): "},
		{"BTF", func(cmd *exec.Cmd) {
			cmd.Args = append(cmd.Args, "--backend", "full")
			kerneltest.Sandbox(cmd, kerneltest.NoBTF)
		}, "tcpstates: the kernel has no type information (/sys/kernel/btf/vmlinux is not there): "},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd := command(t)
			var said bytes.Buffer
			cmd.Stderr = &said
			test.prepare(cmd)
			requireExit(t, cmd, &said, exitCannot, test.want)
			if strings.Count(said.String(), "\n") != 1 {
				t.Errorf("not one sentence: %q", &said)
			}
		})
	}
}

// withCaps runs a command as nobody, with these capabilities alone.
func withCaps(caps ...uintptr) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: 65534, Gid: 65534},
		AmbientCaps: caps,
	}
}

func TestTwoCapabilitiesAreEnough(t *testing.T) {
	cmd := command(t, "--duration", "1ms", "-v")
	cmd.SysProcAttr = withCaps(unix.CAP_BPF, unix.CAP_PERFMON)
	if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("0 events lost in the buffer")) {
		t.Errorf("%v: %s", err, out)
	}
}

func TestTerminal(t *testing.T) {
	kerneltest.Require(t)
	for _, color := range []bool{true, false} {
		ns := kerneltest.NewNetns(t)
		screen, tty := terminal(t, 80)
		if color {
			t.Setenv("TERM", "xterm")
			t.Setenv("NO_COLOR", "")
		} else {
			t.Setenv("NO_COLOR", "1")
		}
		trace := startLive(t, tty, "-n", "11", "--netns", strconv.FormatUint(uint64(ns.Inode), 10))
		tty.Close()
		connectOnce(t, ns, "0")
		if err := trace.Wait(); err != nil {
			t.Errorf("%v: %s", err, &trace.stderr)
		}
		var shown strings.Builder
		for buf := make([]byte, 4096); ; {
			n, err := screen.Read(buf)
			shown.Write(buf[:n])
			if err != nil { // EIO: nobody has the terminal open any more
				break
			}
		}
		header, lines, _ := strings.Cut(shown.String(), "\n")
		if strings.TrimSpace(header) != "TIME     COMM    LPORT RADDR            RPORT OLDSTATE    -> NEWSTATE    MS" {
			t.Errorf("the header in 80 columns is %q", header)
		}
		// Four of them have a note, which stands in a line of its own.
		if n := strings.Count(lines, "\n"); n != 11+4 {
			t.Errorf("%d lines, want 15", n)
		}
		if got := strings.Contains(lines, "\x1b[32mESTABLISHED"); got != color {
			t.Errorf("colours %v, want %v:\n%q", got, color, lines)
		}
	}
}

// terminal makes a terminal so many characters wide.
func terminal(t *testing.T, width uint16) (screen, tty *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { screen.Close() })
	fd := int(screen.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	err = errors.Join(err,
		unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0),
		unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: width}))
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return screen, tty
}
