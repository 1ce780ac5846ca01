package probe

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// transitions is the tracepoint that the trace lives of.
const transitions = "inet_sock_set_state"

// makeTyped makes a program with untyped arguments one whose arguments the
// kernel knows: it reads them from the same places.
func makeTyped(spec *ebpf.ProgramSpec) {
	spec.Type, spec.AttachType = ebpf.Tracing, ebpf.AttachTraceRawTp
}

// attach puts the programs on their tracepoints: those on the same one run in
// the order in which they are attached, and rely on it.
func (t *Tracer) attach() error {
	for _, name := range t.onTransitions() {
		if err := t.choice.backend.attach(t, name, transitions); err != nil {
			return err
		}
	}
	for _, aux := range auxiliary {
		for _, name := range copiesOf(aux.program) {
			if t.objects.Programs[name] == nil {
				continue
			}
			if err := t.choice.backend.attach(t, name, aux.tracepoint); err != nil {
				return err
			}
		}
	}
	return nil
}

// onTransitions are the programs on the tracepoint of transitions that this
// kernel needs, in their order.
func (t *Tracer) onTransitions() (names []string) {
	for _, name := range t.choice.backend.programs {
		if t.objects.Programs[name] != nil {
			names = append(names, name)
		}
	}
	return names
}

// first is the first of them, which the account of misses is about.
func (t *Tracer) first() string { return t.choice.backend.programs[0] }

func (t *Tracer) attachRaw(program, tracepoint string) error {
	l, err := link.AttachRawTracepoint(link.RawTracepointOptions{Name: tracepoint, Program: t.objects.Programs[program]})
	return t.keep(l, err, program)
}

func (t *Tracer) attachClassic(program, tracepoint string) error {
	return withTracefs(func(string) error {
		l, err := link.Tracepoint("sock", tracepoint, t.objects.Programs[program], nil)
		return t.keep(l, err, program)
	})
}
