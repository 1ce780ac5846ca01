package output

import (
	"net/netip"
	"strconv"

	"tcpstates/internal/event"
)

// appendWho appends the owner as curl[4711], and "-" if it is not known.
func appendWho(dst []byte, e *event.Event) []byte {
	if e.Owner.PID == 0 {
		return append(dst, '-')
	}
	dst = e.Owner.Comm.AppendText(dst)
	return append(strconv.AppendUint(append(dst, '['), uint64(e.Owner.PID), 10), ']')
}

// appendEnds appends both ends, with an arrow from the client to the server,
// as far as it is known which is which. A listener has one.
func appendEnds(dst []byte, e *event.Event) []byte {
	dst = appendEnd(dst, e.Local)
	if !hasRemote(e) {
		return dst
	}
	dst = append(append(append(dst, ' '), arrowOf(e.Role)...), ' ')
	return appendEnd(dst, e.Remote)
}

// hasRemote tells whether there is another end than the local one.
func hasRemote(e *event.Event) bool { return e.Role != event.RoleListener && e.Remote.Port() != 0 }

// arrowOf stands between the local end and the remote one.
func arrowOf(role event.Role) string {
	switch role {
	case event.RoleClient:
		return "->"
	case event.RoleServer:
		return "<-"
	}
	return "--"
}

// appendEnd appends an end; a port that the kernel has not chosen yet is "-".
func appendEnd(dst []byte, end netip.AddrPort) []byte {
	if end.Port() != 0 {
		return end.AppendTo(dst)
	}
	if end.Addr().Is6() {
		return append(end.Addr().AppendTo(append(dst, '[')), "]:-"...)
	}
	return append(end.Addr().AppendTo(dst), ":-"...)
}
