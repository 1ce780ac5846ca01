package filter

import (
	"net/netip"

	"tcpstates/internal/event"
)

// Lowered is what the kernel can decide of the filters. Every rule of it must hold;
// nil is none. The zero value wants everything.
type Lowered struct {
	// Family is the one wanted; zero wants both.
	Family event.Family
	// Ports is of either end.
	LocalPorts, RemotePorts, Ports *PortRule
	// Addrs is of either end.
	LocalAddrs, RemoteAddrs, Addrs *AddrRule
	Netns, PIDs, UIDs              *NumberRule
}

// PortRule wants one of the ports, or with Exclude none of them at the ends that it
// is about.
type PortRule struct {
	Set     *Ports
	Exclude bool
}

// AddrRule wants an address within one of the prefixes, or with Exclude within none
// of them at the ends that it is about. Prefixes are IPv6; those of IPv4 stand as
// mapped ones.
type AddrRule struct {
	Prefixes []netip.Prefix
	Exclude  bool
}

// NumberRule wants one of the numbers, or with Exclude none of them.
type NumberRule struct {
	Numbers []uint32
	Exclude bool
}
