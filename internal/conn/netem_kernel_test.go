//go:build linux

package conn_test

import (
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tcpstates/internal/event"
	"tcpstates/internal/kerneltest"
	"tcpstates/internal/probe"
)

// netemSlack is what an emulated machine may add to a delay of netem: less than
// any wrong answer would.
const netemSlack = 90 * time.Millisecond

// TestNetem compares the times of handshakes with the delays of the kernel's own
// network emulator (tc-netem(8)) on the loopback of a namespace.
func TestNetem(t *testing.T) {
	k := track(t, probe.Options{})
	all := t // the namespaces live to the end, as their numbers are used again
	for _, test := range []struct {
		name string
		// lossy lets no packet through until a SYN was sent again.
		lossy bool
	}{{"delay", false}, {"SYN lost", true}} {
		t.Run(test.name, func(t *testing.T) {
			for try := 1; ; try++ {
				client, server := shakeHandsThroughNetem(all, t, k, test.lossy)
				if requireDelays(t, client, server, test.lossy) || t.Failed() {
					return
				}
				if try == tries {
					t.Errorf("in %d tries the delay was never met, last: %+v and %+v", try, client, server)
					return
				}
			}
		})
	}
}

// shakeHandsThroughNetem opens a connection over a wire that takes wireDelay
// each way, and returns both sides' handshakes.
func shakeHandsThroughNetem(all, t *testing.T, k *tracking, lossy bool) (client, server event.Handshake) {
	t.Helper()
	ns := kerneltest.NewNetns(all)
	var l *net.TCPListener
	ns.Do(t, func() { l = kerneltest.Listen(t, "tcp4", "127.0.0.1:0") })
	defer l.Close()
	netem(t, ns, lossy)
	connected := make(chan struct{})
	go func() {
		defer close(connected)
		ns.Do(t, func() {
			if c := dial(t, l.Addr().String(), nil); c != nil {
				defer c.Close()
				k.awaitChange(t, ns, event.SynRecv, event.Established)
			}
		})
	}()
	if lossy {
		// The kernel tells of a segment sent again once it is sent: this one is
		// lost, too.
		k.await(t, ns, "a SYN that is sent again", func(events []event.Event) bool {
			for _, e := range events {
				if e.Kind == event.KindRetransmit && e.OldState == event.SynSent {
					return true
				}
			}
			return false
		})
		netem(t, ns, false)
	}
	<-connected
	return k.awaitChange(t, ns, event.SynSent, event.Established).Handshake,
		k.awaitChange(t, ns, event.SynRecv, event.Established).Handshake
}

// netem gives the loopback of the namespace wireDelay, and with lossy has it
// lose all packets.
func netem(t *testing.T, ns *kerneltest.Netns, lossy bool) {
	t.Helper()
	attributes := netlink.NetemQdiscAttrs{Latency: uint32(wireDelay.Microseconds())}
	if lossy {
		attributes.Loss = 100
	}
	var err error
	ns.Do(t, func() {
		var lo netlink.Link
		if lo, err = netlink.LinkByName("lo"); err != nil {
			return
		}
		at := netlink.QdiscAttrs{LinkIndex: lo.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT}
		err = netlink.QdiscReplace(netlink.NewNetem(at, attributes))
	})
	if errors.Is(err, unix.ENOENT) && !kerneltest.Emulated() {
		t.Skip("this kernel has no netem (CONFIG_NET_SCH_NETEM): make test-kernels runs it on some that have")
	}
	if err != nil {
		t.Fatalf("delay the packets: %v", err)
	}
}

// requireDelays checks what does not hang on the machine's leisure, and tells
// whether the rest is met.
func requireDelays(t *testing.T, client, server event.Handshake, lossy bool) (met bool) {
	t.Helper()
	// What is measured: the server's round trip, and if nothing was lost the
	// client's and what its process waited for.
	delays := []time.Duration{server.RTT}
	if lossy {
		// Two time-outs of the SYN take a second each, or more (tcp(7),
		// tcp_syn_linear_timeouts), and which of the SYNs was answered nobody knows.
		if client.Retransmits < 2 || client.RTT != 0 || client.Connect < 2*time.Second {
			t.Errorf("the client's handshake is %+v, want two SYN retransmits", client)
		}
	} else {
		if client.Retransmits != 0 || server.Retransmits != 0 {
			t.Errorf("retransmits: %+v and %+v", client, server)
		}
		delays = append(delays, client.RTT, client.Connect)
	}
	for _, delay := range delays {
		if delay < 2*wireDelay {
			t.Errorf("a time of %v over a wire of %v each way: %+v and %+v", delay, wireDelay, client, server)
		}
	}
	return slices.Max(delays) <= 2*wireDelay+netemSlack
}
