package column

import (
	"net/netip"

	"tcpstates/internal/event"
)

// The columns of names for what the others show as numbers.
var (
	RName = Column{Name: "rname", Source: "DNS (PTR), /etc/hosts",
		Help: "the name of the remote address, once it is known; with -N",
		Free: true, Header: "RNAME", Width: 25, Min: 15, Max: 60, Cut: CutAddress, Data: remoteName}
	LService = Column{Name: "lservice", Source: "/etc/services",
		Help: "the name of the local port; with --port-names",
		Free: true, Header: "LSERVICE", Width: 10, Min: 6, Max: 15, Cut: CutEnd,
		Data: func(dst []byte, e *event.Event, s *State) []byte { return appendService(dst, e, s, e.Local.Port()) }}
	RService = Column{Name: "rservice", Source: "/etc/services",
		Help: "the name of the remote port; with --port-names",
		Free: true, Header: "RSERVICE", Width: 10, Min: 6, Max: 15, Cut: CutEnd,
		Data: func(dst []byte, e *event.Event, s *State) []byte { return appendService(dst, e, s, e.Remote.Port()) }}
)

// Named is how a table shows the ends where the state has names for remote
// addresses, or for ports: with room for them.
func Named(c Column, names, services bool) Column {
	switch {
	case c.Name == RAddr.Name && names:
		c.Width, c.Min, c.Max = max(c.Width, RName.Width), RName.Min, RName.Max
	case (c.Name == LPort.Name || c.Name == RPort.Name) && services:
		c.Width, c.Min, c.Max, c.Cut = RService.Width, RService.Min, RService.Max, CutEnd
	}
	return c
}

// remoteName appends nothing for a listener, which has no remote end.
func remoteName(dst []byte, e *event.Event, s *State) []byte {
	if s.Names == nil || e.Remote.Addr().IsUnspecified() || e.Remote.Addr() == (netip.Addr{}) {
		return dst
	}
	return event.AppendText(dst, s.Names(e.Remote.Addr()))
}

func remoteNameOrAddr(dst []byte, e *event.Event, s *State) []byte {
	start := len(dst)
	if dst = remoteName(dst, e, s); len(dst) > start {
		return dst
	}
	return remoteAddr(dst, e, s)
}

func appendService(dst []byte, e *event.Event, s *State, port uint16) []byte {
	if s.Services == nil || port == 0 {
		return dst
	}
	return event.AppendText(dst, s.Services(port, e.Datagram))
}

func appendServiceOrPort(dst []byte, e *event.Event, s *State, port uint16) []byte {
	start := len(dst)
	if dst = appendService(dst, e, s, port); len(dst) > start {
		return dst
	}
	return appendPort(dst, port)
}
