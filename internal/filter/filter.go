// Package filter says which connections are wanted. Each filter parses its
// flag's words; the kernel side decides (bpf/filter.h), so that what nobody
// wants costs no record.
package filter

import (
	"fmt"
	"strconv"
	"strings"

	"tcpstates/internal/event"
)

// Set is the filters in force, joined by "and". The zero value wants
// everything.
type Set struct {
	// Family is the one wanted; zero wants both.
	Family event.Family
	// LocalPorts and RemotePorts are the ones wanted; nil wants all.
	LocalPorts, RemotePorts *Ports
	// States are the ones wanted; zero wants all. They choose among sockets
	// that exist, and no transitions.
	States States
}

// States is a set of states: state s is bit s.
type States uint32

// Has tells whether the state is in the set.
func (s States) Has(state event.State) bool { return s&(1<<state) != 0 }

// ParseStates reads a list of states, such as "established,time-wait".
func ParseStates(list string) (States, error) {
	var states States
	for word := range strings.SplitSeq(list, ",") {
		state, known := event.ParseState(word)
		if !known {
			return 0, fmt.Errorf("%q is no state", word)
		}
		states |= 1 << state
	}
	return states, nil
}

// Match tells whether a socket that exists is wanted.
func (s *Set) Match(e *event.Event) bool {
	return (s.Family == 0 || s.Family == e.Family) &&
		(s.LocalPorts == nil || s.LocalPorts.Has(e.Local.Port())) &&
		(s.RemotePorts == nil || s.RemotePorts.Has(e.Remote.Port())) &&
		(s.States == 0 || s.States.Has(e.NewState))
}

// Ports is a set of port numbers, a bit each, in the layout of struct port_set
// in bpf/filter.h: port p is bit p%8 of byte p/8.
type Ports [65536 / 8]byte

// Has tells whether the port is in the set.
func (p *Ports) Has(port uint16) bool { return p[port/8]&(1<<(port%8)) != 0 }

func (p *Ports) add(port uint16) { p[port/8] |= 1 << (port % 8) }

// ParsePorts reads a list of ports and ranges of ports, such as
// "80,443,8000-8010". Port zero is none: it stands for a port that is not
// known.
func ParsePorts(list string) (*Ports, error) {
	ports := new(Ports)
	for word := range strings.SplitSeq(list, ",") {
		low, high, err := parseRange(word)
		if err != nil {
			return nil, err
		}
		for port := low; port <= high; port++ {
			ports.add(uint16(port))
		}
	}
	return ports, nil
}

// parseRange reads "80" or "8000-8010" as the first and the last port.
func parseRange(word string) (low, high int, err error) {
	from, to, isRange := strings.Cut(word, "-")
	if low, err = parsePort(from); err != nil {
		return 0, 0, err
	}
	if !isRange {
		return low, low, nil
	}
	if high, err = parsePort(to); err != nil {
		return 0, 0, err
	}
	if high < low {
		return 0, 0, fmt.Errorf("the range %s ends before it begins", word)
	}
	return low, high, nil
}

func parsePort(word string) (int, error) {
	if word == "" {
		return 0, fmt.Errorf("a port is missing")
	}
	port, err := strconv.ParseUint(word, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("%q is no port", word)
	}
	return int(port), nil
}
