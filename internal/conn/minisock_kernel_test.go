//go:build linux

package conn_test

import (
	"fmt"
	"net"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"tcpstates/internal/event"
	"tcpstates/internal/kerneltest"
	"tcpstates/internal/probe"
)

// closeInTurn opens a connection and has the client close it first. It keeps
// its socket until the peer's FIN has come, whichever is faster, that or the ACK
// of its own.
func closeInTurn(t *testing.T, ns *kerneltest.Netns) {
	t.Helper()
	pair(t, ns, func(client, server *net.TCPConn) {
		client.CloseWrite()
		drain(server)
		server.Close()
		drain(client)
		client.Close()
	})
}

// requireLeaving checks what is told of TIME_WAIT's end: that it is concluded,
// when, and as a bound.
func requireLeaving(t *testing.T, entry, leaving event.Event) {
	t.Helper()
	if !entry.Derived || !leaving.Derived || leaving.Cookie != entry.Cookie || leaving.Local != entry.Local ||
		leaving.Remote != entry.Remote || leaving.Owner.PID != entry.Owner.PID {
		t.Errorf("entered by %+v, left by %+v", entry, leaving)
	}
	// It may be gone before the first batch, and nothing is known of its time.
	least, known := leaving.AtLeast()
	if known != leaving.Before || known && uint64(least) > leaving.Ktime-entry.Ktime {
		t.Errorf("at least %v, known %v, in TIME_WAIT from %d to %d", least, known, entry.Ktime, leaving.Ktime)
	}
}

func TestTimeWaitThatIsKilled(t *testing.T) {
	kerneltest.RequireCommand(t, "ss")
	k := track(t, probe.Options{})
	ns := kerneltest.NewNetns(t)
	kerneltest.StartHelper(t, ns, "resident")
	closeInTurn(t, ns)
	entry := k.awaitChange(t, ns, event.FinWait2, event.TimeWait)
	requireListed(t, ns, event.TimeWait, 1)
	ns.Run(t, "", "ss", "-K", "-t", "state", "time-wait")
	leaving := k.awaitChange(t, ns, event.TimeWait, event.Close)
	requireLeaving(t, entry, leaving)
	if leaving.Fate != event.FateEarly {
		t.Errorf("it was killed, and its fate is %d", leaving.Fate)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := len(ends(of(ns, k.out))); n != 2 {
		t.Errorf("%d ends of connections, want 2", n)
	}
}

func TestNoRoomForTimeWait(t *testing.T) {
	k := track(t, probe.Options{})
	ns := kerneltest.NewNetns(t)
	kerneltest.StartHelper(t, ns, "resident")
	ns.Sysctl(t, "net/ipv4/tcp_max_tw_buckets", "0")
	closeInTurn(t, ns)
	entry := k.awaitChange(t, ns, event.FinWait2, event.TimeWait)
	leaving := k.awaitChange(t, ns, event.TimeWait, event.Close)
	requireLeaving(t, entry, leaving)
	if leaving.Fate != event.FateNoRoom {
		t.Errorf("there was no room, and its fate is %d", leaving.Fate)
	}
	requireListed(t, ns, event.TimeWait, 0)
}

// TestFinWait2ThatExpires has an orphan whose peer never closes. A machine that
// is too busy to look at it in time cannot know, and tries again.
func TestFinWait2ThatExpires(t *testing.T) {
	k := track(t, probe.Options{})
	for try := 1; ; try++ {
		leaving := finWait2ThatExpires(t, k)
		if leaving.Fate == event.FateUnknown && try < tries {
			continue
		}
		if leaving.Fate == event.FateUnknown && kerneltest.Emulated() {
			t.Skip("the emulated machine was too slow to be looked at closely enough, in all tries")
		}
		if leaving.Fate != event.FateExpired || leaving.End.Reason != event.ReasonTimedOut || leaving.End.Cause != event.CauseFinWait2Time {
			t.Errorf("its fate is %d, %s", leaving.Fate, describeEnd(&leaving))
		}
		return
	}
}

// finWait2ThatExpires makes one, and waits for its end.
func finWait2ThatExpires(t *testing.T, k *tracking) (leaving event.Event) {
	t.Helper()
	ns := kerneltest.NewNetns(t)
	kerneltest.StartHelper(t, ns, "resident")
	ns.Sysctl(t, "net/ipv4/tcp_fin_timeout", "2")
	pair(t, ns, func(client, server *net.TCPConn) {
		defer server.Close()
		client.Close()
		leaving = k.awaitChange(t, ns, event.FinWait2, event.Close)
	})
	return leaving
}

func TestListeners(t *testing.T) {
	k := track(t, probe.Options{})
	ns := kerneltest.NewNetns(t)
	ns.Do(t, func() {
		kerneltest.Listen(t, "tcp4", "127.0.0.1:0").Close()
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Error(err)
			return
		}
		if err := unix.Listen(fd, 1); err != nil {
			t.Error(err)
		}
		if err := unix.Shutdown(fd, unix.SHUT_RDWR); err != nil {
			t.Error(err)
		}
		unix.Close(fd)
	})
	events := k.await(t, ns, "the end of two listeners", func(events []event.Event) bool {
		n := 0
		for _, e := range events {
			if e.Kind == event.KindConn {
				n++
			}
		}
		return n == 2
	})
	for _, e := range events {
		if e.Kind == event.KindConn && (e.Role != event.RoleListener || e.End.Reason != event.ReasonListenerClosed ||
			e.Times[event.Listen] == 0 || e.Traffic.Known) {
			t.Errorf("%s %+v", describeEnd(&e), e)
		}
	}
}

// TestOneSocketTwoConnections lets a socket connect again: its connections are
// two, with times of their own.
func TestOneSocketTwoConnections(t *testing.T) {
	k := track(t, probe.Options{})
	ns := kerneltest.NewNetns(t)
	kerneltest.StartHelper(t, ns, "resident")
	ns.Do(t, func() { kerneltest.Reconnected(t, ns) })
	events := ends(k.awaitEnds(t, ns, 4))
	requireAccounted(t, events)
	var clients []event.Event
	for _, e := range events {
		if e.Role == event.RoleClient {
			clients = append(clients, e)
		}
	}
	slices.SortFunc(clients, func(a, b event.Event) int { return int(a.Ktime) - int(b.Ktime) })
	if len(clients) != 2 || clients[0].Cookie != clients[1].Cookie || clients[0].Ktime > clients[1].Since ||
		clients[0].Remote == clients[1].Remote {
		t.Fatalf("the clients' connections: %s", describe(clients))
	}
	if clients[0].End.Cause != event.CauseDisconnect || clients[1].End.Reason != event.ReasonFinished {
		t.Errorf("they ended: %s", describe(clients))
	}
}

// TestTwoMinisocksOfOneSocket lets a socket connect again while it is in
// TIME_WAIT from its first connection, and leave a second minisock, in FIN_WAIT2:
// they are kept apart.
func TestTwoMinisocksOfOneSocket(t *testing.T) {
	k := track(t, probe.Options{})
	ns := kerneltest.NewNetns(t)
	kerneltest.StartHelper(t, ns, "resident")
	ns.Do(t, func() {
		l := kerneltest.Listen(t, "tcp4", "127.0.0.1:0")
		client, server := kerneltest.Connect(t, l)
		client.CloseWrite()
		drain(server)
		server.Close()
		k.awaitChange(t, ns, event.FinWait2, event.TimeWait)
		if err := kerneltest.Disconnect(client); err != nil {
			t.Errorf("dissolve a connection: %v", err)
		}
		if err := kerneltest.Reconnect(client, l.Addr().(*net.TCPAddr)); err != nil {
			t.Errorf("connect again: %v", err)
		}
		second, err := l.AcceptTCP()
		if err != nil {
			t.Error(err)
			return
		}
		defer second.Close()
		client.Close()
		drain(second)
		// Two batches, which see both.
		var batches [2]event.Event
		for i := range batches {
			closeInTurn(t, ns)
			ns.Run(t, "", "ss", "-K", "-t", "state", "time-wait", "dport", "!=", fmt.Sprint(":", l.Addr().(*net.TCPAddr).Port))
			k.await(t, ns, "the end of TIME_WAIT", func(events []event.Event) bool {
				n := 0
				for _, e := range events {
					if e.OldState == event.TimeWait && e.NewState == event.Close {
						n++
					}
				}
				return n > i
			})
		}
		requireListed(t, ns, event.FinWait2, 1)
		k.mu.Lock()
		defer k.mu.Unlock()
		for _, e := range of(ns, k.out) {
			if e.Kind == event.KindTransition && e.OldState == event.TimeWait && e.NewState != event.Close {
				t.Errorf("TIME_WAIT>%v", e.NewState)
			}
		}
		if n := len(ends(of(ns, k.out))); n != 2+2*2 {
			t.Errorf("%d connections have ended, want 6: %s", n, describe(of(ns, k.out)))
		}
	})
}

// TestBytes counts what connections have carried, by its contents.
func TestBytes(t *testing.T) {
	k := track(t, probe.Options{})
	ns := kerneltest.NewNetns(t)
	const toServer, toClient = 70_001, 123
	pair(t, ns, func(client, server *net.TCPConn) {
		go client.Write(make([]byte, toServer))
		readAll(t, server, toServer)
		server.Write(make([]byte, toClient))
		readAll(t, client, toClient)
		server.Close()
		drain(client)
		client.Close()
	})
	for _, e := range ends(k.awaitEnds(t, ns, 2)) {
		out, in := uint64(toServer), uint64(toClient)
		if e.Role == event.RoleServer {
			out, in = in, out
		}
		if e.Traffic.Out != out || e.Traffic.In != in || e.Traffic.SegsIn == 0 || e.Traffic.SegsOut == 0 {
			t.Errorf("%s: %+v, want %d out and %d in", e.Role, e.Traffic, out, in)
		}
	}
}

func readAll(t *testing.T, c net.Conn, n int) {
	t.Helper()
	for buf := make([]byte, 1<<16); n > 0; {
		got, err := c.Read(buf)
		if err != nil {
			t.Errorf("read: %v", err)
			return
		}
		n -= got
	}
}

// TestOlderThanTheTrace looks at the end of connections whose beginning was not
// seen: what is known of them is right, and the rest is not told.
func TestOlderThanTheTrace(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	kerneltest.StartHelper(t, ns, "resident")
	pair(t, ns, func(client, server *net.TCPConn) {
		client.Write([]byte("seven b"))
		readAll(t, server, 7)
		k := track(t, probe.Options{})
		client.Close()
		drain(server)
		server.Close()
		for _, e := range ends(k.awaitEnds(t, ns, 2)) {
			switch {
			case e.Role == event.RoleServer && e.Traffic.In == 7 && e.End.First == event.SidePeer:
			case e.Role == event.RoleUnknown && e.Traffic.Out == 7 && e.End.First == event.SideUs:
			default:
				t.Errorf("%s %+v", describeEnd(&e), e.Traffic)
			}
			if e.End.Reason != event.ReasonFinished || !e.Before || e.Handshake != (event.Handshake{}) || e.AcceptWait.Known {
				t.Errorf("%s before %v %+v %+v", describeEnd(&e), e.Before, e.Handshake, e.AcceptWait)
			}
		}
	})
}

// TestSelfConnect has a socket connect to itself.
func TestSelfConnect(t *testing.T) {
	k := track(t, probe.Options{})
	ns := kerneltest.NewNetns(t)
	ns.Do(t, func() {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Error(err)
			return
		}
		self := &unix.SockaddrInet4{Port: 40000, Addr: [4]byte{127, 0, 0, 1}}
		if err := unix.Bind(fd, self); err != nil {
			t.Error(err)
		}
		if err := unix.Connect(fd, self); err != nil {
			t.Error(err)
		}
		unix.Close(fd)
	})
	conns := ends(k.awaitEnds(t, ns, 1))
	if len(conns) != 1 || conns[0].Role != event.RoleSelf || conns[0].End.Reason != event.ReasonFinished || conns[0].Handshake.Connect == 0 {
		t.Errorf("got %s", describe(conns))
	}
	requireAccounted(t, conns)
}
