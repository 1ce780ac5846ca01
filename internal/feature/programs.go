package feature

import (
	"errors"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/perf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"
)

// The programs here are of the first version of the instruction set, and have
// no functions of their own, so that what is asked for is all that an old
// kernel can refuse them for.

// traced is the tracepoint that the trace lives of.
const traced = "inet_sock_set_state"

// makeMap tries bpf() with the least that there is to ask of it.
func makeMap() error {
	// What bpf() itself needs is not for this probe to find missing.
	_ = liftMemlock()
	return tryMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
}

func tryMap(spec *ebpf.MapSpec) error {
	m, err := ebpf.NewMap(spec)
	if err != nil {
		return err
	}
	return m.Close()
}

// liftMemlock removes the limit on locked memory for good, where the kernel
// counts maps against it.
func liftMemlock() error {
	err := rlimit.RemoveMemlock()
	if err == nil {
		return nil
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit) == nil && limit.Cur >= enoughMemlock {
		return nil
	}
	return err
}

// tried is the answer that trying has given: err is what the kernel said.
func (l *List) tried(err error, reason, remedy string) Result {
	switch {
	case err == nil:
		return yes("")
	case errors.Is(err, unix.ENOMEM):
		return Result{Reason: "the kernel has no memory to try it", Err: err}
	}
	if unknown, found := l.behind(err, UserNamespace, Capabilities, Lockdown, Memlock, BPFSyscall); found {
		return unknown
	}
	// The verifier says EACCES as well, with words, and the search for a type
	// EPERM, for want of the right to look into modules.
	if isRefusal(err) && verifierLog(err) == nil && !errors.Is(err, btf.ErrNotFound) {
		reason, remedy = "the kernel, or a security policy, refuses it to this process", byPolicy.Remedy
	}
	return Result{Answer: No, Reason: reason, Remedy: remedy, Err: err}
}

// kernelTypes tells of BTF. Alone of all it needs no privilege.
func kernelTypes(l *List) Result {
	_, err := l.KernelTypes()
	switch {
	case err == nil:
		return yes("")
	case !l.exists("sys/kernel"):
		return Result{
			Answer: No, Err: err,
			Reason: "/sys is not mounted, and the kernel's type information is in there",
			Remedy: "mount -t sysfs sysfs /sys",
		}
	case l.exists("sys/kernel/btf/vmlinux"):
		return Result{Answer: No, Err: err, Reason: "the kernel's type information cannot be read", Remedy: "run with -v for why"}
	}
	return Result{
		Answer: No, Err: err,
		Reason: "the kernel has no type information (/sys/kernel/btf/vmlinux is not there)",
		Remedy: "boot a kernel with CONFIG_DEBUG_INFO_BTF=y, as the distributions' own have it, or give its types with --btf FILE",
	}
}

// nothing is a program that does nothing.
func nothing() asm.Instructions {
	return asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}
}

// try loads a program and, unless attach is nil, attaches it for a moment.
func (l *List) try(spec *ebpf.ProgramSpec, attach func(*ebpf.Program) (link.Link, error)) error {
	const name = "tried"
	spec.License = "GPL"
	objects, err := ebpf.NewCollectionWithOptions(
		&ebpf.CollectionSpec{Programs: map[string]*ebpf.ProgramSpec{name: spec}}, ebpf.CollectionOptions{Cache: l.cache})
	if err != nil {
		return err
	}
	defer objects.Close()
	if attach == nil {
		return nil
	}
	attached, err := attach(objects.Programs[name])
	if err != nil {
		return err
	}
	return attached.Close()
}

// tryTyped tries a program with typed arguments.
func (l *List) tryTyped(instructions asm.Instructions, attach func(*ebpf.Program) (link.Link, error)) error {
	return l.try(&ebpf.ProgramSpec{
		Type: ebpf.Tracing, AttachType: ebpf.AttachTraceRawTp, AttachTo: traced, Instructions: instructions,
	}, attach)
}

// ofTypes is the answer of a feature that the kernel has by its types alone.
func (l *List) ofTypes(attempt func() error, reason, remedy string) Result {
	if types := l.Ask(BTF); types.Answer == No {
		return Result{Answer: No, Err: types.Err, Reason: "the kernel's type information is missing: see BTF"}
	}
	return l.tried(attempt(), reason, remedy)
}

func tpBTF(l *List) Result {
	return l.ofTypes(func() error {
		return l.tryTyped(nothing(), func(p *ebpf.Program) (link.Link, error) {
			return link.AttachTracing(link.TracingOptions{Program: p})
		})
	}, "the kernel has no programs with typed arguments", "boot Linux 5.5 or later, with CONFIG_DEBUG_INFO_BTF=y")
}

func rawTp(l *List) Result {
	err := l.try(&ebpf.ProgramSpec{Type: ebpf.RawTracepoint, Instructions: nothing()}, attachRaw(traced))
	return l.tried(err, "the kernel has no programs of this type, or not the tracepoint "+traced, "boot Linux 4.17 or later")
}

func attachRaw(tracepoint string) func(*ebpf.Program) (link.Link, error) {
	return func(p *ebpf.Program) (link.Link, error) {
		return link.AttachRawTracepoint(link.RawTracepointOptions{Name: tracepoint, Program: p})
	}
}

// tracepointID is the file of the tracepoint's number.
const tracepointID = "events/sock/" + traced + "/id"

func tracepoint(l *List) Result {
	root, err := l.options.Tracefs()
	if err != nil {
		return Result{
			Answer: No, Err: err,
			Reason: "tracefs is not mounted, and the tracepoint's number is in there",
			Remedy: "mount -t tracefs tracefs /sys/kernel/tracing",
		}
	}
	return l.ofTracefs(root)
}

func (l *List) tryTracepoint() error {
	return l.try(&ebpf.ProgramSpec{Type: ebpf.TracePoint, Instructions: nothing()}, nil)
}

// Flags of bpf(2) and its helpers (include/uapi/linux/bpf.h).
const (
	bpfNoPrealloc = 1 << 0 // BPF_F_NO_PREALLOC
	bpfRdonlyProg = 1 << 7 // BPF_F_RDONLY_PROG
	bpfClone      = 1 << 9 // BPF_F_CLONE
	bpfCreate     = 1 << 0 // BPF_SK_STORAGE_GET_F_CREATE
)

func socketStorage(l *List) Result {
	return l.ofTypes(l.trySocketStorage, "programs on this tracepoint have no socket storage", "boot Linux 5.11 or later")
}

// trySocketStorage loads a program that makes the storage of the socket of
// its first argument.
func (l *List) trySocketStorage() error {
	number := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	storage, err := ebpf.NewMap(&ebpf.MapSpec{
		Type: ebpf.SkStorage, KeySize: 4, ValueSize: 4, Key: number, Value: number,
		Flags: bpfNoPrealloc | bpfClone,
	})
	if err != nil {
		return err
	}
	defer storage.Close()
	return l.tryTyped(asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, 0, asm.DWord), // the socket
		asm.LoadMapPtr(asm.R1, storage.FD()),
		asm.Mov.Imm(asm.R3, 0), // no initial value
		asm.Mov.Imm(asm.R4, bpfCreate),
		asm.FnSkStorageGet.Call(),
		asm.Mov.Imm(asm.R0, 0),
		asm.Return(),
	}, nil)
}

func socketCookie(l *List) Result {
	return l.ofTypes(func() error {
		return l.tryTyped(asm.Instructions{
			asm.LoadMem(asm.R1, asm.R1, 0, asm.DWord), // the socket
			asm.FnGetSocketCookie.Call(),
			asm.Mov.Imm(asm.R0, 0),
			asm.Return(),
		}, nil)
	}, "programs on this tracepoint may not ask for it", "boot Linux 5.12 or later")
}

func ringBuffer(l *List) Result {
	err := tryMap(&ebpf.MapSpec{Type: ebpf.RingBuf, MaxEntries: uint32(os.Getpagesize())})
	return l.tried(err, "the kernel has none", "boot Linux 5.8 or later")
}

// perfEventArray is tried with its reader, which opens an event on each CPU.
func perfEventArray(l *List) Result {
	return l.tried(tryPerfEventArray(), "the kernel has none", "boot one with CONFIG_PERF_EVENTS")
}

func tryPerfEventArray() error {
	events, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.PerfEventArray})
	if err != nil {
		return err
	}
	defer events.Close()
	reader, err := perf.NewReader(events, os.Getpagesize())
	if err != nil {
		return err
	}
	return reader.Close()
}

func globalData(l *List) Result {
	return l.tried(l.tryGlobalData(), "the kernel cannot address the value of a map", "boot Linux 5.2 or later")
}

func (l *List) tryGlobalData() error {
	data, err := ebpf.NewMap(&ebpf.MapSpec{
		Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1, Flags: bpfRdonlyProg,
	})
	if err != nil {
		return err
	}
	defer data.Close()
	return l.try(&ebpf.ProgramSpec{Type: ebpf.SocketFilter, Instructions: asm.Instructions{
		asm.LoadMapValue(asm.R1, data.FD(), 0),
		asm.LoadMem(asm.R0, asm.R1, 0, asm.Word),
		asm.Return(),
	}}, nil)
}

func iterTaskFile(l *List) Result { return l.iterator("task_file", "5.8") }
func iterTCP(l *List) Result      { return l.iterator("tcp", "5.9") }

func (l *List) iterator(target, since string) Result {
	return l.ofTypes(func() error {
		return l.try(&ebpf.ProgramSpec{
			Type: ebpf.Tracing, AttachType: ebpf.AttachTraceIter, AttachTo: target, Instructions: nothing(),
		}, func(p *ebpf.Program) (link.Link, error) { return link.AttachIter(link.IterOptions{Program: p}) })
	}, "the kernel has no such iterator", "boot Linux "+since+" or later")
}

// hasTracepoint tells whether the kernel has a tracepoint: for each there is
// the type of its probe functions.
func hasTracepoint(name string) func(*List) Result {
	return func(l *List) Result {
		kernel, err := l.KernelTypes()
		if err != nil || !hasType(kernel, traced) { // before Linux 5.5 none has one
			// Attaching to sys_exit would slow all processes for a moment.
			if name == "sys_exit" {
				return Result{Reason: "not known without BTF"}
			}
			err = l.try(&ebpf.ProgramSpec{Type: ebpf.RawTracepoint, Instructions: nothing()}, attachRaw(name))
			return l.tried(err, "the kernel has no such tracepoint", "")
		}
		if !hasType(kernel, name) {
			return Result{Answer: No, Reason: "the kernel has no such tracepoint"}
		}
		return yes("")
	}
}

// hasType tells whether there is a type of the tracepoint's probe functions.
func hasType(kernel *btf.Spec, tracepoint string) bool {
	_, err := kernel.AnyTypeByName("btf_trace_" + tracepoint)
	return err == nil
}
