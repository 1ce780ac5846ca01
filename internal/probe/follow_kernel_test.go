package probe

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"tcpstates/internal/event"
	"tcpstates/internal/filter"
	"tcpstates/internal/kerneltest"
)

// awaitFollowed waits until so many processes are followed.
func awaitFollowed(t *testing.T, c *collector, want uint64) {
	t.Helper()
	const limit = 20 * time.Second
	for begin := time.Now(); ; runtime.Gosched() {
		alive, failed, err := c.Followed()
		switch {
		case err != nil || failed != 0:
			t.Fatalf("%d processes are not followed, %v", failed, err)
		case alive == want:
			return
		case time.Since(begin) > limit:
			t.Fatalf("%d processes are followed after %v, want %d", alive, limit, want)
		}
	}
}

// wanted are the transitions that the filter lets pass which goes by the new processes
// that the trace has told of.
func (c *collector) wanted(t *testing.T) (shown []event.Event) {
	t.Helper()
	all := slices.Concat(c.events, c.owners, c.others, c.forks)
	slices.SortStableFunc(all, func(a, b event.Event) int { return cmp.Compare(a.Ktime, b.Ktime) })
	all = append(all, event.Event{Kind: event.KindTick, Ktime: ^uint64(0)})
	var set filter.Set
	set.Follow()
	stage := set.NewStage(filter.StageOptions{OwnersChange: c.Knows().Owners, MaxConns: len(all)})
	for i := range all {
		err := stage.Apply(&all[i], func(e *event.Event) error {
			if e.Kind == event.KindTransition {
				shown = append(shown, *e)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return shown
}

// openers counts who has opened connections.
func openers(events []event.Event) map[uint32]int {
	n := map[uint32]int{}
	for _, e := range events {
		if e.OldState == event.Close && e.NewState == event.SynSent {
			n[e.Owner.PID]++
		}
	}
	return n
}

// followedForks are the new processes that are followed, with their parents.
func (c *collector) followedForks() map[uint32]uint32 {
	parents := map[uint32]uint32{}
	for _, e := range c.forks {
		if e.Followed {
			parents[e.Current.PID] = e.Owner.PID
		}
	}
	return parents
}

// listenIn is a listener in the namespace that accepts nothing.
func listenIn(t *testing.T, ns *kerneltest.Netns) (l *net.TCPListener) {
	t.Helper()
	ns.Do(t, func() { l = kerneltest.Listen(t, "tcp4", "127.0.0.1:0") })
	t.Cleanup(func() { l.Close() })
	return l
}

// TestDescendantsOnEveryRung follows a child of this process, its children, a daemon that
// one of them leaves, and none of what others make, this process among them.
func TestDescendantsOnEveryRung(t *testing.T) {
	onEveryRung(t, func(t *testing.T, o Options) {
		ns := kerneltest.NewNetns(t)
		outside := kerneltest.StartHelper(t, ns, "outside")
		o.Follow = true
		c := trace(t, o)
		if !c.Knows().Forks {
			if alive, failed, err := c.Followed(); alive != 0 || failed != 0 || err != nil {
				t.Errorf("%d are followed, %d not, %v", alive, failed, err)
			}
			return
		}
		l := listenIn(t, ns)
		address := l.Addr().String()
		var brief []uint32
		ns.Do(t, func() {
			var err error
			if brief, err = kerneltest.ForkBriefly(1, address); err != nil {
				t.Error(err)
			}
			if _, err := net.Dial("tcp4", "127.0.0.1:1"); err == nil {
				t.Error("somebody listens where nobody should")
			}
		})
		awaitFollowed(t, c, 0)
		inside := kerneltest.StartHelper(t, ns, "inside")
		for _, helper := range []*kerneltest.Helper{inside, outside} {
			for _, what := range []string{"connect", "fork", "daemonize"} {
				helper.Ask(t, what+" "+address)
				helper.Await(t)
			}
		}
		awaitFollowed(t, c, 1)
		inside.End(t)
		awaitFollowed(t, c, 0)
		outside.End(t)
		l.Close()
		ns.Settle(t)
		told := of(ns, c.end(t))
		requireTotals(t, c)

		parents := c.followedForks()
		opened, shown := openers(told), openers(of(ns, c.wanted(t)))
		want := map[uint32]int{brief[0]: 1, inside.PID(): 1}
		for child, parent := range parents {
			switch parent {
			case inside.PID(): // and one of them has left the work to its own child
				if opened[child] > 0 {
					want[child] = 1
				}
			case uint32(os.Getpid()):
			default:
				want[child] = 1
			}
		}
		if n := kerneltest.Forked + 3; len(want) != n || len(parents) != n+1 {
			t.Errorf("%d processes are followed, of which %d connect, want %d and %d", len(parents), len(want), n+1, n)
		}
		for what, got := range map[string]map[uint32]int{"the kernel tells": opened, "shown are": shown} {
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s the connections of %v, want %v", what, got, want)
			}
		}
	})
}

// TestFollowedSocketIsShownToItsEnd has a followed process hand its connection to one
// that is not, and end.
func TestFollowedSocketIsShownToItsEnd(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ends := [2]*os.File{os.NewFile(uintptr(pair[0]), "pair"), os.NewFile(uintptr(pair[1]), "pair")}
	outside := kerneltest.StartHelper(t, ns, "outside", ends[0])
	c := trace(t, Options{Follow: true})
	requireForks(t, c)
	inside := kerneltest.StartHelper(t, ns, "inside", ends[1])
	for _, end := range ends {
		end.Close()
	}
	l := listenIn(t, ns)
	outside.Ask(t, "receive")
	inside.Ask(t, "hand-over "+l.Addr().String())
	inside.Await(t)
	outside.Await(t)
	inside.End(t)
	awaitFollowed(t, c, 0)
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	outside.End(t)
	server.Close()
	l.Close()
	ns.Settle(t)
	c.end(t)
	var path []string
	for _, e := range of(ns, c.wanted(t)) {
		path = append(path, e.NewState.String())
		if e.Owner.PID != inside.PID() || e.Closes != (e.NewState == event.FinWait1) || e.Closes && e.Current.PID != outside.PID() {
			t.Errorf("%v: owner %+v, closed by %+v", kerneltest.TransitionOf(&e), e.Owner, e.Current)
		}
	}
	if got := strings.Join(path, " "); got != "SYN_SENT ESTABLISHED FIN_WAIT1 FIN_WAIT2 CLOSE" {
		t.Errorf("its states were %s", got)
	}
}

// requireForks skips the test where a trace knows of no new processes.
func requireForks(t *testing.T, c *collector) {
	t.Helper()
	if !c.Knows().Forks {
		t.Skip("this kernel tells of no forks: its types are not known")
	}
}

// TestFollowedServer has a process that is not followed connect to one that is.
func TestFollowedServer(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	c := trace(t, Options{Follow: true})
	requireForks(t, c)
	inside := kerneltest.StartHelper(t, ns, "inside")
	inside.Ask(t, "listen 127.0.0.1:80")
	ns.Do(t, func() {
		client := dialUntilHeard(t, "127.0.0.1:80")
		if client == nil {
			return
		}
		defer client.Close()
		if _, err := client.Write([]byte("hello\n")); err != nil {
			t.Errorf("write to the server: %v", err)
		}
		if _, err := io.ReadFull(client, make([]byte, len("hello\n"))); err != nil { // else the end is a reset
			t.Errorf("read from the server: %v", err)
		}
		inside.Await(t)
	})
	inside.End(t)
	ns.Settle(t)
	c.end(t)
	hops := map[string]int{}
	for _, e := range of(ns, c.wanted(t)) {
		hops[fmt.Sprintf("%v>%v", e.OldState, e.NewState)]++
		if e.Owner.PID != inside.PID() {
			t.Errorf("%v: owner %+v", kerneltest.TransitionOf(&e), e.Owner)
		}
	}
	for _, hop := range []string{"CLOSE>LISTEN", "LISTEN>SYN_RECV", "SYN_RECV>ESTABLISHED", "CLOSE_WAIT>LAST_ACK", "LAST_ACK>CLOSE", "LISTEN>CLOSE"} {
		if hops[hop] == 0 {
			t.Errorf("%s is not among %v", hop, hops)
		}
	}
	if hops["CLOSE>SYN_SENT"] > 0 {
		t.Errorf("the client is shown: %v", hops)
	}
}

// dialUntilHeard connects as soon as somebody listens.
func dialUntilHeard(t *testing.T, address string) net.Conn {
	t.Helper()
	const limit = 20 * time.Second
	for begin := time.Now(); ; runtime.Gosched() {
		client, err := net.Dial("tcp4", address)
		if err == nil {
			return client
		}
		if time.Since(begin) > limit {
			t.Errorf("connect to a server: %v", err)
			return nil
		}
	}
}

// TestFollowedProcessLivesUntilItsLastThreadEnds has its first thread end before.
func TestFollowedProcessLivesUntilItsLastThreadEnds(t *testing.T) {
	kerneltest.Require(t)
	c := trace(t, Options{Follow: true})
	requireForks(t, c)
	helper := kerneltest.StartHelper(t, kerneltest.NewNetns(t), "inside")
	helper.Ask(t, "outlive")
	helper.Await(t)
	if alive, failed, err := c.Followed(); alive != 1 || failed != 0 || err != nil {
		t.Errorf("without its leader %d live, %d are not followed, %v", alive, failed, err)
	}
	helper.End(t)
	awaitFollowed(t, c, 0)
}

// TestFollowedProcessOfAnotherThread has a process become another program by a thread
// that is not its first, whose number and beginning that thread takes over (de_thread):
// two tasks of one number end, that began at the same time.
func TestFollowedProcessOfAnotherThread(t *testing.T) {
	kerneltest.Require(t)
	c := trace(t, Options{Follow: true})
	requireForks(t, c)
	helper := kerneltest.StartHelper(t, kerneltest.NewNetns(t), "inside")
	helper.Ask(t, "become")
	helper.End(t)
	awaitFollowed(t, c, 0)
}

// TestFollowWithoutRoomIsCounted gives the kernel room for one process.
func TestFollowWithoutRoomIsCounted(t *testing.T) {
	kerneltest.Require(t)
	changePrograms(t, func(spec *ebpf.CollectionSpec) {
		if followed := spec.Maps["followed"]; followed != nil {
			followed.MaxEntries = 1
		}
	})
	ns := kerneltest.NewNetns(t)
	c := trace(t, Options{Follow: true})
	requireForks(t, c)
	l := listenIn(t, ns)
	helper := kerneltest.StartHelper(t, ns, "inside")
	helper.Ask(t, "fork "+l.Addr().String())
	helper.Await(t)
	if alive, failed, err := c.Followed(); alive != 1 || failed != kerneltest.Forked || err != nil {
		t.Errorf("%d live, %d are not followed, %v, want 1 and %d", alive, failed, err, kerneltest.Forked)
	}
	helper.End(t)
	l.Close()
	ns.Settle(t)
	if opened := openers(of(ns, c.end(t))); len(opened) > 0 {
		t.Errorf("connections of %v are told", opened)
	}
	for child, parent := range c.followedForks() {
		if parent == helper.PID() {
			t.Errorf("%d is said to be followed", child)
		}
	}
}

// insidePIDNamespace is the environment variable that says that the test runs in a PID
// namespace of its own.
const insidePIDNamespace = "PROBE_INSIDE"

// TestFollowInAPIDNamespace runs itself anew as the first process of a namespace.
func TestFollowInAPIDNamespace(t *testing.T) {
	kerneltest.Require(t)
	if os.Getenv(insidePIDNamespace) != "" {
		followInside(t)
		return
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestFollowInAPIDNamespace$", "-test.v")
	cmd.Env = append(os.Environ(), insidePIDNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestFollowInAPIDNamespace") && !strings.Contains(string(out), "--- SKIP") {
		t.Errorf("%v: %s", err, out)
	}
}

func followInside(t *testing.T) {
	if os.Getpid() != 1 {
		t.Fatalf("it is the process %d of its namespace", os.Getpid())
	}
	namespace, err := ownPIDNamespace()
	if err != nil || namespace == 0 {
		t.Fatalf("its namespace is %d, %v", namespace, err)
	}
	for _, told := range []uint32{0, namespace} {
		ns := kerneltest.NewNetns(t)
		c := trace(t, Options{Follow: true, PIDNamespace: told})
		requireForks(t, c)
		l := listenIn(t, ns)
		var pids []uint32
		ns.Do(t, func() {
			if pids, err = kerneltest.ForkBriefly(1, l.Addr().String()); err != nil {
				t.Error(err)
			}
		})
		l.Close()
		ns.Settle(t)
		c.end(t)
		opened := openers(of(ns, c.wanted(t)))
		if len(opened) != 1 || told != 0 && opened[pids[0]] != 1 {
			t.Errorf("the numbers of %d: shown are the connections of %v, want %v", told, opened, pids)
		}
	}
}

func TestNothingIsFollowedUnlessAskedFor(t *testing.T) {
	kerneltest.Require(t)
	c := trace(t, Options{Forks: true})
	kerneltest.StartHelper(t, kerneltest.NewNetns(t), "the-child").End(t)
	c.end(t)
	if alive, failed, err := c.Followed(); alive != 0 || failed != 0 || err != nil {
		t.Errorf("%d are followed, %d not, %v", alive, failed, err)
	}
	if len(c.followedForks()) > 0 || c.objects.Programs["exited"] != nil {
		t.Error("processes are followed, and nobody asked")
	}
	if m := c.objects.Maps["followed"]; m != nil && m.MaxEntries() != 1 {
		t.Errorf("there is room for %d processes", m.MaxEntries())
	}
}
