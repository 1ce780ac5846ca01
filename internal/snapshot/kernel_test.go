package snapshot

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tcpstates/internal/event"
	"tcpstates/internal/kerneltest"
)

func TestMain(m *testing.M) {
	kerneltest.Main()
	os.Exit(m.Run())
}

// line is what ss and the list say of a socket, in common words.
type line struct {
	state         event.State
	recvQ, sendQ  uint64
	local, remote string
}

// parseSS reads the output of "ss -anpH" with the sockets' processes.
func parseSS(t *testing.T, text string) map[line][]string {
	t.Helper()
	sockets := map[line][]string{}
	for row := range strings.Lines(text) {
		fields := strings.Fields(row)
		if len(fields) < 5 {
			t.Fatalf("ss says %q", row)
		}
		state, known := event.ParseState(fields[0])
		if !known {
			t.Fatalf("ss says the state %q", fields[0])
		}
		recvQ, err1 := strconv.ParseUint(fields[1], 10, 32)
		sendQ, err2 := strconv.ParseUint(fields[2], 10, 32)
		if err1 != nil || err2 != nil {
			t.Fatalf("ss says %q", row)
		}
		pids := []string{}
		for _, match := range pidOfSS.FindAllStringSubmatch(row, -1) {
			pids = append(pids, match[1])
		}
		l := line{state, recvQ, sendQ, fields[3], fields[4]}
		if _, twice := sockets[l]; twice {
			t.Fatalf("ss says %q twice", row)
		}
		sockets[l] = pids
	}
	return sockets
}

var pidOfSS = regexp.MustCompile(`pid=(\d+),`)

// endOfSS writes an end as ss does: with a star for no port, and for the
// address of a dual-stack socket that has none.
func endOfSS(end netip.AddrPort) string {
	port := "*"
	if end.Port() != 0 {
		port = strconv.Itoa(int(end.Port()))
	}
	addr := end.Addr().String()
	if end.Addr().Is6() {
		addr = "[" + addr + "]"
	}
	return addr + ":" + port
}

// dualStack is how ss writes the ends of a dual-stack socket without address.
var dualStack = strings.NewReplacer("[::]:", "*:")

// requireAsSS compares the list with what ss prints in the namespace.
func requireAsSS(t *testing.T, ns *kerneltest.Netns, o ListOptions, flags string) []event.Event {
	t.Helper()
	kerneltest.RequireCommand(t, "ss")
	var text []byte
	var err error
	ns.Do(t, func() { text, err = exec.Command("ss", "-anpH", flags).Output() })
	if err != nil {
		t.Fatalf("ss (of iproute2): %v", err)
	}
	want := parseSS(t, string(text))
	o.Netns = uint64(ns.Inode)
	listing, err := List(o)
	if err != nil {
		t.Fatal(err)
	}
	if listing.OwnersErr != nil {
		t.Errorf("owners: %v", listing.OwnersErr)
	}
	for _, e := range listing.Sockets {
		l := line{e.NewState, uint64(e.RecvQ), uint64(e.SendQ), endOfSS(e.Local), endOfSS(e.Remote)}
		pids, found := want[l]
		if !found {
			l.local, l.remote = dualStack.Replace(l.local), dualStack.Replace(l.remote)
			pids, found = want[l]
		}
		switch {
		case !found:
			t.Errorf("ss does not list %+v", l)
		case len(pids) == 0 && e.Owner.PID != 0:
			t.Errorf("%+v: owner %d, where ss knows none", l, e.Owner.PID)
		case len(pids) > 0 && !slices.Contains(pids, fmt.Sprint(e.Owner.PID)):
			t.Errorf("%+v: owner %d, where ss knows %v", l, e.Owner.PID, pids)
		}
		delete(want, l)
	}
	for l := range want {
		t.Errorf("ss lists %+v, and the list does not", l)
	}
	return listing.Sockets
}

// TestListAgreesWithSS makes a socket in every state that one can stay in.
func TestListAgreesWithSS(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	helper := kerneltest.StartHelper(t, ns, "the-client")
	ns.Do(t, func() { everyState(t, helper) })
	sockets := requireAsSS(t, ns, ListOptions{}, "-t")

	states := map[event.State]int{}
	for _, e := range sockets {
		states[e.NewState]++
		if timeWait := e.NewState == event.TimeWait; timeWait != (e.Left > 0) {
			t.Errorf("%v: %v left", e.NewState, e.Left)
		}
		if e.Cookie == 0 || e.Kind != event.KindSocket || e.Datagram {
			t.Errorf("%+v", e)
		}
	}
	for _, state := range []event.State{event.Listen, event.Established, event.SynSent, event.SynRecv,
		event.FinWait1, event.FinWait2, event.CloseWait, event.LastAck, event.Closing, event.TimeWait} {
		if states[state] == 0 {
			t.Errorf("no socket is in %v: %v", state, states)
		}
	}
}

// everyState leaves sockets behind, in all states that do not pass by
// themselves; the test's end closes them.
func everyState(t *testing.T, helper *kerneltest.Helper) {
	keep := func(c interface{ Close() error }) { t.Cleanup(func() { c.Close() }) }

	l := kerneltest.Listen(t, "tcp4", "127.0.0.1:0")
	keep(l)
	client, server := kerneltest.Connect(t, l) // ESTABLISHED, with bytes in both queues
	keep(client)
	keep(server)
	client.Write([]byte("unread"))

	half, peer := kerneltest.Connect(t, l) // FIN_WAIT2 and CLOSE_WAIT
	keep(half)
	keep(peer)
	half.CloseWrite()

	full, stuck := kerneltest.Connect(t, l) // FIN_WAIT1: its FIN waits behind data
	keep(full)
	keep(stuck)
	full.SetWriteBuffer(4096) // so that it fills at once, and nothing moves any more
	stuck.SetReadBuffer(2048)
	kerneltest.Fill(t, full)
	full.CloseWrite()

	left, right := kerneltest.Connect(t, l) // LAST_ACK: its FIN waits, the peer's has come
	keep(left)
	right.SetWriteBuffer(4096)
	left.SetReadBuffer(2048)
	left.CloseWrite()
	kerneltest.Fill(t, right)
	right.Close()

	one, other := kerneltest.Connect(t, l) // CLOSING: the FINs crossed, and one waits
	keep(one)
	keep(other)
	for _, end := range []*net.TCPConn{one, other} {
		end.SetWriteBuffer(4096)
		end.SetReadBuffer(2048)
	}
	kerneltest.Fill(t, one)
	one.CloseWrite()
	other.CloseWrite()
	io.Copy(io.Discard, one)

	first, second := kerneltest.Connect(t, l) // TIME_WAIT
	first.Close()
	second.Close()

	helper.Connect(t, l.Addr()) // another process's, not accepted yet

	// A listener that takes one, the second of which stays in SYN_SENT.
	small := kerneltest.Listen(t, "tcp4", "127.0.0.1:0")
	keep(small)
	raw, err := small.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { err = unix.Listen(int(fd), 0) })
	if err != nil {
		t.Errorf("listen: %v", err)
	}
	for range 2 {
		connectWithoutWaiting(t, "127.0.0.1", small.Addr())
	}

	// SYN_RECV: the request waits for data, which does not come.
	defers := kerneltest.Listen(t, "tcp6", "[::1]:0")
	keep(defers)
	raw, err = defers.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 60) })
	if err != nil {
		t.Errorf("defer accepting: %v", err)
	}
	connectWithoutWaiting(t, "::1", defers.Addr())
}

// connectWithoutWaiting leaves a socket that connects, or has connected.
func connectWithoutWaiting(t *testing.T, host string, to net.Addr) {
	t.Helper()
	end := to.(*net.TCPAddr).AddrPort()
	family, address := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: int(end.Port()), Addr: [4]byte{127, 0, 0, 1}})
	if host == "::1" {
		family, address = unix.AF_INET6, &unix.SockaddrInet6{Port: int(end.Port()), Addr: [16]byte{15: 1}}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Errorf("open a socket: %v", err)
		return
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Connect(fd, address); err != nil && err != unix.EINPROGRESS {
		t.Errorf("connect: %v", err)
	}
}

func TestListOfUDPAgreesWithSS(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	kerneltest.StartHelper(t, ns, "a-process")
	ns.Do(t, func() {
		for _, address := range []string{"127.0.0.1:0", "[::1]:0", ":0"} {
			server, err := net.ListenPacket("udp", address)
			if err != nil {
				t.Errorf("open a socket: %v", err)
				return
			}
			t.Cleanup(func() { server.Close() })
			if address == ":0" {
				continue
			}
			client, err := net.Dial("udp", server.LocalAddr().String())
			if err != nil {
				t.Errorf("connect: %v", err)
				return
			}
			t.Cleanup(func() { client.Close() })
			fmt.Fprint(client, "unread")
		}
	})
	sockets := requireAsSS(t, ns, ListOptions{UDP: true}, "-u")
	if len(sockets) != 5 {
		t.Errorf("%d sockets, want 5", len(sockets))
	}
	for _, e := range sockets {
		if !e.Datagram || e.Owner.PID != uint32(os.Getpid()) {
			t.Errorf("%+v", e)
		}
	}
}

// TestOwnersFromProc compares the two ways to know the owners.
func TestOwnersFromProc(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	helper := kerneltest.StartHelper(t, ns, "the-client")
	ns.Do(t, func() {
		l := kerneltest.Listen(t, "tcp4", "127.0.0.1:0")
		t.Cleanup(func() { l.Close() })
		helper.Connect(t, l.Addr())
		var byProc Listing
		spaces, _ := namespaces()
		if err := byProc.add(ListOptions{}, spaces.all[0], owners{byInode: processOwners()}); err != nil {
			t.Errorf("list: %v", err)
		}
		byWalk, err := List(ListOptions{Netns: uint64(ns.Inode)})
		if err != nil {
			t.Errorf("list: %v", err)
		}
		want := map[uint64]event.Process{}
		for _, e := range byWalk.Sockets {
			want[e.Cookie] = e.Owner.Process
		}
		if len(byProc.Sockets) != 3 || len(want) != 3 {
			t.Errorf("%d and %d sockets, want 3", len(byProc.Sockets), len(want))
		}
		for _, e := range byProc.Sockets {
			if e.Owner.Process != want[e.Cookie] {
				t.Errorf("%v: owner %v by /proc, %v by the walk", endOfSS(e.Local), e.Owner.Process, want[e.Cookie])
			}
		}
	})
}

func TestListOfANamespaceThatIsNot(t *testing.T) {
	if _, err := List(ListOptions{Netns: 7}); err == nil || !strings.Contains(err.Error(), "no network namespace 7") {
		t.Errorf("got %v", err)
	}
}

// TestNamespaceThatNobodyIsIn has a process keep a socket of a namespace that
// it has left.
func TestNamespaceThatNobodyIsIn(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	var port uint16
	ns.Do(t, func() {
		l := kerneltest.Listen(t, "tcp4", "127.0.0.1:0")
		t.Cleanup(func() { l.Close() })
		port = l.Addr().(*net.TCPAddr).AddrPort().Port()
		connectWithoutWaiting(t, "127.0.0.1", l.Addr()) // its other end has no file
	})
	before := kerneltest.OpenFiles(t)
	listing, err := List(ListOptions{Netns: uint64(ns.Inode)})
	if err != nil {
		t.Fatal(err)
	}
	if len(listing.Sockets) != 3 {
		t.Errorf("%d sockets, want 3", len(listing.Sockets))
	}
	for _, e := range listing.Sockets {
		unaccepted := e.Local.Port() == port && e.NewState == event.Established
		if (e.Owner.PID == uint32(os.Getpid())) == unaccepted {
			t.Errorf("%v %v: owner %d", e.Local, e.NewState, e.Owner.PID)
		}
	}
	if after := kerneltest.OpenFiles(t); after > before {
		t.Errorf("%d files were open before, %d are after", before, after)
	}
}

func TestUserOfAMinisockIsNotKnown(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	ns.Do(t, func() {
		l := kerneltest.Listen(t, "tcp4", "127.0.0.1:0")
		t.Cleanup(func() { l.Close() })
		client, server := kerneltest.Connect(t, l)
		client.Close()
		server.Close()
	})
	listing, err := List(ListOptions{Netns: uint64(ns.Inode)})
	if err != nil {
		t.Fatal(err)
	}
	timeWaits := 0
	for _, e := range listing.Sockets {
		if e.NewState == event.TimeWait {
			timeWaits++
		}
		if e.UIDUnknown != (e.NewState == event.TimeWait) {
			t.Errorf("%v: the user is unknown: %v", e.NewState, e.UIDUnknown)
		}
	}
	if timeWaits != 1 {
		t.Errorf("%d sockets in TIME_WAIT, want 1", timeWaits)
	}
}
