package probe

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"tcpstates/internal/feature"
)

// preemptsPrograms tells whether the kernel lets a task be preempted in a program
// on a tracepoint, as since Linux 7.0 (__DECLARE_TRACE takes SRCU for readers and
// no longer disables preemption).
var preemptsPrograms = func() bool { return !feature.OlderThan(7, 0) }

// copies end the names of programs that do the same as another, in their order: each
// does what those before it were not run for.
var copies = []string{"_2nd", "_3rd", "_4th"}

// copiesOf are the names of a program, and of the copies that it may have.
func copiesOf(program string) []string {
	names := []string{program}
	for _, suffix := range copies {
		names = append(names, program+suffix)
	}
	return names
}

// leaveOutCopies leaves out the programs that are there for what is missed where tasks
// are preempted in others. What else interrupts a program are softirqs, for which the twin
// is there, and a copy of each program on segments: they neither begin processes nor end
// them.
func leaveOutCopies(spec *ebpf.CollectionSpec) {
	delete(spec.Programs, "between")
	delete(spec.Programs, "between_2nd")
	for _, program := range []string{"forked", "exited"} {
		for _, name := range copiesOf(program)[1:] {
			delete(spec.Programs, name)
		}
	}
}

// create makes the maps and programs, of which those that could be preempted forbid
// it: see bpf/preempt.h.
func create(spec *ebpf.CollectionSpec, o ebpf.CollectionOptions) (*ebpf.Collection, error) {
	if preemptsPrograms() {
		// A kernel that does not compile programs (net.core.bpf_jit_enable) lets them
		// call none of its functions. Then more events are missed, which are counted.
		if objects, err := ebpf.NewCollectionWithOptions(spec, o); err == nil {
			return objects, nil
		}
	}
	for _, program := range spec.Programs {
		leaveOutKernelCalls(program)
	}
	return ebpf.NewCollectionWithOptions(spec, o)
}

// leaveOutKernelCalls takes the calls of the kernel's own functions out of a program:
// they are all for preemption, and none of them returns anything.
func leaveOutKernelCalls(program *ebpf.ProgramSpec) {
	for i := range program.Instructions {
		if program.Instructions[i].IsKfuncCall() {
			program.Instructions[i] = asm.Mov.Imm(asm.R0, 0)
		}
	}
}
