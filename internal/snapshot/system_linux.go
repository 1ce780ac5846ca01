package snapshot

import (
	"errors"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// netnsOf opens the network namespace of another process's socket
// (pidfd_getfd(2), and SIOCGSKNS of include/uapi/linux/sockios.h).
func netnsOf(pid, socket int) (fd int, err error) {
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(process)
	own, err := unix.PidfdGetfd(process, socket, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(own)
	return unix.IoctlRetInt(own, unix.SIOCGSKNS)
}

// setNetns has the thread enter a network namespace.
func setNetns(fd int) error { return unix.Setns(fd, unix.CLONE_NEWNET) }

// dump lists the sockets of a family in the thread's network namespace, TCP's
// or UDP's (sock_diag(7)).
func dump(family uint8, udp bool) ([]*netlink.Socket, error) {
	ask := netlink.SocketDiagTCP
	if udp {
		ask = netlink.SocketDiagUDP
	}
	sockets, err := ask(family)
	if errors.Is(err, netlink.ErrDumpInterrupted) {
		err = nil // where sockets came or went meanwhile, what was told of serves
	}
	return sockets, err
}
