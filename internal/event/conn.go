package event

import "time"

// Role is a socket's part in a connection.
type Role uint8

// The roles. RoleSelf is a socket that is connected to itself; RoleUnknown is
// one whose beginning was not seen.
const (
	RoleUnknown Role = iota
	RoleClient
	RoleServer
	RoleListener
	RoleSelf
)

var roleNames = [...]string{RoleClient: "client", RoleServer: "server", RoleListener: "listener", RoleSelf: "self"}

// String is the role in a word; empty if it is unknown.
func (r Role) String() string { return nameOf(roleNames[:], r) }

// Handshake is how a connection came up.
type Handshake struct {
	// Connect is how long a client waited: from its SYN to ESTABLISHED. Zero
	// means not known.
	Connect time.Duration
	// Took is how long a server's handshake took, from its first SYN-ACK to
	// the ACK. Zero means not known.
	Took time.Duration
	// RTT is one round trip: a client's from SYN to SYN-ACK, a server's from
	// SYN-ACK to ACK. Zero means not known: after a retransmission the kernel
	// cannot tell which of the two was answered.
	RTT time.Duration
	// Estimate says that RTT is from timestamps, which count milliseconds.
	Estimate bool
	// Retransmits is how often the SYN or the SYN-ACK was sent again.
	Retransmits uint32
	// Way tells the special ones apart.
	Way Way
}

// Way is a way through the handshake.
type Way uint8

// The ways.
const (
	WayPlain Way = iota
	// WayCookie: the server kept no state, it trusted a SYN cookie
	// (tcp_syncookies, tcp(7)).
	WayCookie
	// WayFastOpen: the SYN carried data (RFC 7413).
	WayFastOpen
)

var wayNames = [...]string{WayCookie: "syncookie", WayFastOpen: "fast open"}

// String is the way in a word; empty for the plain one.
func (w Way) String() string { return nameOf(wayNames[:], w) }

// Wait is how long something took.
type Wait struct {
	Time time.Duration
	// AtMost says that it may have been less: only an event that must come
	// after the end of the wait was seen.
	AtMost bool
	// Known says that there is a wait to tell of.
	Known bool
}

// Reason is why a connection ended.
type Reason uint8

// The reasons.
const (
	// ReasonNone: it has not ended, or nobody knows.
	ReasonNone Reason = iota
	// ReasonFinished: both sides have sent their FIN. First says who began.
	ReasonFinished
	// ReasonResetByPeer: the peer sent a reset.
	ReasonResetByPeer
	// ReasonResetSent: this side sent a reset. Cause says why.
	ReasonResetSent
	// ReasonRefused: a reset answered the SYN.
	ReasonRefused
	// ReasonTimedOut: the peer did not answer. Cause says what.
	ReasonTimedOut
	// ReasonUnreachable: an ICMP message said that the peer cannot be reached.
	// Cause says what cannot.
	ReasonUnreachable
	// ReasonAborted: By has destroyed another process's socket (ss -K).
	ReasonAborted
	// ReasonCanceled: its own process gave up while it was connecting.
	ReasonCanceled
	// ReasonNoLocalPort: no local port was free for it, no SYN was sent.
	ReasonNoLocalPort
	// ReasonListenerClosed: it was a listener.
	ReasonListenerClosed
	// ReasonKilled: a signal ended its process, and with it the connection.
	ReasonKilled
	// ReasonError: with the errno that End has.
	ReasonError
)

var reasonNames = [...]string{
	ReasonFinished:       "finished",
	ReasonResetByPeer:    "reset by peer",
	ReasonResetSent:      "reset sent",
	ReasonRefused:        "refused",
	ReasonTimedOut:       "timed out",
	ReasonUnreachable:    "unreachable",
	ReasonAborted:        "aborted",
	ReasonCanceled:       "canceled",
	ReasonNoLocalPort:    "no local port",
	ReasonListenerClosed: "listener closed",
	ReasonKilled:         "killed with its process",
	ReasonError:          "error",
}

// String is the reason in words; empty for ReasonNone.
func (r Reason) String() string { return nameOf(reasonNames[:], r) }

// IsFailure tells whether the connection ended, or did not come up, against
// the will of somebody: that is every end but the FINs' and a listener's.
func (r Reason) IsFailure() bool {
	return r != ReasonNone && r != ReasonFinished && r != ReasonListenerClosed
}

// Cause is what lies behind a reason.
type Cause uint8

// The causes.
const (
	CauseNone Cause = iota
	// Of a reset that was sent:
	CauseUnreadData   // closed with data that nobody had read (RFC 2525, 2.17)
	CauseLingerZero   // closed with SO_LINGER and no time
	CauseDisconnect   // dissolved by connect(AF_UNSPEC)
	CauseNeverAccept  // the listener was closed before it was accepted
	CauseLateData     // data came after both directions were closed
	CauseLinger2      // closed in FIN_WAIT2, where TCP_LINGER2 lets it not stay
	CauseFinWait2Time // the peer's FIN did not come in time
	// Of a time-out:
	CauseConnect
	CauseUserTimeout
	CauseKeepalive
	CauseRetransmission
	// Of what cannot be reached:
	CauseNet
	CauseHost
	CausePort
)

var causeNames = [...]string{
	CauseUnreadData:     "unread data",
	CauseLingerZero:     "linger 0",
	CauseDisconnect:     "disconnect",
	CauseNeverAccept:    "never accepted",
	CauseLateData:       "late data",
	CauseLinger2:        "TCP_LINGER2",
	CauseFinWait2Time:   "no FIN in time",
	CauseConnect:        "connect",
	CauseUserTimeout:    "user timeout",
	CauseKeepalive:      "keepalive",
	CauseRetransmission: "retransmission",
	CauseNet:            "net",
	CauseHost:           "host",
	CausePort:           "port",
}

// String is the cause in words; empty for CauseNone.
func (c Cause) String() string { return nameOf(causeNames[:], c) }

// Side is an end of a connection, or both.
type Side uint8

// The sides.
const (
	SideUnknown Side = iota
	SideUs
	SidePeer
	SideBoth
)

var sideNames = [...]string{SideUs: "us", SidePeer: "peer", SideBoth: "both"}

// String is the side in a word; empty if it is unknown.
func (s Side) String() string { return nameOf(sideNames[:], s) }

// End is why and how a connection ended.
type End struct {
	Reason Reason
	Cause  Cause
	// First is who closed first: sent a FIN before it had the other's.
	First Side
	// Errno is what the socket tells its process, zero if nothing.
	Errno uint16
	// Signal is what killed the process; zero if nothing did.
	Signal uint8
	// Reset is the kernel's word for why a reset was sent; empty if none was,
	// or it gives no reason.
	Reset string
	// By is the process that closed it first or aborted it; zero if none did.
	By Process
}

// Traffic is what a connection has carried.
type Traffic struct {
	// Known says that the rest is.
	Known bool
	// Out are the bytes of data that the peer has acknowledged, In those that
	// have come from it.
	Out, In uint64
	// SegsOut and SegsIn count segments, Retransmits those sent again, those
	// of the handshake among them.
	SegsOut, SegsIn, Retransmits uint32
}

// Fate is what has become of a minisock.
type Fate uint8

// The fates.
const (
	FateUnknown Fate = iota
	// FateExpired: its time was over.
	FateExpired
	// FateEarly: it went before its time, reused, reset or killed.
	FateEarly
	// FateNoRoom: it never was (tcp_max_tw_buckets, tcp(7)).
	FateNoRoom
)

// Named is a kind of numbers that have names from 1 on.
type Named interface {
	~uint8
	String() string
}

// Names are those of a kind, in its order.
func Names[T Named]() (all []string) {
	for i := T(1); i.String() != ""; i++ {
		all = append(all, i.String())
	}
	return all
}

// nameOf is the i-th name; empty if there is none.
func nameOf[T ~uint8 | ~uint16](names []string, i T) string {
	if int(i) < len(names) {
		return names[i]
	}
	return ""
}
