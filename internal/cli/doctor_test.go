package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"tcpstates/internal/event"
	"tcpstates/internal/feature"
	"tcpstates/internal/golden"
	"tcpstates/internal/kerneltest"
	"tcpstates/internal/probe"
)

// madeUp are the answers of a machine that there is not: an old kernel, in a
// container, with all kinds of answers.
func madeUp(id feature.ID) feature.Result {
	switch id {
	case feature.SocketStorage:
		return feature.Result{Answer: feature.No, Reason: "programs on this tracepoint have no socket storage", Remedy: "boot Linux 5.11 or later", Err: unix.EINVAL}
	case feature.Tracefs:
		return feature.Result{Answer: feature.No, Reason: "tracefs is not mounted", Remedy: "mount -t tracefs tracefs /sys/kernel/tracing"}
	case feature.SendReset:
		return feature.Result{Answer: feature.No, Reason: "the kernel has no such tracepoint"}
	case feature.SysExit:
		return feature.Result{Reason: "not known without BTF"}
	case feature.UserNamespace:
		return feature.Result{Answer: feature.Yes, Reason: "the machine's own"}
	}
	return feature.Result{Answer: feature.Yes}
}

// without is what madeUp says, but one answer.
func without(missing feature.ID) func(feature.ID) feature.Result {
	return func(id feature.ID) feature.Result {
		if id == missing {
			return feature.Result{Answer: feature.No, Reason: "tracing needs a right", Remedy: "run it as root", Err: unix.EPERM}
		}
		return madeUp(id)
	}
}

// madeUpReport is the report on that machine.
func madeUpReport(ask func(feature.ID) feature.Result, err error) *diagnosis {
	a := &app{ask: ask}
	r := &diagnosis{
		Version: "1.2", Kernel: "5.10.0-29-amd64", Arch: "amd64", Distribution: "Made \x1b[2JUp 1",
		Checks:   a.checks(),
		Backend:  "tp_btf, ring buffer, table of sockets",
		SelfTest: selfTest{Transitions: 11, MS: 3.25},
	}
	if err != nil {
		r.Backend, r.SelfTest = "", selfTest{Error: "tracing does not begin: operation not permitted"}
	}
	r.conclude(err)
	return r
}

func TestReportLayout(t *testing.T) {
	missing := &feature.Missing{What: "tracing needs a right: run it as root", Err: unix.EPERM}
	works, fails := madeUpReport(madeUp, nil), madeUpReport(without(feature.Capabilities), missing)
	for name, text := range map[string][]byte{
		"80":      reportLayout{width: 80}.text(works),
		"200":     reportLayout{width: 200}.text(works),
		"color":   reportLayout{width: 80, color: true}.text(works),
		"fail-80": reportLayout{width: 80}.text(fails),
	} {
		golden.Check(t, "../../testdata/doctor/"+name+".txt", string(text))
		for line := range strings.Lines(string(text)) {
			if strings.HasSuffix(name, "80") && len([]rune(strings.TrimSuffix(line, "\n"))) > 80 {
				t.Errorf("%s: %q is too long", name, line)
			}
		}
	}
	for name, r := range map[string]*diagnosis{"json": works, "fail-json": fails} {
		var out bytes.Buffer
		if err := (&app{stdout: &out}).writeReport(r, true); err != nil {
			t.Fatal(err)
		}
		golden.Check(t, "../../testdata/doctor/"+name+".txt", out.String())
	}
}

// TestVitalButWorking: what should keep everything from working does not, where
// tracing works.
func TestVitalButWorking(t *testing.T) {
	for _, c := range madeUpReport(without(feature.Lockdown), nil).Checks {
		if c.Answer == answerNo || c.Name == "lockdown" && c.Answer != answerLess {
			t.Errorf("%s: %s in a report that says that tracing works", c.Name, c.Answer)
		}
	}
}

// TestDoctorWhereNothingCanBeTraced writes its report and exits with 3,
// without saying it again on stderr.
func TestDoctorWhereNothingCanBeTraced(t *testing.T) {
	for _, args := range [][]string{{"doctor"}, {"doctor", "--json"}} {
		var out, said bytes.Buffer
		a := &app{
			stdout: &out, stderr: &said, clock: newClock(), ask: without(feature.Capabilities),
			getenv: func(string) string { return "" },
			open: func(probe.Options) (tracer, seeder, error) {
				return nil, nil, &feature.Missing{What: "tracing needs a right: run it as root", Err: unix.EPERM}
			},
		}
		if code := a.run(t.Context(), args); code != exitCannot || said.Len() > 0 {
			t.Errorf("%v: exit code %d, stderr %q", args, code, &said)
		}
		if !strings.Contains(out.String(), "tracing needs a right: run it as root") {
			t.Errorf("%v: no verdict in\n%s", args, &out)
		}
	}
}

func TestDoctorOnAFullDisk(t *testing.T) {
	var said bytes.Buffer
	a := &app{
		stdout: broken{syscall.ENOSPC}, stderr: &said, clock: newClock(), ask: madeUp,
		getenv: func(string) string { return "" },
		open: func(probe.Options) (tracer, seeder, error) {
			return nil, nil, &feature.Missing{What: "no", Err: unix.EPERM}
		},
	}
	want := "tcpstates: write the report: no space left on device\n"
	if code := a.run(t.Context(), []string{"doctor"}); code != exitFailed || said.String() != want {
		t.Errorf("exit code %d, stderr %q", code, &said)
	}
}

func TestWrap(t *testing.T) {
	for _, test := range []struct {
		text  string
		width int
		want  []string
	}{
		{"", 10, []string{""}},
		{"one two three", 7, []string{"one two", "three"}},
		{"one two three", 8, []string{"one two", "three"}},
		{"unbreakable one", 5, []string{"unbreakable", "one"}},
		{"µµµ µµµ", 7, []string{"µµµ µµµ"}},
		{"said:\n  R1 is  not a pointer\n  end", 10, []string{"said:", "  R1 is  not a pointer", "  end"}},
	} {
		if got := wrap(test.text, test.width); !slices.Equal(got, test.want) {
			t.Errorf("%q in %d: %q, want %q", test.text, test.width, got, test.want)
		}
	}
}

// rehearsed is a life of the three sockets as it should be seen.
func rehearsed() (r *rehearsal, here, there netip.AddrPort) {
	here, there = netip.MustParseAddrPort("127.0.0.1:80"), netip.MustParseAddrPort("127.0.0.1:4000")
	r = &rehearsal{pid: 7, pidsKnown: true, lives: map[uint64][]event.Event{}}
	for i, socket := range []struct {
		way           []event.State
		local, remote netip.AddrPort
	}{{wayOfListener, here, netip.AddrPort{}}, {wayOfClient, there, here}, {wayOfServer, here, there}} {
		for j := range socket.way[1:] {
			e := event.Event{
				Kind: event.KindTransition, SkAddr: uint64(i), Local: socket.local, Remote: socket.remote,
				OldState: socket.way[j], NewState: socket.way[j+1],
			}
			e.Owner.PID = 7
			r.lives[e.SkAddr] = append(r.lives[e.SkAddr], e)
		}
	}
	return r, here, there
}

func TestJudgeOfTheSelfTest(t *testing.T) {
	nowhere := netip.AddrPort{}
	for _, test := range []struct {
		name   string
		change func(listener, client, server []event.Event)
		want   string // empty: it is right
	}{
		{"all right", func(_, _, _ []event.Event) {}, ""},
		{"the first port is not known yet", func(_, client, _ []event.Event) { client[0].Local = nowhere }, ""},
		{"a remote end is forgotten", func(_, _, server []event.Event) { server[3].Remote = nowhere }, ""},
		{"no owner of what was accepted", func(_, _, server []event.Event) { server[2].Owner = event.Owner{} }, ""},
		{"no owner of the client", func(_, client, _ []event.Event) { client[2].Owner = event.Owner{} },
			"the client at FIN_WAIT1: process 0 has it, and not 7"},
		{"a wrong owner of what was accepted", func(_, _, server []event.Event) { server[2].Owner.PID = 8 },
			"the server at CLOSE_WAIT: process 8 has it, and not 7"},
		{"a wrong port", func(_, client, _ []event.Event) { client[0].Local = netip.MustParseAddrPort("127.0.0.1:5") },
			"the client at SYN_SENT: port 5, and not 4000"},
		{"a port is not known that must be", func(_, _, server []event.Event) { server[1].Remote = nowhere },
			"the server at ESTABLISHED: port 0, and not 4000"},
		{"a wrong state", func(_, client, _ []event.Event) { client[3].NewState = event.TimeWait },
			"the client: its states were CLOSE>SYN_SENT SYN_SENT>ESTABLISHED ESTABLISHED>FIN_WAIT1 FIN_WAIT1>TIME_WAIT FIN_WAIT2>CLOSE"},
		{"no listener", func(listener, _, _ []event.Event) { listener[0].NewState = event.SynSent }, "the listener: its states were"},
		{"states out of order", func(_, _, server []event.Event) { server[2], server[3] = server[3], server[2] }, "the server: its states were"},
	} {
		r, here, there := rehearsed()
		test.change(r.lives[0], r.lives[1], r.lives[2])
		err := r.judge(here, there)
		if got := ""; err != nil || test.want != "" {
			if err != nil {
				got = err.Error()
			}
			if test.want == "" || !strings.HasPrefix(got, test.want) {
				t.Errorf("%s: got %q, want %q", test.name, got, test.want)
			}
		}
	}
}

// TestSelfTestOfASilentTrace: a trace that ends without having seen anything is
// a failure, and no wait without end.
func TestSelfTestOfASilentTrace(t *testing.T) {
	f := &fake{stopped: make(chan struct{})}
	close(f.stopped)
	a := &app{
		clock: newClock(), ask: madeUp,
		open: func(probe.Options) (tracer, seeder, error) { return f, f.seed, nil },
	}
	result, _, err := a.tryTracing(t.Context())
	var missing *feature.Missing
	if !errors.As(err, &missing) || result.Transitions != 0 || !strings.Contains(err.Error(), "the self-test fails: it was interrupted") {
		t.Errorf("%+v %v", result, err)
	}
}

// diagnosed is what doctor --json says, as it is documented.
type diagnosed struct {
	Version, Kernel, Arch, Distribution, Backend, Verdict string

	Works    bool
	Checks   []struct{ Name, Answer, For, Reason, Without, Remedy, Error string }
	SelfTest struct {
		Transitions int
		MS          float64
		Error       string
	} `json:"self_test"`
}

// runDoctor runs the built binary's doctor --json.
func runDoctor(t *testing.T, prepare func(*exec.Cmd)) (d diagnosed, code int) {
	t.Helper()
	cmd := command(t, "doctor", "--json")
	prepare(cmd)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(out))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil || said.Len() > 0 {
		t.Fatalf("%v, stderr %q in\n%s", err, &said, out)
	}
	if _, err := decoder.Token(); err != io.EOF {
		t.Errorf("more than one object: %v", err)
	}
	code = cmd.ProcessState.ExitCode()
	if d.Works != (code == exitDone) || d.Works != (d.SelfTest.Error == "") || !d.Works && code != exitCannot {
		t.Errorf("exit code %d, works %v, self-test %+v", code, d.Works, d.SelfTest)
	}
	return d, code
}

// answer is what was said of a check.
func (d *diagnosed) answer(t *testing.T, name string) string {
	t.Helper()
	for _, c := range d.Checks {
		if c.Name == name {
			return c.Answer
		}
	}
	t.Errorf("there is no check of %s", name)
	return ""
}

func TestDoctorOnThisKernel(t *testing.T) {
	kerneltest.Require(t)
	bound := func(caps ...uintptr) func(*exec.Cmd) {
		return func(cmd *exec.Cmd) { cmd.SysProcAttr = withCaps(caps...) }
	}
	for _, test := range []struct {
		name    string
		prepare func(*exec.Cmd)
		code    int
		verdict string
		answers map[string]string
	}{
		{"root", func(*exec.Cmd) {}, exitDone, "tracing works here, with ",
			map[string]string{"capabilities": "ok", "bpf()": "ok", "BTF": "ok"}},
		{"two capabilities", bound(unix.CAP_BPF, unix.CAP_PERFMON), exitDone, "tracing works here, with ",
			map[string]string{"capabilities": "ok", "bpf()": "ok", "other namespaces": "less"}},
		{"nobody", bound(), exitCannot, "tracing needs root, or the capabilities CAP_BPF and CAP_PERFMON: run it as root",
			map[string]string{"capabilities": "no", "bpf()": "unknown", "tp_btf": "unknown", "BTF": "ok"}},
		{"CAP_BPF alone", bound(unix.CAP_BPF), exitCannot, "tracing needs the capability CAP_PERFMON",
			map[string]string{"capabilities": "no", "bpf()": "ok", "ring buffer": "ok", "tp_btf": "unknown"}},
		{"no bpf()", func(cmd *exec.Cmd) { kerneltest.Sandbox(cmd, kerneltest.NoBPF) }, exitCannot,
			"a seccomp filter of the container or service refuses bpf(): ",
			map[string]string{"capabilities": "ok", "seccomp": "no", "bpf()": "no", "tp_btf": "unknown"}},
		{"PID namespace", func(cmd *exec.Cmd) {
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
		}, exitDone, "tracing works here, with ", map[string]string{"capabilities": "ok"}},
		{"user namespace", func(cmd *exec.Cmd) {
			cmd.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags:  unix.CLONE_NEWUSER,
				UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 65534, Size: 1}},
			}
		}, exitCannot, "tracing needs the machine's own user namespace", map[string]string{"user namespace": "no"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, code := runDoctor(t, test.prepare)
			if code != test.code || !strings.HasPrefix(d.Verdict, test.verdict) {
				t.Errorf("exit code %d, verdict %q, self-test %+v", code, d.Verdict, d.SelfTest)
			}
			for name, want := range test.answers {
				if got := d.answer(t, name); got != want {
					t.Errorf("%s: %s, want %s", name, got, want)
				}
			}
			if d.Version == "" || d.Kernel == "" || d.Arch == "" || len(d.Checks) != len(feature.Rows()) {
				t.Errorf("%+v", d)
			}
			if d.Works && d.SelfTest.Transitions != 11 {
				t.Errorf("%d transitions, want 11", d.SelfTest.Transitions)
			}
		})
	}
}

// TestDoctorWithoutBTF: what rests on the kernel's types is said to be missing,
// whether or not there is another way to trace.
func TestDoctorWithoutBTF(t *testing.T) {
	d, _ := runDoctor(t, func(cmd *exec.Cmd) { kerneltest.Sandbox(cmd, kerneltest.NoBTF) })
	for name, want := range map[string]string{"BTF": "less", "tp_btf": "less", "iter/tcp": "less", "ring buffer": "ok", "raw_tp": "ok"} {
		if got := d.answer(t, name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if !d.Works && !strings.Contains(d.Verdict, "no type information") {
		t.Errorf("the verdict is %q", d.Verdict)
	}
}

// TestDoctorLeavesNothing: neither a listener nor a connection, in any state.
func TestDoctorLeavesNothing(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	cmd := command(t, "doctor")
	var out []byte
	var err error
	ns.Do(t, func() { out, err = cmd.CombinedOutput() })
	if err != nil || !bytes.Contains(out, []byte("\nok      self-test             11 transitions of one loopback connection, states,\n")) {
		t.Errorf("%v:\n%s", err, out)
	}
	ns.Settle(t)
	if n := ns.CountTimeWait(t); n != 0 {
		t.Errorf("%d sockets in TIME_WAIT", n)
	}
}
