package kerneltest

import (
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// brief is a process that lives for a connection alone: forked without a program of its
// own, which would take longer to begin than all else that it does.
type brief struct {
	address unix.RawSockaddrInet4
	// It connects when nobody has the gate's second end open any more.
	gate [2]int
	// daemon says that a child of it does, in a session of its own, after it has ended.
	daemon bool
}

// ForkBriefly has the calling process fork n processes at once, each of which connects
// to an IPv4 address when all are there, and ends with the connection open. It waits
// for their ends.
func ForkBriefly(n int, address string) (pids []uint32, err error) {
	return forkAll(n, address, false)
}

// forkDaemon is ForkBriefly of one process that leaves all to a child of its own. It
// does not wait for that one.
func forkDaemon(address string) error {
	_, err := forkAll(1, address, true)
	return err
}

func forkAll(n int, address string, daemon bool) (pids []uint32, err error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	b := brief{daemon: daemon}
	b.address.Family = unix.AF_INET
	b.address.Addr = to.Addr().As4()
	port := (*[2]byte)(unsafe.Pointer(&b.address.Port))
	port[0], port[1] = byte(to.Port()>>8), byte(to.Port())
	if err := unix.Pipe2(b.gate[:], unix.O_CLOEXEC); err != nil {
		return nil, err
	}
	for range n {
		pid, errno := b.fork()
		if errno != 0 {
			err = fmt.Errorf("fork: %w", errno)
			break
		}
		pids = append(pids, uint32(pid))
	}
	for _, end := range b.gate {
		_ = unix.Close(end)
	}
	for _, pid := range pids {
		var status unix.WaitStatus
		if _, waitErr := unix.Wait4(int(pid), &status, 0, nil); waitErr != nil || status != 0 {
			err = fmt.Errorf("the process %d ended with %#x, %v", pid, status, waitErr)
		}
	}
	return pids, err
}

// fork forks the process. It has this thread alone, a copy of the memory and nobody to
// schedule or grow anything: what it runs are system calls, as in syscall.forkExec.
//
//go:noinline
//go:norace
//go:nosplit
func (b *brief) fork() (pid uintptr, errno unix.Errno) {
	pid, _, errno = unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if pid != 0 || errno != 0 {
		return pid, errno
	}
	if b.daemon {
		unix.RawSyscall(unix.SYS_SETSID, 0, 0, 0)
		pid, _, errno = unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		if pid != 0 || errno != 0 {
			unix.RawSyscall(unix.SYS_EXIT_GROUP, uintptr(errno), 0, 0)
		}
	}
	var nothing byte
	unix.RawSyscall(unix.SYS_CLOSE, uintptr(b.gate[1]), 0, 0)
	unix.RawSyscall(unix.SYS_READ, uintptr(b.gate[0]), uintptr(unsafe.Pointer(&nothing)), 1)
	socket, _, errno := unix.RawSyscall(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM, 0)
	if errno == 0 {
		_, _, errno = unix.RawSyscall(unix.SYS_CONNECT, socket, uintptr(unsafe.Pointer(&b.address)), unsafe.Sizeof(b.address))
	}
	for {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, uintptr(errno), 0, 0)
	}
}
