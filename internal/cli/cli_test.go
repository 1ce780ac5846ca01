package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net/netip"
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

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"tcpstates/internal/event"
	"tcpstates/internal/feature"
	"tcpstates/internal/kerneltest"
	"tcpstates/internal/minisock"
	"tcpstates/internal/names"
	"tcpstates/internal/privilege"
	"tcpstates/internal/probe"
	"tcpstates/internal/snapshot"
	"tcpstates/internal/wire"
)

func TestMain(m *testing.M) {
	kerneltest.Main()
	if times := os.Getenv(serverName); times != "" {
		serveSelf(times)
		os.Exit(0)
	}
	testscript.Main(cleaning{m}, map[string]func(){"tcpstates": func() { os.Exit(Main()) }})
}

// cleaning removes the built binary when the tests have run.
type cleaning struct{ *testing.M }

func (c cleaning) Run() int {
	defer func() { os.RemoveAll(binaryDir) }()
	return c.M.Run()
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "../../testdata/script",
		Setup: func(env *testscript.Env) error {
			rec, err := filepath.Abs("../../testdata/rec")
			env.Setenv("REC", rec)
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// cut copies a file without so many bytes at its end.
			"cut": func(ts *testscript.TestScript, _ bool, args []string) {
				less, err := strconv.Atoi(args[2])
				ts.Check(err)
				whole := ts.ReadFile(args[0])
				ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(whole[:len(whole)-less]), 0o600))
			},
			// exits runs the command, and expects an exit code.
			"exits": func(ts *testscript.TestScript, _ bool, args []string) {
				code := 0
				if err := ts.Exec("tcpstates", args[1:]...); err != nil {
					code = -1
					if exit := new(exec.ExitError); errors.As(err, &exit) {
						code = exit.ExitCode()
					}
				}
				if strconv.Itoa(code) != args[0] {
					ts.Fatalf("tcpstates %s: exit code %d, want %s", strings.Join(args[1:], " "), code, args[0])
				}
			},
			"usage": func(ts *testscript.TestScript, _ bool, args []string) {
				// The standard library's exit codes are 2 as well for a panic:
				// a sentence is one line, that begins with the command.
				err := ts.Exec("tcpstates", args...)
				var exit *exec.ExitError
				if !errors.As(err, &exit) || exit.ExitCode() != exitUsage {
					ts.Fatalf("tcpstates %s: got %v, want exit code 2", strings.Join(args, " "), err)
				}
				said := ts.ReadFile("stderr")
				if !strings.HasPrefix(said, "tcpstates: ") || strings.Count(said, "\n") != 1 {
					ts.Fatalf("not one sentence: %q", said)
				}
			},
		},
	})
}

// fake is a tracer that gives prepared events.
type fake struct {
	events  []event.Event
	options probe.Options
	stopped chan struct{}
	stop    sync.Mutex // of Stop, which more than one may call
	totals  probe.Totals
	walk    snapshot.Report
	sockets []event.Event // that exist already
	walkErr error
	missing string // of the walk's privileges

	interrupted bool  // before anything is done
	breaks      error // with which it ends, when all events are read
	minisockErr error
	less        string // than the best backend tells
	refused     error

	became    *privilege.User
	becomeErr error
	lookup    names.Lookup
	services  string           // the file of ports' names
	reading   func(left int)   // called before each event; nil: not
	needs     *privilege.Needs // what drop was told
	// loadSummary is that of app.
	loadSummary func(probe.Options) (kernelCounter, error)
	dropErr     error
	patience    time.Duration // that of app; zero: a long one
}

func (f *fake) become(u privilege.User) error {
	f.became = &u
	return f.becomeErr
}

func (f *fake) drop(n privilege.Needs) (privilege.Report, error) {
	f.needs = &n
	return privilege.Report{Kept: []string{"CAP_X", "CAP_Y"}, Dropped: []string{"CAP_Z"}}, f.dropErr
}

func (f *fake) seed(func(wire.Found)) (snapshot.Report, error) { return f.walk, f.walkErr }

func (f *fake) Read(e *event.Event) error {
	if f.reading != nil {
		f.reading(len(f.events))
	}
	if len(f.events) == 0 && f.breaks != nil {
		return f.breaks
	}
	if len(f.events) == 0 {
		<-f.stopped
		return io.EOF
	}
	*e, f.events = f.events[0], f.events[1:]
	return nil
}

func (f *fake) Close() error { return nil }

// noMinisocks is a kernel that has none, or does not tell.
type noMinisocks struct{ err error }

func (n noMinisocks) Prepare() error                    { return n.err }
func (n noMinisocks) Spaces() map[uint32]snapshot.Space { return map[uint32]snapshot.Space{} }
func (n noMinisocks) Close()                            {}
func (n noMinisocks) List(uint32, func(wire.Minisock)) (snapshot.Space, error) {
	return snapshot.Space{}, nil
}

func (f *fake) Pending() bool       { return len(f.events) > 0 }
func (f *fake) Backend() string     { return "fake" }
func (f *fake) Refused() error      { return f.refused }
func (f *fake) Undecided() []string { return nil }
func (f *fake) Knows() probe.Knows {
	return probe.Knows{Sockets: f.less == "", Facts: f.less != "no facts", Forks: f.less == "", Less: f.less}
}
func (f *fake) Totals() (probe.Totals, error)               { return f.totals, nil }
func (f *fake) Followed() (alive, failed uint64, err error) { return 0, 0, nil }
func (f *fake) Nudge() error                                { return nil }

func (f *fake) Stop() {
	f.stop.Lock()
	defer f.stop.Unlock()
	select {
	case <-f.stopped:
	default:
		close(f.stopped)
	}
}

func transitions(n int) []event.Event {
	e := event.Event{
		Kind: event.KindTransition, OldState: event.SynSent, NewState: event.Established, Ktime: 1, Family: event.IPv4,
		Local: netip.MustParseAddrPort("127.0.0.1:1"), Remote: netip.MustParseAddrPort("127.0.0.1:2"),
	}
	var events []event.Event
	for range n {
		events = append(events, e)
	}
	return events
}

// runCommand runs the command in this process on a fake kernel, and leaves out
// of what it says what it traces with.
func runCommand(t *testing.T, f *fake, stdout io.Writer, args ...string) (code int, stderr string) {
	t.Helper()
	f.stopped = make(chan struct{})
	var said shared
	a := &app{
		stdin: strings.NewReader(""), stdout: stdout, stderr: &said, getenv: func(string) string { return "" }, clock: newClock(),
		missingForWalk: func() string { return f.missing },
		become:         f.become,
		drop:           f.drop,
		lookup:         f.lookup,
		services:       f.services,
		minisocks:      func() minisock.Lister { return noMinisocks{f.minisockErr} },
		sockets:        func(snapshot.ListOptions) (snapshot.Listing, error) { return snapshot.Listing{Sockets: f.sockets}, nil },
		open:           func(o probe.Options) (tracer, seeder, error) { f.options = o; return f, f.seed, nil },
		loadSummary:    f.loadSummary,
		patience:       cmp.Or(f.patience, time.Minute),
		exit:           func(code int) { t.Errorf("it gives up, with exit code %d: %s", code, &said.text) },
	}
	ctx := t.Context()
	if f.interrupted {
		interrupted, interrupt := context.WithCancel(ctx)
		interrupt()
		ctx = interrupted
	}
	code = a.run(ctx, args)
	return code, afterHeader(said.text.String())
}

// shared is what two goroutines may write.
type shared struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *shared) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func TestHeader(t *testing.T) {
	f := &fake{}
	if got, want := header(f), "tracing with fake"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	f.less = "no this, no that"
	if got, want := header(f), "tracing with fake (no this, no that; see tcpstates doctor)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestRefusedProgramsAreTold(t *testing.T) {
	for _, args := range []string{"-n1", "-n1 -v"} {
		f := &fake{events: transitions(1), refused: errors.New("R1 is not a pointer")}
		_, said := runCommand(t, f, io.Discard, strings.Fields(args)...)
		if !strings.HasPrefix(said, "tcpstates: this kernel's verifier rejects programs that tell more: please report it") ||
			strings.Contains(said, "R1") != strings.Contains(args, "-v") {
			t.Errorf("%s: stderr is %q", args, said)
		}
	}
}

func TestWithoutFactsNothingIsSaidToFail(t *testing.T) {
	f := &fake{less: "no facts"}
	code, said := runCommand(t, f, io.Discard, "conns", "--failed")
	if want := "tcpstates: --failed goes by the reasons of ends, and fake knows none: "; code != exitCannot || !strings.HasPrefix(said, want) {
		t.Errorf("exit code %d, stderr %q, want %q", code, said, want)
	}
}

// TestWithoutSocketsNobodyLooksAround: a backend that cannot tell sockets apart
// for good knows nothing of older ones, nor of minisocks.
func TestWithoutSocketsNobodyLooksAround(t *testing.T) {
	f := &fake{events: transitions(1), less: "no sockets", walkErr: unix.EPERM, minisockErr: unix.EPERM}
	code, said := runCommand(t, f, io.Discard, "-n1")
	if code != 0 || strings.Contains(said, "older sockets") || strings.Contains(said, "TIME_WAIT") {
		t.Errorf("exit code %d: %s", code, said)
	}
}

func TestCountEndsTheTrace(t *testing.T) {
	var out bytes.Buffer
	f := &fake{events: transitions(5)}
	code, said := runCommand(t, f, &out, "-n", "3")
	if lines := strings.Count(out.String(), "\n"); code != 0 || lines != 4 {
		t.Errorf("exit code %d, %d lines:\n%s", code, lines, &out)
	}
	if want := "tcpstates: 3 transitions shown, 0 events lost in the buffer, 0 missed by recursion\n"; said != want {
		t.Errorf("stderr is %q, want %q", said, want)
	}
}

func TestDurationEndsTheTrace(t *testing.T) {
	var out bytes.Buffer
	f := &fake{events: transitions(2), totals: probe.Totals{Lost: 7, Missed: 1, Gaps: 4}}
	code, said := runCommand(t, f, &out, "--duration", "1ms", "-o", "json")
	if code != 0 || !strings.Contains(out.String(), `"shown":2,"lost":7,"missed":1,"gaps":4,"evicted":0,"unfollowed":0}`) {
		t.Errorf("exit code %d:\n%s", code, &out)
	}
	if !strings.HasPrefix(said, "tcpstates: 2 transitions shown, 7 events lost in the buffer, 1 missed by recursion; 4 times") {
		t.Errorf("stderr is %q", said)
	}
}

func TestOptionsReachTheKernel(t *testing.T) {
	for _, test := range []struct {
		args  []string
		check func(o probe.Options) bool
	}{
		{nil, func(o probe.Options) bool {
			return o.BufferSize == 8<<20 && !o.SelfTransitions && o.Filter.LocalPorts == nil && o.Filter.RemotePorts == nil && o.Filter.Family == 0
		}},
		{[]string{"-L", "80"}, func(o probe.Options) bool { return o.Filter.LocalPorts.Set.Has(80) && o.Filter.RemotePorts == nil }},
		{[]string{"-D", "443,8000-8010"}, func(o probe.Options) bool {
			return o.Filter.RemotePorts.Set.Has(8010) && !o.Filter.RemotePorts.Set.Has(80)
		}},
		{[]string{"-4"}, func(o probe.Options) bool { return o.Filter.Family == event.IPv4 }},
		{[]string{"-6"}, func(o probe.Options) bool { return o.Filter.Family == event.IPv6 }},
		{[]string{"--buffer", "64KiB"}, func(o probe.Options) bool { return o.BufferSize == 64<<10 }},
		{[]string{"--max-events-per-second", "20000"}, func(o probe.Options) bool { return o.MaxEventsPerSecond == 20_000 }},
		{[]string{"-o", "bcc"}, func(o probe.Options) bool { return o.SelfTransitions }},
		{[]string{"-o", "libbpf"}, func(o probe.Options) bool { return o.SelfTransitions }},
	} {
		f := &fake{events: transitions(1)}
		if code, said := runCommand(t, f, io.Discard, append(test.args, "--duration", "1ms")...); code != 0 || !test.check(f.options) {
			t.Errorf("%v: exit code %d, options %+v, %s", test.args, code, f.options, said)
		}
	}
}

func TestFlagsChooseTheFormat(t *testing.T) {
	for args, want := range map[string]string{
		"":            "TIME         SOCK ",
		"-t":          "TIME(s)    SOCK ",
		"-Tt":         "TIME         TIME(s)    SOCK ",
		"-w":          "COMM            IP LADDR                                   LPORT",
		"-o wide":     "COMM            IP LADDR                                   LPORT",
		"-s":          "type,time,sock,",
		"-sw":         "type,time,sock,",
		"-o csv -s":   "type,time,sock,",
		"-s -t":       "type,time,elapsed,sock,",
		"-o json":     `{"type":"start","schema":1,`,
		"-o bcc":      "SKADDR           C-PID C-COMM     LADDR           LPORT",
		"-o bcc -sT":  "TIME,SKADDR,C-PID,C-COMM,IP,",
		"-o libbpf":   "SKADDR           PID     COMM       LADDR           LPORT",
		"-olibbpf -T": "TIME(s)  SKADDR           PID     COMM       LADDR           LPORT",
	} {
		var out bytes.Buffer
		if code, said := runCommand(t, &fake{events: transitions(1)}, &out, append(strings.Fields(args), "-n1")...); code != 0 {
			t.Errorf("%s: exit code %d: %s", args, code, said)
		}
		if header, _, _ := strings.Cut(out.String(), "\n"); !strings.Contains(header, want) {
			t.Errorf("%s: the header is %q, want %q in it", args, header, want)
		}
	}
}

// broken is a writer that fails.
type broken struct{ err error }

func (b broken) Write([]byte) (int, error) { return 0, b.err }

func TestAClosedPipeIsNoFailure(t *testing.T) {
	if code, said := runCommand(t, &fake{events: transitions(1)}, broken{syscall.EPIPE}); code != 0 || said != "" {
		t.Errorf("exit code %d, stderr %q, want a quiet end", code, said)
	}
}

func TestAFullDiskIsAFailure(t *testing.T) {
	code, said := runCommand(t, &fake{events: transitions(1)}, broken{syscall.ENOSPC})
	if code != exitFailed || said != "tcpstates: write the events: no space left on device\n" {
		t.Errorf("exit code %d, stderr %q", code, said)
	}
}

func TestRefusalOfTheKernel(t *testing.T) {
	for _, verbose := range []bool{false, true} {
		var said bytes.Buffer
		a := &app{
			stdout: io.Discard, stderr: &said, clock: newClock(),
			open: func(probe.Options) (tracer, seeder, error) {
				return nil, nil, &feature.Missing{What: "tracing needs a kernel: boot one", Err: unix.EPERM}
			},
		}
		var args []string
		want := "tcpstates: tracing needs a kernel: boot one\n"
		if verbose {
			args = []string{"-v"}
			want = "tcpstates: the kernel says: operation not permitted\n" + want
		}
		if code := a.run(context.Background(), args); code != exitCannot || said.String() != want {
			t.Errorf("exit code %d, stderr %q, want %q", code, said.String(), want)
		}
	}
}

func TestIncompleteWalkIsTold(t *testing.T) {
	for _, test := range []struct {
		fake *fake
		want string
	}{
		{&fake{walkErr: unix.EPERM}, "tcpstates: older sockets have no owner in this trace"},
		{&fake{missing: "CAP_X"}, "tcpstates: older sockets without a process, and the containers of processes that have ended, stay unknown: run as root, or with CAP_X, to know them"},
		{&fake{walk: snapshot.Report{Sockets: 5, Vanished: 1}}, "tcpstates: 0 transitions shown"},
	} {
		code, said := runCommand(t, test.fake, io.Discard, "--duration", "1ms")
		if code != 0 || !strings.HasPrefix(said, test.want) || !strings.Contains(said, "0 transitions shown") {
			t.Errorf("exit code %d, stderr %q, want %q", code, said, test.want)
		}
	}
}

func TestReadyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ready")
	if code, said := runCommand(t, &fake{events: transitions(1)}, io.Discard, "-n1", "--ready-file", path); code != 0 {
		t.Errorf("exit code %d: %s", code, said)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
	code, said := runCommand(t, &fake{}, io.Discard, "--ready-file", filepath.Join(path, "no/such"))
	if code != exitFailed || !strings.HasPrefix(said, "tcpstates: tell that tracing has begun: open ") {
		t.Errorf("exit code %d: %s", code, said)
	}
}

func TestByteSize(t *testing.T) {
	for text, want := range map[string]int{
		"4096": 4096, "4K": 4096, "64k": 64 << 10, "64KiB": 64 << 10, "1M": 1 << 20, "4MiB": 4 << 20, "1G": 1 << 30,
	} {
		var b byteSize
		if err := b.Set(text); err != nil || int(b) != want {
			t.Errorf("%s: %d %v, want %d", text, b, err, want)
		}
		if again := byteSize(0); again.Set(b.String()) != nil || again != b {
			t.Errorf("%s is shown as %s, which is read as %d", text, b, again)
		}
	}
}

func TestListFiltersAndCounts(t *testing.T) {
	socket := func(state event.State, lport uint16, family event.Family) event.Event {
		e := transitions(1)[0]
		e.Kind, e.NewState, e.Family = event.KindSocket, state, family
		e.Local = netip.AddrPortFrom(e.Local.Addr(), lport)
		return e
	}
	sockets := []event.Event{
		socket(event.Listen, 80, event.IPv4), socket(event.Listen, 443, event.IPv6),
		socket(event.Established, 80, event.IPv4), socket(event.TimeWait, 80, event.IPv4),
	}
	for args, want := range map[string]string{
		"":                              "4 sockets: 1 ESTABLISHED, 1 TIME_WAIT, 2 LISTEN",
		"-l":                            "2 sockets: 2 LISTEN",
		"-L 80":                         "3 sockets: 1 ESTABLISHED, 1 TIME_WAIT, 1 LISTEN",
		"-D 2 -6":                       "1 sockets: 1 LISTEN",
		"--state established,Time-Wait": "2 sockets: 1 ESTABLISHED, 1 TIME_WAIT",
		"--state LISTEN -4":             "1 sockets: 1 LISTEN",
		"-D 7":                          "0 sockets",
		"-o json":                       "4 sockets: 1 ESTABLISHED, 1 TIME_WAIT, 2 LISTEN",
		"-s":                            "4 sockets: 1 ESTABLISHED, 1 TIME_WAIT, 2 LISTEN",
	} {
		var out, said bytes.Buffer
		a := &app{
			stdout: &out, stderr: &said, getenv: func(string) string { return "" }, clock: newClock(),
			missingForWalk: func() string { return "" },
			sockets: func(snapshot.ListOptions) (snapshot.Listing, error) {
				return snapshot.Listing{Sockets: slices.Clone(sockets)}, nil
			},
		}
		code := a.run(t.Context(), append([]string{"list"}, strings.Fields(args)...))
		if code != 0 || said.String() != "tcpstates: "+want+"\n" {
			t.Errorf("list %s: exit code %d, stderr %q, want %q", args, code, &said, want)
		}
	}
}

func TestListTellsWhatIsMissing(t *testing.T) {
	var said bytes.Buffer
	a := &app{
		stdout: io.Discard, stderr: &said, getenv: func(string) string { return "" }, clock: newClock(),
		missingForWalk: func() string { return "CAP_X" },
		sockets: func(snapshot.ListOptions) (snapshot.Listing, error) {
			return snapshot.Listing{Report: snapshot.Report{Refused: 1}, OwnersErr: unix.EPERM}, nil
		},
	}
	if code := a.run(t.Context(), []string{"list", "-v"}); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{
		"may be looked into: run as root, or with CAP_X",
		"the owners come from /proc, as the kernel refused the walk over all files: operation not permitted",
	} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("stderr is %q, want %q in it", &said, want)
		}
	}
}

func TestPrivilegesThatTheTraceAsksFor(t *testing.T) {
	all, unplaced := privilege.Needs{Cgroups: true, Minisocks: true}, privilege.Needs{Minisocks: true}
	for args, want := range map[string]privilege.Needs{
		"":                         unplaced,
		"-o json":                  all,
		"-o json --columns time":   unplaced,
		"-o wide":                  all,
		"--columns +container":     all,
		"--group -w":               all,
		"--unit nginx":             all,
		"--cgroup /a":              all,
		"--container 0123456789ab": all,
		"conns":                    unplaced,
		"conns -s":                 all,
		"--raw":                    {},
		"--raw -w":                 {Cgroups: true},
		"-o bcc":                   {},
		"-o libbpf":                {},
		"--drop-to 7":              unplaced,
	} {
		f := &fake{}
		code, said := runCommand(t, f, io.Discard, append(strings.Fields(args), "--duration", "1ms", "-v")...)
		if code != 0 || f.needs == nil || *f.needs != want {
			t.Errorf("%s: exit code %d, needs %+v, want %+v", args, code, f.needs, want)
		}
		if want := "tcpstates: of the capabilities it keeps CAP_X, CAP_Y, and has dropped 1; it gets no new privileges\n"; !strings.Contains(said, want) {
			t.Errorf("stderr is %q, want %q in it", said, want)
		}
		if become := strings.Contains(args, "--drop-to"); become != (f.became != nil) || become && *f.became != (privilege.User{UID: 7, GID: 7}) {
			t.Errorf("%s: it became %v", args, f.became)
		}
	}
}

func TestPrivilegesThatCannotBeDropped(t *testing.T) {
	for _, test := range []struct {
		fake *fake
		code int
		want string
	}{
		{&fake{becomeErr: unix.EPERM}, exitCannot, "tcpstates: this process may not go on as the user 7: run it as root, with CAP_SETUID and CAP_SETGID, or leave out --drop-to\n"},
		{&fake{dropErr: unix.EPERM}, exitFailed, "tcpstates: give up privileges that are needed no more: operation not permitted: let a seccomp filter allow capset() and prctl()\n"},
	} {
		ready := filepath.Join(t.TempDir(), "ready")
		code, said := runCommand(t, test.fake, io.Discard, "--drop-to", "7", "--ready-file", ready)
		if code != test.code || said != test.want {
			t.Errorf("exit code %d, stderr %q, want %d, %q", code, said, test.code, test.want)
		}
		if text, _ := os.ReadFile(ready); len(text) > 0 {
			t.Errorf("it says that it has begun: %s", text)
		}
	}
}
