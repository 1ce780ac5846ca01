package feature

// ID names a feature.
type ID int

// The features, in the order in which a person would have to mend them: first
// what keeps everything from working.
const (
	// Kernel: it is not too old for all ways to trace.
	Kernel ID = iota
	// Proc: /proc is mounted.
	Proc
	// UserNamespace: the process is in the machine's own.
	UserNamespace
	// Capabilities: the process has those that tracing needs.
	Capabilities
	// Lockdown: the kernel does not keep its memory from being read.
	Lockdown
	// UnprivilegedBPF: kernel.unprivileged_bpf_disabled does not matter.
	UnprivilegedBPF
	// Memlock: the limit on locked memory does not matter, or is gone.
	Memlock
	// Seccomp: no filter refuses bpf().
	Seccomp
	// SELinux: it does not refuse bpf().
	SELinux
	// BPFSyscall: the kernel has bpf(), and this process may call it.
	BPFSyscall

	// BTF: the kernel's type information can be read.
	BTF
	// TpBTF: programs with typed arguments attach to the tracepoint.
	TpBTF
	// RawTp: programs with untyped arguments attach to the tracepoint.
	RawTp
	// Tracefs: it is mounted.
	Tracefs
	// Tracepoint: the tracepoint has a number in tracefs, and programs for
	// such load.
	Tracepoint
	// SocketStorage: TpBTF programs may keep data with a socket.
	SocketStorage
	// SocketCookie: TpBTF programs may ask for a socket's cookie.
	SocketCookie
	// RingBuffer and PerfEventArray: the maps by which programs send.
	RingBuffer
	PerfEventArray
	// GlobalData: programs may have constants and variables.
	GlobalData
	// IterTaskFile and IterTCP: programs walk over all open files, and over
	// all TCP sockets of a network namespace.
	IterTaskFile
	IterTCP

	// The tracepoints that make a trace tell more. They are there; that
	// programs attach to tracepoints at all is for the above to tell.
	SockRecvLength
	SockSendLength
	ReceiveReset
	SendReset
	RetransmitSkb
	RetransmitSynack
	SysExit

	// SockDiag: the kernel lists TCP sockets by netlink.
	SockDiag
	// Walk: the process may look into other network namespaces, and find
	// cgroups by their ids.
	Walk
	// PIDNamespace: the process is in the machine's own.
	PIDNamespace
	// HiddenProc: /proc does not hide the processes of others.
	HiddenProc
	// Cgroup: the version 2 hierarchy is mounted.
	Cgroup
)

// Row is a feature in words.
type Row struct {
	// Name is how it is shown.
	Name string
	// For is what it serves.
	For string
	// Without is what is lost where it is not there; empty if all is: then
	// nothing can be traced.
	Without string
	// Unless are features beside which it is not needed: one of them is
	// enough. Nil means that it is needed whatever else there is.
	Unless []ID

	probe func(*List) Result
}

// Vital tells whether nothing can be traced without it.
func (r Row) Vital() bool { return r.Without == "" }

// Rows are all features; the index of each is its ID.
func Rows() []Row { return rows }

var rows = []Row{
	Kernel:          {Name: "kernel", For: "the tracepoint of state changes", probe: kernel},
	Proc:            {Name: "/proc", For: "loading programs", probe: proc},
	UserNamespace:   {Name: "user namespace", For: "the right to trace", probe: userNamespace},
	Capabilities:    {Name: "capabilities", For: "the right to trace", probe: capabilities},
	Lockdown:        {Name: "lockdown", For: "reading the kernel's memory", probe: lockdown},
	UnprivilegedBPF: {Name: "unprivileged bpf()", For: "bpf() without capabilities", probe: unprivilegedBPF},
	Memlock:         {Name: "locked memory", For: "room for the maps", probe: memlock},
	Seccomp:         {Name: "seccomp", For: "calling bpf()", probe: seccomp},
	SELinux:         {Name: "SELinux", For: "calling bpf()", probe: selinux},
	BPFSyscall:      {Name: "bpf()", For: "loading programs", probe: bpfSyscall},

	BTF: {Name: "BTF", For: "programs that fit this kernel",
		Without: "only what the tracepoint itself says is told", probe: kernelTypes},
	TpBTF: {Name: "tp_btf", For: "tracing at the least cost",
		Without: "tracing costs more and knows less", probe: tpBTF},
	RawTp: {Name: "raw_tp", For: "tracing where tp_btf is not there",
		Without: "one way less to trace", Unless: []ID{TpBTF}, probe: rawTp},
	Tracefs: {Name: "tracefs", For: "tracing by the classic tracepoint",
		Without: "it is mounted for the command alone, if that is allowed", Unless: []ID{TpBTF, RawTp}, probe: tracefs},
	Tracepoint: {Name: "tracepoint", For: "tracing where raw_tp is not there",
		Without: "one way less to trace", Unless: []ID{TpBTF, RawTp}, probe: tracepoint},
	SocketStorage: {Name: "socket storage", For: "remembering sockets as long as they live",
		Without: "sockets are remembered in a table of limited size", probe: socketStorage},
	SocketCookie: {Name: "socket cookie", For: "sockets by the number that ss -e shows, too",
		Without: "sockets are told apart by their addresses", probe: socketCookie},
	RingBuffer: {Name: "ring buffer", For: "events in their order",
		Without: "the perf event array takes its place, at more cost", probe: ringBuffer},
	PerfEventArray: {Name: "perf event array", For: "events where there is no ring buffer",
		Without: "nothing can bring events", Unless: []ID{RingBuffer}, probe: perfEventArray},
	GlobalData: {Name: "global data", For: "settings of the programs",
		Without: "the programs look their settings up in a map", probe: globalData},
	IterTaskFile: {Name: "iter/task_file", For: "owners of older sockets",
		Without: "older sockets have no owner in a trace", probe: iterTaskFile},
	IterTCP: {Name: "iter/tcp", For: "older sockets, the end of TIME_WAIT",
		Without: "TIME_WAIT has no end in a trace", probe: iterTCP},

	SockRecvLength: {Name: "sock_recv_length", For: "telling which worker serves a connection",
		Without: "a connection is its listener's, but with --accept-probe", probe: hasTracepoint("sock_recv_length")},
	SockSendLength: {Name: "sock_send_length", For: "telling which worker serves a connection",
		Without: "a connection is its listener's, but with --accept-probe", probe: hasTracepoint("sock_send_length")},
	ReceiveReset: {Name: "tcp_receive_reset", For: "resets by the peer",
		Without: "resets by the peer show by their error alone", probe: hasTracepoint("tcp_receive_reset")},
	SendReset: {Name: "tcp_send_reset", For: "resets that were sent",
		Without: "aborted connections look as if they had ended in order", probe: hasTracepoint("tcp_send_reset")},
	RetransmitSkb: {Name: "tcp_retransmit_skb", For: "retransmissions as they happen",
		Without: "retransmissions are counted at the end of a handshake alone", probe: hasTracepoint("tcp_retransmit_skb")},
	RetransmitSynack: {Name: "tcp_retransmit_synack", For: "half-open connections",
		Without: "half-open connections do not show", probe: hasTracepoint("tcp_retransmit_synack")},
	SysExit: {Name: "sys_exit", For: "--accept-probe",
		Without: "there is no --accept-probe", probe: hasTracepoint("sys_exit")},

	SockDiag: {Name: "sock_diag", For: "tcpstates list",
		Without: "tcpstates list shows nothing", probe: sockDiag},
	Walk: {Name: "other namespaces", For: "sockets elsewhere, and ended containers",
		Without: "sockets without a process in other network namespaces, and containers that have ended, stay unknown", probe: walk},
	PIDNamespace: {Name: "PID namespace", For: "process ids as ps shows them",
		Without: "process ids are the machine's, and not those that ps shows here", probe: pidNamespace},
	HiddenProc: {Name: "hidden /proc", For: "owners from /proc",
		Without: "tcpstates list knows the owners of your own sockets alone", Unless: []ID{IterTaskFile}, probe: hiddenProc},
	Cgroup: {Name: "cgroup", For: "container, unit and pod of an owner",
		Without: "containers and units are known of processes alone that live when they are looked for", probe: cgroup2},
}
