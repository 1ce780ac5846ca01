package kerneltest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpstates/internal/netns"
)

// Relay joins two network namespaces, Client and Server, by a wire that takes
// its time each way, and loses packets where told to. It carries IPv4, in
// order. Its log is the truth about the TCP on the wire.
type Relay struct {
	Client, Server *Netns

	t     testing.TB
	delay time.Duration
	stop  chan struct{} // closed at the end

	// mu is held while a packet is written, so that what comes of it is never
	// in the log before.
	mu      sync.Mutex
	changed *sync.Cond // the log has changed
	log     []Packet
	drops   []func(Packet) bool
}

// Packet is a TCP packet on a relay's wire.
type Packet struct {
	FromClient bool
	// Arrived is when the relay read the packet, and Delivered when it wrote
	// it to the other side, in nanoseconds of CLOCK_MONOTONIC. Delivered is
	// zero while the packet is under way, and if it was dropped.
	Arrived, Delivered uint64
	Dropped            bool
	SrcPort, DstPort   uint16
	Seq, Ack           uint32
	Syn, AckFlag       bool
	Fin, Rst           bool
	// Payload is how many bytes of data it has.
	Payload int
}

// cargo is a packet under way.
type cargo struct {
	data  []byte
	due   uint64 // ns of CLOCK_MONOTONIC
	entry int    // its index in the log, -1 if it has none
}

var (
	relayClient = netip.AddrFrom4([4]byte{10, 77, 0, 1})
	relayServer = netip.AddrFrom4([4]byte{10, 77, 0, 2})
)

// relayQueue is how many packets a side's device, and the wire, can hold: more
// than TCP has under way in any test.
const relayQueue = 1 << 14

// NewRelay makes two namespaces and a wire between them that takes the given
// time each way. All lives as long as the test.
func NewRelay(t testing.TB, delay time.Duration) *Relay {
	t.Helper()
	r := &Relay{Client: NewNetns(t), Server: NewNetns(t), t: t, delay: delay, stop: make(chan struct{})}
	r.changed = sync.NewCond(&r.mu)
	var running sync.WaitGroup
	// This happens once the devices are closed, so that nothing is delivered
	// before its time.
	t.Cleanup(func() {
		close(r.stop)
		running.Wait()
	})
	client := openTUN(t, r.Client, relayClient, relayServer)
	server := openTUN(t, r.Server, relayServer, relayClient)
	r.carry(&running, client, server, true)
	r.carry(&running, server, client, false)
	return r
}

// ServerAddr is the server's address.
func (r *Relay) ServerAddr() netip.Addr { return relayServer }

// Drop has the next n packets that match logged, but not carried. It may be
// called several times, also while packets are on their way: a packet that
// matches more than one call counts for the first of them. The match must not
// call the relay.
func (r *Relay) Drop(n int, match func(Packet) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drops = append(r.drops, func(p Packet) bool {
		drop := n > 0 && match(p)
		if drop {
			n--
		}
		return drop
	})
}

// Log gives the packets so far, in the order of their arrival.
func (r *Relay) Log() []Packet {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.log)
}

// Await waits until the log has a packet that matches, and gives the first. The
// match must not call the relay.
func (r *Relay) Await(t testing.TB, what string, match func(Packet) bool) Packet {
	t.Helper()
	late := false
	timer := time.AfterFunc(settleLimit, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		late = true
		r.changed.Broadcast()
	})
	defer timer.Stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if i := slices.IndexFunc(r.log, match); i >= 0 {
			return r.log[i]
		}
		if late {
			t.Errorf("no %s on the wire after %v; the last of %d packets: %+v", what, settleLimit, len(r.log), r.log[max(0, len(r.log)-8):])
			runtime.Goexit()
		}
		r.changed.Wait()
	}
}

// carry starts to carry packets in one direction.
func (r *Relay) carry(running *sync.WaitGroup, from, to *os.File, fromClient bool) {
	wire := make(chan cargo, relayQueue)
	running.Go(func() {
		defer close(wire)
		buffer := make([]byte, 1<<16)
		for {
			n, err := from.Read(buffer)
			if err != nil {
				r.report("read from", err)
				return
			}
			if n == 0 || buffer[0]>>4 != 4 {
				continue
			}
			if c, carried := r.arrive(bytes.Clone(buffer[:n]), fromClient); carried {
				wire <- c
			}
		}
	})
	running.Go(func() {
		for c := range wire {
			r.wait(c.due)
			r.deliver(to, c)
		}
	})
}

// arrive logs a packet, and tells whether it is to be carried.
func (r *Relay) arrive(data []byte, fromClient bool) (c cargo, carried bool) {
	p, isTCP := parsePacket(data)
	p.FromClient = fromClient
	r.mu.Lock()
	defer r.mu.Unlock()
	p.Arrived = Ktime()
	c = cargo{data: data, due: p.Arrived + uint64(r.delay), entry: -1}
	if !isTCP {
		return c, true
	}
	p.Dropped = slices.ContainsFunc(r.drops, func(drop func(Packet) bool) bool { return drop(p) })
	c.entry = len(r.log)
	r.log = append(r.log, p)
	r.changed.Broadcast()
	return c, !p.Dropped
}

// deliver writes a packet to the other side. The kernel there handles it within
// the call, so the time is taken before.
func (r *Relay) deliver(to *os.File, c cargo) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := Ktime()
	if _, err := to.Write(c.data); err != nil {
		r.report("write to", err)
		return
	}
	if c.entry >= 0 {
		r.log[c.entry].Delivered = now
		r.changed.Broadcast()
	}
}

// wait waits for a time, but not beyond the relay's end. Go's timers keep to
// milliseconds alone, so the last two are the kernel's to wait.
func (r *Relay) wait(due uint64) {
	const last = 2 * time.Millisecond
	if left := time.Duration(due-Ktime()) - last; left > 0 {
		select {
		case <-time.After(left):
		case <-r.stop:
			return
		}
	}
	until := unix.NsecToTimespec(int64(due))
	for unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &until, nil) == unix.EINTR {
	}
}

// report fails the test for an error that is not the relay's end.
func (r *Relay) report(what string, err error) {
	if !errors.Is(err, os.ErrClosed) {
		r.t.Errorf("%s a relay's device: %v", what, err)
	}
}

// parsePacket reads the headers of IPv4 and TCP.
func parsePacket(data []byte) (p Packet, isTCP bool) {
	if len(data) < 20 || data[0]>>4 != 4 || data[9] != unix.IPPROTO_TCP {
		return p, false
	}
	header, length := int(data[0]&0xf)*4, int(binary.BigEndian.Uint16(data[2:]))
	laterFragment := binary.BigEndian.Uint16(data[6:])&0x1fff != 0
	if header < 20 || length < header+20 || length > len(data) || laterFragment {
		return p, false
	}
	segment := data[header:length]
	payload := len(segment) - int(segment[12]>>4)*4
	if payload < 0 || payload > len(segment)-20 {
		return p, false
	}
	flags := segment[13]
	return Packet{
		SrcPort: binary.BigEndian.Uint16(segment[0:]),
		DstPort: binary.BigEndian.Uint16(segment[2:]),
		Seq:     binary.BigEndian.Uint32(segment[4:]),
		Ack:     binary.BigEndian.Uint32(segment[8:]),
		Fin:     flags&1 != 0,
		Syn:     flags&2 != 0,
		Rst:     flags&4 != 0,
		AckFlag: flags&16 != 0,
		Payload: payload,
	}, true
}

// openTUN makes a network device in the namespace, and gives the file that has
// its packets. It closes with the test.
func openTUN(t testing.TB, ns *Netns, local, peer netip.Addr) (file *os.File) {
	t.Helper()
	var err error
	ns.Do(t, func() {
		// Go's poller must not see the file before it has a device, as it would
		// with os.OpenFile.
		var fd int
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
			return
		}
		err = errors.Join(setUpTUN(fd, local, peer), unix.SetNonblock(fd, true))
		file = os.NewFile(uintptr(fd), "/dev/net/tun")
		t.Cleanup(func() { file.Close() })
	})
	if err != nil {
		t.Fatalf("make a TUN device: %v", err)
	}
	return file
}

// setUpTUN makes the file's device, and then does what "ip address add LOCAL
// peer PEER dev tun0" and "ip link set tun0 up txqueuelen QUEUE" do.
func setUpTUN(file int, local, peer netip.Addr) error {
	const name = "tun0"
	request, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(file, unix.TUNSETIFF, request); err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request.SetUint32(relayQueue)
	return errors.Join(
		unix.IoctlIfreq(fd, unix.SIOCSIFTXQLEN, request),
		request.SetInet4Addr(local.AsSlice()), unix.IoctlIfreq(fd, unix.SIOCSIFADDR, request),
		request.SetInet4Addr(peer.AsSlice()), unix.IoctlIfreq(fd, unix.SIOCSIFDSTADDR, request),
		netns.LinkUp(name),
	)
}
