package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpstates/internal/event"
	"tcpstates/internal/feature"
	"tcpstates/internal/golden"
	"tcpstates/internal/kerneltest"
	"tcpstates/internal/privilege"
	"tcpstates/internal/probe"
)

// fakeCounter has counted already.
type fakeCounter struct {
	counted   probe.Counted
	totals    probe.Totals
	undecided []string
	options   probe.Options
	err       error
	started   bool
	stopped   bool
	readings  int
}

func (f *fakeCounter) Backend() string     { return "fake" }
func (f *fakeCounter) Undecided() []string { return f.undecided }
func (f *fakeCounter) Start() error        { f.started = true; return nil }
func (f *fakeCounter) Stop()               { f.stopped = true }
func (f *fakeCounter) Close() error        { return nil }
func (f *fakeCounter) Counted(c *probe.Counted) error {
	*c = f.counted
	c.Ends = append([]probe.Ended(nil), f.counted.Ends...)
	f.readings++
	return nil
}
func (f *fakeCounter) Totals() (probe.Totals, error) {
	if !f.started || !f.stopped {
		return probe.Totals{}, errors.New("it has not counted, or counts still")
	}
	return f.totals, nil
}

// someCounts have ends of several kinds.
func someCounts() probe.Counted {
	var c probe.Counted
	c.Transitions[event.Close][event.SynSent] = 12
	c.Transitions[event.SynSent][event.Established] = 11
	c.Transitions[event.SynSent][event.Close] = 1
	c.Connect[7], c.Connect[9] = 10, 1
	c.InState[event.SynSent] = c.Connect
	end := func(n uint64, from event.State, reported bool, facts event.Facts) {
		facts.SegsOut = 1
		c.Ends = append(c.Ends, probe.Ended{N: n, Reported: reported, Event: event.Event{
			Kind: event.KindTransition, OldState: from, NewState: event.Close, Facts: facts, Local: netip.MustParseAddrPort("127.0.0.1:1"),
		}})
	}
	end(5, event.LastAck, false, event.Facts{Flags: event.AllAcked, Shutdown: 3})
	end(3, event.FinWait2, false, event.Facts{Flags: event.Done | event.Dead, Shutdown: 3})
	end(2, event.FinWait2, false, event.Facts{Flags: event.Dead, Shutdown: 3})
	end(1, event.SynSent, false, event.Facts{Err: uint16(event.ECONNREFUSED), Flags: event.GotReset})
	end(1, event.Established, true, event.Facts{Flags: event.Unread, Shutdown: 3})
	end(1, event.SynRecv, false, event.Facts{Flags: event.NoFile}) // never was one
	end(1, event.Listen, false, event.Facts{})
	c.Unsorted = 1
	return c
}

// countOn runs the command on a fake kernel that counts.
func countOn(t *testing.T, f *fakeCounter, stdout io.Writer, args ...string) (code int, stderr string) {
	t.Helper()
	return countUntil(t.Context(), t, f, stdout, args...)
}

// countUntil is countOn of a command that the context interrupts.
func countUntil(ctx context.Context, t *testing.T, f *fakeCounter, stdout io.Writer, args ...string) (code int, stderr string) {
	t.Helper()
	var said shared
	a := &app{
		stdin: strings.NewReader(""), stdout: stdout, stderr: &said, getenv: func(string) string { return "" }, clock: newClock(),
		drop:   func(privilege.Needs) (privilege.Report, error) { return privilege.Report{}, nil },
		become: func(privilege.User) error { return nil },
		open: func(probe.Options) (tracer, seeder, error) {
			t.Error("a trace of events was begun")
			return nil, nil, errors.New("no")
		},
		loadSummary: func(o probe.Options) (kernelCounter, error) { f.options = o; return f, f.err },
	}
	code = a.run(ctx, append([]string{"--summary", "--in-kernel"}, args...))
	return code, said.text.String()
}

func TestCountsGoToStdout(t *testing.T) {
	var out bytes.Buffer
	f := &fakeCounter{counted: someCounts(), totals: probe.Totals{Missed: 1, Gaps: 2}}
	code, said := countOn(t, f, &out, "--duration", "1ms", "-L", "80", "-4")
	golden.Check(t, "testdata/in-kernel.txt", out.String())
	want := "tcpstates: counting in the kernel with fake\n" +
		"tcpstates: 24 transitions counted, 1 missed by recursion; 2 times a socket's transitions had a gap: " +
		"this kernel did not run the programs for all of them\n"
	if code != 0 || said != want {
		t.Errorf("exit code %d, stderr %q, want %q", code, said, want)
	}
	if !f.options.Filter.LocalPorts.Set.Has(80) || f.options.Filter.Family != event.IPv4 {
		t.Errorf("the filters did not reach the kernel: %+v", f.options.Filter)
	}
}

// enough is what interrupts the command when it has shown so many summaries.
type enough struct {
	bytes.Buffer
	summaries int
	interrupt context.CancelFunc
}

func (e *enough) Write(b []byte) (int, error) {
	n, err := e.Buffer.Write(b)
	if strings.Count(e.String(), "summary: ") >= e.summaries {
		e.interrupt()
	}
	return n, err
}

// TestCountsSoFar prints them before the end, too.
func TestCountsSoFar(t *testing.T) {
	ctx, interrupt := context.WithTimeout(t.Context(), startLimit)
	defer interrupt()
	out := &enough{summaries: 2, interrupt: interrupt}
	f := &fakeCounter{counted: someCounts()}
	code, said := countUntil(ctx, t, f, out, "--every", "1ms")
	if n := strings.Count(out.String(), "summary: "); code != 0 || n < 3 || n != f.readings {
		t.Errorf("exit code %d, %d summaries of %d readings, stderr %q", code, n, f.readings, said)
	}
	if ctx.Err() != context.Canceled {
		t.Error("the second summary did not come before the end")
	}
}

func TestNobodyReadsTheCounts(t *testing.T) {
	code, said := countOn(t, &fakeCounter{}, broken{syscall.EPIPE}, "--duration", "1ms")
	if code != 0 || strings.Count(said, "\n") != 1 {
		t.Errorf("exit code %d, stderr %q", code, said)
	}
	code, said = countOn(t, &fakeCounter{}, broken{syscall.ENOSPC}, "--duration", "1ms")
	if code != exitFailed || !strings.HasSuffix(said, "no space left on device\n") {
		t.Errorf("exit code %d, stderr %q", code, said)
	}
}

func TestFiltersThatNobodyWouldDecide(t *testing.T) {
	code, said := countOn(t, &fakeCounter{undecided: []string{"laddr"}}, &bytes.Buffer{}, "--laddr", "10.0.0.0/8")
	want := "tcpstates: --laddr with --in-kernel: the kernel cannot decide that, and no event leaves it: leave out --in-kernel\n"
	if code != exitUsage || said != want {
		t.Errorf("exit code %d, stderr %q, want %q", code, said, want)
	}
}

func TestKernelThatCannotCount(t *testing.T) {
	code, said := countOn(t, &fakeCounter{err: &feature.Missing{What: "it has no storage", Err: unix.EPERM}}, &bytes.Buffer{})
	if code != exitCannot || said != "tcpstates: it has no storage\n" {
		t.Errorf("exit code %d, stderr %q", code, said)
	}
}

// startCounting starts the built command, which counts in the kernel what happens in a
// namespace of its own.
func startCounting(t *testing.T, args ...string) (l *live, ns *kerneltest.Netns, out *os.File) {
	t.Helper()
	kerneltest.Require(t)
	ns, out = kerneltest.NewNetns(t), outputFile(t)
	path := fmt.Sprint("/proc/", os.Getpid()) + strings.TrimPrefix(ns.Path(), "/proc/self")
	return startLive(t, out, append([]string{"--summary", "--netns", path}, args...)...), ns, out
}

// TestCountsOfThisKernel has the built command count a refused connect.
func TestCountsOfThisKernel(t *testing.T) {
	l, ns, out := startCounting(t, "--in-kernel")
	ns.Do(t, func() {
		if _, err := net.Dial("tcp4", "127.0.0.1:9"); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("connect: %v", err)
		}
	})
	said := l.end(t)
	text := read(t, out.Name())
	for _, want := range []string{"summary: 1 connection ended, 1 failed\n  refused ", "\n  in SYN_SENT ", "\n  SYN_SENT    -> CLOSE                  1\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if !strings.HasSuffix(said, "tcpstates: 2 transitions counted, 0 missed by recursion\n") {
		t.Errorf("stderr is %q", said)
	}
}

// flooded is a trace of so many transitions, a millisecond from one to the next.
func flooded(n int) *fake {
	f := &fake{events: transitions(n)}
	for i := range f.events {
		e := &f.events[i]
		e.Ktime, e.Cookie = 1_000_000_000+uint64(i)*1_000_000, uint64(1+i)
		e.Wall = int64(e.Ktime)
	}
	return f
}

// watchFlood runs the command on a fake kernel that traces, and can count.
func watchFlood(t *testing.T, f *fake, counter *fakeCounter, stdout io.Writer, args ...string) (code int, stderr string) {
	t.Helper()
	f.loadSummary = func(o probe.Options) (kernelCounter, error) { counter.options = o; return counter, counter.err }
	return runCommand(t, f, stdout, append(args, "--duration", "300ms")...)
}

func TestFloodIsCounted(t *testing.T) {
	var out bytes.Buffer
	counter := &fakeCounter{counted: someCounts()}
	code, said := watchFlood(t, flooded(1500), counter, &out, "--summary", "--in-kernel=900", "-D", "2")
	if code != 0 || !counter.started || !counter.stopped || !counter.options.Filter.RemotePorts.Set.Has(2) {
		t.Errorf("exit code %d, %+v", code, counter)
	}
	if n := strings.Count(out.String(), "SYN_SENT    -> ESTABLISHED"); n != 1500 {
		t.Errorf("%d transitions are shown", n)
	}
	if !strings.Contains(out.String(), "-- 24 transitions were counted in the kernel, and are not shown --\n") {
		t.Errorf("the lines do not say that there was more:\n%s", out.String()[max(0, out.Len()-300):])
	}
	in := 0
	for _, want := range []string{
		"tcpstates: more than 900 transitions a second: from now on they are counted in the kernel, and none is shown\n",
		"summary: no connection ended\n",
		"tcpstates: 1500 transitions shown, ",
		"tcpstates: then the kernel has counted:\nsummary: 13 connections ended, 2 failed",
		"tcpstates: 24 transitions counted, 0 missed by recursion\n",
	} {
		i := strings.Index(said[in:], want)
		if i < 0 {
			t.Fatalf("no %q, or not in order, in\n%s", want, said)
		}
		in += i
	}
}

func TestNoFloodIsNotCounted(t *testing.T) {
	for _, args := range []string{"--summary --in-kernel=1100", "--every 1h --in-kernel=1100"} {
		counter := &fakeCounter{}
		code, said := watchFlood(t, flooded(1500), counter, io.Discard, strings.Fields(args)...)
		if code != 0 || counter.started || strings.Contains(said, "in the kernel") {
			t.Errorf("%s: exit code %d: %s", args, code, said)
		}
	}
}

func TestFloodThatCannotBeCounted(t *testing.T) {
	counter := &fakeCounter{err: &feature.Missing{What: "it has no storage"}}
	if code, said := watchFlood(t, flooded(1), counter, io.Discard, "--summary", "--in-kernel=900"); code != exitCannot {
		t.Errorf("exit code %d: %s", code, said)
	}
}

// TestFloodOfThisKernel has the built command go over to counting in the midst of refused
// connects: each is shown or counted.
func TestFloodOfThisKernel(t *testing.T) {
	l, ns, out := startCounting(t, "--in-kernel=20")
	connects := 0
	ns.Do(t, func() {
		// Some hundred times as many a second, for more than one and a tick.
		for begin := time.Now(); time.Since(begin) < 3*time.Second; connects++ {
			if _, err := net.Dial("tcp4", "127.0.0.1:9"); !errors.Is(err, unix.ECONNREFUSED) {
				t.Errorf("connect: %v", err)
				return
			}
		}
	})
	said := l.end(t)
	told := regexp.MustCompile(`(?s)more than 20 transitions a second.*tcpstates: (\d+) transitions shown, 0 events lost in the buffer, 0 missed` +
		`.*then the kernel has counted:.*tcpstates: (\d+) transitions counted, 0 missed`).FindStringSubmatch(said)
	if told == nil {
		t.Fatalf("stderr is %q", said)
	}
	shown, _ := strconv.Atoi(told[1])
	counted, _ := strconv.Atoi(told[2])
	if shown == 0 || counted == 0 || shown+counted < 2*connects {
		t.Errorf("%d transitions were shown and %d counted of %d", shown, counted, 2*connects)
	}
	if want := fmt.Sprintf("-- %d transitions were counted in the kernel, and are not shown --\n", counted); !strings.HasSuffix(read(t, out.Name()), want) {
		t.Errorf("the lines do not end with %q", want)
	}
}
