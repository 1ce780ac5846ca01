// Package netns makes network namespaces to run traffic in.
package netns

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"tcpstates/internal/thread"
)

// Namespace is a network namespace with its loopback up. It lives until it is
// closed and nothing of it is in use.
type Namespace struct {
	// Inode names the namespace as the kernel does.
	Inode uint32
	fd    int
}

// New makes a network namespace. It needs CAP_SYS_ADMIN.
func New() (*Namespace, error) {
	n := &Namespace{fd: -1}
	if err := thread.Run(n.make); err != nil {
		n.Close()
		return nil, fmt.Errorf("make a network namespace: %w", err)
	}
	return n, nil
}

func (n *Namespace) make() (err error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	if n.fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(n.fd, &st); err != nil {
		return err
	}
	n.Inode = uint32(st.Ino)
	return LinkUp("lo")
}

// LinkUp does what "ip link set NAME up" does, in the network namespace of the
// thread.
func LinkUp(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}

// Do runs f in the namespace, on a thread of its own, waits for it and returns
// its error. Whatever socket f opens, and whatever process it starts, belongs
// to the namespace; goroutines that f starts do not.
func (n *Namespace) Do(f func() error) error {
	return thread.Run(func() error {
		if err := unix.Setns(n.fd, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the network namespace: %w", err)
		}
		return f()
	})
}

// Path leads to the namespace until it is closed.
func (n *Namespace) Path() string { return "/proc/self/fd/" + strconv.Itoa(n.fd) }

// Close gives the namespace up.
func (n *Namespace) Close() {
	if n.fd >= 0 {
		unix.Close(n.fd)
	}
}
