package main

import (
	"bytes"
	"net/netip"
	"strconv"
	"time"

	"tcpstates/internal/traffic"
)

// line is what a line of a tracer's output says of a transition, in its own words.
type line struct {
	laddr, lport, raddr, rport []byte
	oldState, newState         []byte
	lasted                     []byte // in the old state
	role                       []byte // of the socket; empty where the tracer does not say
}

// parser finds what a line says: false if it tells of no transition.
type parser func(raw []byte) (line, bool)

// parseArrow reads lines that have "LADDR LPORT RADDR RPORT OLD -> NEW LASTED"
// somewhere, as all tables of this kind do: what stands before may hold spaces.
func parseArrow(raw []byte) (l line, ok bool) {
	before, after, found := bytes.Cut(raw, []byte(" -> "))
	if !found {
		return line{}, false
	}
	for _, word := range []*[]byte{&l.oldState, &l.rport, &l.raddr, &l.lport, &l.laddr} {
		before = bytes.TrimRight(before, " ")
		begin := bytes.LastIndexByte(before, ' ') + 1
		*word, before = before[begin:], before[:begin]
	}
	for _, word := range []*[]byte{&l.newState, &l.lasted} {
		after = bytes.TrimLeft(after, " ")
		end := bytes.IndexAny(after, " \n")
		if end < 0 {
			end = len(after)
		}
		*word, after = after[:end], after[end:]
	}
	return l, len(l.laddr) > 0 && isState(l.oldState) && isState(l.newState)
}

// parseJSON reads objects of tcpstates. Their values of other processes' making
// are escaped, so that no quote in them ends a value.
func parseJSON(raw []byte) (l line, ok bool) {
	if !bytes.HasPrefix(raw, []byte(`{"type":"transition"`)) {
		return line{}, false
	}
	return line{
		laddr: value(raw, `"laddr":"`), lport: value(raw, `"lport":`),
		raddr: value(raw, `"raddr":"`), rport: value(raw, `"rport":`),
		oldState: value(raw, `"oldstate":"`), newState: value(raw, `"newstate":"`),
		lasted: value(raw, `"ms":`),
	}, true
}

// value is what stands behind a name in an object: nil if that is not there.
func value(raw []byte, name string) []byte {
	_, rest, found := bytes.Cut(raw, []byte(name))
	if !found {
		return nil
	}
	return rest[:max(0, bytes.IndexAny(rest, `",}`))]
}

// soakColumns are what the soak asks of tcpstates: the few that it needs.
const soakColumns = "role,laddr,lport,raddr,rport,oldstate,newstate,ms"

// parseCSV reads lines of soakColumns.
func parseCSV(raw []byte) (l line, ok bool) {
	rest := bytes.TrimRight(raw, "\r\n")
	for _, word := range []*[]byte{&l.role, &l.laddr, &l.lport, &l.raddr, &l.rport, &l.oldState, &l.newState} {
		var found bool
		if *word, rest, found = bytes.Cut(rest, []byte(",")); !found {
			return line{}, false
		}
	}
	l.lasted = rest
	return l, isState(l.oldState) && isState(l.newState)
}

// parseNumbers reads the lines of the bpftrace program, whose states are the
// kernel's numbers and whose times are microseconds.
func parseNumbers(raw []byte) (line, bool) {
	l, ok := parseArrow(raw)
	if ok {
		l.oldState, l.newState = stateNames[string(l.oldState)], stateNames[string(l.newState)]
	}
	return l, ok
}

// stateNames are by the numbers of include/net/tcp_states.h.
var stateNames = map[string][]byte{
	"1": []byte("ESTABLISHED"), "2": []byte("SYN_SENT"), "3": []byte("SYN_RECV"), "4": []byte("FIN_WAIT1"),
	"5": []byte("FIN_WAIT2"), "6": []byte("TIME_WAIT"), "7": []byte("CLOSE"), "8": []byte("CLOSE_WAIT"),
	"9": []byte("LAST_ACK"), "10": []byte("LISTEN"), "11": []byte("CLOSING"),
}

// isState tells a state, by its name or its number, from other words.
func isState(word []byte) bool {
	if stateNames[string(word)] != nil {
		return true
	}
	for _, name := range stateNames {
		if bytes.Equal(word, name) {
			return true
		}
	}
	return false
}

// happened tells whether the tracepoint has told of the line's transition, and
// whether it was one of the load's connections: TIME_WAIT is not told of, what
// is set anew is no change, and listeners are counted apart.
func (l *line) happened(ipv6 bool) bool {
	return (isOfLoad(l.laddr, ipv6) || isOfLoad(l.raddr, ipv6)) &&
		!bytes.Equal(l.oldState, l.newState) && string(l.oldState) != "TIME_WAIT" && !l.isOfListener()
}

func (l *line) isOfListener() bool {
	return string(l.newState) == "LISTEN" || string(l.oldState) == "LISTEN" && string(l.newState) == "CLOSE"
}

// networkPrefix is how addresses of the load's network begin, as text.
var networkPrefix = func() []byte {
	base := traffic.Network.Addr().As4()
	return []byte(strconv.Itoa(int(base[0])) + "." + strconv.Itoa(int(base[1])) + ".")
}()

func isOfLoad(addr []byte, ipv6 bool) bool {
	if ipv6 {
		return string(addr) == "::1"
	}
	return bytes.HasPrefix(addr, networkPrefix)
}

// ends are a connection's, as one of its sockets has them.
type ends struct{ local, remote netip.AddrPort }

// established gives the ends of a socket that leaves ESTABLISHED, and how long it
// was in it, in the given unit: negative if the line does not say.
func (l *line) established(unit time.Duration) (e ends, lasted time.Duration, ok bool) {
	if string(l.oldState) != "ESTABLISHED" || string(l.newState) == "ESTABLISHED" {
		return ends{}, 0, false
	}
	var localOK, remoteOK bool
	e.local, localOK = end(l.laddr, l.lport)
	e.remote, remoteOK = end(l.raddr, l.rport)
	units, err := strconv.ParseFloat(string(l.lasted), 64)
	if err != nil {
		units = -1
	}
	return e, time.Duration(units * float64(unit)), localOK && remoteOK
}

func end(addr, port []byte) (netip.AddrPort, bool) {
	a, addrErr := netip.ParseAddr(string(addr))
	p, portErr := strconv.ParseUint(string(port), 10, 16)
	return netip.AddrPortFrom(a, uint16(p)), addrErr == nil && portErr == nil
}
