package probe

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpstates/internal/event"
	"tcpstates/internal/filter"
	"tcpstates/internal/kerneltest"
)

// The ports, users and networks that the rules of TestRulesOnEveryRung ask for.
const (
	plainPort  = 8080  // of a listener at 127.0.0.1
	userPort   = 9090  // of one at 127.0.0.3
	clientPort = 50001 // which the kernel gives a client when it connects
	someUser   = 12345
)

// endpoints is what a connection is wanted by: what its second transition tells of
// it, at which all is known, or the only one.
type endpoints struct {
	*event.Event
	child bool
}

func (c endpoints) local() netip.Addr  { return c.Local.Addr().Unmap() }
func (c endpoints) remote() netip.Addr { return c.Remote.Addr().Unmap() }

// ruleCase are a rule, the flag of it, and what of it the kernel should show:
// said without sets, maps and masks.
type ruleCase struct {
	name   string
	flag   string // that a backend may leave undecided
	filter filter.Lowered
	shows  func(c endpoints) bool
}

// ruleCases are those that a client in another namespace and a client of another
// process can be asked for.
func ruleCases(netns, pid uint32) []ruleCase {
	network := netip.MustParsePrefix("127.0.0.2/31") // .2 and .3
	six := netip.MustParseAddr("::1")
	user := func(c endpoints) bool { return c.UID == someUser }
	either := func(c endpoints, port uint16) bool { return c.RawLocalPort == port || c.Remote.Port() == port }
	return []ruleCase{
		{"IPv4", "", filter.Lowered{Family: event.IPv4}, func(c endpoints) bool { return c.Family == event.IPv4 }},
		{"IPv6", "", filter.Lowered{Family: event.IPv6}, func(c endpoints) bool { return c.Family == event.IPv6 }},

		{"local port", "", filter.Lowered{LocalPorts: ports(false, plainPort, clientPort)},
			func(c endpoints) bool { return c.RawLocalPort == plainPort || c.RawLocalPort == clientPort }},
		{"no local port", "", filter.Lowered{LocalPorts: ports(true, plainPort, clientPort)},
			func(c endpoints) bool { return c.RawLocalPort != plainPort && c.RawLocalPort != clientPort }},
		{"remote port", "", filter.Lowered{RemotePorts: ports(false, plainPort)},
			func(c endpoints) bool { return c.Remote.Port() == plainPort }},
		{"no remote port", "", filter.Lowered{RemotePorts: ports(true, plainPort)},
			func(c endpoints) bool { return c.Remote.Port() != plainPort }},
		{"either port", "", filter.Lowered{Ports: ports(false, clientPort)},
			func(c endpoints) bool { return either(c, clientPort) }},
		{"neither port", "", filter.Lowered{Ports: ports(true, clientPort)},
			func(c endpoints) bool { return !either(c, clientPort) }},
		{"all rules of ports", "", filter.Lowered{LocalPorts: ports(true, plainPort), RemotePorts: ports(true, userPort), Ports: ports(false, plainPort, userPort)},
			func(c endpoints) bool {
				return c.RawLocalPort != plainPort && c.Remote.Port() != userPort && (either(c, plainPort) || either(c, userPort))
			}},

		{"local address", "laddr", filter.Lowered{LocalAddrs: addrs(false, "127.0.0.2/32", "::1/128")},
			func(c endpoints) bool { return c.local() == network.Addr() || c.local() == six }},
		{"no local address", "laddr", filter.Lowered{LocalAddrs: addrs(true, "127.0.0.2/32", "::1/128")},
			func(c endpoints) bool { return c.local() != network.Addr() && c.local() != six }},
		{"local network", "laddr", filter.Lowered{LocalAddrs: addrs(false, "127.0.0.0/8")},
			func(c endpoints) bool { return c.local().IsLoopback() && c.local() != six }},
		{"local wildcard", "laddr", filter.Lowered{LocalAddrs: addrs(false, "::/128")},
			func(c endpoints) bool { return c.local() == netip.IPv6Unspecified() }},
		{"remote network", "raddr", filter.Lowered{RemoteAddrs: addrs(false, "127.0.0.2/31")},
			func(c endpoints) bool { return network.Contains(c.remote()) }},
		{"no remote network", "raddr", filter.Lowered{RemoteAddrs: addrs(true, "127.0.0.2/31")},
			func(c endpoints) bool { return !network.Contains(c.remote()) }},
		{"either network", "addr", filter.Lowered{Addrs: addrs(false, "127.0.0.3/32")},
			func(c endpoints) bool {
				return c.local() == network.Addr().Next() || c.remote() == network.Addr().Next()
			}},
		{"neither network", "addr", filter.Lowered{Addrs: addrs(true, "127.0.0.1/32")},
			func(c endpoints) bool {
				return c.local() != netip.MustParseAddr("127.0.0.1") && c.remote() != netip.MustParseAddr("127.0.0.1")
			}},

		{"network namespace", "netns", filter.Lowered{Netns: numbers(false, netns)},
			func(c endpoints) bool { return c.Netns == netns }},
		{"other network namespaces", "netns", filter.Lowered{Netns: numbers(true, 1, netns)},
			func(c endpoints) bool { return c.Netns != netns }},
		{"process", "pid", filter.Lowered{PIDs: numbers(false, pid)},
			func(c endpoints) bool { return c.child || c.Owner.PID == pid }},
		{"other processes", "pid", filter.Lowered{PIDs: numbers(true, pid)},
			func(c endpoints) bool { return c.child || c.Owner.PID != pid }},
		{"user", "uid", filter.Lowered{UIDs: numbers(false, someUser)},
			func(c endpoints) bool { return c.child || user(c) }},
		{"other users", "uid", filter.Lowered{UIDs: numbers(true, someUser)},
			func(c endpoints) bool { return c.child || !user(c) }},

		{"all together", "", filter.Lowered{
			Family: event.IPv4, RemotePorts: ports(false, userPort), LocalAddrs: addrs(false, "127.0.0.2/32"),
			Netns: numbers(true, netns), PIDs: numbers(true, pid), UIDs: numbers(false, someUser),
		}, func(c endpoints) bool { return c.Remote.Port() == userPort }},
		{"nothing", "", filter.Lowered{LocalPorts: ports(false, 1)}, func(endpoints) bool { return false }},
	}
}

func ports(exclude bool, numbers ...uint16) *filter.PortRule {
	set := new(filter.Ports)
	for _, port := range numbers {
		set[port/8] |= 1 << (port % 8)
	}
	return &filter.PortRule{Set: set, Exclude: exclude}
}

func addrs(exclude bool, prefixes ...string) *filter.AddrRule {
	rule := &filter.AddrRule{Exclude: exclude}
	for _, text := range prefixes {
		p := netip.MustParsePrefix(text)
		if p.Addr().Is4() {
			p = netip.PrefixFrom(netip.AddrFrom16(p.Addr().As16()), 96+p.Bits())
		}
		rule.Prefixes = append(rule.Prefixes, p)
	}
	return rule
}

func numbers(exclude bool, values ...uint32) *filter.NumberRule {
	return &filter.NumberRule{Numbers: values, Exclude: exclude}
}

// TestRulesOnEveryRung compares what traces with a rule each show with what one
// without shows of the connections that the rule wants: of each all transitions,
// or none.
func TestRulesOnEveryRung(t *testing.T) {
	onEveryRung(t, func(t *testing.T, o Options) {
		here, there := kerneltest.NewNetns(t), kerneltest.NewNetns(t)
		helper := kerneltest.StartHelper(t, here, "the-client")
		rules := ruleCases(there.Inode, helper.PID())
		switch {
		case o.Transport.row.index == byPerf:
			rules = rules[len(rules)-2:] // all together and none: the programs differ in how they send alone
		case kerneltest.Emulated(): // which takes ten times as long
			rules = append(rules[:0:0], rules[len(rules)-6:]...)
		}
		// See TestScenariosAgreeOnEveryRung for why more than once.
		for attempt := 1; !compareRules(t, o, rules, here, there, helper); attempt++ {
			if attempt == 5 {
				t.Fatal("the programs were interrupted each time")
			}
		}
	})
}

// compareRules is false if one of the traces has missed something.
func compareRules(t *testing.T, o Options, rules []ruleCase, here, there *kerneltest.Netns, helper *kerneltest.Helper) bool {
	t.Helper()
	o.BufferSize = 1 << 20
	traces := make([]*collector, len(rules))
	for i := range rules {
		o.Filter = rules[i].filter
		traces[i] = traceWithRoom(t, o, 0)
	}
	all := trace(t, Options{}) // by the best backend, which knows whose sockets they are
	here.Do(t, func() { connectInEveryWay(t, here, helper) })
	there.Do(t, func() { kerneltest.Scenarios[0].Run(t, there) })
	here.Settle(t)
	there.Settle(t)

	own := all.in(here, there, all.end(t))
	for _, c := range traces {
		c.end(t)
		if totals, err := c.Totals(); err != nil || totals.Missed+totals.Lost+totals.Gaps > 0 {
			t.Logf("the account is %+v, %v", totals, err)
			return false
		}
	}
	for i, c := range traces {
		t.Run(rules[i].name, func(t *testing.T) {
			if slices.Contains(c.Undecided(), rules[i].flag) {
				rules[i].shows = func(endpoints) bool { return true }
			}
			requireWanted(t, &rules[i], own, c.in(here, there, own))
		})
	}
	return true
}

// in keeps what the trace saw in the namespaces. One that does not know them is
// believed to have seen there what another saw at about the same time; an emulated
// machine takes too long for that, and has nobody else's sockets.
func (c *collector) in(here, there *kerneltest.Netns, other []event.Event) []event.Event {
	return slices.DeleteFunc(slices.Clone(c.events), func(e event.Event) bool {
		switch {
		case c.Knows().Facts:
			return e.Netns != here.Inode && e.Netns != there.Inode
		case kerneltest.Emulated():
			return false
		}
		return !slices.ContainsFunc(other, func(of event.Event) bool {
			const apart = uint64(100 * time.Millisecond)
			return isSame(e, of) && e.Ktime < of.Ktime+apart && of.Ktime < e.Ktime+apart
		})
	})
}

// isSame tells whether two traces saw the same of a socket.
func isSame(a, b event.Event) bool {
	return a.SkAddr == b.SkAddr && a.OldState == b.OldState && a.NewState == b.NewState
}

// requireWanted checks that what is shown of each address is what is wanted of the
// sockets that were there, all of it and in its order.
func requireWanted(t *testing.T, test *ruleCase, own, shown []event.Event) {
	t.Helper()
	want := map[uint64][]event.Event{}
	var wanted int
	for _, c := range connectionsOf(own) {
		at := c[0].SkAddr
		if _, known := want[at]; !known {
			want[at] = nil // of which nothing may be seen
		}
		if test.shows(endpointsOf(c)) {
			want[at] = append(want[at], c...)
			wanted++
		}
	}
	if wanted == 0 && test.name != "nothing" {
		t.Error("the rule wants nothing")
	}
	for at := range want {
		got := slices.DeleteFunc(slices.Clone(shown), func(e event.Event) bool { return e.SkAddr != at })
		if !slices.EqualFunc(got, want[at], isSame) {
			t.Errorf("socket %x:\n got %v\nwant %v", at, described(got), described(want[at]))
		}
	}
}

func described(events []event.Event) (lines []string) {
	for i := range events {
		e := &events[i]
		lines = append(lines, fmt.Sprintf("%v %v>%v %v %v", e.OldState, e.NewState, e.Local, e.Remote, e.Owner.PID))
	}
	return lines
}

// connectionsOf parts the transitions into those of each connection or listener.
func connectionsOf(events []event.Event) (connections [][]event.Event) {
	at := map[uint64]int{}
	for _, e := range events {
		i, known := at[e.SkAddr]
		if !known || e.OldState == event.Close || isBirth(&e) {
			i = len(connections)
			at[e.SkAddr] = i
			connections = append(connections, nil)
		}
		connections[i] = append(connections[i], e)
	}
	return connections
}

func isBirth(e *event.Event) bool { return e.OldState == event.Listen && e.NewState == event.SynRecv }

func endpointsOf(connection []event.Event) endpoints {
	return endpoints{&connection[min(1, len(connection)-1)], isBirth(&connection[0])}
}

// connectInEveryWay opens and closes listeners and connections of each kind that a
// rule may tell from others.
func connectInEveryWay(t *testing.T, ns *kerneltest.Netns, helper *kerneltest.Helper) {
	t.Helper()
	connectFrom(t, kerneltest.Listen(t, "tcp4", fmt.Sprint("127.0.0.1:", plainPort)), clientPort)
	connectFrom(t, kerneltest.Listen(t, "tcp", "[::]:0"), 0)
	connectAsUser(t)
	for _, scenario := range kerneltest.Scenarios {
		switch scenario.Name {
		case "IPv6", "IPv4-mapped", "refused", "dissolved and connected again", "listener without bind":
			scenario.Run(t, ns)
		}
	}
	l := kerneltest.Listen(t, "tcp4", "127.0.0.1:0")
	defer l.Close()
	helper.Ask(t, "get "+l.Addr().String())
	server, err := l.Accept()
	if err != nil {
		t.Errorf("accept: %v", err)
		return
	}
	server.Read(make([]byte, 512))
	server.Write([]byte("a page, more or less"))
	server.Close()
	helper.Await(t)
}

// connectAsUser has a socket of another user connect.
func connectAsUser(t *testing.T) {
	t.Helper()
	l := kerneltest.Listen(t, "tcp4", fmt.Sprint("127.0.0.3:", userPort))
	defer l.Close()
	dialer := net.Dialer{
		LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)},
		Control: func(_, _ string, c syscall.RawConn) error {
			var err error
			controlErr := c.Control(func(fd uintptr) { err = unix.Fchown(int(fd), someUser, -1) }) // sockfs_setattr
			return errors.Join(err, controlErr)
		},
	}
	client, err := dialer.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Errorf("connect: %v", err)
		return
	}
	server, err := l.Accept()
	if err != nil {
		t.Errorf("accept: %v", err)
		return
	}
	server.Close()
	client.Close()
}
