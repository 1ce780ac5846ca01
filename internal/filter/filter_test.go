package filter

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"tcpstates/internal/event"
)

// aMachine has one network namespace and one user with names.
var aMachine = Env{
	Netns: func(word string) (uint32, error) {
		if word == "self" {
			return 4026531840, nil
		}
		return 0, errors.New("none")
	},
	UID: func(name string) (uint32, error) {
		if name == "www-data" {
			return 33, nil
		}
		return 0, errors.New("nobody")
	},
}

// anEvent has something that every filter can ask for.
func anEvent() event.Event {
	return event.Event{
		Kind: event.KindTransition, OldState: event.SynSent, NewState: event.Close, Ktime: 5e6, Since: 3e6, Cookie: 1,
		Family: event.IPv6, Netns: 4026531840, UID: 33,
		Local: netip.MustParseAddrPort("[::ffff:10.1.2.3]:43210"), Remote: netip.MustParseAddrPort("[2001:db8::7]:443"),
		Owner: event.Owner{
			Process: event.Process{PID: 4711, Comm: event.CommOf("nginx: worker")}, Source: event.SourceConnect, Cgroup: 7,
			Place: &event.Place{Cgroup: "/system.slice/nginx.service", Unit: "nginx.service", Container: "0123456789abcdef"},
		},
		Role: event.RoleClient, End: event.End{Reason: event.ReasonTimedOut},
	}
}

// nothingKnown is an event of which nothing is known that may be unknown.
func nothingKnown() event.Event {
	return event.Event{Kind: event.KindTransition, OldState: event.Established, NewState: event.CloseWait, Ktime: 1, Cookie: 1, UIDUnknown: true}
}

// cases are values of filters, with whether they match anEvent. TestFilters takes each
// with a "!" before it, too, if it is a list.
var cases = []struct {
	flag, value string
	matches     bool
}{
	{"lport", "43210", true}, {"lport", "1-43209,43211-65535", false}, {"lport", "443", false},
	{"rport", "80,443", true}, {"rport", "43210", false},
	{"port", "443", true}, {"port", "43210", true}, {"port", "80", false},
	{"laddr", "10.0.0.0/8", true}, {"laddr", "10.1.2.3", true}, {"laddr", "::ffff:10.1.2.0/120", true}, {"laddr", "10.1.2.4/31", false},
	{"laddr", "10.1.2.5/29", true}, {"laddr", "2001:db8::/32", false}, {"laddr", "0.0.0.0/0", true}, {"laddr", "::/0", true},
	{"raddr", "2001:db8::/32,192.0.2.1", true}, {"raddr", "10.0.0.0/8", false}, {"raddr", "0.0.0.0/0", false},
	{"addr", "10.1.2.3", true}, {"addr", "2001:db8::7", true}, {"addr", "192.0.2.0/24", false},
	{"pid", "1,4711", true}, {"pid", "1", false},
	{"comm", "nginx*", true}, {"comm", "nginx: worker", true}, {"comm", "nginx", false}, {"comm", "curl,[mn]ginx:?worker", true},
	{"uid", "33", true}, {"uid", "www-data", true}, {"uid", "0", false},
	{"cgroup", "/system.slice", true}, {"cgroup", "system.slice/nginx.service/", true}, {"cgroup", "/sys/fs/cgroup/system.slice", true},
	{"cgroup", "/system", false}, {"cgroup", "/", true}, {"cgroup", "/user.slice", false},
	{"container", "0123", true}, {"container", "123", false},
	{"unit", "nginx", true}, {"unit", "nginx.service", true}, {"unit", "ngin?.*", true}, {"unit", "sshd", false},
	{"netns", "self", true}, {"netns", "4026531840", true}, {"netns", "1", false},
	{"role", "client", true}, {"role", "server,listener", false}, {"role", "self", false},
	{"reason", "timed-out", true}, {"reason", "refused,Timed_Out", true}, {"reason", "finished", false},
	{"state", "syn-sent", true}, {"state", "CLOSE", true}, {"state", "established", false},
	{"transition", "SYN_SENT>CLOSE", true}, {"transition", "syn-sent->closed", true}, {"transition", "*>CLOSE", true},
	{"transition", "SYN_SENT>*", true}, {"transition", "CLOSE>SYN_SENT", false}, {"transition", "*>*", true},
	{"min-ms", "2", true}, {"min-ms", "0.5", true}, {"min-ms", "2.1", false},
}

func setOf(t testing.TB, flags ...string) *Set {
	t.Helper()
	set := new(Set)
	for i := 0; i < len(flags); i += 2 {
		if err := set.Add(Find(flags[i]), flags[i+1], aMachine); err != nil {
			t.Fatal(err)
		}
	}
	return set
}

func TestFilters(t *testing.T) {
	tested := map[string]bool{}
	e, unknown := anEvent(), nothingKnown()
	for _, c := range cases {
		tested[c.flag] = true
		if got := setOf(t, c.flag, c.value).Match(&e); got != c.matches {
			t.Errorf("--%s %s: %v", c.flag, c.value, got)
		}
		// What is not known is none of what is asked for.
		alwaysKnown := c.flag == "state"
		if setOf(t, c.flag, c.value).Match(&unknown) && !alwaysKnown && c.value != "*>*" {
			t.Errorf("--%s %s matches what is not known", c.flag, c.value)
		}
		if !Find(c.flag).list {
			continue
		}
		for _, not := range []string{"!" + c.value, "!" + strings.ReplaceAll(c.value, ",", ",!")} {
			if got := setOf(t, c.flag, not).Match(&e); got == c.matches {
				t.Errorf("--%s %s: %v", c.flag, not, got)
			}
			if !setOf(t, c.flag, not).Match(&unknown) && c.value != "*>*" && !alwaysKnown {
				t.Errorf("--%s %s does not match what is not known", c.flag, not)
			}
		}
	}
	for i := range Rows {
		if !tested[Rows[i].Name] {
			t.Errorf("nothing is tested of --%s", Rows[i].Name)
		}
	}
}

// TestLongCommsAreCut as the kernel cuts them.
func TestLongCommsAreCut(t *testing.T) {
	e := anEvent()
	e.Owner.Comm = event.CommOf("systemd-resolved")
	for value, want := range map[string]bool{"systemd-resolved": true, "systemd-resolve": true, "systemd-resolv": false, "!systemd-resolved": false} {
		if got := setOf(t, "comm", value).Match(&e); got != want {
			t.Errorf("--comm %s: %v", value, got)
		}
	}
}

func TestFiltersAreJoinedByAnd(t *testing.T) {
	e := anEvent()
	for _, c := range []struct {
		flags []string
		want  bool
	}{
		{[]string{"port", "443", "port", "43210"}, true},
		{[]string{"rport", "443", "rport", "80"}, false},
		{[]string{"comm", "nginx*", "comm", "!*worker"}, false},
		{[]string{"raddr", "2001:db8::/32", "uid", "33", "role", "client"}, true},
	} {
		if got := setOf(t, c.flags...).Match(&e); got != c.want {
			t.Errorf("%v: %v", c.flags, got)
		}
	}
	var set Set
	set.Only(event.IPv4)
	if set.Match(&e) || set.IsEmpty() {
		t.Error("an IPv6 socket is one of IPv4")
	}
}

func TestAddRefuses(t *testing.T) {
	for _, c := range []struct{ flag, value, want string }{
		{"lport", "", `a word is missing in ""`}, {"lport", "80,", "a word is missing"}, {"port", "!", "a word is missing"},
		{"lport", "0", `"0" is no port: it takes ports`}, {"rport", "70000", `"70000" is no port`}, {"rport", "9-8", "the range 9-8 ends before it begins"},
		{"lport", "5-", "a port is missing"}, {"lport", "+80", `"+80" is no port`}, {"lport", " 80", "is no port"}, {"lport", "1-2-3", `"2-3" is no port`},
		{"port", "80,!443", `"!443" excludes, and what stands before it does not: give the flag twice: it takes ports`},
		{"laddr", "10.0.0", `"10.0.0" is no address`}, {"laddr", "10.0.0.0/33", `is no prefix of addresses`}, {"addr", "fe80::1%eth0", "is no address"},
		{"addr", "10.0.0.0/", "is no prefix"}, {"raddr", "example.com", "is no address: it takes addresses and prefixes"},
		{"pid", "0", `"0" is no such number: it takes process ids`}, {"pid", "nginx", "is no such number"}, {"pid", "4294967296", "is no such number"},
		{"comm", "[", `"[" is no pattern: it takes names`}, {"uid", "nobody-here", `"nobody-here" is no user`},
		{"unit", "[a", "is no pattern"}, {"netns", "0", "is no network namespace"}, {"netns", "/etc", "is no network namespace"},
		{"role", "peer", `"peer" is no role: it takes client`}, {"reason", "bad luck", `"bad luck" is no reason`}, {"reason", "", "a word is missing"},
		{"state", "open", `"open" is no state: it takes states`}, {"transition", "CLOSE", `"CLOSE" is no transition`}, {"transition", "OPEN>CLOSE", `"OPEN" is no state`},
		{"transition", ">CLOSE", `"" is no state`}, {"min-ms", "-1", `"-1" is no number of milliseconds`}, {"min-ms", "NaN", "is no number"}, {"min-ms", "1ms", "is no number"},
		{"min-ms", "0", "is no number"},
	} {
		if err := new(Set).Add(Find(c.flag), c.value, aMachine); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("--%s %q: got %v, want an error with %q", c.flag, c.value, err, c.want)
		}
	}
}

func TestLower(t *testing.T) {
	set := setOf(t, "lport", "80", "lport", "81", "raddr", "10.0.0.0/8", "pid", "!7", "comm", "x", "netns", "1")
	set.Only(event.IPv4)
	l, rest := set.Lower()
	if want := []string{"lport", "comm"}; !slices.Equal(rest, want) {
		t.Errorf("left to user space: %v, want %v", rest, want)
	}
	if l.Family != event.IPv4 || !l.LocalPorts.Set.Has(80) || l.LocalPorts.Set.Has(81) || l.RemotePorts != nil || l.Ports != nil ||
		!slices.Equal(l.RemoteAddrs.Prefixes, []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/104")}) ||
		!l.PIDs.Exclude || l.PIDs.Numbers[0] != 7 || l.Netns.Exclude || l.UIDs != nil {
		t.Errorf("lowered: %+v", l)
	}
	set.WithTree()
	if l, rest := set.Lower(); l.PIDs != nil || !slices.Contains(rest, "pid") {
		t.Errorf("with --tree the kernel decides %+v", l.PIDs)
	}
}

// run passes events through the stage to the end of time, and gives what comes out as
// "COOKIE:what".
func run(t testing.TB, set *Set, o StageOptions, events []event.Event) []string {
	t.Helper()
	var got []string
	st := set.NewStage(o)
	next := func(e *event.Event) error {
		what := e.OldState.String() + ">" + e.NewState.String()
		switch e.Kind {
		case event.KindTick:
			return nil
		case event.KindTransition:
		default:
			what = e.Kind.String()
		}
		got = append(got, fmt.Sprintf("%d:%s", e.Cookie, what))
		return nil
	}
	for _, e := range append(slices.Clone(events), event.Event{Kind: event.KindTick, Ktime: endOfTime}) {
		if err := st.Apply(&e, next); err != nil {
			t.Fatal(err)
		}
	}
	if len(st.held.of) != 0 || st.held.count != 0 {
		t.Errorf("%d events are still held", st.held.count)
	}
	return got
}

// child is a server's connection: born of a listener's process 1, served by 2.
func child(cookie uint64) []event.Event {
	of := func(kind event.Kind, from, to event.State, pid uint32, source event.Source) event.Event {
		return event.Event{
			Kind: kind, OldState: from, NewState: to, Cookie: cookie, Family: event.IPv4, Role: event.RoleServer,
			Local: netip.MustParseAddrPort("127.0.0.1:80"), Remote: netip.MustParseAddrPort("127.0.0.1:40000"),
			Owner: event.Owner{Process: event.Process{PID: pid}, Source: source},
		}
	}
	end := of(event.KindConn, event.LastAck, event.Close, 2, event.SourceIO)
	end.End.Reason = event.ReasonFinished
	return []event.Event{
		of(event.KindTransition, event.Listen, event.SynRecv, 1, event.SourceInherited),
		of(event.KindTransition, event.SynRecv, event.Established, 1, event.SourceInherited),
		of(event.KindOwner, event.Established, event.Established, 2, event.SourceIO),
		of(event.KindTransition, event.Established, event.CloseWait, 2, event.SourceIO),
		of(event.KindTransition, event.CloseWait, event.LastAck, 2, event.SourceIO),
		of(event.KindTransition, event.LastAck, event.Close, 2, event.SourceIO),
		end,
	}
}

// all is what is shown of a child.
func all(cookie int) []string {
	var lines []string
	for _, what := range []string{
		"LISTEN>SYN_RECV", "SYN_RECV>ESTABLISHED", "owner", "ESTABLISHED>CLOSE_WAIT", "CLOSE_WAIT>LAST_ACK", "LAST_ACK>CLOSE", "conn",
	} {
		lines = append(lines, fmt.Sprintf("%d:%s", cookie, what))
	}
	return lines
}

var live = StageOptions{OwnersChange: true, Whole: true, MaxConns: 100}

func TestAConnectionIsShownWhollyOrNotAtAll(t *testing.T) {
	for _, c := range []struct {
		flags []string
		whole bool
	}{
		{[]string{"pid", "2"}, true}, {[]string{"pid", "1"}, false}, {[]string{"pid", "!1"}, true}, {[]string{"pid", "!2"}, false},
		{[]string{"reason", "finished"}, true}, {[]string{"reason", "refused"}, false},
		{[]string{"role", "server"}, true}, {[]string{"role", "client"}, false}, {[]string{"lport", "80"}, true}, {[]string{"rport", "80"}, false},
		{[]string{"reason", "finished", "pid", "2", "port", "80"}, true},
	} {
		var want []string
		if c.whole {
			want = all(1)
		}
		if got := run(t, setOf(t, c.flags...), live, child(1)); !slices.Equal(got, want) {
			t.Errorf("%v: %v, want %v", c.flags, got, want)
		}
	}
}

func TestWhereOwnersDoNotChangeNothingWaits(t *testing.T) {
	st := setOf(t, "pid", "1").NewStage(StageOptions{Whole: true, MaxConns: 10})
	shown := 0
	for _, e := range child(1)[:2] {
		if err := st.Apply(&e, func(*event.Event) error { shown++; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if shown != 2 {
		t.Errorf("%d events are shown", shown)
	}
}

// TestUndecidedAtTheEnd judges by what is known then, and in the order of time.
func TestUndecidedAtTheEnd(t *testing.T) {
	var events []event.Event
	for _, cookie := range []uint64{3, 1, 2} {
		events = append(events, child(cookie)[:2]...)
	}
	want := []string{"3:LISTEN>SYN_RECV", "3:SYN_RECV>ESTABLISHED", "1:LISTEN>SYN_RECV", "1:SYN_RECV>ESTABLISHED", "2:LISTEN>SYN_RECV", "2:SYN_RECV>ESTABLISHED"}
	if got := run(t, setOf(t, "pid", "1"), live, events); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := run(t, setOf(t, "reason", "finished"), live, events); got != nil {
		t.Errorf("%v have ended", got)
	}
}

func TestClientWaitsForItsPort(t *testing.T) {
	events := child(1)[:3]
	for i := range events {
		events[i].Role, events[i].Owner.Source = event.RoleClient, event.SourceConnect
	}
	events[0].OldState, events[0].NewState, events[0].Local = event.Close, event.SynSent, netip.MustParseAddrPort("0.0.0.0:0")
	events[1].OldState = event.SynSent
	for _, flags := range [][]string{{"lport", "80"}, {"laddr", "127.0.0.0/8"}, {"port", "!81"}} {
		if got := run(t, setOf(t, flags...), live, events); len(got) != 3 {
			t.Errorf("%v: %v", flags, got)
		}
	}
	if got := run(t, setOf(t, "lport", "!80"), live, events); got != nil {
		t.Errorf("%v", got)
	}
}

func TestEventFilters(t *testing.T) {
	for _, c := range []struct {
		flags, want []string
	}{
		{[]string{"state", "close-wait"}, []string{"1:ESTABLISHED>CLOSE_WAIT", "1:CLOSE_WAIT>LAST_ACK", "1:conn"}},
		{[]string{"transition", "*>ESTABLISHED"}, []string{"1:SYN_RECV>ESTABLISHED", "1:conn"}},
		{[]string{"transition", "*>ESTABLISHED", "pid", "2"}, []string{"1:SYN_RECV>ESTABLISHED", "1:conn"}},
		{[]string{"transition", "SYN_SENT>CLOSE"}, nil},
		{[]string{"state", "!established,listen"}, []string{"1:CLOSE_WAIT>LAST_ACK", "1:LAST_ACK>CLOSE"}},
	} {
		if got := run(t, setOf(t, c.flags...), live, child(1)); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, want %v", c.flags, got, c.want)
		}
	}
}

// TestOneSocketCarriesSeveralConnections judges each of them.
func TestOneSocketCarriesSeveralConnections(t *testing.T) {
	first, second := child(1), child(1)
	for i := range second {
		second[i].Owner.PID = 3
	}
	for _, part := range [][]event.Event{first, first[:4], first[:2]} {
		got := run(t, setOf(t, "pid", "3"), live, slices.Concat(part, second))
		if !slices.Equal(got, all(1)) {
			t.Errorf("after %d events: %v", len(part), got)
		}
	}
}

// TestTimeWaitBelongsToItsConnection shows what is derived long after the end.
func TestTimeWaitBelongsToItsConnection(t *testing.T) {
	events := child(1)
	last := &events[len(events)-2]
	last.OldState, last.NewState = event.FinWait2, event.TimeWait
	events[len(events)-1].NewState = event.TimeWait
	gone := *last
	gone.OldState, gone.NewState, gone.Owner = event.TimeWait, event.Close, event.Owner{}
	events = append(events, gone)
	for flag, want := range map[string]int{"2": len(events), "1": 0} {
		if got := run(t, setOf(t, "pid", flag), live, events); len(got) != want {
			t.Errorf("--pid %s: %v", flag, got)
		}
	}
	st := setOf(t, "pid", "2").NewStage(live)
	for i := range events {
		_ = st.Apply(&events[i], func(*event.Event) error { return nil })
	}
	if n := len(st.verdicts.young) + len(st.verdicts.old); n != 0 {
		t.Errorf("%d connections are remembered", n)
	}
}

func TestHeldEventsAreBounded(t *testing.T) {
	st := setOf(t, "reason", "finished").NewStage(StageOptions{Whole: true, MaxConns: 1 << 20})
	shown := 0
	for cookie := range uint64(maxHeld) {
		for _, e := range child(cookie + 1)[:2] {
			if err := st.Apply(&e, func(*event.Event) error { shown++; return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if st.held.count > maxHeld {
			t.Fatalf("%d events are held", st.held.count)
		}
	}
	if st.Hasty() != maxHeld/2 || shown != 0 {
		t.Errorf("%d connections were judged early, and %d events shown", st.Hasty(), shown)
	}
	one := setOf(t, "reason", "finished").NewStage(live)
	for range 2 * maxHeldOfOne {
		e := child(1)[1]
		_ = one.Apply(&e, func(*event.Event) error { return nil })
	}
	if one.Hasty() != 1 || one.held.count != 0 {
		t.Errorf("%d were judged early, %d events are held", one.Hasty(), one.held.count)
	}
}

func TestVerdictsAreBounded(t *testing.T) {
	st := setOf(t, "lport", "80").NewStage(StageOptions{Whole: true, MaxConns: 100})
	for cookie := range uint64(1000) {
		e := child(cookie + 1)[0]
		_ = st.Apply(&e, func(*event.Event) error { return nil })
		if n := len(st.verdicts.young) + len(st.verdicts.old); n > 201 {
			t.Fatalf("%d are remembered", n)
		}
	}
	if st.Forgotten() < 750 {
		t.Errorf("%d are forgotten", st.Forgotten())
	}
}

// connection is one of a process.
func connection(cookie uint64, pid uint32) []event.Event {
	events := child(cookie)[2:]
	for i := range events {
		events[i].Owner.PID = pid
	}
	return events
}

func TestTree(t *testing.T) {
	fork := func(parent, pid uint32) event.Event {
		return event.Event{Kind: event.KindFork, Before: parent == 1 && pid == 10, Owner: event.Owner{Process: event.Process{PID: parent}}, Current: event.Process{PID: pid}}
	}
	events := slices.Concat(
		[]event.Event{fork(1, 10), fork(10, 11), fork(11, 12), fork(1, 13)},
		connection(1, 10), connection(2, 12), connection(3, 13),
		[]event.Event{fork(1, 12)}, connection(4, 12), // another process of that number
	)
	set := setOf(t, "pid", "10")
	set.WithTree()
	if shown := shownBy(t, set, events); shown != "1 2" {
		t.Errorf("the connections %s are shown", shown)
	}
}

// shownBy are the cookies of the connections of which something is shown.
func shownBy(t *testing.T, set *Set, events []event.Event) string {
	t.Helper()
	var shown []string
	for _, line := range run(t, set, live, events) {
		cookie, _, _ := strings.Cut(line, ":")
		shown = append(shown, cookie)
	}
	return strings.Join(slices.Compact(shown), " ")
}

func TestFollow(t *testing.T) {
	fork := func(parent, pid uint32, followed bool) event.Event {
		return event.Event{Kind: event.KindFork, Followed: followed, Owner: event.Owner{Process: event.Process{PID: parent}}, Current: event.Process{PID: pid}}
	}
	existed := fork(1, 10, false)
	existed.Before = true
	events := slices.Concat(
		connection(1, 10), // a number that nobody has said to be followed
		[]event.Event{fork(5, 10, true), fork(10, 11, true), fork(99, 12, true), fork(10, 13, false), existed},
		connection(2, 10), connection(3, 11),
		// Of one whose parent's beginning was lost, and of one for which the kernel had no room.
		connection(4, 12), connection(5, 13),
		// Of a listener that is not followed, served by one that is not, and by one that is.
		child(6),
		[]event.Event{fork(5, 2, true)}, child(7),
		[]event.Event{fork(5, 1, true), fork(1, 2, false)}, child(8), // and the other way round
		[]event.Event{fork(1, 11, false)}, connection(9, 11), // another process of that number
	)
	for want, flags := range map[string][]string{
		"2 3 4 7": nil,
		"2 3":     {"pid", "!12,2"},
		"3":       {"pid", "11,13"},
		"":        {"rport", "80"},
	} {
		set := setOf(t, flags...)
		set.Follow()
		if set.IsEmpty() {
			t.Error("everything is wanted")
		}
		if got := shownBy(t, set, events); got != want {
			t.Errorf("%v: the connections %s are shown, want %s", flags, got, want)
		}
	}
	set := setOf(t, "pid", "5")
	set.WithTree()
	set.Follow()
	if got, want := shownBy(t, set, events), "2 3 7"; got != want { // 13 is of the tree, and not followed; 12 the reverse
		t.Errorf("--pid with --tree: the connections %s are shown, want %s", got, want)
	}
	if l, rest := set.Lower(); l.PIDs != nil || !slices.Equal(rest, []string{"pid"}) {
		t.Errorf("the kernel decides %+v, and not %v", l.PIDs, rest)
	}
}

func TestHasFollowed(t *testing.T) {
	var set Set
	set.Follow()
	stage := set.NewStage(live)
	for i, followed := range []bool{false, true, false} {
		e := event.Event{Kind: event.KindFork, Followed: followed, Current: event.Process{PID: 5}}
		if err := stage.Apply(&e, func(*event.Event) error { return nil }); err != nil {
			t.Error(err)
		}
		if want := i > 0; stage.HasFollowed() != want {
			t.Errorf("after %d processes a followed one was seen: %t", i+1, !want)
		}
	}
}

// TestFollowWaitsForTheOwner shows a child wholly or not at all.
func TestFollowWaitsForTheOwner(t *testing.T) {
	for _, pid := range []uint32{1, 2} { // the listener's, and who serves
		var set Set
		set.Follow()
		followed := event.Event{Kind: event.KindFork, Followed: true, Current: event.Process{PID: pid}}
		var want []string
		if pid == 2 {
			want = all(1)
		}
		if got := run(t, &set, live, append([]event.Event{followed}, child(1)...)); !slices.Equal(got, want) {
			t.Errorf("of the process %d: %v, want %v", pid, got, want)
		}
	}
}

func FuzzAdd(f *testing.F) {
	for _, c := range cases {
		f.Add(c.flag, c.value)
	}
	e, unknown := anEvent(), nothingKnown()
	f.Fuzz(func(t *testing.T, flag, value string) {
		row := Find(flag)
		if row == nil {
			return
		}
		var set Set
		if set.Add(row, value, aMachine) != nil {
			return
		}
		set.Match(&e)
		set.Match(&unknown)
		set.Lower()
	})
}

func BenchmarkStage(b *testing.B) {
	for _, flags := range [][]string{{"lport", "80"}, {"pid", "2"}, {"reason", "refused"}} {
		b.Run(flags[0], func(b *testing.B) {
			st := setOf(b, flags...).NewStage(live)
			events := child(1)
			next := func(*event.Event) error { return nil }
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := st.Apply(&events[i%len(events)], next); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
