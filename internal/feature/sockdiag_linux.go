package feature

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// trySockDiag asks for the TCP sockets that are in none of the states
// (sock_diag(7)): the answer is the end of a list, or an error.
func trySockDiag() error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return err
	}
	defer unix.Close(fd)

	const inetDiagReqV2 = 56 // the size of the structure
	request := make([]byte, unix.NLMSG_HDRLEN, unix.NLMSG_HDRLEN+inetDiagReqV2)
	binary.NativeEndian.PutUint32(request[0:], uint32(cap(request)))
	binary.NativeEndian.PutUint16(request[4:], unix.SOCK_DIAG_BY_FAMILY)
	binary.NativeEndian.PutUint16(request[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	request = request[:cap(request)]
	request[unix.NLMSG_HDRLEN] = unix.AF_INET
	request[unix.NLMSG_HDRLEN+1] = unix.IPPROTO_TCP
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}

	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return err
	}
	if n < unix.NLMSG_HDRLEN+4 {
		return fmt.Errorf("an answer of %d bytes", n)
	}
	// Both kinds of end begin with an error number, zero if there is none.
	errno := -int32(binary.NativeEndian.Uint32(answer[unix.NLMSG_HDRLEN:]))
	switch kind := binary.NativeEndian.Uint16(answer[4:]); {
	case kind != unix.NLMSG_DONE && kind != unix.NLMSG_ERROR:
		return fmt.Errorf("an answer of type %d", kind)
	case errno != 0:
		return unix.Errno(errno)
	}
	return nil
}
