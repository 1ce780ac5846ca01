package kerneltest

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// Held are connections that stay open.
type Held struct{ fds []int }

// Hold opens so many connections in the namespace, and keeps both ends and the
// listener.
func Hold(t testing.TB, ns *Netns, connections int) *Held {
	t.Helper()
	h := &Held{}
	t.Cleanup(h.Close)
	ns.Do(t, func() {
		if err := h.open(connections); err != nil {
			t.Errorf("hold %d connections: %v", connections, err)
		}
	})
	return h
}

func (h *Held) open(connections int) error {
	listener, to, err := listenAnywhere()
	if err != nil {
		return err
	}
	h.fds = append(h.fds, listener)
	for range connections {
		client, server, err := connectTo(listener, to)
		if err != nil {
			return err
		}
		h.fds = append(h.fds, client, server)
	}
	return nil
}

// Close closes all. It may be called more than once.
func (h *Held) Close() {
	for _, fd := range h.fds {
		unix.Close(fd)
	}
	h.fds = nil
}

// listenAnywhere opens a listener on all addresses, and gives the loopback's.
func listenAnywhere() (listener int, to *unix.SockaddrInet4, err error) {
	listener, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, nil, err
	}
	err = errors.Join(unix.Bind(listener, &unix.SockaddrInet4{}), unix.Listen(listener, 16))
	name, nameErr := unix.Getsockname(listener)
	if err := errors.Join(err, nameErr); err != nil {
		unix.Close(listener)
		return -1, nil, err
	}
	return listener, &unix.SockaddrInet4{Port: name.(*unix.SockaddrInet4).Port, Addr: [4]byte{127, 0, 0, 1}}, nil
}

// connectTo opens a connection and accepts it at the listener.
func connectTo(listener int, to *unix.SockaddrInet4) (client, server int, err error) {
	client, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, -1, err
	}
	if err = unix.Connect(client, to); err == nil {
		server, _, err = unix.Accept4(listener, unix.SOCK_CLOEXEC)
	}
	if err != nil {
		unix.Close(client)
		return -1, -1, err
	}
	return client, server, nil
}
