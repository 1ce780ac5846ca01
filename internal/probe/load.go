package probe

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/rlimit"

	"tcpstates/bpf"
	"tcpstates/internal/feature"
)

// auxiliary are the programs that make the trace tell more where the kernel
// has their tracepoint, and are left out where it does not or they are not
// wanted.
var auxiliary = []struct {
	program, tracepoint string
	needs               feature.ID // the tracepoint
	wanted              func(o *Options) bool
}{
	{"received", "sock_recv_length", feature.SockRecvLength, always},
	{"sent", "sock_send_length", feature.SockSendLength, always},
	{"accepted", "sys_exit", feature.SysExit, wantsAccept},
	{"reset_received", "tcp_receive_reset", feature.ReceiveReset, wantsSegments},
	{"reset_sent", "tcp_send_reset", feature.SendReset, wantsSegments},
	{"retransmitted", "tcp_retransmit_skb", feature.RetransmitSkb, wantsSegments},
	{"synack_retransmitted", "tcp_retransmit_synack", feature.RetransmitSynack, wantsSegments},
	{"forked", "sched_process_fork", feature.BTF, wantsForks}, // older than BTF
	{"exited", "sched_process_exit", feature.BTF, wantsExits}, // as old
}

// wantsSegments: what changes no state is no business of a raw trace.
func wantsSegments(o *Options) bool { return !o.SelfTransitions }

func always(*Options) bool { return true }

func wantsAccept(o *Options) bool { return o.AcceptProbe }

func wantsForks(o *Options) bool { return o.Forks || o.Follow }

func wantsExits(o *Options) bool { return o.Follow }

// NewList makes the list of what this machine has for the options to choose
// from.
func NewList(o *Options) *feature.List {
	options := feature.Options{Tracefs: openTracefs}
	if o.TypesFile != "" {
		options.KernelTypes = func() (*btf.Spec, error) { return btf.LoadSpec(o.TypesFile) }
	}
	return feature.NewList(options)
}

// load makes the maps and programs, as the options want them.
func (t *Tracer) load(list *feature.List, o Options) error {
	// Kernels since 5.11 account maps to the cgroup and ignore the limit on
	// locked memory; where one still asks, loading will tell.
	_ = rlimit.RemoveMemlock()

	spec, err := t.choice.backend.specs[t.choice.transport.index]()
	if err != nil {
		return fmt.Errorf("read the embedded programs: %w", err)
	}
	t.cache = list.Cache()
	collection := ebpf.CollectionOptions{Cache: t.cache}
	settings := settingsOf(&o)
	if t.Knows().Facts {
		kernel, err := list.KernelTypes()
		if err != nil {
			return fmt.Errorf("read the kernel's type information: %w", err)
		}
		collection.Programs.KernelTypes = kernel
		t.resets = resetNamesOf(kernel)
		fit(spec, list, &o, &settings)
	}
	if t.choice.backend.prepare != nil {
		for _, program := range spec.Programs {
			t.choice.backend.prepare(program)
		}
	}
	filters := lower(&o, t.Knows())
	filters.prepare(spec, &settings)
	t.undecided = filters.undecided
	if err := follow(spec, &o, &settings); err != nil {
		return err
	}
	if err := set(spec, &o, &settings); err != nil {
		return err
	}
	if t.objects, err = create(spec, collection); err != nil {
		return fmt.Errorf("load the programs: %w", err)
	}
	if err := t.fillMaps(&filters, &settings); err != nil {
		t.objects.Close()
		return err
	}
	return nil
}

// leaveOut leaves out the programs that this kernel has no tracepoint or no use for, or
// nobody wants.
func leaveOut(spec *ebpf.CollectionSpec, list *feature.List, o *Options) {
	for _, aux := range auxiliary {
		if !aux.wanted(o) || list.Ask(aux.needs).Answer == feature.No {
			for _, name := range copiesOf(aux.program) {
				delete(spec.Programs, name)
			}
		}
	}
	if !preemptsPrograms() {
		leaveOutCopies(spec)
	}
}

// fit fits the programs and their settings to this kernel, and to what is wanted.
func fit(spec *ebpf.CollectionSpec, list *feature.List, o *Options, settings *bpf.TcpstatesSettings) {
	leaveOut(spec, list, o)
	settings.AcceptProbe = spec.Programs["accepted"] != nil
	if !settings.AcceptProbe {
		spec.Maps["acceptors"].MaxEntries = 1 // else it takes megabytes for nothing
	}
}

// settingsOf are the programs' settings, as far as the options say.
func settingsOf(o *Options) bpf.TcpstatesSettings {
	return bpf.TcpstatesSettings{
		Pidns:           o.PIDNamespace,
		SelfTransitions: o.SelfTransitions,
		Sampling:        o.MaxEventsPerSecond > 0,
	}
}

// set sets what must be set before loading.
func set(spec *ebpf.CollectionSpec, o *Options, settings *bpf.TcpstatesSettings) error {
	if events := spec.Maps["events"]; events.Type == ebpf.RingBuf {
		events.MaxEntries = uint32(o.BufferSize)
	}
	if lives := spec.Maps["lives"]; lives.Type == ebpf.LRUHash {
		lives.MaxEntries = rememberedSockets()
	}
	if constants := spec.Variables["setting"]; constants != nil {
		if err := constants.Set(settings); err != nil {
			return fmt.Errorf("set the constants of the programs: %w", err)
		}
	}
	return nil
}

// rememberedSockets is how many sockets the programs remember where the kernel
// does not do it: some 200 bytes each, one for every 256 KiB of memory, and
// with that about as many as the kernel thinks right for connections without a
// process (tcp_max_orphans).
func rememberedSockets() uint32 {
	const least, most = 1 << 14, 1 << 19
	return uint32(min(most, max(least, memory()>>18)))
}

// fillMaps hands over what the programs look up.
func (t *Tracer) fillMaps(filters *lowering, settings *bpf.TcpstatesSettings) error {
	if err := filters.fill(t.objects.Maps); err != nil {
		return err
	}
	if m := t.objects.Maps["setting"]; m != nil {
		if err := m.Put(uint32(0), settings); err != nil {
			return fmt.Errorf("hand over the settings: %w", err)
		}
	}
	if m := t.objects.Maps["layout"]; m != nil {
		return setLayout(m)
	}
	return nil
}

func setLayout(layout *ebpf.Map) error {
	root, err := openTracefs()
	if err != nil {
		return err
	}
	places, err := readLayout(root)
	if err != nil {
		return err
	}
	for i, p := range places {
		if err := layout.Put(uint32(i), p); err != nil {
			return fmt.Errorf("hand over the layout of the tracepoint's records: %w", err)
		}
	}
	return nil
}

// start makes the reader before there is something to read.
func (t *Tracer) start(o *Options) (err error) {
	if t.transport, err = t.choice.transport.open(t.objects.Maps["events"], o); err != nil {
		return err
	}
	t.nap = napFor(t.transport.size())
	if err := t.attach(); err != nil {
		return err
	}
	if err := t.begin(t.first()); err != nil {
		return err
	}
	if o.MaxEventsPerSecond > 0 {
		t.startSampling(o.MaxEventsPerSecond)
	}
	return nil
}
