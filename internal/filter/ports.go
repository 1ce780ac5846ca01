package filter

import (
	"fmt"
	"strconv"
	"strings"

	"tcpstates/internal/event"
)

// end is which end of a connection a filter is about.
type end uint8

const (
	local end = 1 << iota
	remote
	either = local | remote
)

// portTest looks for the ports at an end.
type portTest struct {
	end   end
	ports *Ports
}

func parsePorts(at end) func([]string, Env) (test, error) {
	return func(words []string, _ Env) (test, error) {
		ports := new(Ports)
		for _, word := range words {
			if err := ports.addRange(word); err != nil {
				return nil, err
			}
		}
		return portTest{at, ports}, nil
	}
}

func (t portTest) of(e *event.Event) (is, known bool) {
	l, r := e.Local.Port(), e.Remote.Port()
	is = t.end&local != 0 && t.ports.Has(l) || t.end&remote != 0 && t.ports.Has(r)
	return is, t.end&local != 0 && l != 0 || t.end&remote != 0 && r != 0
}

func lowerPorts(t test, exclude bool, l *Lowered) bool {
	test := t.(portTest)
	at := map[end]**PortRule{local: &l.LocalPorts, remote: &l.RemotePorts, either: &l.Ports}[test.end]
	return claim(at, PortRule{test.ports, exclude})
}

// claim puts the rule where none is yet.
func claim[T any](at **T, rule T) bool {
	if *at != nil {
		return false
	}
	*at = &rule
	return true
}

// Ports is a set of port numbers, a bit each, in the layout of struct port_set
// in bpf/filter.h: port p is bit p%8 of byte p/8.
type Ports [65536 / 8]byte

// Has tells whether the port is in the set.
func (p *Ports) Has(port uint16) bool { return p[port/8]&(1<<(port%8)) != 0 }

func (p *Ports) add(port uint16) { p[port/8] |= 1 << (port % 8) }

// addRange adds "80" or "8000-8010". Port zero is none: it stands for a port that
// is not known.
func (p *Ports) addRange(word string) error {
	low, high, err := parseRange(word)
	if err != nil {
		return err
	}
	for port := low; port <= high; port++ {
		p.add(uint16(port))
	}
	return nil
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
