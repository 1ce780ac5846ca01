package probe

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpstates/internal/event"
	"tcpstates/internal/filter"
	"tcpstates/internal/kerneltest"
	"tcpstates/internal/pipeline"
)

func TestMain(m *testing.M) {
	kerneltest.Main()
	os.Exit(m.Run())
}

// collector is a trace under way that keeps its events.
type collector struct {
	*Tracer
	done   chan struct{} // closed after the last event
	events []event.Event // the transitions
	owners []event.Event // the changes of owner
	others []event.Event // what changes neither
	forks  []event.Event
	rates  []uint64 // one in so many connections is shown
	err    error
}

// trace begins a trace that ends with the test at the latest.
func trace(t testing.TB, o Options) *collector {
	t.Helper()
	// From the start, so that copying does not hold up the reader.
	return traceWithRoom(t, o, 300_000)
}

func traceWithRoom(t testing.TB, o Options, room int) *collector {
	t.Helper()
	o.Clock = kerneltest.SteadyClock{}
	tracer, err := Open(o)
	if err != nil {
		t.Fatalf("trace: %v", err)
	}
	c := &collector{Tracer: tracer, done: make(chan struct{}), events: make([]event.Event, 0, room)}
	go func() {
		defer close(c.done)
		_, c.err = pipeline.Run(tracer, []pipeline.Stage{c}, c, 0)
	}()
	t.Cleanup(func() {
		tracer.Stop()
		<-c.done
		tracer.Close()
	})
	return c
}

// Apply keeps what is for stages alone.
func (c *collector) Apply(e *event.Event, next func(*event.Event) error) error {
	if e.Kind == event.KindFork {
		c.forks = append(c.forks, *e)
	}
	return next(e)
}

func (c *collector) Start(event.Start) error { return nil }
func (c *collector) Flush() error            { return nil }
func (c *collector) Stop(event.Stop) error   { return nil }
func (c *collector) Write(e *event.Event) error {
	switch e.Kind {
	case event.KindTransition:
		c.events = append(c.events, *e)
	case event.KindOwner:
		c.owners = append(c.owners, *e)
	case event.KindLost:
	case event.KindSampling:
		c.rates = append(c.rates, e.OneIn)
	default:
		c.others = append(c.others, *e)
	}
	return nil
}

// end stops the trace and gives all it has seen.
func (c *collector) end(t testing.TB) []event.Event {
	t.Helper()
	c.Tracer.Stop()
	<-c.done
	if c.err != nil {
		t.Fatalf("trace: %v", c.err)
	}
	return c.events
}

// of keeps the events of the namespace.
func of(ns *kerneltest.Netns, events []event.Event) []event.Event {
	return slices.DeleteFunc(slices.Clone(events), func(e event.Event) bool { return e.Netns != ns.Inode })
}

// requireTotals checks the account of a trace against what was read.
func requireTotals(t testing.TB, c *collector) Totals {
	t.Helper()
	totals, err := c.Totals()
	if err != nil {
		t.Fatal(err)
	}
	if totals.Missed != 0 || totals.Lost != 0 || totals.Emitted != uint64(len(c.events)+len(c.owners)+len(c.others)+len(c.forks)) {
		t.Errorf("%d events were read, and the account is %+v", len(c.events), totals)
	}
	return totals
}

func TestScenariosAgreeWithTheKernelsText(t *testing.T) {
	kerneltest.Require(t)
	for _, scenario := range kerneltest.Scenarios {
		t.Run(scenario.Name, func(t *testing.T) {
			ns := kerneltest.NewNetns(t)
			// Two at a time, so that they are seen not to disturb each other.
			changes := trace(t, Options{})
			raw := trace(t, Options{SelfTransitions: true})
			truth := kerneltest.StartTruth(t)
			ns.Do(t, func() { scenario.Run(t, ns) })
			ns.Settle(t)
			want := truth.Stop(t)

			if n := kerneltest.RequireSame(t, ns, want, raw.end(t)); n == 0 {
				t.Error("the scenario made no transition")
			}
			kerneltest.RequireSame(t, ns, kerneltest.Changes(want), changes.end(t))
			if changes.Knows().Sockets {
				requireChains(t, of(ns, changes.events))
			} else {
				requireChainsByAddress(t, of(ns, changes.events))
			}
			requireTotals(t, changes)
		})
	}
}

// requireChains checks what holds within each socket's events: each state
// begins with the transition that leads to it, and nothing is claimed of what
// was before the first.
func requireChains(t *testing.T, events []event.Event) {
	t.Helper()
	last := map[uint64]event.Event{}
	for _, e := range events {
		before, known := last[e.Cookie]
		last[e.Cookie] = e
		switch {
		case !known && e.Since != 0 && !e.Before:
			t.Errorf("%v: the first transition knows of a time before", kerneltest.TransitionOf(&e))
		case known && e.OldState != before.NewState && e.Since != 0:
			t.Errorf("%v: a duration over the gap after %v", kerneltest.TransitionOf(&e), kerneltest.TransitionOf(&before))
		case known && e.OldState == before.NewState && e.Since != before.Ktime:
			t.Errorf("%v: the old state began at %d, it says %d", kerneltest.TransitionOf(&e), before.Ktime, e.Since)
		}
	}
}

func TestStormAgreesWithTheKernelsText(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	ns.SpreadPackets(t)
	c := trace(t, Options{})
	truth := kerneltest.StartTruth(t)
	kerneltest.Storm(t, ns, 20_000)
	ns.Settle(t)
	want := kerneltest.Changes(truth.Stop(t))
	n := kerneltest.RequireSame(t, ns, want, c.end(t))
	if n < 100_000 {
		t.Errorf("the storm made %d transitions, want 100,000", n)
	}
	totals := requireTotals(t, c)
	// Else the storm does not show that the second program is of use.
	if totals.Recovered == 0 {
		t.Error("no transition was missed by the first program")
	}
	t.Logf("%d transitions agree; %d were missed by the first program and recovered by the second", n, totals.Recovered)
}

// TestStandInsHandleWhatTheFirstMisses takes the programs from their tracepoint
// one by one, which is as if each were interrupted all the time, until none is
// left but the last.
func TestStandInsHandleWhatTheFirstMisses(t *testing.T) {
	kerneltest.Require(t)
	for away := 1; ; away++ {
		ns := kerneltest.NewNetns(t)
		c := trace(t, Options{})
		if away >= len(c.onTransitions()) {
			break
		}
		t.Run(fmt.Sprint(away), func(t *testing.T) {
			for _, l := range c.links[:away] { // in the order of the programs
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
			}
			truth := kerneltest.StartTruth(t)
			ns.Do(t, func() { kerneltest.Scenarios[0].Run(t, ns) })
			ns.Settle(t)
			kerneltest.RequireSame(t, ns, kerneltest.Changes(truth.Stop(t)), c.end(t))
			totals, err := c.Totals()
			if err != nil || totals.Recovered == 0 || totals.Missed != 0 {
				t.Errorf("the account is %+v, %v", totals, err)
			}
		})
	}
}

// TestNothingIsToldBeforeTheBeginning has a connection begin while the programs
// are attached and the trace has not begun.
func TestNothingIsToldBeforeTheBeginning(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	c := trace(t, Options{})
	if err := c.setStarted(0); err != nil {
		t.Fatal(err)
	}
	ns.Do(t, func() {
		l := kerneltest.Listen(t, "tcp4", "127.0.0.1:0")
		client, server := kerneltest.Connect(t, l)
		if err := c.begin(c.first()); err != nil {
			t.Fatal(err)
		}
		client.CloseWrite()
		server.Close()
		client.Close()
		l.Close()
	})
	ns.Settle(t)
	seen := of(ns, c.end(t))
	for _, e := range seen {
		if e.OldState == event.Close || e.NewState == event.SynRecv || e.NewState == event.Established {
			t.Errorf("%v: it was before the beginning", kerneltest.TransitionOf(&e))
		}
	}
	if len(seen) == 0 {
		t.Error("nothing was seen after the beginning")
	}
	if c.Knows().Sockets {
		requireChains(t, seen)
	} else {
		requireChainsByAddress(t, seen)
	}
	requireTotals(t, c)
}

func TestFactsOfATransition(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	c := trace(t, Options{})
	var listener, client netip.AddrPort
	var cookie uint64
	ns.Do(t, func() {
		l := kerneltest.Listen(t, "tcp4", "127.0.0.1:0")
		c, s := kerneltest.Connect(t, l)
		listener = l.Addr().(*net.TCPAddr).AddrPort()
		client = c.LocalAddr().(*net.TCPAddr).AddrPort()
		cookie = kerneltest.Cookie(t, c)
		c.Close()
		s.Close()
		l.Close()
	})
	ns.Settle(t)

	var lines int
	for _, e := range of(ns, c.end(t)) {
		if e.Remote != listener {
			continue
		}
		lines++
		if c.Knows().Sockets && e.Cookie != cookie {
			t.Errorf("%v: cookie %x, want %x", kerneltest.TransitionOf(&e), e.Cookie, cookie)
		}
		local := client
		if e.NewState == event.SynSent { // the port is not chosen yet
			local = netip.AddrPortFrom(client.Addr(), 0)
		}
		if e.Local != local {
			t.Errorf("%v: local end %v, want %v", kerneltest.TransitionOf(&e), e.Local, local)
		}
		if e.Family != event.IPv4 || e.UID != uint32(os.Getuid()) || e.SkAddr == 0 {
			t.Errorf("%v: family %d, uid %d, address %x", kerneltest.TransitionOf(&e), e.Family, e.UID, e.SkAddr)
		}
		if now := uint64(time.Now().UnixNano()); e.Ktime == 0 || e.Ktime > now {
			t.Errorf("time %d", e.Ktime)
		}
	}
	if lines != 5 {
		t.Errorf("the client's socket has %d transitions, want 5", lines)
	}
}

func TestStalePortOfAReusedSocketIsNoPort(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	c := trace(t, Options{})
	ns.Do(t, func() { kerneltest.Reconnected(t, ns) })
	ns.Settle(t)
	var stale, connects int
	for _, e := range of(ns, c.end(t)) {
		if e.NewState != event.SynSent {
			continue
		}
		connects++
		if e.RawLocalPort != 0 {
			stale++
		}
		if e.Local.Port() != 0 {
			t.Errorf("%v: claims the local port %d, which it does not have yet", kerneltest.TransitionOf(&e), e.Local.Port())
		}
	}
	if connects != 2 || stale != 1 {
		t.Errorf("%d connects, %d with a stale port, want 2 and 1", connects, stale)
	}
}

// connectFromHelper has another process, "the-client", connect to a listener of
// this one, which closes first; it returns that process, which has ended, and the
// listener's port.
func connectFromHelper(t *testing.T, ns *kerneltest.Netns) (helper *kerneltest.Helper, port uint16) {
	t.Helper()
	helper = kerneltest.StartHelper(t, ns, "the-client")
	ns.Do(t, func() {
		l := kerneltest.Listen(t, "tcp4", "127.0.0.1:0")
		port = portOf(l)
		helper.Connect(t, l.Addr())
		server, err := l.Accept()
		if err != nil {
			t.Errorf("accept: %v", err)
			return
		}
		server.Close()
		l.Close()
	})
	helper.End(t)
	ns.Settle(t)
	return helper, port
}

func TestOwnerIsWhoOpenedTheSocketOrItsListener(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	c := trace(t, Options{})
	helper, port := connectFromHelper(t, ns)
	self := event.Process{PID: uint32(os.Getpid()), Comm: ownComm(t)}
	client := event.Process{PID: helper.PID(), Comm: event.CommOf("the-client")}
	var current []event.Process
	for _, e := range of(ns, c.end(t)) {
		want := client
		if e.Local.Port() == port {
			want = self
			current = append(current, e.Current)
		}
		if e.Owner.Process != want {
			t.Errorf("%v: owner %v, want %v", kerneltest.TransitionOf(&e), e.Owner, want)
		}
	}
	// Else owner and current were the same by chance.
	if !slices.Contains(current, client) {
		t.Errorf("the client was never on the CPU when the server's sockets changed: %v", current)
	}
}

func ownComm(t *testing.T) event.Comm {
	t.Helper()
	name, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	return event.CommOf(string(name[:len(name)-1]))
}

func TestUnknownOwnerOfAnOlderListener(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	ns.Do(t, func() {
		l := kerneltest.Listen(t, "tcp4", "127.0.0.1:0")
		c := trace(t, Options{})
		client, server := kerneltest.Connect(t, l)
		client.Close()
		server.Close()
		l.Close()
		ns.Settle(t)
		port := l.Addr().(*net.TCPAddr).AddrPort().Port()
		for _, e := range of(ns, c.end(t)) {
			if e.Local.Port() == port && e.Owner.PID != 0 {
				t.Errorf("%v: owner %v, which nobody can know", kerneltest.TransitionOf(&e), e.Owner)
			}
			if _, known := e.Duration(); known && e.OldState == event.Listen {
				t.Errorf("%v: a duration, which nobody can know", kerneltest.TransitionOf(&e))
			}
		}
	})
}

func TestFiltersKeepConnectionsWhole(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	const wanted = 8080
	const clientPort = 50001 // among those that the kernel gives to clients
	for _, test := range []struct {
		name   string
		filter filter.Lowered
		match  func(e *event.Event) bool
	}{
		{"none", filter.Lowered{}, func(*event.Event) bool { return true }},
		{"local port of a server", filter.Lowered{LocalPorts: portSet(t, wanted)},
			func(e *event.Event) bool { return e.RawLocalPort == wanted }},
		{"local port of a client", filter.Lowered{LocalPorts: portSet(t, clientPort)},
			func(e *event.Event) bool { return e.RawLocalPort == clientPort }},
		{"remote port", filter.Lowered{RemotePorts: portSet(t, wanted)},
			func(e *event.Event) bool { return e.Remote.Port() == wanted }},
		{"both ports", filter.Lowered{LocalPorts: portSet(t, clientPort), RemotePorts: portSet(t, wanted)},
			func(e *event.Event) bool { return e.RawLocalPort == clientPort && e.Remote.Port() == wanted }},
		{"IPv4", filter.Lowered{Family: event.IPv4}, func(e *event.Event) bool { return e.Family == event.IPv4 }},
		{"IPv6", filter.Lowered{Family: event.IPv6}, func(e *event.Event) bool { return e.Family == event.IPv6 }},
		{"nothing", filter.Lowered{LocalPorts: portSet(t, 1)}, func(*event.Event) bool { return false }},
	} {
		t.Run(test.name, func(t *testing.T) {
			all := trace(t, Options{})
			some := trace(t, Options{Filter: test.filter})
			ns.Do(t, func() {
				connectFrom(t, kerneltest.Listen(t, "tcp4", "127.0.0.1:8080"), clientPort)
				connectFrom(t, kerneltest.Listen(t, "tcp", "[::]:0"), 0)
			})
			ns.Settle(t)

			// What is wanted is decided by a connection's last transition, at
			// which all is known of it.
			events := of(ns, all.end(t))
			want := map[uint64][]hop{}
			for _, life := range livesOf(events) {
				socket := life[0].Socket()
				if _, known := want[socket]; !known {
					want[socket] = nil // of which nothing may be seen
				}
				if test.match(&life[len(life)-1]) {
					for i := range life {
						want[socket] = append(want[socket], hopOf(&life[i]))
					}
				}
			}
			got := map[uint64][]hop{}
			for _, e := range of(ns, some.end(t)) {
				got[e.Socket()] = append(got[e.Socket()], hopOf(&e))
			}
			for socket := range want {
				if !slices.EqualFunc(got[socket], want[socket], hop.same) {
					t.Errorf("socket %x:\n got %v\nwant %v", socket, got[socket], want[socket])
				}
			}
			if len(got) == 0 && test.name != "nothing" {
				t.Error("the filter matches nothing")
			}
		})
	}
}

// livesOf parts the events into those of each socket, in the order of their
// beginnings. An address is another socket's after CLOSE.
func livesOf(events []event.Event) (lives [][]event.Event) {
	at := map[uint64]int{}
	for _, e := range events {
		i, known := at[e.Socket()]
		if !known || e.Cookie == 0 && lives[i][len(lives[i])-1].NewState == event.Close {
			i = len(lives)
			at[e.Socket()] = i
			lives = append(lives, nil)
		}
		lives[i] = append(lives[i], e)
	}
	return lives
}

// hop is what one transition says of itself, wherever it was held.
type hop struct {
	old, new event.State
	since    bool
	owner    event.Owner
	current  event.Process
	ktime    uint64
}

func hopOf(e *event.Event) hop {
	return hop{e.OldState, e.NewState, e.Since != 0, e.Owner, e.Current, e.Ktime}
}

// same compares but for the time, which two traces read one after the other.
func (h hop) same(other hop) bool {
	const apart = uint64(100 * time.Millisecond)
	near := h.ktime < other.ktime+apart && other.ktime < h.ktime+apart
	h.ktime, other.ktime = 0, 0
	return near && h == other
}

func portSet(t *testing.T, port uint16) *filter.PortRule {
	t.Helper()
	set := new(filter.Ports)
	set[port/8] = 1 << (port % 8)
	return &filter.PortRule{Set: set}
}

// connectFrom opens and closes a connection from the given local port, zero
// meaning any, and closes the listener.
func connectFrom(t *testing.T, l *net.TCPListener, port int) {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}}
	if port != 0 {
		// Bound at connect, as an unbound socket is: so the port is not known
		// at the first transition.
		dialer.LocalAddr = nil
		dialer.Control = kerneltest.PortAtConnect(port)
	}
	to := net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: l.Addr().(*net.TCPAddr).Port}
	client, err := dialer.Dial("tcp4", to.String())
	if errors.Is(err, unix.ENOPROTOOPT) { // before Linux 6.3
		dialer = net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}}
		client, err = dialer.Dial("tcp4", to.String())
	}
	if err != nil {
		t.Errorf("connect from port %d: %v", port, err)
		return
	}
	server, err := l.Accept()
	if err != nil {
		t.Errorf("accept: %v", err)
		return
	}
	// The server closes first, so that its end keeps the TIME_WAIT and the
	// client's port is free for the next test.
	server.Close()
	client.Close()
	l.Close()
}

func TestLossIsCounted(t *testing.T) {
	kerneltest.Require(t)
	requireLossIsCounted(t, Options{BufferSize: os.Getpagesize()})
}

// requireLossIsCounted makes more than the buffer holds.
func requireLossIsCounted(t *testing.T, o Options) {
	t.Helper()
	ns := kerneltest.NewNetns(t)
	o.Clock = kerneltest.SteadyClock{}
	tracer, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer tracer.Close()
	truth := kerneltest.StartTruth(t)
	kerneltest.Storm(t, ns, 100) // and nobody reads
	happened := uint64(len(kerneltest.Changes(truth.Stop(t))))
	tracer.Stop()

	var read, lost uint64
	var e event.Event
	for err = tracer.Read(&e); err == nil; err = tracer.Read(&e) {
		switch e.Kind {
		default:
			read++
		case event.KindLost:
			lost += e.Lost
			if e.Ktime == 0 || e.Wall == 0 {
				t.Errorf("a loss without its time: %+v", e)
			}
		}
	}
	totals, err := tracer.Totals()
	if err != nil {
		t.Fatal(err)
	}
	if lost == 0 || read == 0 {
		t.Errorf("%d read and %d lost, in a buffer for a few", read, lost)
	}
	if totals.Lost != lost || totals.Emitted != read || totals.Missed != 0 {
		t.Errorf("%d read and %d lost, and the account is %+v", read, lost, totals)
	}
	if read+lost < happened {
		t.Errorf("%d happened, %d read, %d lost", happened, read, lost)
	}
}

func TestGapIsToldAndHasNoDuration(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	c := trace(t, Options{})
	ns.Do(t, func() {
		l := kerneltest.Listen(t, "tcp4", "127.0.0.1:0")
		client, server := kerneltest.Connect(t, l)
		// The programs sleep through the client's ESTABLISHED>FIN_WAIT1 and
		// FIN_WAIT1>FIN_WAIT2.
		if err := c.detach(); err != nil {
			t.Errorf("detach: %v", err)
		}
		client.CloseWrite()
		kerneltest.AwaitState(t, client, event.FinWait2)
		if err := c.attach(); err != nil {
			t.Errorf("attach again: %v", err)
		}
		server.Close()
		client.Close()
		l.Close()
	})
	ns.Settle(t)

	var found bool
	for _, e := range of(ns, c.end(t)) {
		if e.OldState == event.FinWait2 && e.NewState == event.Close {
			found = true
			if _, known := e.Duration(); known {
				t.Errorf("%v: a duration, though its beginning went unseen", kerneltest.TransitionOf(&e))
			}
		}
	}
	if !found {
		t.Error("the transition after the gap was not seen")
	}
	totals, err := c.Totals()
	if err != nil {
		t.Fatal(err)
	}
	// The client's, and the server's ESTABLISHED>CLOSE_WAIT; other processes'
	// sockets may have had theirs.
	if totals.Gaps < 2 {
		t.Errorf("%d gaps, want 2", totals.Gaps)
	}
}

func TestNothingStaysBehind(t *testing.T) {
	kerneltest.Require(t)
	before := kerneltest.OpenFiles(t)
	for range 3 {
		tracer, err := Open(Options{Clock: kerneltest.SteadyClock{}})
		if err != nil {
			t.Fatal(err)
		}
		tracer.Stop()
		if err := tracer.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	if after := kerneltest.OpenFiles(t); after > before {
		t.Errorf("%d files were open before, %d are after", before, after)
	}
}

// TestCloseWhileStopping ends a trace from two sides at once, as an error in
// writing does.
func TestCloseWhileStopping(t *testing.T) {
	kerneltest.Require(t)
	for range 5 {
		tracer, err := Open(Options{Clock: kerneltest.SteadyClock{}})
		if err != nil {
			t.Fatal(err)
		}
		stopped := make(chan struct{})
		go func() {
			tracer.Stop()
			close(stopped)
		}()
		if err := tracer.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		<-stopped
	}
}
