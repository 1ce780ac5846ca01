// Package kerneltest helps tests that run on the real kernel: network
// namespaces of their own, connections of every kind in them, and the kernel's
// own account of what happened.
package kerneltest

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"tcpstates/internal/event"
	"tcpstates/internal/netns"
)

// Require skips the test where it may not trace. In CI nothing is skipped in
// silence: there the test fails.
func Require(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		liftMemlock()
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("kernel tests need root, and CI runs them all")
	}
	t.Skip("kernel tests need root: run sudo make test")
}

// liftMemlock lifts the limit on locked memory, against which maps count before
// Linux 5.11, for the processes to come: those with few capabilities may not do
// it themselves.
func liftMemlock() {
	unlimited := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	// It needs CAP_SYS_RESOURCE, which some machines withhold; on later kernels
	// nothing depends on it.
	_ = unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unlimited)
}

// RequireCommand skips the test where a program is not installed; in CI it
// fails.
func RequireCommand(t testing.TB, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err == nil {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("this test needs %s, and CI runs them all", name)
	}
	t.Skipf("this test needs %s: install it", name)
}

// Emulated tells whether this is one of the machines of test/kernels: they are
// slow, and have all that tests want of a kernel.
func Emulated() bool { return os.Getenv("KERNELTEST_EMULATED") != "" }

// Netns is a network namespace of the test's own, with its loopback up. It
// lives as long as the test.
type Netns struct{ *netns.Namespace }

// NewNetns makes a network namespace.
func NewNetns(t testing.TB) *Netns {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ns.Close)
	return &Netns{ns}
}

// SpreadPackets has the packets of the loopback handled on all CPUs, by
// interrupting whatever runs there (receive packet steering). Otherwise the
// CPU that sends a packet handles it.
func (ns *Netns) SpreadPackets(t testing.TB) {
	t.Helper()
	// The files of the namespace's interfaces show in a sysfs that was mounted
	// inside of it.
	sysfs := t.TempDir()
	ns.Do(t, func() {
		if err := spreadPackets(sysfs); err != nil {
			t.Errorf("spread the packets over the CPUs: %v", err)
		}
	})
}

func spreadPackets(sysfs string) error {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return err
	}
	if err := unix.Mount("sysfs", sysfs, "sysfs", 0, ""); err != nil {
		return err
	}
	defer unix.Unmount(sysfs, 0)
	mask := strconv.FormatUint(1<<runtime.NumCPU()-1, 16)
	return os.WriteFile(filepath.Join(sysfs, "class/net/lo/queues/rx-0/rps_cpus"), []byte(mask), 0)
}

// Do runs f in the namespace and waits for it. Whatever socket f opens, and
// whatever process it starts, belongs to the namespace; goroutines that f
// starts do not.
func (ns *Netns) Do(t testing.TB, f func()) {
	t.Helper()
	err := ns.Namespace.Do(func() error {
		f()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The states of sockets in the tables, as numbers (proc_pid_net(5)).
const (
	timeWait = "06"
	listen   = "0A"
)

// Settle waits until no socket of the namespace is on its way from one state
// to another: all are closed, or in TIME_WAIT.
func (ns *Netns) Settle(t testing.TB) {
	t.Helper()
	ns.settle(t, timeWait)
}

// SettleConnections is Settle where somebody goes on listening.
func (ns *Netns) SettleConnections(t testing.TB) {
	t.Helper()
	ns.settle(t, timeWait, listen)
}

// settle waits until all sockets are in such states.
func (ns *Netns) settle(t testing.TB, states ...string) {
	t.Helper()
	ns.Do(t, func() {
		begin := time.Now()
		for open := socketsBut(t, states); len(open) > 0; open = socketsBut(t, states) {
			if time.Since(begin) > settleLimit {
				t.Errorf("sockets are still open after %v:\n%s", settleLimit, strings.Join(open, ""))
				return
			}
			runtime.Gosched()
		}
	})
	// A socket leaves the tables a moment before its last transition. That
	// happens with interrupts by softirqs held off, for whose end an RCU grace
	// period waits (membarrier(2), MEMBARRIER_CMD_GLOBAL).
	if _, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, 1, 0, 0); errno != 0 {
		t.Fatalf("wait for a grace period: %v", errno)
	}
}

// CountTimeWait counts the sockets of the namespace in TIME_WAIT
// (proc_pid_net(5)).
func (ns *Netns) CountTimeWait(t testing.TB) (n int) {
	t.Helper()
	ns.Do(t, func() {
		table, err := os.ReadFile("/proc/thread-self/net/sockstat")
		if err != nil {
			t.Errorf("read the counts of sockets: %v", err)
		}
		fields := strings.Fields(string(table))
		for i, word := range fields[:max(0, len(fields)-1)] {
			if word == "tw" {
				n, _ = strconv.Atoi(fields[i+1])
			}
		}
	})
	return n
}

// settleLimit is far more than any scenario takes.
const settleLimit = 20 * time.Second

// socketsBut are the lines of the tables on all sockets but those in the given states,
// which the fourth column has.
func socketsBut(t testing.TB, states []string) (open []string) {
	for _, name := range []string{"tcp", "tcp6"} {
		table, err := os.ReadFile("/proc/thread-self/net/" + name)
		if err != nil {
			t.Errorf("read the table of sockets: %v", err)
			return nil
		}
		_, sockets, _ := strings.Cut(string(table), "\n")
		for socket := range strings.Lines(sockets) {
			if fields := strings.Fields(socket); len(fields) > 3 && !slices.Contains(states, fields[3]) {
				open = append(open, socket)
			}
		}
	}
	return open
}

// Listen opens a plain TCP listener: Go's net.Listen alone would make an MPTCP
// one.
func Listen(t testing.TB, network, address string) *net.TCPListener {
	t.Helper()
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	l, err := config.Listen(t.Context(), network, address)
	if err != nil {
		t.Errorf("listen on %s: %v", address, err)
		runtime.Goexit()
	}
	return l.(*net.TCPListener)
}

// ListenReusing is Listen at an IPv4 address that others may listen at, too
// (SO_REUSEPORT, socket(7)).
func ListenReusing(t testing.TB, address string) *net.TCPListener {
	t.Helper()
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		controlErr := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
		return errors.Join(err, controlErr)
	}}
	config.SetMultipathTCP(false)
	l, err := config.Listen(t.Context(), "tcp4", address)
	if err != nil {
		t.Errorf("listen on %s: %v", address, err)
		runtime.Goexit()
	}
	return l.(*net.TCPListener)
}

// Connect opens a connection to the listener and accepts it there.
func Connect(t testing.TB, l net.Listener) (client, server *net.TCPConn) {
	t.Helper()
	c, err := net.Dial(l.Addr().Network(), l.Addr().String())
	if err != nil {
		t.Errorf("connect to %s: %v", l.Addr(), err)
		runtime.Goexit()
	}
	s, err := l.Accept()
	if err != nil {
		t.Errorf("accept at %s: %v", l.Addr(), err)
		runtime.Goexit()
	}
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

// Disconnect dissolves the association of a socket, as connect(2) describes it
// for AF_UNSPEC.
func Disconnect(c *net.TCPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = DisconnectFD(int(fd)) })
	return errors.Join(err, failed)
}

// DisconnectFD is Disconnect for a descriptor.
func DisconnectFD(fd int) error {
	address := unix.RawSockaddr{Family: unix.AF_UNSPEC}
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&address)), unsafe.Sizeof(address))
	if errno != 0 {
		return errno
	}
	return nil
}

// Cookie is the socket's cookie, as the kernel tells the process that has it
// (SO_COOKIE, socket(7)).
func Cookie(t testing.TB, c *net.TCPConn) (cookie uint64) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Errorf("ask for a socket's cookie: %v", err)
		return 0
	}
	controlErr := raw.Control(func(fd uintptr) {
		cookie, err = unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_COOKIE)
	})
	if err := errors.Join(err, controlErr); err != nil {
		t.Errorf("ask for a socket's cookie: %v", err)
	}
	return cookie
}

// AwaitState waits until the socket is in the state, as the kernel tells the
// process that has it (TCP_INFO, tcp(7)).
func AwaitState(t testing.TB, c *net.TCPConn, state event.State) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Errorf("ask for a socket's state: %v", err)
		return
	}
	for begin := time.Now(); ; runtime.Gosched() {
		var info *unix.TCPInfo
		controlErr := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.SOL_TCP, unix.TCP_INFO) })
		switch {
		case errors.Join(err, controlErr) != nil:
			t.Errorf("ask for a socket's state: %v", errors.Join(err, controlErr))
			return
		case event.State(info.State) == state:
			return
		case time.Since(begin) > settleLimit:
			t.Errorf("a socket is in %v, not in %v, after %v", event.State(info.State), state, settleLimit)
			return
		}
	}
}

// PortAtConnect makes a dialer's socket take the given local port, but only
// when it connects (IP_LOCAL_PORT_RANGE, ip(7)): until then it has none.
func PortAtConnect(port int) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var err error
		controlErr := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_LOCAL_PORT_RANGE, port<<16|port)
		})
		return errors.Join(err, controlErr)
	}
}

// OpenFiles is how many files the process has open, after closing those that
// nobody refers to any more.
func OpenFiles(t testing.TB) int {
	t.Helper()
	runtime.GC()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
