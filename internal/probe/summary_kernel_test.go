package probe

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpstates/bpf"
	"tcpstates/internal/event"
	"tcpstates/internal/filter"
	"tcpstates/internal/kerneltest"
	"tcpstates/internal/pipeline"
	"tcpstates/internal/summary"
)

// openSummary begins a summary that ends with the test at the latest.
func openSummary(t testing.TB, o Options) *Summary {
	t.Helper()
	s, err := LoadSummary(o)
	if err != nil {
		t.Fatalf("summary: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.Start(); err != nil {
		t.Fatalf("summary: %v", err)
	}
	return s
}

// counted is what the summary has counted.
func counted(t testing.TB, s *Summary) *Counted {
	t.Helper()
	c := &Counted{}
	if err := s.Counted(c); err != nil {
		t.Fatal(err)
	}
	return c
}

// side is a trace that stands beside a summary, and keeps all of it.
type side struct {
	*Tracer
	done   chan error
	events []event.Event
}

func traceBeside(t testing.TB, o Options) *side {
	t.Helper()
	o.Clock, o.BufferSize = kerneltest.SteadyClock{}, 256<<20
	tracer, err := Open(o)
	if err != nil {
		t.Fatalf("trace: %v", err)
	}
	s := &side{Tracer: tracer, done: make(chan error, 1)}
	go func() {
		_, err := pipeline.Run(tracer, nil, s, 0)
		s.done <- err
	}()
	t.Cleanup(func() { tracer.Close() })
	return s
}

func (s *side) Start(event.Start) error { return nil }
func (s *side) Flush() error            { return nil }
func (s *side) Stop(event.Stop) error   { return nil }
func (s *side) Write(e *event.Event) error {
	if !isOfLess(e) {
		s.events = append(s.events, *e)
	}
	return nil
}

// exact is what a summary is compared with: all that a trace has told, in the same
// terms.
type exact struct {
	ends        told
	transitions [states][states]uint64
	connect     Times
	rtt         Times
	inState     [states]Times
}

// bucketOf is where a duration belongs.
func bucketOf(d time.Duration) int { return bits.Len64(uint64(d) >> FirstBound) }

// exactly judges events as a Tracker does that follows no minisocks, and sums them up by
// the rules of package summary.
func exactly(t testing.TB, events []event.Event) *exact {
	t.Helper()
	x := &exact{ends: told{}}
	for i := range events {
		if e := &events[i]; e.Kind == event.KindTransition {
			x.transitions[e.OldState][e.NewState]++
		}
	}
	put := func(times *Times, d time.Duration) {
		if d > 0 {
			times[bucketOf(d)]++
		}
	}
	track(t, events, func(e *event.Event) error {
		if e.Kind != event.KindConn {
			return nil
		}
		x.ends[tellEnd(e)]++
		if e.Role == event.RoleListener {
			return nil
		}
		put(&x.connect, e.Handshake.Connect)
		if e.Role == event.RoleServer && !e.Handshake.Estimate {
			put(&x.rtt, e.Handshake.RTT)
		}
		for state := event.Established; state < states; state++ {
			bookkeeping := state == event.SynRecv && e.Role == event.RoleServer && e.Handshake.Way != event.WayFastOpen
			orphan := state == event.FinWait2 && e.OldState == state && e.NewState == event.Close && e.End.Reason == event.ReasonNone
			if !bookkeeping && !orphan && state != event.TimeWait {
				put(&x.inState[state], e.Times[state])
			}
		}
		return nil
	})
	return x
}

// requireAgreement compares the numbers, and returns which of the percentiles differ by
// more than a bucket. They may, of few times and the longest: between the program of one
// tracer and that of the other an interrupt can come, or the machine below this one can
// take its time.
func requireAgreement(t testing.TB, want *exact, c *Counted, percentiles ...float64) (apart []string) {
	t.Helper()
	requireSameEnds(t, want.ends, countedEnds(c.Ends))
	requireSameTransitions(t, want, c)
	open := unended(c)
	agree := func(what string, want, got *Times) {
		t.Helper()
		a, b := summary.Buckets(*want), summary.Buckets(*got)
		// A trace tells the times of those that have ended.
		if n := total(got) - total(want); n > open {
			t.Errorf("%s: %d times, and %d were counted", what, total(want), total(got))
			return
		}
		for _, p := range percentiles {
			if a, b := a.Percentile(p), b.Percentile(p); total(want) > 0 && (a < b-1 || a > b+1) {
				apart = append(apart, fmt.Sprintf("%s: %v%% are below %v, and below %v by the count", what, p, summary.Bound(a), summary.Bound(b)))
			}
		}
	}
	agree("connect", &want.connect, &c.Connect)
	agree("handshake", &want.rtt, &c.RTT)
	for state := event.Established; state < states; state++ {
		agree(state.String(), &want.inState[state], &c.InState[state])
	}
	if c.Unsorted != 0 {
		t.Errorf("%d ends were not sorted", c.Unsorted)
	}
	return apart
}

func requireSameTransitions(t testing.TB, want *exact, c *Counted) {
	t.Helper()
	for from := range want.transitions {
		for to, n := range want.transitions[from] {
			if got := c.Transitions[from][to]; got != n {
				t.Errorf("%v>%v happened %d times, and was counted %d times", event.State(from), event.State(to), n, got)
			}
		}
	}
}

// unended is how many sockets were seen to begin, and not to end: the kernel does not run
// the programs for quite all of that.
func unended(c *Counted) uint64 {
	begun := c.Transitions[event.Close][event.SynSent] + c.Transitions[event.Close][event.Listen] +
		c.Transitions[event.Listen][event.SynRecv]
	for from := range c.Transitions {
		begun -= c.Transitions[from][event.Close]
	}
	return begun
}

func total(times *Times) (n uint64) {
	for _, in := range times {
		n += in
	}
	return n
}

// compared is what a trace and a summary have told of the same sockets.
type compared struct {
	exact   []event.Event
	counted *Counted
	account Totals // the summary's

	// What the first programs have missed.
	tracedMisses, countedMisses misses
}

// beside runs something in a namespace, traced and counted side by side.
func beside(t *testing.T, o Options, run func(ns *kerneltest.Netns)) *compared {
	t.Helper()
	ns := kerneltest.NewNetns(t)
	o.Filter.Netns = numbers(false, ns.Inode)
	s := openSummary(t, o)
	exact := traceBeside(t, o)
	run(ns)
	ns.Settle(t)
	exact.Tracer.Stop()
	s.Stop()
	if err := <-exact.done; err != nil {
		t.Fatalf("trace: %v", err)
	}
	requireNoneMissed(t, "trace", exact.Totals)
	account := requireNoneMissed(t, "summary", s.Totals)
	c := counted(t, s)
	if c.Sum() == 0 {
		t.Error("nothing was counted")
	}
	traced, err := exact.misses("first")
	missed, errCounted := s.misses("first")
	if err := errors.Join(err, errCounted); err != nil {
		t.Error(err)
	}
	return &compared{exact.events, c, account, traced, missed}
}

func requireNoneMissed(t *testing.T, what string, totals func() (Totals, error)) Totals {
	t.Helper()
	account, err := totals()
	if err != nil || account.Missed != 0 || account.Lost != 0 {
		t.Errorf("the account of the %s is %+v, %v", what, account, err)
	}
	return account
}

// TestSummaryAgrees counts what a trace tells, of the same sockets. More ways to end are
// in package conn.
func TestSummaryAgrees(t *testing.T) {
	kerneltest.Require(t)
	for _, scenario := range kerneltest.Scenarios {
		t.Run(scenario.Name, func(t *testing.T) {
			for try := 1; ; try++ {
				c := beside(t, Options{}, func(ns *kerneltest.Netns) { ns.Do(t, func() { scenario.Run(t, ns) }) })
				apart := requireAgreement(t, exactly(t, c.exact), c.counted, 50, 90, 99, 100)
				if len(apart) == 0 {
					return
				}
				if try == 10 {
					t.Fatalf("in %d tries the times never agreed, at last: %v", try, apart)
				}
			}
		})
	}
}

// storms are those of the tests, by where the trails of sockets are.
var storms = map[string]Options{
	"in slots": {},
	// Children must inherit who opened their listener.
	"in socket storage": {Filter: filter.Lowered{PIDs: numbers(true, 1)}},
}

func TestSummaryOfStorm(t *testing.T) {
	kerneltest.Require(t)
	for name, o := range storms {
		t.Run(name, func(t *testing.T) {
			c := beside(t, o, func(ns *kerneltest.Netns) { kerneltest.Storm(t, ns, 20_000) })
			if apart := requireAgreement(t, exactly(t, c.exact), c.counted, 50, 90, 99); len(apart) > 0 {
				t.Error(apart)
			}
			if n := unended(c.counted); n > 10 {
				t.Errorf("the ends of %d sockets were not seen", n)
			}
		})
	}
}

// TestSummaryOfInterrupts has transitions interrupt the programs: what the first misses
// the twin counts, and nothing twice.
func TestSummaryOfInterrupts(t *testing.T) {
	kerneltest.Require(t)
	for name, o := range storms {
		t.Run(name, func(t *testing.T) {
			c := beside(t, o, func(ns *kerneltest.Netns) {
				ns.SpreadPackets(t)
				kerneltest.Storm(t, ns, 20_000)
			})
			requireSameTransitions(t, exactly(t, c.exact), c.counted)
			if c.account.Recovered == 0 {
				t.Error("no program was interrupted: the storm tests nothing")
			}
		})
	}
}

// TestResetsOfInterrupts has resets interrupt the programs on resets: what those miss their
// copies tell and count, and nothing twice.
func TestResetsOfInterrupts(t *testing.T) {
	kerneltest.Require(t)
	threads, each := 2*runtime.NumCPU(), 5000
	c := beside(t, Options{}, func(ns *kerneltest.Netns) {
		ns.SpreadPackets(t)
		var all sync.WaitGroup
		for range threads {
			all.Go(func() { ns.Do(t, func() { resetAll(t, each) }) })
		}
		all.Wait()
	})
	if c.tracedMisses.segments == 0 || c.countedMisses.segments == 0 {
		t.Errorf("the trace missed %+v at first, the summary %+v: no program was interrupted", c.tracedMisses, c.countedMisses)
	}
	requireSameTransitions(t, exactly(t, c.exact), c.counted)
	type reset struct {
		cookie uint64
		kind   event.Kind
	}
	told, sent := map[reset]int{}, 0
	var refused []uint64
	for i := range c.exact {
		switch e := &c.exact[i]; {
		case e.Kind == event.KindResetSent:
			sent++
			told[reset{e.Cookie, e.Kind}]++
		case e.Kind == event.KindResetReceived:
			told[reset{e.Cookie, e.Kind}]++
		case e.Kind == event.KindTransition && e.OldState == event.SynSent && e.NewState == event.Close:
			refused = append(refused, e.Cookie)
		}
	}
	if all := threads * each; sent != all || len(refused) < all*9/10 {
		t.Errorf("%d resets were sent and %d connections refused, want %d", sent, len(refused), all)
	}
	for _, cookie := range refused {
		if told[reset{cookie, event.KindResetReceived}] == 0 {
			t.Errorf("socket %d was refused, and no reset was told of", cookie)
		}
	}
	for r, n := range told {
		if n != 1 {
			t.Errorf("%v of socket %d: told %d times", r.kind, r.cookie, n)
		}
	}
}

// resetAll resets connections as fast as it can, and has as many be refused.
func resetAll(t *testing.T, connections int) {
	l := kerneltest.Listen(t, "tcp4", "127.0.0.1:0")
	refusing := kerneltest.Listen(t, "tcp4", "127.0.0.1:0")
	refusing.Close()
	defer l.Close()
	for range connections {
		client, server := kerneltest.Connect(t, l)
		if err := client.SetLinger(0); err != nil {
			t.Error(err)
		}
		client.Close()
		server.Close()
		if c, err := net.Dial("tcp4", refusing.Addr().String()); err == nil {
			t.Error("a closed port was connected to")
			c.Close()
		}
	}
}

// TestUncountedIsNotMissed takes the first of the programs away: then the twin sees every
// transition that was missed, of which those of sockets that are not counted are no loss.
func TestUncountedIsNotMissed(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	s := openSummary(t, Options{Filter: filter.Lowered{Netns: numbers(false, ns.Inode)}})
	if err := s.links[0].Close(); err != nil {
		t.Fatal(err)
	}
	const listeners = 50
	var has error
	ns.Do(t, func() {
		for range listeners {
			var fd int
			if fd, has = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_MPTCP); has != nil {
				return
			}
			if err := errors.Join(unix.Listen(fd, 1), unix.Close(fd)); err != nil {
				t.Error(err)
			}
		}
	})
	if has != nil {
		t.Skipf("this kernel has no MPTCP: %v", has)
	}
	s.Stop()
	transitions := counted(t, s).Sum()
	account := requireNoneMissed(t, "summary", s.Totals)
	// Each MPTCP socket changes its state as the TCP socket under it does.
	if transitions != 2*listeners || account.Recovered < 2*transitions {
		t.Errorf("%d transitions were counted, want %d; %d were seen to be missed, want twice as many", transitions, 2*listeners, account.Recovered)
	}
}

// TestSummaryChooses has one connection, of which both ends are in this process, and looks
// at who is counted.
func TestSummaryChooses(t *testing.T) {
	kerneltest.Require(t)
	const serverPort, clientPort = 40000, 50000
	self := uint32(os.Getpid())
	for _, test := range []struct {
		name                     string
		filter                   filter.Lowered
		client, server, listener uint64
	}{
		{"none", filter.Lowered{}, 1, 1, 1},
		{"this process", filter.Lowered{PIDs: numbers(false, self)}, 1, 1, 1},
		{"another process", filter.Lowered{PIDs: numbers(false, 1)}, 0, 0, 0},
		{"all others", filter.Lowered{PIDs: numbers(true, self)}, 0, 0, 0},
		{"this user", filter.Lowered{UIDs: numbers(false, uint32(os.Getuid()))}, 1, 1, 1},
		{"another user", filter.Lowered{UIDs: numbers(false, 12345)}, 0, 0, 0},
		{"the server's port", filter.Lowered{LocalPorts: ports(false, serverPort)}, 0, 1, 1},
		{"the server's port from outside", filter.Lowered{RemotePorts: ports(false, serverPort)}, 1, 0, 0},
		{"the client's port, which is known late", filter.Lowered{LocalPorts: ports(false, clientPort)}, 1, 0, 0},
		{"another than the client's", filter.Lowered{LocalPorts: ports(true, clientPort)}, 0, 1, 1},
		{"IPv6", filter.Lowered{Family: event.IPv6}, 0, 0, 0},
		{"an address", filter.Lowered{RemoteAddrs: addrs(false, "127.0.0.0/8")}, 1, 1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			ns := kerneltest.NewNetns(t)
			ns.Sysctl(t, "net/ipv4/ip_local_port_range", fmt.Sprint(clientPort, clientPort))
			test.filter.Netns = numbers(false, ns.Inode)
			s := openSummary(t, Options{Filter: test.filter})
			ns.Do(t, func() {
				l := kerneltest.Listen(t, "tcp4", fmt.Sprint("127.0.0.1:", serverPort))
				client, server := kerneltest.Connect(t, l)
				client.Close()
				_, _ = io.Copy(io.Discard, server)
				server.Close()
				l.Close()
			})
			ns.Settle(t)
			s.Stop()
			c := counted(t, s)
			closed := uint64(0)
			for from := range c.Transitions {
				closed += c.Transitions[from][event.Close]
			}
			got := [...]uint64{
				c.Transitions[event.Close][event.SynSent], c.Transitions[event.SynSent][event.Established],
				c.Transitions[event.Listen][event.SynRecv], c.Transitions[event.SynRecv][event.Established],
				c.Transitions[event.Close][event.Listen], closed,
			}
			want := [...]uint64{test.client, test.client, test.server, test.server, test.listener, test.client + test.server + test.listener}
			if got != want {
				t.Errorf("clients, servers, listeners and ends: %v, want %v", got, want)
			}
		})
	}
}

// TestSummaryOfManySockets has more of them open than can all have a slot of their own:
// by the birthday paradox some hundred have none.
func TestSummaryOfManySockets(t *testing.T) {
	kerneltest.Require(t)
	const sockets, times = 5000, 2
	ns := kerneltest.NewNetns(t)
	s := openSummary(t, Options{Filter: filter.Lowered{Netns: numbers(false, ns.Inode)}})
	ns.Do(t, func() {
		for range times {
			var fds []int
			for range sockets {
				fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
				if err == nil {
					fds = append(fds, fd)
					err = unix.Listen(fd, 1)
				}
				if err != nil {
					t.Error(err)
					break
				}
			}
			if taken := takenSlots(s); taken >= sockets || taken < sockets/2 {
				t.Errorf("%d slots are taken by %d sockets: no two of them were of the same", taken, sockets)
			}
			for _, fd := range fds {
				unix.Close(fd)
			}
		}
	})
	s.Stop()
	account := requireNoneMissed(t, "summary", s.Totals)
	c := counted(t, s)
	opened, closed := c.Transitions[event.Close][event.Listen], c.Transitions[event.Listen][event.Close]
	if opened != sockets*times || closed != opened || account.Gaps != 0 {
		t.Errorf("%d listeners were counted, %d of them closed, with %d gaps; there were %d", opened, closed, account.Gaps, sockets*times)
	}
}

// takenSlots is how many slots are some socket's that is open.
func takenSlots(s *Summary) (taken int) {
	var key uint32
	var trail bpf.SummaryTrail
	for all := s.objects.Maps["slots"].Iterate(); all.Next(&key, &trail); {
		if trail.Sk != 0 && event.State(trail.State) != event.Close {
			taken++
		}
	}
	return taken
}
