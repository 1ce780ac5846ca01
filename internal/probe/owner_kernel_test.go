package probe

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpstates/internal/event"
	"tcpstates/internal/kerneltest"
	"tcpstates/internal/snapshot"
	"tcpstates/internal/wire"
)

// fileOf is a descriptor of its own for the socket.
func fileOf(t *testing.T, socket interface{ File() (*os.File, error) }) *os.File {
	t.Helper()
	f, err := socket.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func portOf(l net.Listener) uint16 { return l.Addr().(*net.TCPAddr).AddrPort().Port() }

// inherited is how the trace knows a child's owner before the child is used.
func (c *collector) inherited() event.Source {
	if c.Knows().Sockets {
		return event.SourceInherited
	}
	return event.SourcePort
}

// haveServed has the worker accept a connection, answer on it, and end after
// the client has closed it; it returns the client's port.
func haveServed(t *testing.T, l net.Listener, worker *kerneltest.Helper) (port uint16) {
	t.Helper()
	worker.Ask(t, "serve")
	client, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Errorf("connect: %v", err)
		runtime.Goexit()
	}
	fmt.Fprintln(client, "hello")
	if _, err := bufio.NewReader(client).ReadString('\n'); err != nil {
		t.Errorf("read: %v", err)
	}
	worker.Await(t)
	client.Close()
	worker.End(t)
	return client.LocalAddr().(*net.TCPAddr).AddrPort().Port()
}

func TestPreForkServerShowsItsWorkers(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	c := trace(t, Options{})
	const workers = 3
	knowsIO := c.objects.Programs["received"] != nil // since Linux 6.3
	served := map[uint16]uint32{}                    // who served, by the client's port
	var port uint16
	ns.Do(t, func() {
		l := kerneltest.Listen(t, "tcp4", "127.0.0.1:0")
		port = portOf(l)
		var helpers []*kerneltest.Helper
		f := fileOf(t, l)
		for i := range workers {
			helpers = append(helpers, kerneltest.StartHelper(t, ns, fmt.Sprint("worker-", i), f))
		}
		f.Close()
		for _, worker := range helpers {
			served[haveServed(t, l, worker)] = worker.PID()
		}
		l.Close()
	})
	ns.Settle(t)
	c.end(t)

	self := uint32(os.Getpid())
	checked := 0
	for _, e := range of(ns, c.events) {
		worker, isChild := served[e.Remote.Port()]
		if e.Local.Port() != port || !isChild {
			continue
		}
		checked++
		want, source := worker, event.SourceIO
		if e.NewState == event.SynRecv || e.NewState == event.Established || !knowsIO {
			want, source = self, c.inherited()
		}
		if e.Owner.PID != want || e.Owner.Source != source {
			t.Errorf("%v: owner %d by %v, want %d by %v", kerneltest.TransitionOf(&e), e.Owner.PID, e.Owner.Source, want, source)
		}
	}
	if checked < 5*workers {
		t.Errorf("%d transitions of the server's, want %d", checked, 5*workers)
	}
	changes := map[uint32]int{}
	for _, e := range of(ns, c.owners) {
		changes[e.Owner.PID]++
	}
	for _, worker := range served {
		if knowsIO && changes[worker] != 1 {
			t.Errorf("%d owner events name worker %d, want 1: %v", changes[worker], worker, changes)
		}
	}
}

// TestCloserIsNotTheOwner passes a connection to another process, by a message
// and by inheritance, which then closes it.
func TestCloserIsNotTheOwner(t *testing.T) {
	kerneltest.Require(t)
	for _, how := range []string{"SCM_RIGHTS", "fork"} {
		t.Run(how, func(t *testing.T) {
			ns := kerneltest.NewNetns(t)
			c := trace(t, Options{})
			var helper *kerneltest.Helper
			var port uint16
			ns.Do(t, func() {
				l := kerneltest.Listen(t, "tcp4", "127.0.0.1:0")
				port = portOf(l)
				client, server := kerneltest.Connect(t, l)
				f := fileOf(t, client)
				client.Close()
				if how == "fork" {
					helper = kerneltest.StartHelper(t, ns, "the-closer", f)
				} else {
					pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
					if err != nil {
						t.Errorf("make a pair of sockets: %v", err)
						return
					}
					theirs := os.NewFile(uintptr(pair[1]), "pair")
					helper = kerneltest.StartHelper(t, ns, "the-closer", theirs)
					theirs.Close()
					if err := unix.Sendmsg(pair[0], []byte{0}, unix.UnixRights(int(f.Fd())), nil, 0); err != nil {
						t.Errorf("send the connection: %v", err)
						return
					}
					unix.Close(pair[0])
					helper.Ask(t, "receive")
					helper.Await(t)
				}
				f.Close()
				helper.End(t)
				server.Close()
				l.Close()
			})
			ns.Settle(t)

			self := uint32(os.Getpid())
			closers := 0
			for _, e := range of(ns, c.end(t)) {
				if e.Remote.Port() != port {
					continue
				}
				if e.Owner.PID != self || e.Owner.Source != event.SourceConnect {
					t.Errorf("%v: owner %+v, want who connected", kerneltest.TransitionOf(&e), e.Owner)
				}
				if closes := e.NewState == event.FinWait1; e.Closes != closes {
					t.Errorf("%v: closes %v", kerneltest.TransitionOf(&e), e.Closes)
				}
				if e.Closes {
					closers++
					if e.Current.PID != helper.PID() || e.Current.Comm != event.CommOf("the-closer") {
						t.Errorf("closed by %+v, want %d", e.Current, helper.PID())
					}
				}
			}
			if closers != 1 {
				t.Errorf("%d transitions name a closer", closers)
			}
		})
	}
}

func TestKilledProcessKeepsItsSockets(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	c := trace(t, Options{})
	var victim *kerneltest.Helper
	var port uint16
	ns.Do(t, func() {
		l := kerneltest.Listen(t, "tcp4", "127.0.0.1:0")
		port = portOf(l)
		victim = kerneltest.StartHelper(t, ns, "victim")
		victim.Connect(t, l.Addr())
		server, err := l.Accept()
		if err != nil {
			t.Errorf("accept: %v", err)
			return
		}
		victim.Kill()
		server.Close()
		l.Close()
	})
	ns.Settle(t)
	lines := 0
	for _, e := range of(ns, c.end(t)) {
		if e.Remote.Port() != port {
			continue
		}
		lines++
		if e.Owner.PID != victim.PID() || e.Owner.Comm != event.CommOf("victim") {
			t.Errorf("%v: owner %+v, want %d", kerneltest.TransitionOf(&e), e.Owner, victim.PID())
		}
	}
	if lines < 4 {
		t.Errorf("%d lines of the killed process's socket", lines)
	}
}

func TestClosers(t *testing.T) {
	kerneltest.Require(t)
	type change struct{ old, new event.State }
	// Who closes in each scenario; what is not listed is nobody's doing.
	for name, want := range map[string][]change{
		"client closes first":          {{event.Established, event.FinWait1}, {event.CloseWait, event.LastAck}, {event.Listen, event.Close}},
		"reset by SO_LINGER 0":         {{event.Established, event.Close}, {event.Listen, event.Close}},
		"refused":                      {{event.Listen, event.Close}},
		"listener closed over a child": {{event.Established, event.Close}, {event.Listen, event.Close}},
	} {
		t.Run(name, func(t *testing.T) {
			i := slices.IndexFunc(kerneltest.Scenarios, func(s kerneltest.Scenario) bool { return s.Name == name })
			ns := kerneltest.NewNetns(t)
			c := trace(t, Options{})
			ns.Do(t, func() { kerneltest.Scenarios[i].Run(t, ns) })
			ns.Settle(t)
			var got []change
			for _, e := range of(ns, c.end(t)) {
				if e.Closes {
					got = append(got, change{e.OldState, e.NewState})
					if e.Current.PID != uint32(os.Getpid()) {
						t.Errorf("%v: closed by %+v", kerneltest.TransitionOf(&e), e.Current)
					}
				}
			}
			order := func(a, b change) int { return int(a.old)*16 + int(a.new) - int(b.old)*16 - int(b.new) }
			slices.SortFunc(got, order)
			slices.SortFunc(want, order)
			if !slices.Equal(got, want) {
				t.Errorf("closed by a process: %v, want %v", got, want)
			}
		})
	}
}

// requireSeeding skips the test where the kernel's best backend remembers
// nothing of older sockets.
func requireSeeding(t testing.TB) {
	t.Helper()
	kerneltest.Require(t)
	best, err := Choose(NewList(&Options{}), &Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !best.backend.knows.Sockets {
		t.Skipf("%v knows nothing of older sockets", best)
	}
}

// seed walks over the sockets for the trace.
func seed(t testing.TB, c *collector) (all []wire.Found, report snapshot.Report) {
	t.Helper()
	report, err := snapshot.Seed(c.Lives(), 0, nil, func(f wire.Found) { all = append(all, f) })
	if err != nil {
		t.Fatalf("walk over the sockets: %v", err)
	}
	return all, report
}

func TestOlderSocketsHaveOwnerAndLeastDuration(t *testing.T) {
	requireSeeding(t)
	for _, network := range []string{"tcp4", "multipath"} {
		t.Run(network, func(t *testing.T) {
			ns := kerneltest.NewNetns(t)
			ns.Do(t, func() {
				var l net.Listener
				if network == "multipath" {
					var err error
					if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
						t.Errorf("listen: %v", err)
						return
					}
				} else {
					l = kerneltest.Listen(t, network, "127.0.0.1:0")
				}
				client, server := kerneltest.Connect(t, l)
				waiting, err := net.Dial("tcp", l.Addr().String()) // never accepted
				if err != nil {
					t.Errorf("connect: %v", err)
					return
				}
				c := trace(t, Options{})
				begin := time.Now()
				seed(t, c)

				client.Close()
				server.Close()
				later, accepted := kerneltest.Connect(t, l) // accepts the one that waits
				later.Close()
				waiting.Close()
				accepted.Close()
				l.Close()
				ns.Settle(t)
				requireSeeded(t, of(ns, c.end(t)), portOf(l), time.Since(begin))
			})
		})
	}
}

// requireSeeded checks the events of sockets that were older than the trace:
// each began its present state before the walk, at most so long ago.
func requireSeeded(t *testing.T, events []event.Event, port uint16, most time.Duration) {
	t.Helper()
	self := uint32(os.Getpid())
	first := map[uint64]bool{}
	older := 0
	for _, e := range events {
		begins := e.OldState == event.Close || e.OldState == event.Listen && e.NewState == event.SynRecv
		if !first[e.Cookie] && !begins {
			older++
			if d, known := e.AtLeast(); !known || !e.Before || d > most {
				t.Errorf("%v: at least %v, %v, of %v", kerneltest.TransitionOf(&e), d, known, most)
			}
		} else if e.Before {
			t.Errorf("%v: says that its state began before the trace", kerneltest.TransitionOf(&e))
		}
		first[e.Cookie] = true
		// The child that was not accepted has no file, and nobody's until then.
		unaccepted := e.Owner.Source == event.SourceUnknown && e.Local.Port() == port
		if e.Owner.PID != self && !unaccepted {
			t.Errorf("%v: owner %+v, want %d", kerneltest.TransitionOf(&e), e.Owner, self)
		}
	}
	// Both ends of two connections, and the listener.
	if older != 5 {
		t.Errorf("%d older sockets, want 5", older)
	}
}

// TestLiveEventsWinOverTheWalk walks while a storm goes on: no seed may replace
// what the trace knows, nor make it miss anything.
func TestLiveEventsWinOverTheWalk(t *testing.T) {
	requireSeeding(t)
	ns := kerneltest.NewNetns(t)
	c := trace(t, Options{})
	done := make(chan struct{})
	walks := make(chan int)
	go func() {
		for n := 0; ; n++ {
			if _, err := snapshot.Seed(c.Lives(), 0, nil, func(wire.Found) {}); err != nil {
				t.Errorf("walk over the sockets: %v", err)
			}
			select {
			case <-done:
				walks <- n + 1
				return
			default:
			}
		}
	}()
	kerneltest.Storm(t, ns, 10_000)
	close(done)
	t.Logf("%d walks", <-walks)
	ns.Settle(t)
	events := of(ns, c.end(t))
	requireChains(t, events)
	requireTotals(t, c)
	for _, e := range events {
		// A socket that was found before it connected was in CLOSE before.
		if e.Before && e.OldState != event.Close || e.Owner.Source == event.SourceSeed {
			t.Fatalf("%v: a seed replaced what was known", kerneltest.TransitionOf(&e))
		}
	}
}

func TestManySocketsAreSeeded(t *testing.T) {
	requireSeeding(t)
	// 20,000 sockets, or as many as the process may open.
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	connections := min(10_000, int(limit.Cur-500)/2)
	ns := kerneltest.NewNetns(t)
	open := kerneltest.Hold(t, ns, connections)
	c := trace(t, Options{})
	begin := time.Now()
	found, _ := seed(t, c)
	t.Logf("%d sockets found in %v", len(found), time.Since(begin))

	ours := map[uint64]bool{}
	for _, f := range found {
		if f.Netns == ns.Inode {
			ours[f.Cookie] = true
			if f.Owner.PID != uint32(os.Getpid()) || f.Owner.Source != event.SourceSeed {
				t.Fatalf("found %+v", f)
			}
		}
	}
	if want := 2*connections + 1; len(ours) != want {
		t.Errorf("%d sockets found in the namespace, want %d", len(ours), want)
	}
	open.Close(t)
	ns.Settle(t)
	for _, e := range of(ns, c.end(t)) {
		if e.Owner.PID != uint32(os.Getpid()) {
			t.Fatalf("%v: owner %+v", kerneltest.TransitionOf(&e), e.Owner)
		}
	}
}

// TestSameAddressesInTwoNamespaces has the same addresses and ports mean two
// connections at once.
func TestSameAddressesInTwoNamespaces(t *testing.T) {
	kerneltest.Require(t)
	c := trace(t, Options{})
	var spaces []*kerneltest.Netns
	var helpers []*kerneltest.Helper
	for i := range 2 {
		ns := kerneltest.NewNetns(t)
		spaces = append(spaces, ns)
		helper := kerneltest.StartHelper(t, ns, fmt.Sprint("client-", i))
		helpers = append(helpers, helper)
		ns.Do(t, func() {
			l := kerneltest.Listen(t, "tcp4", "127.0.0.1:8080")
			helper.Connect(t, l.Addr())
			l.Close()
		})
	}
	for i, helper := range helpers {
		helper.End(t)
		spaces[i].Settle(t)
	}
	c.end(t)
	cookies := map[uint64]int{}
	for i, ns := range spaces {
		events := of(ns, c.events)
		if len(events) < 8 {
			t.Errorf("%d transitions in namespace %d", len(events), i)
		}
		for _, e := range events {
			if other, seen := cookies[e.Cookie]; seen && other != i && e.Cookie != 0 {
				t.Errorf("socket %x is in both namespaces", e.Cookie)
			}
			cookies[e.Cookie] = i
			if e.Remote.Port() == 8080 && e.Owner.PID != helpers[i].PID() {
				t.Errorf("%v: owner %+v, want %d", kerneltest.TransitionOf(&e), e.Owner, helpers[i].PID())
			}
		}
	}
}

func TestPIDsOfANamespace(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	helper := kerneltest.StartHelperInPIDNamespace(t, ns, "process-one")
	var st unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d/ns/pid", helper.PID()), &st); err != nil {
		t.Fatal(err)
	}
	c := trace(t, Options{PIDNamespace: uint32(st.Ino)})
	var l *net.TCPListener
	var found []wire.Found
	ns.Do(t, func() {
		l = kerneltest.Listen(t, "tcp4", "127.0.0.1:0")
		helper.Connect(t, l.Addr())
		if c.Knows().Sockets {
			_, err := snapshot.Seed(c.Lives(), uint32(st.Ino), nil, func(f wire.Found) {
				if f.Netns == ns.Inode {
					found = append(found, f)
				}
			})
			if err != nil {
				t.Errorf("walk: %v", err)
			}
		}
		helper.End(t)
		l.Close()
	})
	ns.Settle(t)
	checked := 0
	for _, e := range of(ns, c.end(t)) {
		want := uint32(1)
		if e.Local.Port() == portOf(l) {
			want = 0 // this process is not in there
		} else {
			checked++
		}
		if e.Owner.PID != want {
			t.Errorf("%v: owner %d, want %d", kerneltest.TransitionOf(&e), e.Owner.PID, want)
		}
		if closed := e.NewState == event.LastAck || e.NewState == event.FinWait1; closed && want == 1 && e.Current.PID != 1 {
			t.Errorf("%v: closed by %d, want 1", kerneltest.TransitionOf(&e), e.Current.PID)
		}
	}
	if checked < 4 {
		t.Errorf("%d transitions of the helper's", checked)
	}
	pids := map[event.State]uint32{}
	for _, f := range found {
		pids[f.State] = f.Owner.PID
	}
	if c.Knows().Sockets && (pids[event.Established] != 1 || pids[event.Listen] != 0 || len(found) < 2) {
		t.Errorf("the walk found %+v", found)
	}
}

// TestAcceptProbeNamesTheWorker has workers accept that neither receive nor
// send, and the programs that learn from that are taken away.
func TestAcceptProbeNamesTheWorker(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	c := trace(t, Options{AcceptProbe: true})
	if err := c.detach(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"first", "twin", "accepted"} {
		if err := c.attachTyped(name, ""); err != nil {
			t.Fatal(err)
		}
	}
	var worker *kerneltest.Helper
	var port uint16
	ns.Do(t, func() {
		l := kerneltest.Listen(t, "tcp4", "127.0.0.1:0")
		port = portOf(l)
		f := fileOf(t, l)
		worker = kerneltest.StartHelper(t, ns, "worker", f)
		f.Close()
		haveServed(t, l, worker)
		l.Close()
	})
	ns.Settle(t)
	later := 0
	for _, e := range of(ns, c.end(t)) {
		if e.Local.Port() != port || e.Remote.Port() == 0 {
			continue
		}
		want, source := uint32(os.Getpid()), c.inherited()
		if e.NewState != event.SynRecv && e.NewState != event.Established {
			want, source = worker.PID(), event.SourceAccept
			later++
		}
		if e.Owner.PID != want || e.Owner.Source != source {
			t.Errorf("%v: owner %+v, want %d by %v", kerneltest.TransitionOf(&e), e.Owner, want, source)
		}
	}
	if later != 3 {
		t.Errorf("%d transitions after the accept, want 3", later)
	}
}

func TestAcceptProbeOnlyWhereItIsWanted(t *testing.T) {
	kerneltest.Require(t)
	for _, wanted := range []bool{true, false} {
		c := trace(t, Options{AcceptProbe: wanted})
		if loaded := c.objects.Programs["accepted"] != nil; loaded != wanted {
			t.Errorf("wanted: %v, loaded: %v", wanted, loaded)
		}
	}
}
