package probe

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"tcpstates/bpf"
	"tcpstates/internal/event"
	"tcpstates/internal/filter"
)

// auxiliary are the programs that make the trace tell more where the kernel
// has their tracepoint, and are left out where it does not or they are not
// wanted.
var auxiliary = []struct {
	program, tracepoint string
	wanted              func(o *Options) bool
}{
	{"received", "sock_recv_length", always}, // since Linux 6.3
	{"sent", "sock_send_length", always},     // since Linux 6.3
	{"accepted", "sys_exit", wantsAccept},
	{"reset_received", "tcp_receive_reset", wantsSegments},
	{"reset_sent", "tcp_send_reset", wantsSegments},
	{"retransmitted", "tcp_retransmit_skb", wantsSegments},
	{"synack_retransmitted", "tcp_retransmit_synack", wantsSegments},
}

// wantsSegments: what changes no state is no business of a raw trace.
func wantsSegments(o *Options) bool { return !o.SelfTransitions }

func always(*Options) bool { return true }

func wantsAccept(o *Options) bool { return o.AcceptProbe }

// load makes the maps and programs, as the options want them.
func (t *Tracer) load(o Options) error {
	// Kernels with the features needed account maps to the cgroup and ignore
	// the limit on locked memory; where one still asks, loading will tell.
	_ = rlimit.RemoveMemlock()

	spec, err := bpf.LoadTcpstates()
	if err != nil {
		return fmt.Errorf("read the embedded programs: %w", err)
	}
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		return fmt.Errorf("read the kernel's type information: %w", err)
	}
	t.resets = resetNamesOf(kernel)
	for _, aux := range auxiliary {
		if !hasTracepoint(kernel, aux.tracepoint) || !aux.wanted(&o) {
			delete(spec.Programs, aux.program)
		}
	}
	if err := lower(spec, kernel, o); err != nil {
		return err
	}
	t.objects, err = ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{
		Programs: ebpf.ProgramOptions{KernelTypes: kernel},
	})
	if err != nil {
		return fmt.Errorf("load the programs: %w", err)
	}
	if err := setPorts(t.objects.Maps["ports"], o.Filter); err != nil {
		t.objects.Close()
		return err
	}
	return nil
}

// hasTracepoint tells whether the kernel has a tracepoint: for each there is
// the type of its probe functions.
func hasTracepoint(kernel *btf.Spec, name string) bool {
	_, err := kernel.AnyTypeByName("btf_trace_" + name)
	return err == nil
}

// arguments is how many arguments a tracepoint's probe functions take; zero if
// the kernel has no such tracepoint.
func arguments(kernel *btf.Spec, tracepoint string) int {
	var typedef *btf.Typedef
	if kernel.TypeByName("btf_trace_"+tracepoint, &typedef) != nil {
		return 0
	}
	pointer, _ := typedef.Type.(*btf.Pointer)
	if pointer == nil {
		return 0
	}
	proto, _ := pointer.Target.(*btf.FuncProto)
	if proto == nil {
		return 0
	}
	return len(proto.Params) - 1 // the first is the probe's own
}

// lower sets the constants of the programs.
func lower(spec *ebpf.CollectionSpec, kernel *btf.Spec, o Options) error {
	spec.Maps["events"].MaxEntries = uint32(o.BufferSize)
	if spec.Programs["accepted"] == nil {
		spec.Maps["acceptors"].MaxEntries = 1 // else it takes megabytes for nothing
	}

	var family uint16
	switch o.Filter.Family {
	case event.IPv4:
		family = unix.AF_INET
	case event.IPv6:
		family = unix.AF_INET6
	}
	for name, value := range map[string]any{
		"only_family":      family,
		"only_lports":      o.Filter.LocalPorts != nil,
		"only_rports":      o.Filter.RemotePorts != nil,
		"self_transitions": o.SelfTransitions,
		"accept_probe":     spec.Programs["accepted"] != nil,
		"pidns":            o.PIDNamespace,

		"tells_reset_reason":     arguments(kernel, "tcp_send_reset") > 2,
		"tells_retransmit_error": arguments(kernel, "tcp_retransmit_skb") > 2,
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return fmt.Errorf("set %s of the programs: %w", name, err)
		}
	}
	return nil
}

// The keys of the map of port sets: LPORTS and RPORTS of bpf/filter.h.
const (
	localPorts  = uint32(0)
	remotePorts = uint32(1)
)

func setPorts(sets *ebpf.Map, f filter.Set) error {
	for key, ports := range map[uint32]*filter.Ports{localPorts: f.LocalPorts, remotePorts: f.RemotePorts} {
		if ports == nil {
			continue
		}
		if err := sets.Put(key, ports[:]); err != nil {
			return fmt.Errorf("hand over the ports: %w", err)
		}
	}
	return nil
}

// start makes the reader before there is something to read.
func (t *Tracer) start() (err error) {
	if t.reader, err = ringbuf.NewReader(t.objects.Maps["events"]); err != nil {
		return fmt.Errorf("map the ring buffer: %w", err)
	}
	return t.attach()
}

// attach starts the programs: the twin relies on running after the first.
func (t *Tracer) attach() error {
	for _, name := range []string{"first", "twin"} {
		if err := t.attachProgram(name); err != nil {
			return err
		}
	}
	for _, aux := range auxiliary {
		if t.objects.Programs[aux.program] == nil {
			continue
		}
		if err := t.attachProgram(aux.program); err != nil {
			return err
		}
	}
	return nil
}

func (t *Tracer) attachProgram(name string) error {
	l, err := link.AttachTracing(link.TracingOptions{Program: t.objects.Programs[name]})
	if err != nil {
		return fmt.Errorf("attach the program %q to its tracepoint: %w", name, err)
	}
	t.links = append(t.links, l)
	return nil
}

// detach ends the programs, the last attached first: so the first program has
// handled all that the twin did not see.
func (t *Tracer) detach() error {
	var errs []error
	for i := len(t.links) - 1; i >= 0; i-- {
		errs = append(errs, t.links[i].Close())
	}
	t.links = nil
	return errors.Join(errs...)
}
