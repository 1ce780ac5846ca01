// Package event is the project's vocabulary: what happened to a socket, as
// plain values. They say what the kernel reported and nothing that was
// concluded from it.
package event

import (
	"net/netip"
	"time"
)

// Kind says what an Event tells.
type Kind uint8

const (
	// KindTransition is a change of a socket's state.
	KindTransition Kind = 1 + iota
	// KindLost tells that transitions happened which nobody will see.
	KindLost
	// KindOwner tells that a socket has another owner than was said before.
	// OldState and NewState are the socket's present state.
	KindOwner
	// KindSocket tells of a socket that exists. NewState is its state.
	KindSocket
)

// Family is an address family of sockets: 4 or 6. A dual-stack IPv6 socket
// that speaks IPv4 is of family 6, with IPv4-mapped addresses.
type Family uint8

// The families of TCP sockets.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// Process is a process of the machine.
type Process struct {
	// PID is the thread group id; zero means unknown as an owner, and the
	// idle task as the one on the CPU.
	PID uint32
	// Comm is the name of the thread group's leader.
	Comm Comm
}

// Event is one thing that happened. It is handed on by reference and reused:
// who keeps one must copy it. The fields below Wall belong to the kind that
// their heading names, and are zero in others.
type Event struct {
	Kind Kind

	// Ktime is when it happened, in nanoseconds of CLOCK_MONOTONIC.
	Ktime uint64
	// Wall is the same moment in nanoseconds since the Unix epoch.
	Wall int64

	// Of a transition and an owner:

	// OldState and NewState are equal when the kernel set a state that the
	// socket was in already; only raw tracing reports those.
	OldState, NewState State
	// Since is when OldState began, in nanoseconds of CLOCK_MONOTONIC; zero
	// means that it is not known.
	Since uint64
	// Before says that OldState began before Since, which is only when the
	// socket was first looked at.
	Before bool
	// Cookie identifies the socket as long as the machine is up
	// (sock_gen_cookie). It survives a reconnect of the same socket.
	Cookie uint64
	// SkAddr is the address of the kernel's struct sock. It is reused.
	SkAddr uint64
	Family Family
	// Local and Remote are the ends. Port zero means that the kernel has not
	// chosen it yet; of a listener's remote end, that there is none.
	Local, Remote netip.AddrPort
	// RawLocalPort is the local port as the tracepoint words it: at
	// CLOSE>SYN_SENT it may be the port of the socket's previous connection.
	RawLocalPort uint16
	// Netns is the inode number of the network namespace.
	Netns uint32
	// UID is the user the socket belongs to; a child that was not accepted
	// yet has its listener's.
	UID uint32
	// UIDUnknown says that UID is not known.
	UIDUnknown bool
	// Owner is the process that the socket belongs to.
	Owner Owner
	// Closes says that Current closes the socket with this transition, or its
	// sending side. It can be another than the owner.
	Closes bool
	// Current is the process that was on the CPU, whether or not the socket
	// is any business of it.
	Current Process

	// Of a socket that exists:

	// Datagram says that the socket is UDP's.
	Datagram bool
	// RecvQ and SendQ are the bytes that wait to be read and to be sent and
	// acknowledged; a listener's are the connections that wait to be accepted
	// and how many may.
	RecvQ, SendQ uint32
	// Left is how long TIME_WAIT, or FIN_WAIT2 without a process, still lasts.
	Left time.Duration

	// Of a loss:

	// Lost is how many transitions were lost since the loss before.
	Lost uint64
}

// Duration is the time spent in OldState, and false if it is not known.
func (e *Event) Duration() (time.Duration, bool) {
	if e.Before {
		return 0, false
	}
	return e.AtLeast()
}

// AtLeast is the time that the socket is known to have spent in OldState: all
// of it if Duration is known. It is false if nothing is known.
func (e *Event) AtLeast() (time.Duration, bool) {
	if e.Since == 0 || e.Since > e.Ktime {
		return 0, false
	}
	return time.Duration(e.Ktime - e.Since), true
}

// Start says how tracing began.
type Start struct {
	// Wall is when, in nanoseconds since the Unix epoch.
	Wall int64
	// Version is the tool's, Kernel the running kernel's release.
	Version, Kernel string
	// Backend names the kernel mechanisms in use, in words.
	Backend string
}

// Stop accounts for a trace that has ended.
type Stop struct {
	Wall int64
	// Shown transitions were written out.
	Shown uint64
	// Lost transitions found the ring buffer full.
	Lost uint64
	// Missed transitions went by while the programs were interrupted.
	Missed uint64
	// Gaps were found between two transitions of one socket, which must have
	// had another between them; the second of the two has no duration.
	Gaps uint64
}
