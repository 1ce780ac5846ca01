// Package event is the project's vocabulary: what happened to a socket, as
// plain values. What the kernel reported and what package conn concluded from
// it stand in fields of their own.
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
	// KindLost tells that events happened which are not told.
	KindLost
	// KindOwner tells that a socket has another owner than was said before.
	// OldState and NewState are the socket's present state.
	KindOwner
	// KindSocket tells of a socket that exists. NewState is its state.
	KindSocket
	// KindResetSent and KindResetReceived tell of a reset, KindRetransmit of a
	// SYN or of data that was sent again. OldState and NewState are the
	// socket's present state, which began at Since.
	KindResetSent
	KindResetReceived
	KindRetransmit
	// KindSynAckRetransmit is a half-open connection that sends its SYN-ACK
	// again, in state NewSynRecv. Cookie is that of the socket to come; Since
	// is when it sent the first.
	KindSynAckRetransmit
	// KindMinisock tells of what is left of a socket that has gone into
	// TIME_WAIT, or into FIN_WAIT2 without a process: it is in NewState now,
	// and Close means that it is no more. It was last seen in another state at
	// Since.
	KindMinisock
	// KindConn tells of a connection that has ended, at Ktime. It began at
	// Since, or before if Before says so.
	KindConn
	// KindTick tells that Ktime has come, and nothing else.
	KindTick
	// KindFork tells of a new process, Current, and of its parent, Owner; Before
	// says that it is none, but existed when tracing began. It is of no socket.
	KindFork
	// KindSampling tells which part of the connections is shown that begin from
	// here on.
	KindSampling
)

var kindNames = [...]string{
	KindTransition:       "transition",
	KindLost:             "lost",
	KindOwner:            "owner",
	KindSocket:           "socket",
	KindResetSent:        "reset_sent",
	KindResetReceived:    "reset_received",
	KindRetransmit:       "retransmit",
	KindSynAckRetransmit: "synack_retransmit",
	KindMinisock:         "minisock",
	KindConn:             "conn",
	KindTick:             "tick",
	KindFork:             "fork",
	KindSampling:         "sampling",
}

// String is the kind in a word, as data and recordings have it; empty for none.
func (k Kind) String() string { return nameOf(kindNames[:], k) }

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

	// Of what happens to a socket:

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
	// (sock_gen_cookie). It survives a reconnect of the same socket. Zero means
	// that it is not known.
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
	// Netns is the inode number of the network namespace; zero means unknown.
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
	// Signal is the number of the signal that ends Current, if Closes and one
	// does.
	Signal uint8
	// Current is the process that was on the CPU, whether or not the socket
	// is any business of it.
	Current Process
	// Accepted is when the owner accepted the connection, in nanoseconds of
	// CLOCK_MONOTONIC, at the first transition after it did; zero where that
	// is not watched.
	Accepted uint64
	// Facts are what the socket says of itself; zero at transitions to other
	// states than Established, FinWait1 and Close.
	Facts Facts

	// Fate is what has become of a minisock that is no more.
	Fate Fate

	// Of a new process:

	// Followed says that it is one of those that are followed: a descendant of the
	// tracer, begun after the trace.
	Followed bool

	// Of a socket that exists:

	// Datagram says that the socket is UDP's.
	Datagram bool
	// RecvQ and SendQ are the bytes that wait to be read and to be sent and
	// acknowledged; a listener's are the connections that wait to be accepted
	// and how many may.
	RecvQ, SendQ uint32
	// QueuesUnknown says that RecvQ and SendQ are not known.
	QueuesUnknown bool
	// Left is how long TIME_WAIT, or FIN_WAIT2 without a process, still lasts.
	Left time.Duration

	// Of what was concluded:

	// Derived says that the tracepoint reported another new state, or nothing:
	// the transition is that of what is left of the socket.
	Derived bool
	// Role is the socket's part in the connection.
	Role Role
	// Handshake is known when the connection is established, and when it has
	// ended.
	Handshake Handshake
	// AcceptWait is how long the connection waited to be accepted. It is told
	// once, at the next transition, and when the connection has ended.
	AcceptWait Wait
	// End is why and how the connection ended.
	End End
	// Traffic is what the connection has carried, when it has ended.
	Traffic Traffic
	// Times are what the connection has spent in each state, by its number.
	// Of KindConn alone. Zero means none, or not known.
	Times [NewSynRecv + 1]time.Duration

	// Of a loss:

	// Lost is how many events were lost since the loss before, and Loss why.
	Lost uint64
	Loss Loss

	// Of a sample:

	// OneIn says that one connection in so many is shown, from 1 on.
	OneIn uint64
}

// Socket tells sockets apart that live at the same time: by the cookie, or by
// the address where that is not known. Cookies count from 1, addresses are in
// the upper half of the numbers.
func (e *Event) Socket() uint64 {
	if e.Cookie != 0 {
		return e.Cookie
	}
	return e.SkAddr
}

// SetSocket makes the event one of a socket, of which Socket said this.
func (e *Event) SetSocket(socket uint64) {
	if socket>>63 == 0 {
		e.Cookie = socket
	} else {
		e.SkAddr = socket
	}
}

// Begins tells whether a transition is a connection's first; no other event is one.
func (e *Event) Begins() bool {
	return e.Kind == KindTransition &&
		(e.OldState == Close && e.NewState != Close || e.OldState == Listen && e.NewState == SynRecv)
}

// IsNotice tells whether the event says what is not shown: a loss, or a sample.
func (e *Event) IsNotice() bool { return e.Kind == KindLost || e.Kind == KindSampling }

// IsDuplicate tells whether a transition ends a server's socket that never was a
// connection, of which no end as a whole is told (conn.Tracker).
func (e *Event) IsDuplicate() bool {
	return e.Kind == KindTransition && e.OldState == SynRecv && e.NewState == Close && e.End.Reason == ReasonNone
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
	Wall int64 `json:"wall"`
	// Version is the tool's, Kernel the running kernel's release.
	Version string `json:"version"`
	Kernel  string `json:"kernel"`
	// Backend names the kernel mechanisms in use, in words.
	Backend string `json:"backend"`
}

// Stop accounts for a trace that has ended.
type Stop struct {
	Wall int64 `json:"wall"`
	// Shown transitions were written out.
	Shown uint64 `json:"shown"`
	// Lost transitions found the buffer full.
	Lost uint64 `json:"lost"`
	// Missed transitions went by while the programs were interrupted.
	Missed uint64 `json:"missed"`
	// MissedUnknown says that nobody knows how many they were.
	MissedUnknown bool `json:"missed_unknown,omitempty"`
	// Gaps were found between two transitions of one socket, which must have
	// had another between them; the second of the two has no duration.
	Gaps uint64 `json:"gaps"`
	// Evicted connections were forgotten, as there were too many.
	Evicted uint64 `json:"evicted"`
	// Unfollowed connections had ended, and their TIME_WAIT was not followed to
	// its end, as there were too many.
	Unfollowed uint64 `json:"unfollowed"`
	// Unwritten events could not be written, as the disk had no room for a while.
	// They are not among those shown.
	Unwritten uint64 `json:"unwritten,omitempty"`
	// Unsampled connections were not among those shown, as all were too many, and
	// so were so many events of them.
	UnsampledConns uint64 `json:"unsampled_conns,omitempty"`
	Unsampled      uint64 `json:"unsampled,omitempty"`
}
