package filter

import (
	"net/netip"

	"tcpstates/internal/event"
)

// Lowered is what of the filters the kernel may decide: a rule for each question,
// all of which must hold. The zero value wants everything. What the kernel lets
// pass is more than that as a rule, and is judged again here.
type Lowered struct {
	// Family is the one wanted; zero wants both.
	Family event.Family
	// The rules of an end, and of either end: nil wants all. A rule that excludes
	// wants none of its values at either end.
	LocalPorts, RemotePorts, Ports *PortRule
	LocalAddrs, RemoteAddrs, Addrs *AddrRule
	// Netns are inode numbers, PIDs the owner's process ids as the trace tells them
	// (--pidns), UIDs the socket's user ids. Nil wants all.
	Netns, PIDs, UIDs *NumberRule
}

// PortRule wants the ports of a set, or those that are not in it.
type PortRule struct {
	Set     *Ports
	Exclude bool
}

// AddrRule wants the addresses of some networks, or of none of them. They are IPv6;
// IPv4 is written as mapped: 10.0.0.0/8 as ::ffff:10.0.0.0/104.
type AddrRule struct {
	Prefixes []netip.Prefix
	Exclude  bool
}

// NumberRule wants some numbers, or all others.
type NumberRule struct {
	Numbers []uint32
	Exclude bool
}
