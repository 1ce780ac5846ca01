//go:build linux

package conn_test

import (
	"cmp"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpstates/internal/event"
	"tcpstates/internal/kerneltest"
	"tcpstates/internal/probe"
)

// wireDelay is what the wire of these tests takes each way.
const wireDelay = 50 * time.Millisecond

// tolerance is how far what is told may be from the wire's log. The log is only
// as good as the machine's leisure: a case has some tries to meet it.
func tolerance() time.Duration {
	if kerneltest.Emulated() {
		return 30 * time.Millisecond
	}
	return 3 * time.Millisecond
}

const tries = 5

// handshakeCase is a way for a handshake to go.
type handshakeCase struct {
	name string
	lose func(p kerneltest.Packet) bool // the first such packet; nil: none
	// What is to be told of retransmissions.
	client, server uint32
	// Whether a round trip time is known.
	clientRTT, serverRTT bool
}

func isSyn(p kerneltest.Packet) bool    { return p.Syn && !p.AckFlag }
func isSynAck(p kerneltest.Packet) bool { return p.Syn && p.AckFlag }
func isLastAck(p kerneltest.Packet) bool {
	return p.FromClient && p.AckFlag && !p.Syn && p.Payload == 0
}

var handshakeCases = []handshakeCase{
	{"clean", nil, 0, 0, true, true},
	{"SYN lost", isSyn, 1, 0, false, true},
	{"SYN-ACK lost", isSynAck, 1, 1, false, false},
	{"ACK lost", isLastAck, 0, 1, true, false},
}

func TestHandshakes(t *testing.T) {
	k := track(t, probe.Options{})
	all := t // the namespaces live to the end, as their numbers are used again
	for _, test := range handshakeCases {
		for _, timestamps := range []string{"1", "0"} {
			t.Run(test.name+", timestamps "+timestamps, func(t *testing.T) {
				t.Parallel()
				for try := 1; ; try++ {
					r := kerneltest.NewRelay(all, wireDelay)
					r.Client.Sysctl(t, "net/ipv4/tcp_timestamps", timestamps)
					client, server := shakeHands(t, r, k, test.lose)
					requireTold(t, &client, &server, test)
					misses := compareWithWire(&client, &server, r.Log())
					if len(misses) == 0 || t.Failed() {
						if timestamps == "1" {
							keepRecording(t, "handshake, "+test.name, bothSides(k, r))
						}
						return
					}
					if try == tries {
						t.Errorf("in %d tries the wire's log was never met, last: %v", try, misses)
						return
					}
				}
			})
		}
	}
}

// bothSides are what came in of both ends of the wire, in the order of time.
func bothSides(k *tracking, r *kerneltest.Relay) []event.Event {
	events := append(k.input(r.Client), k.input(r.Server)...)
	slices.SortStableFunc(events, func(a, b event.Event) int { return cmp.Compare(a.Ktime, b.Ktime) })
	return events
}

// shakeHands opens a connection over the relay, and returns the events of both
// sides' ESTABLISHED.
func shakeHands(t *testing.T, r *kerneltest.Relay, k *tracking, lose func(kerneltest.Packet) bool) (client, server event.Event) {
	t.Helper()
	if lose != nil {
		r.Drop(1, lose)
	}
	var l *net.TCPListener
	r.Server.Do(t, func() { l = kerneltest.Listen(t, "tcp4", netip.AddrPortFrom(r.ServerAddr(), 0).String()) })
	defer l.Close()
	var c *net.TCPConn
	r.Client.Do(t, func() { c = dial(t, l.Addr().String(), nil) })
	if c == nil {
		t.FailNow()
	}
	defer c.Close()
	client = k.awaitChange(t, r.Client, event.SynSent, event.Established)
	server = k.awaitChange(t, r.Server, event.SynRecv, event.Established)
	return client, server
}

// requireTold checks what does not hang on times.
func requireTold(t *testing.T, client, server *event.Event, want handshakeCase) {
	t.Helper()
	c, s := &client.Handshake, &server.Handshake
	if client.Role != event.RoleClient || server.Role != event.RoleServer {
		t.Errorf("the roles are %q and %q", client.Role, server.Role)
	}
	// A SYN-ACK may be sent again because of the timer and because of a SYN.
	if c.Retransmits != want.client || s.Retransmits < want.server || s.Retransmits > 2*want.server {
		t.Errorf("%d SYN and %d SYN-ACK retransmits, want %d and %d", c.Retransmits, s.Retransmits, want.client, want.server)
	}
	if (c.RTT != 0) != want.clientRTT || (s.RTT != 0) != want.serverRTT || s.Estimate || c.Estimate && c.RTT%time.Millisecond != 0 {
		t.Errorf("round trip times %+v and %+v", *c, *s)
	}
	if (s.Took != 0) != (want.server > 0) || s.Connect != 0 || c.Took != 0 || c.Connect == 0 {
		t.Errorf("times %+v and %+v", *c, *s)
	}
	if c.Way != event.WayPlain || s.Way != event.WayPlain {
		t.Errorf("ways %q and %q", c.Way, s.Way)
	}
}

// compareWithWire compares the times with those of the log.
func compareWithWire(client, server *event.Event, log []kerneltest.Packet) (misses []string) {
	first := func(match func(kerneltest.Packet) bool) kerneltest.Packet {
		i := slices.IndexFunc(log, match)
		return log[max(0, i)]
	}
	delivered := func(match func(kerneltest.Packet) bool) func(kerneltest.Packet) bool {
		return func(p kerneltest.Packet) bool { return p.Delivered != 0 && match(p) }
	}
	compare := func(what string, told time.Duration, from, to uint64) {
		if told == 0 {
			return // that it is known where it must be was checked
		}
		wire := time.Duration(to - from)
		if off := told - wire; off.Abs() > tolerance() {
			misses = append(misses, what+" "+told.String()+", by the wire "+wire.String())
		}
	}
	synAck := first(delivered(isSynAck)).Delivered
	ack := first(delivered(isLastAck)).Delivered
	compare("connect time", client.Handshake.Connect, first(isSyn).Arrived, synAck)
	compare("the client's round trip", client.Handshake.RTT, first(isSyn).Arrived, synAck)
	compare("the server's round trip", server.Handshake.RTT, first(isSynAck).Arrived, ack)
	compare("the server's handshake", server.Handshake.Took, first(isSynAck).Arrived, ack)
	return misses
}

// TestHalfOpen has a handshake whose SYN-ACKs nobody answers: each that is sent
// again is told of, with the ends and the owner of the connection to come.
func TestHalfOpen(t *testing.T) {
	k := track(t, probe.Options{})
	r := kerneltest.NewRelay(t, time.Millisecond)
	r.Drop(1<<20, isLastAck)
	var l *net.TCPListener
	var c *net.TCPConn
	r.Server.Do(t, func() { l = kerneltest.Listen(t, "tcp4", netip.AddrPortFrom(r.ServerAddr(), 0).String()) })
	defer l.Close()
	r.Client.Do(t, func() { c = dial(t, l.Addr().String(), nil) })
	if c == nil {
		return
	}
	defer c.Close()
	var again event.Event
	k.await(t, r.Server, "a SYN-ACK that is sent again", func(events []event.Event) bool {
		for _, e := range events {
			if e.Kind == event.KindSynAckRetransmit {
				again = e
			}
		}
		return again.Facts.Retransmits >= 1
	})
	if got, want := again.Local.String()+" "+again.Remote.String(), l.Addr().String()+" "+c.LocalAddr().String(); got != want {
		t.Errorf("the ends are %s, want %s", got, want)
	}
	if again.OldState != event.NewSynRecv || again.Owner.PID != uint32(os.Getpid()) || again.Owner.Source != event.SourceInherited ||
		again.Role != event.RoleServer {
		t.Errorf("got %+v", again)
	}
	log := r.Log()
	synAck := log[slices.IndexFunc(log, isSynAck)]
	if since, known := again.Duration(); !known || since < wireDelay || again.Since > synAck.Arrived {
		t.Errorf("%v since the first, known %v; it was sent at %d, the relay had it at %d", since, known, again.Since, synAck.Arrived)
	}
	keepRecording(t, "half-open", bothSides(k, r))
}

// TestSynCookie has a server that keeps no state of a handshake: what it
// measures by timestamps is none.
func TestSynCookie(t *testing.T) {
	k := track(t, probe.Options{})
	all := t
	for _, timestamps := range []string{"1", "0"} {
		t.Run("timestamps "+timestamps, func(t *testing.T) {
			r := kerneltest.NewRelay(all, wireDelay)
			r.Server.Sysctl(t, "net/ipv4/tcp_syncookies", "2")
			r.Client.Sysctl(t, "net/ipv4/tcp_timestamps", timestamps)
			client, server := shakeHands(t, r, k, nil)
			if h := server.Handshake; h.Way != event.WayCookie || h.RTT != 0 || h.Took != 0 || h.Estimate {
				t.Errorf("the server's handshake is %+v", h)
			}
			if h := client.Handshake; h.Way != event.WayPlain || h.RTT < 2*wireDelay {
				t.Errorf("the client's handshake is %+v", h)
			}
			keepRecording(t, "syncookie, timestamps "+timestamps, bothSides(k, r))
		})
	}
}

// TestFastOpen sends data with the SYN: the server's time in SYN_RECV is then
// the handshake's own.
func TestFastOpen(t *testing.T) {
	k := track(t, probe.Options{})
	r := kerneltest.NewRelay(t, wireDelay)
	kerneltest.StartHelper(t, r.Client, "resident")
	r.Client.Sysctl(t, "net/ipv4/tcp_fastopen", "1")
	r.Server.Sysctl(t, "net/ipv4/tcp_fastopen", "2")
	var l *net.TCPListener
	r.Server.Do(t, func() { l = kerneltest.Listen(t, "tcp4", netip.AddrPortFrom(r.ServerAddr(), 0).String()) })
	defer l.Close()
	raw, err := l.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_FASTOPEN, 5) }); err != nil {
		t.Fatal(err)
	}
	to := l.Addr().(*net.TCPAddr).AddrPort()
	for range 2 { // the first asks for the cookie that lets the second send data at once
		r.Client.Do(t, func() { sendWithSyn(t, to) })
		server, err := l.AcceptTCP()
		if err != nil {
			t.Fatal(err)
		}
		drain(server)
		server.Close()
	}
	events := k.awaitEnds(t, r.Server, 2)
	var ways []event.Way
	for _, e := range ends(events) {
		ways = append(ways, e.Handshake.Way)
		if took := e.Handshake.Took; e.Handshake.Way == event.WayFastOpen && (took < 2*wireDelay || took > time.Second) {
			t.Errorf("a handshake of %v over a wire of %v each way", took, wireDelay)
		}
		if e.Traffic.In != uint64(len(early)) || e.Traffic.Out != 0 {
			t.Errorf("%d bytes in and %d out, want %d and none", e.Traffic.In, e.Traffic.Out, len(early))
		}
	}
	if !slices.Equal(ways, []event.Way{event.WayPlain, event.WayFastOpen}) {
		t.Errorf("the server's handshakes were %q", ways)
	}
	clients := ends(k.awaitEnds(t, r.Client, 2))
	keepRecording(t, "fast open", bothSides(k, r))
	if len(clients) == 2 && (clients[0].Handshake.Way != event.WayPlain || clients[1].Handshake.Way != event.WayFastOpen) {
		t.Errorf("the client's handshakes were %q and %q", clients[0].Handshake.Way, clients[1].Handshake.Way)
	}
	for _, e := range clients {
		if e.Traffic.Out != uint64(len(early)) || e.Traffic.In != 0 {
			t.Errorf("%d bytes out and %d in, want %d and none", e.Traffic.Out, e.Traffic.In, len(early))
		}
	}
}

const early = "with the SYN"

// sendWithSyn connects by sending data, and closes.
func sendWithSyn(t *testing.T, to netip.AddrPort) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Error(err)
		return
	}
	defer unix.Close(fd)
	err = unix.Sendto(fd, []byte(early), unix.MSG_FASTOPEN, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	if err != nil {
		t.Errorf("send with the SYN: %v", err)
	}
}

// TestAcceptWait keeps a connection in the accept queue.
func TestAcceptWait(t *testing.T) {
	const held = 200 * time.Millisecond
	for _, test := range []struct {
		name         string
		reads, exact bool
	}{
		{"by the first I/O", true, false},
		{"by the accept", false, true},
		{"by the accept, with I/O", true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			k := track(t, probe.Options{AcceptProbe: test.exact})
			ns := kerneltest.NewNetns(t)
			kerneltest.StartHelper(t, ns, "resident")
			var began, ended uint64
			ns.Do(t, func() {
				l := kerneltest.Listen(t, "tcp4", "127.0.0.1:0")
				client := dial(t, l.Addr().String(), nil)
				client.Write([]byte("hello"))
				k.awaitChange(t, ns, event.SynRecv, event.Established)
				time.Sleep(held) // what a busy server does
				began = kerneltest.Ktime()
				server, err := l.AcceptTCP()
				if err != nil {
					t.Error(err)
					return
				}
				if test.exact {
					ended = kerneltest.Ktime()
				}
				if test.reads {
					server.Read(make([]byte, 5))
				}
				if !test.exact {
					ended = kerneltest.Ktime()
				}
				server.Close()
				drain(client)
				client.Close()
				l.Close()
			})
			established := k.awaitChange(t, ns, event.SynRecv, event.Established).Ktime
			// Nothing tells of the first I/O before Linux 6.3.
			known := test.exact || kerneltest.TracepointFields(t, "sock/sock_recv_length") != nil
			for _, e := range ends(k.awaitEnds(t, ns, 2)) {
				if e.Role != event.RoleServer {
					continue
				}
				w := e.AcceptWait
				least, most := time.Duration(began-established), time.Duration(ended-established)
				if w.Known != known || known && (w.AtMost == test.exact || w.Time < least || w.Time > most) {
					t.Errorf("waited %+v, want from %v to %v, known %v", w, least, most, known)
				}
			}
		})
	}
}
