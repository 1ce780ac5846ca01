package probe

import (
	"fmt"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"tcpstates/internal/event"
	"tcpstates/internal/feature"
	"tcpstates/internal/kerneltest"
)

// asSinceLinux7 has the test trace as on a kernel that preempts tasks in programs.
func asSinceLinux7(t testing.TB) {
	t.Helper()
	before := preemptsPrograms
	preemptsPrograms = func() bool { return true }
	t.Cleanup(func() { preemptsPrograms = before })
}

// changePrograms changes what the best backend of this kernel loads.
func changePrograms(t *testing.T, change func(spec *ebpf.CollectionSpec)) {
	t.Helper()
	best, err := Choose(NewList(&Options{}), &Options{})
	if err != nil {
		t.Fatal(err)
	}
	before := best.backend.specs
	t.Cleanup(func() { best.backend.specs = before })
	for i := range before {
		best.backend.specs[i] = func() (*ebpf.CollectionSpec, error) {
			spec, err := before[i]()
			if err == nil {
				change(spec)
			}
			return spec, err
		}
	}
}

// leaveWork has all of the programs but one do nothing, as if the kernel did not run them.
func leaveWork(t *testing.T, worker string, programs []string) {
	t.Helper()
	changePrograms(t, func(spec *ebpf.CollectionSpec) {
		for _, name := range programs {
			if program := spec.Programs[name]; program != nil && name != worker {
				program.Instructions = asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}
			}
		}
	})
}

// TestTransitionsByEachProgram leaves the tracepoint of transitions to each program alone,
// which tells of all of them.
func TestTransitionsByEachProgram(t *testing.T) {
	kerneltest.Require(t)
	asSinceLinux7(t)
	best, err := Choose(NewList(&Options{}), &Options{})
	if err != nil {
		t.Fatal(err)
	}
	programs := best.backend.programs
	for _, name := range programs {
		t.Run(name, func(t *testing.T) {
			leaveWork(t, name, programs)
			ns := kerneltest.NewNetns(t)
			c := trace(t, Options{})
			if got := c.onTransitions(); !slices.Equal(got, programs) {
				t.Fatalf("on the tracepoint are %v, want %v", got, programs)
			}
			truth := kerneltest.StartTruth(t)
			for _, scenario := range kerneltest.Scenarios {
				ns.Do(t, func() { scenario.Run(t, ns) })
			}
			ns.Settle(t)
			want := truth.Stop(t)
			kerneltest.RequireSame(t, ns, kerneltest.Changes(want), c.end(t))
			totals := requireTotals(t, c)
			if all := totals.Recovered >= uint64(len(c.events)); all != (name != "first") {
				t.Errorf("%d of %d transitions were recovered", totals.Recovered, len(c.events))
			}
		})
	}
}

// TestFollowsByEachCopy leaves it to each copy of the programs that follow processes to
// do so, and then to all: each process is told of once.
func TestFollowsByEachCopy(t *testing.T) {
	kerneltest.Require(t)
	preempts := preemptsPrograms()
	asSinceLinux7(t)
	forks, exits := copiesOf("forked"), copiesOf("exited")
	for i := range len(forks) + 1 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			if i < len(forks) {
				if preempts {
					t.Skip("where tasks are preempted in programs, one alone misses some")
				}
				leaveWork(t, forks[i], forks)
				leaveWork(t, exits[i], exits)
			}
			ns := kerneltest.NewNetns(t)
			c := trace(t, Options{Follow: true})
			requireForks(t, c)
			for _, program := range slices.Concat(forks, exits) {
				if c.objects.Programs[program] == nil {
					t.Fatalf("%s is not loaded", program)
				}
			}
			l := listenIn(t, ns)
			var pids []uint32
			ns.Do(t, func() {
				var err error
				if pids, err = kerneltest.ForkBriefly(20, l.Addr().String()); err != nil {
					t.Error(err)
				}
			})
			awaitFollowed(t, c, 0)
			l.Close()
			ns.Settle(t)
			opened := openers(of(ns, c.end(t)))
			requireTotals(t, c)
			counts, err := c.counts()
			byCopies := i > 0 && i < len(forks)
			if byCopies && (counts.RecoveredForks == 0 || counts.RecoveredExits == 0) || err != nil {
				t.Errorf("the copies have handled %d forks and %d ends, %v", counts.RecoveredForks, counts.RecoveredExits, err)
			}
			// Elsewhere there is nothing that keeps the first from being run.
			if !byCopies && !preempts && counts.RecoveredForks+counts.RecoveredExits > 0 {
				t.Errorf("the copies have handled %d forks and %d ends that the first had", counts.RecoveredForks, counts.RecoveredExits)
			}
			told := map[uint32]int{}
			for _, e := range c.forks {
				if e.Followed {
					told[e.Current.PID]++
				}
			}
			for _, pid := range pids {
				if told[pid] != 1 || opened[pid] != 1 {
					t.Errorf("of the process %d is told %d times, and of %d of its connections", pid, told[pid], opened[pid])
				}
			}
			if len(opened) != len(pids) || len(pids) == 0 {
				t.Errorf("%d processes have opened connections, want %d", len(opened), len(pids))
			}
		})
	}
}

// TestProgramsForbidPreemption where it could be, and do no more than they must elsewhere.
func TestProgramsForbidPreemption(t *testing.T) {
	if feature.OlderThan(6, 14) {
		t.Skip("kernels before Linux 6.14 have no bpf_local_irq_save, and preempt no programs")
	}
	onEveryRung(t, func(t *testing.T, o Options) {
		can := o.Backend.row.knows.Facts // the classic ones the kernel does not preempt
		o.Follow, o.AcceptProbe = true, can
		requireForbids(t, o, can && preemptsPrograms())
		asSinceLinux7(t)
		requireForbids(t, o, can)
	})
}

// requireForbids checks all programs of a trace.
func requireForbids(t *testing.T, o Options, want bool) {
	t.Helper()
	for name, program := range trace(t, o).objects.Programs {
		info, err := program.Info()
		if err != nil {
			t.Fatal(err)
		}
		instructions, err := info.Instructions()
		if err != nil {
			t.Fatal(err)
		}
		forbids := slices.ContainsFunc(instructions, func(i asm.Instruction) bool { return i.IsKfuncCall() })
		if forbids != want {
			t.Errorf("%s forbids preemption: %v, want %v", name, forbids, want)
		}
	}
}

// TestResetsByEachCopy leaves it to each of the programs that tell of resets to do so, and
// then to all: each reset is told once.
func TestResetsByEachCopy(t *testing.T) {
	kerneltest.Require(t)
	asSinceLinux7(t)
	sent, received := copiesOf("reset_sent")[:2], copiesOf("reset_received")[:2]
	for i := range len(sent) + 1 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			if i < len(sent) {
				leaveWork(t, sent[i], sent)
				leaveWork(t, received[i], received)
			}
			ns := kerneltest.NewNetns(t)
			c := trace(t, Options{})
			for _, name := range slices.Concat(sent, received) {
				if c.objects.Programs[name] == nil {
					t.Skipf("%s is not loaded: this kernel does not have its tracepoint", name)
				}
			}
			const connections = 20
			ns.Do(t, func() {
				l := kerneltest.Listen(t, "tcp4", "127.0.0.1:0")
				defer l.Close()
				for range connections {
					client, server := kerneltest.Connect(t, l)
					if err := client.SetLinger(0); err != nil {
						t.Error(err)
					}
					client.Close()
					server.Close()
				}
			})
			ns.Settle(t)
			c.end(t)
			requireTotals(t, c)
			told := map[event.Kind]int{}
			for _, e := range of(ns, c.others) {
				told[e.Kind]++
			}
			if told[event.KindResetSent] != connections || told[event.KindResetReceived] != connections {
				t.Errorf("told are %v, want %d of each", told, connections)
			}
		})
	}
}
