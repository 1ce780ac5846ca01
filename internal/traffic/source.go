// Package traffic opens and closes TCP connections on the loopback of the
// network namespace that its caller is in, with few system calls and nothing
// between them, so that a tracer shows in what they cost.
package traffic

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// perDestination is how many connections go to one address and port in a
	// row: each has only as many client ports (ip_local_port_range), of which
	// connect() finds the first half fast, and TIME_WAIT keeps them for a while.
	perDestination = 4096
	// maxListeners bounds the ports that a Source listens on. Loopback connections
	// take over ports from TIME_WAIT after a second (tcp_tw_reuse), so they
	// suffice for any rate.
	maxListeners = 64
)

// Network is where the destinations of IPv4 lie: addresses that nobody else uses.
var Network = netip.MustParsePrefix("127.77.0.0/16")

// Source opens connections to its own listeners, all of which and their clients
// belong to the thread's network namespace. It is not for concurrent use.
type Source struct {
	ipv6      bool
	listeners []listener
	opened    int
}

// listener is a socket that listens on all addresses.
type listener struct{ fd, port int }

// NewSource makes a source of connections over IPv4, or over IPv6.
func NewSource(ipv6 bool) (*Source, error) {
	s := &Source{ipv6: ipv6}
	return s, s.listen()
}

// Listeners counts the listeners that were opened so far.
func (s *Source) Listeners() int { return len(s.listeners) }

// listen opens one more listener.
func (s *Source) listen() error {
	family, anywhere := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{})
	if s.ipv6 {
		family, anywhere = unix.AF_INET6, &unix.SockaddrInet6{}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a listener: %w", err)
	}
	err = errors.Join(unix.Bind(fd, anywhere), unix.Listen(fd, 16))
	name, nameErr := unix.Getsockname(fd)
	if err := errors.Join(err, nameErr); err != nil {
		unix.Close(fd)
		return fmt.Errorf("open a listener: %w", err)
	}
	s.listeners = append(s.listeners, listener{fd, int(addrPort(name).Port())})
	return nil
}

// next is the listener of the next connection, and the address it has there.
// IPv4 has as many addresses of the loopback as one wants; IPv6 has one, and
// takes more ports.
func (s *Source) next() (listener, unix.Sockaddr, error) {
	n := s.opened / perDestination
	s.opened++
	if !s.ipv6 {
		l, base := s.listeners[0], Network.Addr().As4()
		return l, &unix.SockaddrInet4{Port: l.port, Addr: [4]byte{base[0], base[1], byte(n >> 8), byte(n)}}, nil
	}
	n %= maxListeners
	if n == len(s.listeners) {
		if err := s.listen(); err != nil {
			return listener{}, nil, err
		}
	}
	return s.listeners[n], &unix.SockaddrInet6{Port: s.listeners[n].port, Addr: netip.IPv6Loopback().As16()}, nil
}

// Open opens a connection and accepts it.
func (s *Source) Open() (Conn, error) {
	c := Conn{number: s.opened}
	l, to, err := s.next()
	if err != nil {
		return c, err
	}
	family := unix.AF_INET
	if s.ipv6 {
		family = unix.AF_INET6
	}
	if c.client, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return c, fmt.Errorf("open a socket: %w", err)
	}
	c.connecting = time.Now()
	err = unix.Connect(c.client, to)
	c.connected = time.Now()
	var from unix.Sockaddr
	if err == nil {
		c.server, from, err = unix.Accept4(l.fd, unix.SOCK_CLOEXEC)
	}
	if err != nil {
		unix.Close(c.client)
		return c, fmt.Errorf("open connection %d to its own listener: %w", c.number+1, err)
	}
	c.local, c.remote = addrPort(from), addrPort(to)
	return c, nil
}

// Close closes the listeners.
func (s *Source) Close() (err error) {
	for _, l := range s.listeners {
		err = errors.Join(err, unix.Close(l.fd))
	}
	s.listeners = nil
	return err
}

func addrPort(name unix.Sockaddr) netip.AddrPort {
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(name.Addr), uint16(name.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(name.Addr), uint16(name.Port))
	}
	return netip.AddrPort{}
}
