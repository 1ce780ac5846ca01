package event

// Facts are what a socket says of itself at an event.
type Facts struct {
	// Unknown says that nobody could ask the socket: the rest is zero, and says
	// nothing.
	Unknown bool
	// Err and SoftErr are its errors as positive numbers of errno (sk_err,
	// sk_err_soft); zero is none.
	Err, SoftErr uint16
	// Shutdown has bit 0 set when receiving was shut down, bit 1 for sending
	// (sk_shutdown).
	Shutdown uint8
	Flags    SockFlags
	// Linger2 is how long it may stay in FIN_WAIT2 without a process, in
	// jiffies: zero is the system's default, and less means not at all
	// (TCP_LINGER2, tcp(7)).
	Linger2 int32
	// SRTT is the smoothed round trip time and MinRTT the smallest, in
	// microseconds; zero and NoRTT mean that there is none.
	SRTT, MinRTT uint32
	// Retransmits counts all segments that were sent again, SYN and SYN-ACK
	// among them.
	Retransmits uint32
	// BytesAcked counts a SYN and a FIN as one each, BytesReceived a FIN.
	BytesAcked, BytesReceived uint64
	// SegsIn and SegsOut count segments, DataSegsIn those with data.
	SegsIn, SegsOut, DataSegsIn uint32
	// Reset is why a reset was sent, in the kernel's word; empty if none was,
	// or the kernel gives no reason.
	Reset string
}

// NoRTT is the MinRTT of a socket that has not measured any (tcp_init_sock).
const NoRTT = ^uint32(0)

// SockFlags are what is true of a socket, in the order of enum event_facts in
// bpf/event.h.
type SockFlags uint16

// The flags.
const (
	// Dead: no process has the socket any more (SOCK_DEAD).
	Dead SockFlags = 1 << iota
	// Done: the peer's FIN has come (SOCK_DONE).
	Done
	// LingerZero: SO_LINGER is set, with no time.
	LingerZero
	// NoFile: no file refers to the socket: it was not accepted, or its
	// process is gone.
	NoFile
	// UserTimeout: TCP_USER_TIMEOUT is set.
	UserTimeout
	// FastOpen: the SYN carried data that was acknowledged (RFC 7413).
	FastOpen
	// CookieEcho: the last ACK of the handshake echoes a timestamp that is a
	// SYN cookie's, or by chance looks like one.
	CookieEcho
	// GotReset: a reset came for the connection, or what the kernel treats as
	// one.
	GotReset
	// SentReset: the socket has sent a reset.
	SentReset
	// Child: it has a listener's limit of waiting connections, as only a
	// listener that has one and its children do.
	Child
	// AllAcked: the peer has acknowledged all that was sent, a FIN included.
	AllAcked
	// Repair: TCP_REPAIR is on, and the socket does not speak to its peer.
	Repair
	// Unread: data has come that nobody has read.
	Unread
)

// Has tells whether all of the flags are set.
func (f SockFlags) Has(flags SockFlags) bool { return f&flags == flags }
