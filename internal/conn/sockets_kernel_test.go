//go:build linux

package conn_test

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpstates/internal/kerneltest"
)

// pair hands both ends of a new connection to f, in the namespace, and closes
// the listener after.
func pair(t *testing.T, ns *kerneltest.Netns, f func(client, server *net.TCPConn)) {
	t.Helper()
	ns.Do(t, func() {
		l := kerneltest.Listen(t, "tcp4", "127.0.0.1:0")
		client, server := kerneltest.Connect(t, l)
		f(client, server)
		l.Close()
	})
}

// drain reads to the peer's FIN.
func drain(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// wait waits until the connection is broken.
func wait(c *net.TCPConn) {
	_ = poll(c, 0) // what it was broken by is for the trace to tell
}

// awaitReadable waits until there is something to read.
func awaitReadable(t *testing.T, c *net.TCPConn) {
	t.Helper()
	if err := poll(c, unix.POLLIN); err != nil {
		t.Errorf("wait for data: %v", err)
	}
}

// poll waits for the events, and for the connection to break.
func poll(c *net.TCPConn, events int16) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var n int
	var pollErr error
	err = raw.Read(func(fd uintptr) bool {
		for n, pollErr = 0, unix.EINTR; pollErr == unix.EINTR; {
			n, pollErr = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: events}}, int(patience/time.Millisecond))
		}
		return true
	})
	if n == 0 && pollErr == nil {
		pollErr = os.ErrDeadlineExceeded
	}
	return errors.Join(err, pollErr)
}

func portOf(c *net.TCPConn) int { return c.LocalAddr().(*net.TCPAddr).Port }

// option sets an option of a dialer's socket before it connects.
func option(option, value int) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) (err error) {
		controlErr := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, option, value)
		})
		if controlErr != nil {
			return controlErr
		}
		return err
	}
}

// dial connects, and expects that to end with the error.
func dial(t *testing.T, address string, want error, control ...func(network, address string, c syscall.RawConn) error) *net.TCPConn {
	t.Helper()
	d := net.Dialer{KeepAlive: -1}
	d.SetMultipathTCP(false)
	for _, c := range control {
		d.Control = c
	}
	c, err := d.Dial("tcp4", address)
	if !isError(err, want) {
		t.Errorf("connect to %s: got %v, want %v", address, err, want)
	}
	if err != nil {
		return nil
	}
	return c.(*net.TCPConn)
}

func isError(err, want error) bool {
	if want == nil {
		return err == nil
	}
	return err != nil && strings.Contains(err.Error(), want.Error())
}

// cutOff sends data into a wire that has just been cut, and waits for the end
// of the connection.
func cutOff(t *testing.T, ns *kerneltest.Netns, prepare func(client *net.TCPConn)) {
	t.Helper()
	pair(t, ns, func(client, server *net.TCPConn) {
		prepare(client)
		ns.Filter(t, "tcp dport 0-65535 drop")
		client.Write([]byte("into the void"))
		wait(client)
		client.Close()
		ns.Run(t, "", "ss", "-K", "-t", "state", "established")
		server.Close()
	})
}

// connectBlocking connects to the port 9 of the loopback and waits for the
// outcome, where Go's own sockets never wait.
func connectBlocking(t *testing.T, want error) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Error(err)
		return
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{127, 0, 0, 1}}); err != want {
		t.Errorf("connect: got %v, want %v", err, want)
	}
}

// connectInVain has a socket on its way to an address that does not answer.
func connectInVain(t *testing.T, ns *kerneltest.Netns, f func(fd int)) {
	t.Helper()
	ns.Filter(t, "tcp dport 9 drop")
	ns.Do(t, func() {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Error(err)
			return
		}
		if err := unix.Connect(fd, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{127, 0, 0, 1}}); err != unix.EINPROGRESS {
			t.Errorf("connect: %v", err)
		}
		f(fd)
	})
}
