package main

import (
	"net/netip"
	"testing"
	"time"

	"tcpstates/internal/traffic"
)

func TestMatcher(t *testing.T) {
	at := func(port uint16) ends {
		return ends{netip.AddrPortFrom(netip.IPv6Loopback(), port), netip.AddrPortFrom(netip.IPv6Loopback(), 1)}
	}
	bounds := func(port uint16, min, max time.Duration) traffic.Bounds {
		return traffic.Bounds{Local: at(port).local, Remote: at(port).remote, Min: min, Max: max}
	}
	m := newMatcher(time.Microsecond)
	m.tell(at(10), time.Second) // before the load has
	m.happened(bounds(10, time.Second, 2*time.Second))
	m.happened(bounds(11, time.Second, time.Second))
	m.tell(at(11), time.Second+time.Microsecond) // rounded
	m.happened(bounds(12, time.Second, time.Second))
	m.tell(at(12), time.Second+2*time.Microsecond)
	m.happened(bounds(13, time.Second, time.Second))
	m.tell(at(13), 0)
	if m.right != 2 || m.wrong != 2 || len(m.examples) != 2 {
		t.Errorf("%d are right, %d wrong: %v", m.right, m.wrong, m.examples)
	}

	// One after the other with the same ends.
	for i := range 3 {
		m.happened(bounds(20, time.Duration(i)*time.Second, time.Duration(i)*time.Second))
	}
	m.tell(at(20), 0)
	m.tell(at(20), time.Second)
	m.tell(at(21), time.Second)
	if m.right != 4 || m.wrong != 2 || m.untold() != 1 || m.unknown() != 1 {
		t.Errorf("%d are right, %d wrong, %d untold, %d unknown", m.right, m.wrong, m.untold(), m.unknown())
	}
}
