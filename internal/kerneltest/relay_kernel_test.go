package kerneltest

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

const wireDelay = 50 * time.Millisecond

// connect opens a connection through the relay.
func connect(t testing.TB, r *Relay) (client, server net.Conn) {
	t.Helper()
	var l *net.TCPListener
	r.Server.Do(t, func() { l = Listen(t, "tcp4", netip.AddrPortFrom(r.ServerAddr(), 0).String()) })
	if l == nil {
		t.FailNow()
	}
	defer l.Close()
	var err error
	r.Client.Do(t, func() { client, err = net.Dial("tcp4", l.Addr().String()) })
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { client.Close() })
	if server, err = l.Accept(); err != nil {
		t.Fatalf("accept: %v", err)
	}
	t.Cleanup(func() { server.Close() })
	return client, server
}

func firstSyn(p Packet) bool { return p.FromClient && p.Syn }

// delivered waits for the delivery of the first packet that matches.
func delivered(t testing.TB, r *Relay, what string, match func(Packet) bool) Packet {
	t.Helper()
	return r.Await(t, what, func(p Packet) bool { return match(p) && p.Delivered != 0 })
}

func TestRelayHandshake(t *testing.T) {
	Require(t)
	r := NewRelay(t, wireDelay)
	client, _ := connect(t, r)
	delivered(t, r, "ACK of the handshake", func(p Packet) bool { return p.FromClient && p.AckFlag })
	log := r.Log()
	if len(log) != 3 {
		t.Fatalf("%d packets, want 3: %+v", len(log), log)
	}
	syn, synAck, ack := log[0], log[1], log[2]
	port := client.LocalAddr().(*net.TCPAddr).Port
	if !syn.FromClient || !syn.Syn || syn.AckFlag || int(syn.SrcPort) != port {
		t.Errorf("not the SYN: %+v", syn)
	}
	if synAck.FromClient || !synAck.Syn || !synAck.AckFlag || synAck.Ack != syn.Seq+1 || int(synAck.DstPort) != port {
		t.Errorf("not the SYN-ACK: %+v", synAck)
	}
	if !ack.FromClient || ack.Syn || !ack.AckFlag || ack.Seq != syn.Seq+1 || ack.Ack != synAck.Seq+1 || ack.Payload != 0 {
		t.Errorf("not the ACK: %+v", ack)
	}
	if synAck.Arrived < syn.Delivered || ack.Arrived < synAck.Delivered {
		t.Errorf("an answer came before its question: %+v", log)
	}
	var late []time.Duration
	for _, p := range log {
		late = append(late, time.Duration(p.Delivered-p.Arrived)-wireDelay)
	}
	t.Logf("delivered so much after the delay: %v", late)
	// A busy machine may hold up some, but hardly all.
	if slices.Min(late) < 0 || slices.Min(late) > 10*time.Millisecond {
		t.Errorf("not delivered in time: %+v", log)
	}
}

func TestRelayCarriesDataIntact(t *testing.T) {
	Require(t)
	r := NewRelay(t, wireDelay)
	client, server := connect(t, r)
	sent := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(sent)
	var ends sync.WaitGroup
	ends.Go(func() {
		if _, err := io.Copy(server, server); err != nil {
			t.Errorf("echo: %v", err)
		}
		server.Close()
	})
	ends.Go(func() {
		if _, err := client.Write(sent); err != nil {
			t.Errorf("send: %v", err)
		}
		client.(*net.TCPConn).CloseWrite()
	})
	got, err := io.ReadAll(client)
	ends.Wait()
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("got %d bytes and the error %v, want the %d sent", len(got), err, len(sent))
	}
	delivered(t, r, "FIN of the server", func(p Packet) bool { return !p.FromClient && p.Fin })
	for _, fromClient := range []bool{true, false} {
		requireWireTruth(t, r.Log(), fromClient, len(sent))
	}
}

// requireWireTruth checks what the log has of one direction, after data of that
// size.
func requireWireTruth(t testing.TB, log []Packet, fromClient bool, size int) {
	t.Helper()
	payload, delivered := 0, uint64(0)
	for _, p := range log {
		if p.FromClient != fromClient || p.Delivered == 0 {
			continue
		}
		payload += p.Payload
		if p.Delivered < delivered {
			t.Errorf("delivered before the packet ahead of it: %+v", p)
		}
		delivered = p.Delivered
		if took := time.Duration(p.Delivered - p.Arrived); took < wireDelay {
			t.Errorf("delivered after %v: %+v", took, p)
		}
	}
	if payload < size { // more where the kernel sent some twice
		t.Errorf("%d bytes were on the wire, want %d", payload, size)
	}
	if !slices.IsSortedFunc(log, func(a, b Packet) int { return int(int64(a.Arrived - b.Arrived)) }) {
		t.Error("the log is not in the order of arrival")
	}
}

func TestRelayDropsTheFirstSyn(t *testing.T) {
	Require(t)
	r := NewRelay(t, wireDelay)
	r.Drop(1, firstSyn)
	client, server := connect(t, r)
	second := delivered(t, r, "second SYN", firstSyn)
	first := r.Log()[0]
	if !first.Dropped || first.Delivered != 0 || !first.Syn || first.AckFlag {
		t.Errorf("not a dropped SYN: %+v", first)
	}
	if second.Dropped || second.Seq != first.Seq || second.SrcPort != first.SrcPort {
		t.Errorf("not the same SYN again: %+v after %+v", second, first)
	}
	// The timeout is one second (RFC 6298).
	if after := time.Duration(second.Arrived - first.Arrived); after < 900*time.Millisecond || after > 2*time.Second {
		t.Errorf("sent again after %v", after)
	}
	if _, err := client.Write([]byte("up")); err != nil {
		t.Fatalf("send: %v", err)
	}
	got := make([]byte, 2)
	if _, err := io.ReadFull(server, got); err != nil || string(got) != "up" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestRelayDropsOfSeveralCalls(t *testing.T) {
	Require(t)
	r := NewRelay(t, time.Millisecond)
	client, server := connect(t, r)
	ofSize := func(size int) func(Packet) bool {
		return func(p Packet) bool { return p.FromClient && p.Payload == size }
	}
	r.Drop(2, ofSize(5))
	r.Drop(1, ofSize(7))
	for _, text := range []string{"fiver", "seventy"} {
		if _, err := client.Write([]byte(text)); err != nil {
			t.Fatalf("send: %v", err)
		}
		got := make([]byte, len(text))
		if _, err := io.ReadFull(server, got); err != nil || string(got) != text {
			t.Fatalf("got %q, %v, want %q", got, err, text)
		}
		delivered(t, r, text, ofSize(len(text)))
	}
	dropped := map[int]int{}
	for _, p := range r.Log() {
		if p.Dropped {
			dropped[p.Payload]++
		}
	}
	if len(dropped) != 2 || dropped[5] != 2 || dropped[7] != 1 {
		t.Errorf("dropped by size: %v", dropped)
	}
}

func TestRelayLeavesNothingOpen(t *testing.T) {
	Require(t)
	use := func(t *testing.T) {
		r := NewRelay(t, wireDelay)
		client, _ := connect(t, r)
		// On its way at the end.
		if _, err := client.Write([]byte("late")); err != nil {
			t.Errorf("send: %v", err)
		}
	}
	t.Run("what the process opens once", use)
	files, goroutines := OpenFiles(t), runtime.NumGoroutine()
	for range 3 {
		t.Run("use", use)
	}
	if after := OpenFiles(t); after != files {
		t.Errorf("%d files were open before, %d are after", files, after)
	}
	// A goroutine counts for a moment after its last line.
	for begin := time.Now(); runtime.NumGoroutine() > goroutines; runtime.Gosched() {
		if time.Since(begin) > settleLimit {
			t.Fatalf("%d goroutines before, %d after", goroutines, runtime.NumGoroutine())
		}
	}
}

func TestRelayParsesOnlyWholeHeaders(t *testing.T) {
	packet := make([]byte, 44) // IPv4 of 20 bytes, TCP of 20, and 4 of data
	packet[0], packet[3], packet[9] = 0x45, 44, 6
	packet[32], packet[33] = 5<<4, 0x12
	if p, isTCP := parsePacket(packet); !isTCP || p.Payload != 4 || !p.Syn || !p.AckFlag || p.Fin || p.Rst {
		t.Errorf("got %+v, %t", p, isTCP)
	}
	for n := range packet {
		if p, isTCP := parsePacket(packet[:n]); isTCP {
			t.Errorf("%d bytes of it are %+v", n, p)
		}
	}
	for what, change := range map[string]func([]byte){
		"IPv6":                      func(b []byte) { b[0] = 0x65 },
		"UDP":                       func(b []byte) { b[9] = 17 },
		"a later fragment":          func(b []byte) { b[7] = 1 },
		"a short IP header":         func(b []byte) { b[0] = 0x44 },
		"an IP header beyond it":    func(b []byte) { b[0] = 0x4f },
		"a length without TCP":      func(b []byte) { b[3] = 39 },
		"a short TCP header":        func(b []byte) { b[32] = 4 << 4 },
		"a TCP header beyond it":    func(b []byte) { b[32] = 15 << 4 },
		"a length beyond the bytes": func(b []byte) { b[3] = 45 },
	} {
		broken := slices.Clone(packet)
		change(broken)
		if p, isTCP := parsePacket(broken); isTCP {
			t.Errorf("%s is %+v", what, p)
		}
	}
}
