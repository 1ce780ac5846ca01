package kerneltest

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Scenario is a way for connections to live and end. Run is called on a thread
// in the namespace and returns when every socket that it opened is closed; a
// close that takes the peer's answer may still be under way.
type Scenario struct {
	Name string
	Run  func(t testing.TB, ns *Netns)
}

// Scenarios are the ways that the tests go through.
var Scenarios = []Scenario{
	{"client closes first", func(t testing.TB, _ *Netns) {
		pair(t, "tcp4", "127.0.0.1:0", func(client, server *net.TCPConn) {
			client.Close()
			drain(server)
			server.Close()
		})
	}},
	{"server closes first", func(t testing.TB, _ *Netns) {
		pair(t, "tcp4", "127.0.0.1:0", func(client, server *net.TCPConn) {
			server.Close()
			drain(client)
			client.Close()
		})
	}},
	{"IPv6", func(t testing.TB, _ *Netns) {
		pair(t, "tcp6", "[::1]:0", func(client, server *net.TCPConn) {
			client.Close()
			drain(server)
			server.Close()
		})
	}},
	{"IPv4-mapped", mapped},
	{"simultaneous close", simultaneousClose},
	{"half-close", func(t testing.TB, _ *Netns) {
		pair(t, "tcp4", "127.0.0.1:0", func(client, server *net.TCPConn) {
			client.CloseWrite()
			drain(server)
			server.Write([]byte("still open"))
			server.Close()
			drain(client)
			client.Close()
		})
	}},
	{"shutdown, then close", func(t testing.TB, _ *Netns) {
		pair(t, "tcp4", "127.0.0.1:0", func(client, server *net.TCPConn) {
			client.CloseWrite()
			drain(server)
			client.Close() // FIN_WAIT2>FIN_WAIT2
			server.Close()
		})
	}},
	{"reset by SO_LINGER 0", func(t testing.TB, _ *Netns) {
		pair(t, "tcp4", "127.0.0.1:0", func(client, server *net.TCPConn) {
			client.SetLinger(0)
			client.Close()
			drain(server)
			server.Close()
		})
	}},
	{"reset for unread data", func(t testing.TB, _ *Netns) {
		pair(t, "tcp4", "127.0.0.1:0", func(client, server *net.TCPConn) {
			server.Write([]byte("nobody reads this"))
			client.Close()
			drain(server)
			server.Close()
		})
	}},
	{"refused", refused},
	{"dissolved and connected again", Reconnected},
	{"listener opened and closed", func(t testing.TB, _ *Netns) {
		Listen(t, "tcp4", "127.0.0.1:0").Close()
		Listen(t, "tcp6", "[::1]:0").Close()
	}},
	{"listener without bind", listenerWithoutBind},
	{"listener closed over a child", func(t testing.TB, _ *Netns) {
		l := Listen(t, "tcp4", "127.0.0.1:0")
		client, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			t.Errorf("connect: %v", err)
			return
		}
		l.Close()
		client.Close()
	}},
	{"Go's own listener", func(t testing.TB, _ *Netns) {
		l, err := net.Listen("tcp", "127.0.0.1:0") // MPTCP
		if err != nil {
			t.Errorf("listen: %v", err)
			return
		}
		client, server := Connect(t, l)
		client.Close()
		drain(server)
		server.Close()
		l.Close()
	}},
	{"process killed", func(t testing.TB, ns *Netns) {
		l := Listen(t, "tcp4", "127.0.0.1:0")
		h := StartHelper(t, ns, "victim")
		h.Connect(t, l.Addr())
		server, err := l.AcceptTCP()
		if err != nil {
			t.Errorf("accept: %v", err)
			return
		}
		h.Kill()
		drain(server)
		server.Close()
		l.Close()
	}},
}

// pair hands both ends of a new connection to f and closes the listener after.
func pair(t testing.TB, network, address string, f func(client, server *net.TCPConn)) {
	t.Helper()
	l := Listen(t, network, address)
	client, server := Connect(t, l)
	f(client, server)
	l.Close()
}

// drain reads until the peer has closed or reset the connection.
func drain(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// mapped connects IPv4 to a dual-stack listener, from an IPv4 socket and from
// an IPv6 one.
func mapped(t testing.TB, _ *Netns) {
	l := Listen(t, "tcp", "[::]:0")
	port := l.Addr().(*net.TCPAddr).Port
	c4, err := net.Dial("tcp4", (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}).String())
	if err != nil {
		t.Errorf("connect: %v", err)
		return
	}
	s4, err4 := l.Accept()

	c6, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Errorf("open a socket: %v", err)
		return
	}
	to := unix.SockaddrInet6{Port: port, Addr: [16]byte{10: 0xff, 11: 0xff, 12: 127, 15: 1}}
	if err := unix.Connect(c6, &to); err != nil {
		t.Errorf("connect to a mapped address: %v", err)
		return
	}
	s6, err6 := l.Accept()
	if err := errors.Join(err4, err6); err != nil {
		t.Errorf("accept: %v", err)
		return
	}
	c4.Close()
	drain(s4)
	s4.Close()
	unix.Close(c6)
	drain(s6)
	s6.Close()
	l.Close()
}

// simultaneousClose has both ends send their FIN before they see the other's:
// each FIN waits behind data for which the other has no room. Who then reads
// first sees the peer's FIN while its own is still waiting, and is CLOSING.
func simultaneousClose(t testing.TB, _ *Netns) {
	pair(t, "tcp4", "127.0.0.1:0", func(client, server *net.TCPConn) {
		Fill(t, client)
		Fill(t, server)
		client.CloseWrite()
		server.CloseWrite()
		drain(client)
		drain(server)
		client.Close()
		server.Close()
	})
}

// Fill writes until the peer's window and the own buffer are full.
func Fill(t testing.TB, c *net.TCPConn) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Errorf("fill a connection: %v", err)
		return
	}
	chunk := make([]byte, 64<<10)
	_ = raw.Write(func(fd uintptr) bool {
		for {
			if _, err := unix.Write(int(fd), chunk); err != nil {
				return true // EAGAIN: it is full
			}
		}
	})
}

// refused connects to a port that was a listener's a moment ago.
func refused(t testing.TB, _ *Netns) {
	l := Listen(t, "tcp4", "127.0.0.1:0")
	l.Close()
	c, err := net.Dial("tcp4", l.Addr().String())
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("connect to a closed port: %v", err)
	}
	if err == nil {
		c.Close()
	}
}

// Reconnected lets one socket carry two connections, the second while its old
// local port still stands in the socket.
func Reconnected(t testing.TB, _ *Netns) {
	pair(t, "tcp4", "127.0.0.1:0", func(client, server *net.TCPConn) {
		if err := Disconnect(client); err != nil {
			t.Errorf("dissolve a connection: %v", err)
			return
		}
		drain(server)
		l := Listen(t, "tcp4", "127.0.0.1:0")
		if err := Reconnect(client, l.Addr().(*net.TCPAddr)); err != nil {
			t.Errorf("connect again: %v", err)
			return
		}
		second, err := l.Accept()
		if err != nil {
			t.Errorf("accept: %v", err)
			return
		}
		client.Close()
		drain(second)
		second.Close()
		server.Close()
		l.Close()
	})
}

// Reconnect connects a socket that Disconnect has dissolved.
func Reconnect(c *net.TCPConn, to *net.TCPAddr) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.Connect(int(fd), &unix.SockaddrInet4{Port: to.Port, Addr: [4]byte(to.IP.To4())})
		if errors.Is(failed, unix.EINPROGRESS) { // the socket does not block
			failed = nil
		}
	})
	return errors.Join(err, failed)
}

// listenerWithoutBind gets its port only after it has become a listener, and
// becomes one twice.
func listenerWithoutBind(t testing.TB, _ *Netns) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Errorf("open a socket: %v", err)
		return
	}
	defer unix.Close(fd)
	for range 2 {
		if err := errors.Join(unix.Listen(fd, 1), unix.Shutdown(fd, unix.SHUT_RDWR)); err != nil {
			t.Errorf("listen and shut down: %v", err)
			return
		}
	}
}
