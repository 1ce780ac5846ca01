//go:build linux

package conn_test

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"tcpstates/internal/event"
	"tcpstates/internal/feature"
	"tcpstates/internal/kerneltest"
	"tcpstates/internal/probe"
	"tcpstates/internal/snapshot"
)

// ending is a way for connections to end, and what is to be told of it.
type ending struct {
	name string
	run  func(t *testing.T, ns *kerneltest.Netns, k *tracking)
	// want are the ends of all connections, in the words of describeEnd, in
	// any order.
	want []string
}

// ofMinisocks are the endings that only who follows minisocks can tell.
var ofMinisocks = []string{"orphan whose FIN comes late", "late data to an orphan"}

// ofKilledMinisocks are the endings that take a kernel whose ss -K ends minisocks,
// too: since Linux 6.1.
var ofKilledMinisocks = []string{"reset in LAST_ACK", "time-out in LAST_ACK"}

var endings = []ending{
	{"active close", func(t *testing.T, ns *kerneltest.Netns, _ *tracking) {
		pair(t, ns, func(client, server *net.TCPConn) {
			client.Close()
			drain(server)
			server.Close()
		})
	}, []string{
		"client FIN_WAIT2>TIME_WAIT finished first us",
		"server LAST_ACK>CLOSE finished first peer",
	}},
	{"simultaneous close", func(t *testing.T, ns *kerneltest.Netns, _ *tracking) {
		pair(t, ns, func(client, server *net.TCPConn) {
			kerneltest.Fill(t, client)
			kerneltest.Fill(t, server)
			client.CloseWrite()
			server.CloseWrite()
			drain(client)
			drain(server)
			client.Close()
			server.Close()
		})
	}, []string{
		"client CLOSING>TIME_WAIT finished first both",
		// The client has read first, and so acknowledged the server's FIN.
		"server FIN_WAIT2>TIME_WAIT finished first us",
	}},
	{"orphan whose FIN comes late", func(t *testing.T, ns *kerneltest.Netns, k *tracking) {
		pair(t, ns, func(client, server *net.TCPConn) {
			client.Close()
			drain(server)
			k.awaitChange(t, ns, event.FinWait1, event.FinWait2)
			requireListed(t, ns, event.FinWait2, 1)
			server.Close()
			k.awaitChange(t, ns, event.FinWait2, event.TimeWait)
		})
	}, []string{
		"client FIN_WAIT2>TIME_WAIT finished first us",
		"server LAST_ACK>CLOSE finished first peer",
	}},
	{"TCP_LINGER2 61 s", func(t *testing.T, ns *kerneltest.Netns, k *tracking) {
		pair(t, ns, func(client, server *net.TCPConn) {
			kerneltest.SetOption(t, client, unix.TCP_LINGER2, 61)
			client.Close()
			drain(server)
			k.awaitChange(t, ns, event.FinWait1, event.FinWait2)
			requireListed(t, ns, event.FinWait2, 1)
			server.Close()
			k.awaitChange(t, ns, event.FinWait2, event.TimeWait)
		})
	}, []string{
		"client FIN_WAIT2>TIME_WAIT finished first us",
		"server LAST_ACK>CLOSE finished first peer",
	}},
	{"TCP_LINGER2 below 0", func(t *testing.T, ns *kerneltest.Netns, k *tracking) {
		pair(t, ns, func(client, server *net.TCPConn) {
			client.CloseWrite()
			drain(server)
			k.awaitChange(t, ns, event.FinWait1, event.FinWait2)
			kerneltest.SetOption(t, client, unix.TCP_LINGER2, -1)
			client.Close()
			wait(server)
			server.Close()
		})
	}, []string{
		"client FIN_WAIT2>CLOSE reset sent (TCP_LINGER2) first us TCP_ABORT_ON_LINGER",
		"server CLOSE_WAIT>CLOSE reset by peer first peer EPIPE",
	}},
	{"late data with the ACK of the FIN", func(t *testing.T, ns *kerneltest.Netns, k *tracking) {
		pair(t, ns, func(client, server *net.TCPConn) {
			ns.Filter(t, fmt.Sprintf("tcp sport %d tcp flags & (syn|fin|rst|psh) == 0x0 drop", portOf(server)))
			client.Close()
			drain(server)
			server.Write([]byte("late")) // the first segment that carries the ACK
			wait(server)
			server.Close()
		})
	}, []string{
		"client FIN_WAIT2>CLOSE reset sent (late data) first us TCP_ABORT_ON_DATA",
		"server CLOSE_WAIT>CLOSE reset by peer first peer EPIPE",
	}},
	{"late data to an orphan", func(t *testing.T, ns *kerneltest.Netns, k *tracking) {
		pair(t, ns, func(client, server *net.TCPConn) {
			client.Close()
			drain(server)
			k.awaitChange(t, ns, event.FinWait1, event.FinWait2)
			server.Write([]byte("late"))
			wait(server)
			server.Close()
		})
	}, []string{
		"client FIN_WAIT2>CLOSE reset sent (late data) first us TCP_TIMEWAIT_SOCKET",
		"server CLOSE_WAIT>CLOSE reset by peer first peer EPIPE",
	}},
	{"late data to a real orphan", func(t *testing.T, ns *kerneltest.Netns, k *tracking) {
		pair(t, ns, func(client, server *net.TCPConn) {
			kerneltest.SetOption(t, client, unix.TCP_LINGER2, 100)
			ns.Sysctl(t, "net/ipv4/tcp_fin_timeout", "100")
			client.Close()
			drain(server)
			k.awaitChange(t, ns, event.FinWait1, event.FinWait2)
			server.Write([]byte("late"))
			wait(server)
			server.Close()
		})
	}, []string{
		"client FIN_WAIT2>CLOSE reset sent (late data) first us ECONNRESET TCP_ABORT_ON_DATA",
		"server CLOSE_WAIT>CLOSE reset by peer first peer EPIPE",
	}},
	{"reset in LAST_ACK", func(t *testing.T, ns *kerneltest.Netns, k *tracking) {
		pair(t, ns, func(client, server *net.TCPConn) {
			client.Close()
			drain(server)
			k.awaitChange(t, ns, event.FinWait1, event.FinWait2)
			ns.Filter(t, fmt.Sprintf("tcp sport %d drop", portOf(server)))
			server.Close()
			ns.Run(t, "", "ss", "-K", "-t", "state", "fin-wait-2") // so that the FIN finds nobody
			ns.Filter(t)
		})
	}, []string{
		"client FIN_WAIT2>CLOSE  first us",
		"server LAST_ACK>CLOSE reset by peer first peer ECONNRESET",
	}},
	{"time-out in LAST_ACK", func(t *testing.T, ns *kerneltest.Netns, k *tracking) {
		pair(t, ns, func(client, server *net.TCPConn) {
			kerneltest.SetOption(t, server, unix.TCP_USER_TIMEOUT, 300)
			client.Close()
			drain(server)
			k.awaitChange(t, ns, event.FinWait1, event.FinWait2)
			ns.Filter(t, fmt.Sprintf("tcp sport %d drop", portOf(server)))
			server.Close()
			k.awaitChange(t, ns, event.LastAck, event.Close)
			ns.Run(t, "", "ss", "-K", "-t", "state", "fin-wait-2")
		})
	}, []string{
		"client FIN_WAIT2>CLOSE  first us",
		"server LAST_ACK>CLOSE timed out (user timeout) first peer ETIMEDOUT",
	}},
	{"reset in ESTABLISHED, linger 0", func(t *testing.T, ns *kerneltest.Netns, _ *tracking) {
		pair(t, ns, func(client, server *net.TCPConn) {
			client.SetLinger(0)
			client.Close()
			wait(server)
			server.Close()
		})
	}, []string{
		"client ESTABLISHED>CLOSE reset sent (linger 0) TCP_STATE",
		"server ESTABLISHED>CLOSE reset by peer ECONNRESET",
	}},
	{"reset in CLOSE_WAIT and FIN_WAIT2", func(t *testing.T, ns *kerneltest.Netns, k *tracking) {
		pair(t, ns, func(client, server *net.TCPConn) {
			client.CloseWrite()
			drain(server)
			k.awaitChange(t, ns, event.FinWait1, event.FinWait2)
			client.SetLinger(0)
			client.Close()
			wait(server)
			server.Close()
		})
	}, []string{
		"client FIN_WAIT2>CLOSE reset sent (linger 0) first us TCP_STATE",
		"server CLOSE_WAIT>CLOSE reset by peer first peer EPIPE",
	}},
	{"reset in FIN_WAIT2 by the peer", func(t *testing.T, ns *kerneltest.Netns, k *tracking) {
		pair(t, ns, func(client, server *net.TCPConn) {
			client.CloseWrite()
			drain(server)
			k.awaitChange(t, ns, event.FinWait1, event.FinWait2)
			server.SetLinger(0)
			server.Close()
			wait(client)
			client.Close()
		})
	}, []string{
		"client FIN_WAIT2>CLOSE reset by peer first us ECONNRESET",
		"server CLOSE_WAIT>CLOSE reset sent (linger 0) first peer TCP_STATE",
	}},
	{"refused", func(t *testing.T, ns *kerneltest.Netns, _ *tracking) {
		ns.Do(t, func() {
			l := kerneltest.Listen(t, "tcp4", "127.0.0.1:0")
			l.Close()
			dial(t, l.Addr().String(), syscall.ECONNREFUSED)
		})
	}, []string{"client SYN_SENT>CLOSE refused ECONNREFUSED"}},
	{"unread data", func(t *testing.T, ns *kerneltest.Netns, _ *tracking) {
		pair(t, ns, func(client, server *net.TCPConn) {
			server.Write([]byte("nobody reads this"))
			awaitReadable(t, client)
			client.Close()
			wait(server)
			server.Close()
		})
	}, []string{
		"client ESTABLISHED>CLOSE reset sent (unread data) TCP_ABORT_ON_CLOSE",
		"server ESTABLISHED>CLOSE reset by peer ECONNRESET",
	}},
	{"unread data and linger 0", func(t *testing.T, ns *kerneltest.Netns, _ *tracking) {
		pair(t, ns, func(client, server *net.TCPConn) {
			server.Write([]byte("nobody reads this"))
			awaitReadable(t, client)
			client.SetLinger(0)
			client.Close()
			wait(server)
			server.Close()
		})
	}, []string{
		"client ESTABLISHED>CLOSE reset sent (unread data) TCP_ABORT_ON_CLOSE",
		"server ESTABLISHED>CLOSE reset by peer ECONNRESET",
	}},
	{"dissolved", func(t *testing.T, ns *kerneltest.Netns, _ *tracking) {
		pair(t, ns, func(client, server *net.TCPConn) {
			if err := kerneltest.Disconnect(client); err != nil {
				t.Errorf("dissolve a connection: %v", err)
			}
			wait(server)
			server.Close()
			client.Close()
		})
	}, []string{
		"client ESTABLISHED>CLOSE reset sent (disconnect) TCP_STATE",
		"server ESTABLISHED>CLOSE reset by peer ECONNRESET",
	}},
	{"listener closed over a child", func(t *testing.T, ns *kerneltest.Netns, _ *tracking) {
		ns.Do(t, func() {
			l := kerneltest.Listen(t, "tcp4", "127.0.0.1:0")
			client := dial(t, l.Addr().String(), nil)
			l.Close()
			wait(client)
			client.Close()
		})
	}, []string{
		"client ESTABLISHED>CLOSE reset by peer ECONNRESET",
		"server ESTABLISHED>CLOSE reset sent (never accepted) TCP_STATE",
	}},
	{"user timeout", func(t *testing.T, ns *kerneltest.Netns, _ *tracking) {
		cutOff(t, ns, func(client *net.TCPConn) {
			kerneltest.SetOption(t, client, unix.TCP_USER_TIMEOUT, 300)
		})
	}, []string{
		"client ESTABLISHED>CLOSE timed out (user timeout) ETIMEDOUT",
		"server ESTABLISHED>CLOSE aborted ECONNABORTED TCP_STATE",
	}},
	{"retransmissions in vain", func(t *testing.T, ns *kerneltest.Netns, _ *tracking) {
		ns.Sysctl(t, "net/ipv4/tcp_retries2", "1")
		cutOff(t, ns, func(*net.TCPConn) {})
	}, []string{
		"client ESTABLISHED>CLOSE timed out (retransmission) ETIMEDOUT",
		"server ESTABLISHED>CLOSE aborted ECONNABORTED TCP_STATE",
	}},
	{"keepalive", func(t *testing.T, ns *kerneltest.Netns, _ *tracking) {
		pair(t, ns, func(client, server *net.TCPConn) {
			client.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 1})
			ns.Filter(t, "tcp dport 0-65535 drop")
			wait(client)
			client.Close()
			ns.Run(t, "", "ss", "-K", "-t", "state", "established")
			server.Close()
		})
	}, []string{
		"client ESTABLISHED>CLOSE timed out (keepalive) ETIMEDOUT TCP_KEEPALIVE_TIMEOUT",
		"server ESTABLISHED>CLOSE aborted ECONNABORTED TCP_STATE",
	}},
	{"connect times out", func(t *testing.T, ns *kerneltest.Netns, _ *tracking) {
		ns.Filter(t, "tcp dport 9 drop")
		ns.Do(t, func() { dial(t, "127.0.0.1:9", syscall.ETIMEDOUT, option(unix.TCP_SYNCNT, 1)) })
	}, []string{"client SYN_SENT>CLOSE timed out (connect) ETIMEDOUT"}},
	{"host unreachable", func(t *testing.T, ns *kerneltest.Netns, _ *tracking) {
		ns.Filter(t, "tcp dport 9 reject with icmp type host-unreachable")
		ns.Do(t, func() { connectBlocking(t, unix.EHOSTUNREACH) })
	}, []string{"client SYN_SENT>CLOSE unreachable (host) EHOSTUNREACH"}},
	{"net unreachable", func(t *testing.T, ns *kerneltest.Netns, _ *tracking) {
		ns.Filter(t, "tcp dport 9 reject with icmp type net-unreachable")
		ns.Do(t, func() { connectBlocking(t, unix.ENETUNREACH) })
	}, []string{"client SYN_SENT>CLOSE unreachable (net) ENETUNREACH"}},
	{"port unreachable", func(t *testing.T, ns *kerneltest.Netns, _ *tracking) {
		ns.Filter(t, "tcp dport 9 reject with icmp type port-unreachable")
		ns.Do(t, func() { connectBlocking(t, unix.ECONNREFUSED) })
	}, []string{"client SYN_SENT>CLOSE unreachable (port) ECONNREFUSED"}},
	{"close during connect", func(t *testing.T, ns *kerneltest.Netns, _ *tracking) {
		connectInVain(t, ns, func(fd int) { unix.Close(fd) })
	}, []string{"client SYN_SENT>CLOSE canceled"}},
	{"dissolved during connect", func(t *testing.T, ns *kerneltest.Netns, _ *tracking) {
		connectInVain(t, ns, func(fd int) {
			if err := kerneltest.DisconnectFD(fd); err != nil {
				t.Errorf("dissolve a connection: %v", err)
			}
			unix.Close(fd)
		})
	}, []string{"client SYN_SENT>CLOSE canceled"}},
	{"no local port", func(t *testing.T, ns *kerneltest.Netns, _ *tracking) {
		ns.Sysctl(t, "net/ipv4/ip_local_port_range", "50000 50000")
		ns.Do(t, func() {
			l := kerneltest.Listen(t, "tcp4", "127.0.0.1:40000")
			first := dial(t, l.Addr().String(), nil)
			dial(t, l.Addr().String(), syscall.EADDRNOTAVAIL)
			server, err := l.AcceptTCP()
			if err != nil {
				t.Error(err)
				return
			}
			first.Close()
			drain(server)
			server.Close()
			l.Close()
		})
	}, []string{
		"client SYN_SENT>CLOSE no local port", // Go tries three times
		"client SYN_SENT>CLOSE no local port",
		"client SYN_SENT>CLOSE no local port",
		"client FIN_WAIT2>TIME_WAIT finished first us",
		"server LAST_ACK>CLOSE finished first peer",
	}},
	{"aborted by ss", func(t *testing.T, ns *kerneltest.Netns, _ *tracking) {
		pair(t, ns, func(client, server *net.TCPConn) {
			ns.Run(t, "", "ss", "-K", "-t", "sport", fmt.Sprint("= :", portOf(client)))
			wait(server)
			client.Close()
			server.Close()
		})
	}, []string{
		"client ESTABLISHED>CLOSE aborted ECONNABORTED TCP_STATE",
		"server ESTABLISHED>CLOSE reset by peer ECONNRESET",
	}},
	{"unread data in LAST_ACK", func(t *testing.T, ns *kerneltest.Netns, k *tracking) {
		ns.Sysctl(t, "net/ipv4/tcp_rfc1337", "1") // so that TIME_WAIT outlives the reset
		pair(t, ns, func(client, server *net.TCPConn) {
			client.Write([]byte("nobody reads this"))
			client.CloseWrite()
			k.awaitChange(t, ns, event.Established, event.CloseWait)
			ns.Filter(t, fmt.Sprintf("tcp dport %d drop", portOf(server))) // no ACK comes back
			server.CloseWrite()
			k.awaitChange(t, ns, event.CloseWait, event.LastAck)
			server.Close()
			wait(client)
			client.Close()
		})
	}, []string{
		"client FIN_WAIT2>TIME_WAIT finished first us",
		"server LAST_ACK>CLOSE reset sent (unread data) first peer TCP_ABORT_ON_CLOSE",
	}},
	{"unread data in CLOSING", func(t *testing.T, ns *kerneltest.Netns, k *tracking) {
		pair(t, ns, func(client, server *net.TCPConn) {
			client.Write([]byte("nobody reads this"))
			awaitReadable(t, server)
			kerneltest.Fill(t, server)
			server.CloseWrite() // the FIN waits behind data for which there is no room
			client.CloseWrite()
			k.awaitChange(t, ns, event.FinWait1, event.Closing)
			server.Close()
			wait(client)
			client.Close()
		})
	}, []string{
		"client FIN_WAIT2>CLOSE reset by peer first us ECONNRESET",
		"server CLOSING>CLOSE reset sent (unread data) first both TCP_ABORT_ON_CLOSE",
	}},
	{"closed in repair mode", func(t *testing.T, ns *kerneltest.Netns, _ *tracking) {
		pair(t, ns, func(client, server *net.TCPConn) {
			server.Write([]byte("what its next owner will read"))
			awaitReadable(t, client)
			kerneltest.SetOption(t, client, unix.TCP_REPAIR, 1)
			client.Close()
			ns.Run(t, "", "ss", "-K", "-t", "state", "established")
			server.Close()
		})
	}, []string{
		"client ESTABLISHED>CLOSE ",
		"server ESTABLISHED>CLOSE aborted ECONNABORTED TCP_STATE",
	}},
	{"process killed", func(t *testing.T, ns *kerneltest.Netns, _ *tracking) {
		ns.Do(t, func() {
			l := kerneltest.Listen(t, "tcp4", "127.0.0.1:0")
			h := kerneltest.StartHelper(t, ns, "victim")
			h.Connect(t, l.Addr())
			server, err := l.AcceptTCP()
			if err != nil {
				t.Error(err)
				return
			}
			h.Kill()
			drain(server)
			server.Close()
			l.Close()
		})
	}, []string{
		"client FIN_WAIT2>TIME_WAIT killed with its process first us SIGKILL",
		"server LAST_ACK>CLOSE finished first peer",
	}},
}

// TestOrphanThatNobodyFollows: a backend that does not know what becomes of
// minisocks tells of an orphan in FIN_WAIT2 that its socket is gone, and not why.
func TestOrphanThatNobodyFollows(t *testing.T) {
	raw, err := probe.ParseBackend("raw_tp")
	if err != nil {
		t.Fatal(err)
	}
	k := track(t, probe.Options{Backend: raw})
	ns := kerneltest.NewNetns(t)
	pair(t, ns, func(client, server *net.TCPConn) {
		client.Close()
		drain(server)
		conns := k.awaitEnds(t, ns, 1)
		if got, want := describeEnd(&ends(conns)[0]), "client FIN_WAIT2>CLOSE  first us"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		server.Close()
	})
}

func TestEndings(t *testing.T) {
	kerneltest.RequireCommand(t, "nft")
	kerneltest.RequireCommand(t, "ss")
	k := track(t, probe.Options{})
	tellsResets := slices.Contains(kerneltest.TracepointFields(t, "tcp/tcp_send_reset"), "reason")
	spaces := map[string]*kerneltest.Netns{} // all to the end, as their numbers are used again
	for _, test := range endings {
		spaces[test.name] = kerneltest.NewNetns(t)
	}
	t.Run("all", func(t *testing.T) {
		for _, test := range endings {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				if !k.knows.Sockets && slices.Contains(ofMinisocks, test.name) {
					t.Skip("this backend follows no minisocks")
				}
				if slices.Contains(ofKilledMinisocks, test.name) && feature.OlderThan(6, 1) {
					t.Skip("ss -K leaves minisocks alone on this kernel")
				}
				ns := spaces[test.name]
				// In a namespace with a process the minisocks can be asked for.
				kerneltest.StartHelper(t, ns, "resident")
				counted := countBeside(t, ns, k)
				test.run(t, ns, k)
				events := k.awaitEnds(t, ns, len(test.want))
				got := []string{}
				conns := ends(events)
				if !k.knows.Sockets {
					followOrphans(t, ns, conns)
				}
				for i := range conns {
					got = append(got, describeEnd(&conns[i]))
				}
				slices.Sort(got)
				want := slices.Sorted(slices.Values(test.want))
				if !tellsResets {
					want = withoutResetReasons(want)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
				requireEndState(t, ns, conns)
				requireAccounted(t, conns)
				counted.requireSame(t, k.input(ns))
				keepRecording(t, test.name, k.input(ns))
			})
		}
	})
}

// followOrphans makes of orphans in FIN_WAIT2, to which the peer's FIN has come
// a moment after the ACK of their own, what it was that only a follower of
// minisocks could tell, if the kernel lists them so.
func followOrphans(t *testing.T, ns *kerneltest.Netns, conns []event.Event) {
	t.Helper()
	listed := list(t, ns)
	for i := range conns {
		e := &conns[i]
		inTimeWait := slices.ContainsFunc(listed, func(s event.Event) bool {
			return s.NewState == event.TimeWait && s.Local == e.Local && s.Remote == e.Remote
		})
		if e.OldState == event.FinWait2 && e.NewState == event.Close && e.End.Reason == event.ReasonNone && inTimeWait {
			e.NewState, e.End.Reason = event.TimeWait, event.ReasonFinished
			if e.End.Signal != 0 {
				e.End.Reason = event.ReasonKilled
			}
		}
	}
}

// withoutResetReasons is what is told before Linux 6.10, where the kernel does
// not say why it sends a reset, and nothing at all of those that a minisock sends.
func withoutResetReasons(want []string) (told []string) {
	for _, end := range want {
		end = strings.ReplaceAll(end, "reset sent (late data) first us TCP_TIMEWAIT_SOCKET", " first us")
		told = append(told, resetReason.ReplaceAllString(end, ""))
	}
	return told
}

var resetReason = regexp.MustCompile(" TCP_[A-Z_]+$")

// requireEndState compares the ends with what the kernel lists just after: what
// is in TIME_WAIT by the one is so by the other, and what is gone is gone.
func requireEndState(t *testing.T, ns *kerneltest.Netns, conns []event.Event) {
	t.Helper()
	listed := list(t, ns)
	for _, e := range conns {
		want := e.NewState
		if want == event.Close {
			want = 0
		}
		got := event.State(0)
		for _, s := range listed {
			if e.Cookie == s.Cookie || e.Cookie == 0 && e.Local == s.Local && e.Remote == s.Remote {
				got = s.NewState
			}
		}
		if got != want {
			t.Errorf("%s is listed in %v", describeEnd(&e), got)
		}
	}
}

// list is the namespace's sockets, as sock_diag tells them.
func list(t *testing.T, ns *kerneltest.Netns) []event.Event {
	t.Helper()
	listing, err := snapshot.List(snapshot.ListOptions{Netns: uint64(ns.Inode), NetnsPath: ns.Path()})
	if err != nil {
		t.Fatal(err)
	}
	return listing.Sockets
}

// requireListed checks that so many sockets are listed in the state.
func requireListed(t *testing.T, ns *kerneltest.Netns, state event.State, want int) {
	t.Helper()
	got := 0
	for _, s := range list(t, ns) {
		if s.NewState == state {
			got++
		}
	}
	if got != want {
		t.Errorf("%d sockets are listed in %v, want %d", got, state, want)
	}
}
