package column

import (
	"strconv"

	"tcpstates/internal/event"
)

// The columns of what happens to a socket, and of a socket that exists.
var (
	Type = Column{Name: "type", Source: "the record's kind",
		Help:   "transition, owner, reset_sent, reset_received, retransmit, synack_retransmit, lost, sampling; conn or socket",
		Header: "TYPE", Width: 10, Of: Everything,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return append(dst, e.Kind.String()...) }}
	Time = Column{Name: "time", Unit: "RFC 3339", Source: "bpf_ktime_get_ns",
		Help:   "when it happened, in UTC to the nanosecond; tables have the local time of day",
		Header: "TIME", Width: 12, Min: 8, Drop: 5, Cut: CutPrecision, Of: Everything,
		Data: func(dst []byte, e *event.Event, s *State) []byte { return s.utc.appendRFC3339(dst, e.Wall) },
		Text: func(dst []byte, e *event.Event, s *State) []byte { return s.local.appendMillis(dst, e.Wall) }}
	Elapsed = Column{Name: "elapsed", Unit: "s", Source: "bpf_ktime_get_ns",
		Help:   "seconds since the first event",
		Header: "TIME(s)", Width: 10, Number: true, Of: Everything, Data: elapsed}
	Sock = Column{Name: "sock", Unit: "hex", Source: "bpf_get_socket_cookie",
		Help:   "the socket's cookie, as ss -e prints it behind sk:",
		Header: "SOCK", Width: 8, Min: 6, Drop: 1,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return appendHex(dst, e.Cookie) }}
	SkAddr = Column{Name: "skaddr", Unit: "hex", Source: "struct sock *",
		Help:   "the address of the kernel's socket; it is reused",
		Header: "SKADDR", Width: 16,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return appendHex(dst, e.SkAddr) }}
	Netns = Column{Name: "netns", Unit: "inode", Source: "skc_net.net->ns.inum",
		Help:   "the network namespace, as in /proc/PID/ns/net",
		Header: "NETNS", Width: 10, Number: true,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return appendCount(dst, uint64(e.Netns)) }}
	UID = Column{Name: "uid", Source: "sk_uid",
		Help:   "the socket's user; before accept, its listener's",
		Header: "UID", Width: 5, Number: true,
		Data: uid}
	PID = Column{Name: "pid", Source: "task->tgid",
		Help:   "the owner's process id",
		Header: "PID", Width: 7, Drop: 3, Number: true, Data: ownerPID}
	Comm = Column{Name: "comm", Source: "group_leader->comm",
		Help: "the owner's name",
		Free: true, Header: "COMM", Width: 15, Min: 7, Cut: CutEnd, Data: ownerComm}
	CurPID = Column{Name: "curpid", Source: "current->tgid",
		Help:   "the process on the CPU, whether or not the socket is any business of it; 0 is the idle task",
		Header: "CURPID", Width: 7, Number: true, Data: currentPID}
	CurComm = Column{Name: "curcomm", Source: "group_leader->comm",
		Help: "the name of the process on the CPU",
		Free: true, Header: "CURCOMM", Width: 15, Min: 7, Cut: CutEnd,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return e.Current.Comm.AppendText(dst) }}
	Family = Column{Name: "family", Source: "skc_family",
		Help:   "4 or 6; a dual-stack socket that speaks IPv4 is 6",
		Header: "IP", Width: 2, Number: true,
		Data: func(dst []byte, e *event.Event, _ *State) []byte {
			return strconv.AppendUint(dst, uint64(e.Family), 10)
		}}
	LAddr = Column{Name: "laddr", Source: "skc_rcv_saddr",
		Help:   "the local address",
		Header: "LADDR", Width: 15, Max: 39, Drop: 2, Cut: CutAddress,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return e.Local.Addr().AppendTo(dst) }}
	LPort = Column{Name: "lport", Source: "skc_num, inet_sport",
		Help:   "the local port",
		Header: "LPORT", Width: 5, Number: true,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return appendPort(dst, e.Local.Port()) },
		Text: func(dst []byte, e *event.Event, s *State) []byte {
			return appendServiceOrPort(dst, e, s, e.Local.Port())
		}}
	RAddr = Column{Name: "raddr", Source: "skc_daddr",
		Help:   "the remote address; in tables its name, with -N",
		Header: "RADDR", Width: 15, Max: 39, Cut: CutAddress, Data: remoteAddr, Text: remoteNameOrAddr}
	RPort = Column{Name: "rport", Source: "skc_dport",
		Help:   "the remote port",
		Header: "RPORT", Width: 5, Number: true,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return appendPort(dst, e.Remote.Port()) },
		Text: func(dst []byte, e *event.Event, s *State) []byte {
			return appendServiceOrPort(dst, e, s, e.Remote.Port())
		}}
	OldState = Column{Name: "oldstate", Source: "inet_sock_set_state",
		Help:   "the state before",
		Header: "OLDSTATE", Width: 11, Of: Transitions,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return append(dst, e.OldState.String()...) },
		Text: oldState}
	NewState = Column{Name: "newstate", Source: "inet_sock_set_state",
		Help:   "the state after",
		Header: "NEWSTATE", Width: 11, Of: Transitions,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return append(dst, e.NewState.String()...) },
		Text: newState}
	MS = Column{Name: "ms", Unit: "ms", Source: "bpf_ktime_get_ns",
		Help:   "the time in the old state, or in the present one so far; of a connection, its life",
		Header: "MS", Width: 9, Min: 7, Number: true, Of: Timed,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return appendMillis(dst, e, 6) },
		Text: durationText}
	MSMin = Column{Name: "ms_min", Unit: "ms", Source: "bpf_ktime_get_ns",
		Help:   "instead of ms, where only a bound is known: at least so long",
		Header: "MS>=", Width: 9, Min: 7, Number: true, Of: Timed,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return appendAtLeast(dst, e, 6) },
		Text: func(dst []byte, e *event.Event, _ *State) []byte { return appendAtLeast(dst, e, 3) }}
	Source = Column{Name: "source", Source: "where the owner was seen",
		Help:   "how the owner is known: connect, listen, inherited, io, accept, seed, port",
		Header: "SOURCE", Width: 9,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return append(dst, e.Owner.Source.String()...) }}
	CgroupID = Column{Name: "cgroupid", Source: "task->cgroups->dfl_cgrp",
		Help:   "the owner's cgroup, by id",
		Header: "CGROUPID", Width: 10, Number: true, Data: cgroupID}
	Cgroup = Column{Name: "cgroup", Source: "cgroupfs, by cgroupid",
		Help: "the owner's cgroup, by path",
		Free: true, Header: "CGROUP", Width: 30, Min: 10, Max: 100, Cut: CutEnd, Of: Placed,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return event.AppendText(dst, placeOf(e).Cgroup) }}
	Container = Column{Name: "container", Source: "concluded from cgroup",
		Help: "the id of the owner's container",
		Free: true, Header: "CONTAINER", Width: 12, Max: 64, Cut: CutEnd, Of: Placed,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return event.AppendText(dst, placeOf(e).Container) }}
	Unit = Column{Name: "unit", Source: "concluded from cgroup",
		Help: "the owner's innermost systemd unit",
		Free: true, Header: "UNIT", Width: 20, Min: 8, Max: 40, Cut: CutEnd, Of: Placed,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return event.AppendText(dst, placeOf(e).Unit) }}
	Pod = Column{Name: "pod", Source: "concluded from cgroup",
		Help: "the uid of the owner's Kubernetes pod",
		Free: true, Header: "POD", Width: 36, Of: Placed,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return event.AppendText(dst, placeOf(e).Pod) }}
	CloserPID = Column{Name: "closerpid", Source: "current->tgid",
		Help:   "the process that closes the socket or its sending side; not always the owner",
		Header: "CLOSERPID", Width: 9, Number: true, Of: Closes, Data: closerPID}
	CloserComm = Column{Name: "closercomm", Source: "group_leader->comm",
		Help: "the name of the process that closes",
		Free: true, Header: "CLOSER", Width: 15, Min: 7, Cut: CutEnd, Of: Closes, Data: closerComm}
	Proto = Column{Name: "proto", Source: "sock_diag",
		Help:   "tcp or udp",
		Header: "PROTO", Width: 5, Drop: 1, Of: Listed, Data: proto}
	Now = Column{Name: "state", Source: "sk_state",
		Help:   "the present state, of what changes none",
		Header: "STATE", Width: 11, Of: Present, Data: state}
	RecvQ = Column{Name: "recvq", Unit: "B", Source: "sock_diag: idiag_rqueue",
		Help:   "bytes that wait to be read; of a listener, connections that wait to be accepted",
		Header: "RECVQ", Width: 6, Drop: 4, Number: true, Of: Listed,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return queue(dst, e, e.RecvQ) }}
	SendQ = Column{Name: "sendq", Unit: "B", Source: "sock_diag: idiag_wqueue",
		Help:   "bytes not yet acknowledged; of a listener, how many connections may wait",
		Header: "SENDQ", Width: 6, Drop: 3, Number: true, Of: Listed,
		Data: func(dst []byte, e *event.Event, _ *State) []byte { return queue(dst, e, e.SendQ) }}
	Left = Column{Name: "left", Unit: "s", Source: "sock_diag: idiag_expires",
		Help:   "how long TIME_WAIT still lasts",
		Header: "LEFT", Width: 6, Drop: 2, Number: true, Of: Listed, Data: left}
	Lost = Column{Name: "lost", Source: "failed reserves, writes",
		Help:   "how many events found the buffer full, or with a cause could not be written or were counted in the kernel",
		Header: "LOST", Width: 6, Number: true, Of: Losses, Data: lost}
	OneIn = Column{Name: "one_in", Source: "the rate of events",
		Help:   "of a sample: one connection in so many is shown of those that begin from here on",
		Header: "ONEIN", Width: 6, Number: true, Of: Samples, Data: oneIn}
)
