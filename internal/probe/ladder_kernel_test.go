package probe

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"tcpstates/internal/event"
	"tcpstates/internal/feature"
	"tcpstates/internal/kerneltest"
)

// onEveryRung runs the test with each backend and transport that the kernel
// has, by force. The best must be among them.
func onEveryRung(t *testing.T, test func(t *testing.T, o Options)) {
	t.Helper()
	kerneltest.Require(t)
	list := NewList(&Options{})
	for _, b := range backends {
		for _, tr := range transports {
			t.Run(b.name+" "+tr.name, func(t *testing.T) {
				o := Options{Backend: Backend{b}, Transport: Transport{tr}}
				if _, err := Choose(list, &o); err != nil {
					t.Skipf("this kernel has it not: %v", err)
				}
				test(t, o)
			})
		}
	}
}

func TestScenariosAgreeOnEveryRung(t *testing.T) {
	onEveryRung(t, func(t *testing.T, o Options) {
		ns := kerneltest.NewNetns(t)
		// The kernel runs no classic program while it interrupts another one, and
		// says so: then there is nothing to compare.
		for attempt := 1; ; attempt++ {
			raw := o
			raw.SelfTransitions = true
			c := trace(t, raw)
			truth := kerneltest.StartTruth(t)
			for _, scenario := range kerneltest.Scenarios {
				ns.Do(t, func() { scenario.Run(t, ns) })
			}
			ns.Settle(t)
			want := truth.Stop(t)
			events := c.end(t)
			totals, err := c.Totals()
			if err != nil {
				t.Fatal(err)
			}
			if len(c.choice.backend.programs) == 1 && totals.Missed+totals.Gaps > 0 && attempt < 5 {
				t.Logf("attempt %d: %d missed, %d gaps", attempt, totals.Missed, totals.Gaps)
				continue
			}
			n := kerneltest.RequireSame(t, ns, want, events)
			if n == 0 && c.Knows().Facts || len(want) == 0 {
				t.Error("the scenarios made no transition")
			}
			requireTotals(t, c)
			requireChainsByAddress(t, events)
			return
		}
	})
}

// requireChainsByAddress checks that a duration is claimed only where the old
// state's beginning was seen, also where addresses are all that tells sockets
// apart.
func requireChainsByAddress(t *testing.T, events []event.Event) {
	t.Helper()
	last := map[uint64]event.Event{}
	for _, e := range events {
		before, known := last[e.SkAddr]
		last[e.SkAddr] = e
		if e.Since != 0 && !e.Before && (!known || before.NewState != e.OldState || before.Ktime != e.Since) {
			t.Errorf("%v: a duration that nobody has seen", kerneltest.TransitionOf(&e))
		}
	}
}

// TestOwnersOnEveryRung has a client and a server of two processes. A backend
// may not know an owner, but none may name a wrong one.
func TestOwnersOnEveryRung(t *testing.T) {
	onEveryRung(t, func(t *testing.T, o Options) {
		ns := kerneltest.NewNetns(t)
		c := trace(t, o)
		helper, port := connectFromHelper(t, ns)
		known := map[uint32]int{}
		for _, e := range c.end(t) {
			want := helper.PID()
			switch {
			case e.Local.Port() == port:
				want = uint32(os.Getpid())
			case e.Remote.Port() != port:
				continue
			}
			if e.Owner.PID == want {
				known[want]++
			} else if e.Owner.PID != 0 || c.Knows().Facts {
				t.Errorf("%v: owner %+v, want %d", kerneltest.TransitionOf(&e), e.Owner, want)
			}
			if knows := c.Knows(); (e.Cookie != 0) != knows.Sockets || (e.Netns == ns.Inode) != knows.Facts ||
				e.Facts.Unknown == knows.Facts || e.UIDUnknown == knows.Facts {
				t.Errorf("%v: tells what the backend cannot know, or not what it does: %+v", kerneltest.TransitionOf(&e), e)
			}
		}
		if known[helper.PID()] != 5 || known[uint32(os.Getpid())] < 2 {
			t.Errorf("owners are known of %v", known)
		}
	})
}

// TestNoOwnerByAPortThatSeveralHave has two processes listen at one port: where
// the port is all that tells whose a connection is, it must not be told.
func TestNoOwnerByAPortThatSeveralHave(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	c := trace(t, Options{Backend: backendOf(t, "raw_tp")})
	var port uint16
	ns.Do(t, func() {
		l := kerneltest.ListenReusing(t, "127.0.0.1:0")
		port = portOf(l)
		client, server := kerneltest.Connect(t, l)
		client.Close()
		server.Close()
		l.Close()
	})
	ns.Settle(t)
	children := 0
	for _, e := range of(ns, c.end(t)) {
		if e.Local.Port() != port || e.Remote.Port() == 0 || e.Owner.Source == event.SourceIO {
			continue
		}
		children++
		if e.Owner.PID != 0 {
			t.Errorf("%v: owner %+v, by a port that others may listen at", kerneltest.TransitionOf(&e), e.Owner)
		}
	}
	if children == 0 {
		t.Error("no transition of the server's connection was seen")
	}
}

func backendOf(t *testing.T, name string) Backend {
	t.Helper()
	b, err := ParseBackend(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestPerCPUBuffersAreReadInOrder makes a storm on all CPUs.
func TestPerCPUBuffersAreReadInOrder(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	ns.SpreadPackets(t)
	perf, err := ParseTransport("perf")
	if err != nil {
		t.Fatal(err)
	}
	c := trace(t, Options{Transport: perf, BufferSize: 64 << 20})
	truth := kerneltest.StartTruth(t)
	kerneltest.Storm(t, ns, 5_000)
	ns.Settle(t)
	want := kerneltest.Changes(truth.Stop(t))
	events := c.end(t)
	if n := kerneltest.RequireSame(t, ns, want, events); n < 25_000 {
		t.Errorf("the storm made %d transitions, want 25,000", n)
	}
	requireTotals(t, c)
	if !slices.IsSortedFunc(events, func(a, b event.Event) int { return int(int64(a.Ktime - b.Ktime)) }) {
		t.Error("the events are not in the order of their time")
	}
}

func TestLossInPerCPUBuffersIsCounted(t *testing.T) {
	kerneltest.Require(t)
	perf, err := ParseTransport("perf")
	if err != nil {
		t.Fatal(err)
	}
	requireLossIsCounted(t, Options{Transport: perf, BufferSize: os.Getpagesize()})
}

// TestTheBestRungIsTaken asks for nothing, and for what the kernel has.
func TestTheBestRungIsTaken(t *testing.T) {
	kerneltest.Require(t)
	list := NewList(&Options{})
	best, err := Choose(list, &Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range backends {
		if list.Has(b.needs...) {
			if best.backend != b {
				t.Errorf("the backend is %s, and %s is there", best.backend.name, b.name)
			}
			break
		}
	}
	t.Logf("%v", best)
}

// TestTypesFileThatHoldsNone must not be passed over, though there is a way to
// trace without.
func TestTypesFileThatHoldsNone(t *testing.T) {
	kerneltest.Require(t)
	for _, file := range []string{"/dev/null", "/no/such/file"} {
		if tracer, err := Open(Options{TypesFile: file, Clock: kerneltest.SteadyClock{}}); err == nil {
			tracer.Close()
			t.Errorf("traces with the types of %s", file)
		}
	}
}

// TestRejectedProgramsAreNotTheEnd has the verifier reject the best backend's.
func TestRejectedProgramsAreNotTheEnd(t *testing.T) {
	kerneltest.Require(t)
	best, err := Choose(NewList(&Options{}), &Options{})
	if err != nil {
		t.Fatal(err)
	}
	good := best.backend.specs
	t.Cleanup(func() { best.backend.specs = good })
	best.backend.specs[byRing] = func() (*ebpf.CollectionSpec, error) {
		spec, err := good[byRing]()
		if err == nil {
			spec.Programs["first"].Instructions = asm.Instructions{asm.Return()} // of nothing
		}
		return spec, err
	}
	c := trace(t, Options{})
	if c.choice.backend == best.backend || c.Refused() == nil {
		t.Errorf("it traces with %v, for %v", c.choice, c.Refused())
	}
	_, err = Open(Options{Backend: Backend{best.backend}, Clock: kerneltest.SteadyClock{}})
	var missing *feature.Missing
	if !errors.As(err, &missing) || !strings.Contains(missing.What, "the kernel's verifier rejects a program") {
		t.Errorf("by force it ends in %v", err)
	}
}
