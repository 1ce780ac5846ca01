package expect

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tcpstates/internal/event"
	"tcpstates/internal/golden"
)

// explained are rules that do not hold of the mixed scene, a few for each way to say why.
var explained = []string{
	`all(conns, .connect_ms < 50)`,
	`all(clients, .connect_ms < 50 && .reason == "finished")`,
	`all(servers, .rport == 1 or .lport == 2)`,
	`all(clients, .connect_ms > 5)`,
	`all(filter(conns, .rport == 22), .ended)`,
	`all(map(conns, .rport), # > 100)`,
	`all(listeners, .ended)`,
	`none(conns, .reason == "reset by peer")`,
	`none(clients, .connect_ms > 30)`,
	`any(conns, .rport == 5432 && .connect_ms > 100)`,
	`any(conns, .connect_ms < 1)`,
	`any(servers, .failed)`,
	`any(filter(conns, .rport == 22), .failed)`,
	`one(conns, .failed)`,
	`one(conns, .rport == 22)`,
	`not any(conns, .failed)`,
	`not known(conns[0].connect_ms)`,
	`count(conns, .syn_retransmits > 0) == 0`,
	`count(conns, .reason == "refused") == 2`,
	`count(conns, .rport == 80 and .established) > 2`,
	`len(filter(conns, .rport == 80)) > 5`,
	`len(conns) == 3`,
	`p99(clients, "connect_ms") < 20`,
	`50 > mean(values(clients, "connect_ms"))`,
	`p50(clients, "connect_ms") > 900`,
	`p50(clients, "connect_ms") < p50(filter(clients, .rport == 5432), "connect_ms")`,
	`p50(clients, "connect_ms") < p50(servers, "connect_ms")`,
	`p99(listeners, "connect_ms") < 5`,
	`p50(filter(conns, .rport == 22), "rtt_ms") > 1`,
	`sum(conns, .connect_ms) > 4`,
	`max(map(clients, .connect_ms)) < 5`,
	`path(conns[0]) startsWith "CLOSE SYN_SENT CLOSE"`,
	`path(conns[-1]) endsWith "ESTABLISHED"`,
	`path(conns[3]) contains "FIN_WAIT1"`,
	`path(conns[3]) matches "TIME_WAIT$"`,
	`conns[0].reason in ["refused", "reset by peer"]`,
	`conns[-1].reason == "refused"`,
	`conns[0].established and conns[-1].established`,
	`conns[0].failed and conns[0].ended and conns[0].rport == 1`,
	`conns[0].failed or conns[0].rport == 1`,
	`let worst = max(values(clients, "connect_ms")); let limit = 50; worst < limit and all(conns, .ended)`,
	`conns[100].rport == 1`,
	`path(filter(conns, .rport == 22)[0]) == ""`,
	`find(conns, .rport == 22).rport == 22`,
	`repeat("a", 1000) == "b"`,
	`conns[0].failed ? true : false`,
	`1 == 2`,
	`false`,
	`any(conns, repeat("a", -1) == .comm)`,
	`reduce(conns, #acc + .rport, 0) < 5`,
	`int("x" + conns[0].comm) == 5`,
}

// ofNothing are rules that do not hold where nothing was seen.
var ofNothing = []string{
	`all(conns, .connect_ms < 50)`,
	`any(clients, .failed)`,
	`len(conns) > 0`,
	`conns[0].failed`,
	`path(servers[0]) startsWith "CLOSE"`,
	`path(first(clients)) startsWith "CLOSE"`,
	`p99(listeners, "connect_ms") < 20`,
	`all(filter(conns, .rport == 80), .ended)`,
	`find(clients, .rport == 80).ended`,
	`reduce(conns, #acc + .rport) < 5`,
}

func TestExplanations(t *testing.T) {
	golden.Check(t, filepath.Join("testdata", "explained.txt"), explanations(t, judge(t, 100, mixed(), explained...), ""))
	golden.Check(t, filepath.Join("testdata", "nothing.txt"), explanations(t, judge(t, 100, nil, ofNothing...), ""))
	golden.Check(t, filepath.Join("testdata", "filtered.txt"), explanations(t, judge(t, 100, nil, ofNothing...), "--rport 80"))
}

// explanations are the verdicts as text: no rule may hold.
func explanations(t *testing.T, j *Judge, filters string) string {
	t.Helper()
	var b strings.Builder
	for _, v := range j.Verdicts(filters) {
		if v.Held || len(v.Why) == 0 || len(v.Conns) > maxShown {
			t.Errorf("%s: %+v", v.Rule.Name, v)
		}
		fmt.Fprintln(&b, v.Rule.Name)
		for _, why := range v.Why {
			fmt.Fprintln(&b, "   ", why)
		}
		for _, c := range v.Conns {
			fmt.Fprintf(&b, "    # %s\n", c.AppendHead(nil))
		}
		if v.More > 0 {
			fmt.Fprintf(&b, "    # and %d more\n", v.More)
		}
	}
	return b.String()
}

// TestManyShow has more connections show why a rule does not hold than are told.
func TestManyShow(t *testing.T) {
	var lives []life
	for i := range 30 {
		lives = append(lives, life{cookie: uint64(100 - i), port: 80, begins: 1000, connect: 1000 * 1000 * 1000, lasts: 1000})
	}
	j := judge(t, 100, scene(lives...), `all(conns, .connect_ms < 50) and none(conns, .rport == 80)`)
	v := j.Verdicts("")[0]
	if v.Held || len(v.Conns) != 5 || v.More != 25+25 || len(v.Why) != 2+5+5 {
		t.Errorf("%d shown, %d more, %q", len(v.Conns), v.More, v.Why)
	}
}

// TestEachRuleIsJudged has several rules, which share what is asked of connections.
func TestEachRuleIsJudged(t *testing.T) {
	j := judge(t, 100, mixed(), `any(conns, .failed)`, `all(conns, .ended)`, `p99(clients, "connect_ms") > 5`)
	for i := range 2 { // and once more
		var held []bool
		for _, v := range j.Verdicts("") {
			held = append(held, v.Held)
		}
		if !slices.Equal(held, []bool{true, false, true}) {
			t.Errorf("time %d: %v", i, held)
		}
	}
}

func TestTimelines(t *testing.T) {
	golden.Check(t, filepath.Join("testdata", "mixed.txt"), timelines(judge(t, 100, mixed())))
	var all strings.Builder
	for _, path := range recordings(t) {
		fmt.Fprintf(&all, "%s\n%s\n", filepath.Base(path), timelines(judge(t, 100, recorded(t, path))))
	}
	golden.Check(t, filepath.Join("testdata", "recorded.txt"), all.String())
}

func timelines(j *Judge) string {
	var all []byte
	for _, c := range j.all() {
		all = c.AppendText(all)
	}
	return string(all)
}

// TestRecordings judges what a kernel has reported.
func TestRecordings(t *testing.T) {
	for file, rules := range map[string][]string{
		"active-close": {
			`len(clients) == 1 and len(servers) == 1 and len(listeners) == 1`, `all(conns, .reason == "finished" and .established and .ended)`,
			`path(clients[0]) == "CLOSE SYN_SENT ESTABLISHED FIN_WAIT1 FIN_WAIT2 TIME_WAIT"`,
			`path(servers[0]) == "LISTEN SYN_RECV ESTABLISHED CLOSE_WAIT LAST_ACK CLOSE"`,
			`clients[0].first == "us" and servers[0].first == "peer"`, `p99(clients, "connect_ms") < 0.064`,
			`known(servers[0].accept_wait_max_ms) and not known(servers[0].accept_wait_ms)`,
		},
		"refused":                           {`len(conns) == 1 and conns[0].reason == "refused"`, `none(conns, .established)`, `path(conns[0]) == "CLOSE SYN_SENT CLOSE"`},
		"handshake-SYN-lost":                {`any(clients, .syn_retransmits == 1 and .connect_ms > 1000)`},
		"process-killed":                    {`any(conns, .reason == "killed with its process" and .signal == "SIGKILL")`},
		"simultaneous-close":                {`any(conns, .first == "both" and path(#) contains "FIN_WAIT1 CLOSING TIME_WAIT")`},
		"reset-in-ESTABLISHED-linger-0":     {`count(conns, .failed) == 2`, `one(conns, .reason == "reset by peer")`, `one(conns, .reason == "reset sent" and .cause == "linger 0")`},
		"late-data-with-the-ACK-of-the-FIN": {`any(conns, .reason == "reset sent" and .cause == "late data")`},
		"connect-times-out":                 {`one(conns, .reason == "timed out" and not .established)`},
		"listener-closed-over-a-child":      {`all(listeners, .ended) and any(servers, .cause == "never accepted")`},
		"orphan-whose-FIN-comes-late":       {`any(conns, path(#) contains "FIN_WAIT2 TIME_WAIT" and .reason == "finished")`},
		"fast-open":                         {`count(conns, .way == "fast open") == 2`},
		"unread-data-in-LAST_ACK":           {`all(conns, .established)`},
		"reset-in-CLOSE_WAIT-and-FIN_WAIT2": {`any(conns, path(#) endsWith "CLOSE_WAIT CLOSE")`},
		"closed-in-repair-mode":             {`any(conns, .ended and .reason == "")`},
		"no-local-port":                     {`any(conns, .reason == "no local port")`},
		"dissolved":                         {`all(filter(clients, .cause == "disconnect"), known(.raddr) and known(.rport))`},
	} {
		j := judge(t, 100, recorded(t, filepath.Join("../../testdata/rec", file+".rec")), rules...)
		for _, v := range j.Verdicts("") {
			if !v.Held {
				t.Errorf("%s: %s: %q\n%s", file, v.Rule.Name, v.Why, timelines(j))
			}
		}
	}
}

// TestControlCharacters has names that would change a terminal.
func TestControlCharacters(t *testing.T) {
	events := mixed()
	for i := range events {
		events[i].Owner.Comm = event.CommOf("a\x1b[31m\n")
	}
	j := judge(t, 100, events, `all(conns, .comm == "b")`, `conns[0].comm == "b"`)
	text := timelines(j)
	for _, v := range j.Verdicts("") {
		text += strings.Join(v.Why, "\n")
	}
	if strings.ContainsAny(text, "\x1b\r\x07") || !strings.Contains(text, `a\x1b[31m\x0a[4711]`) {
		t.Error(text)
	}
}

// TestManyConnections makes more lists of the connections than the library lets an
// expression make of its own accord.
func TestManyConnections(t *testing.T) {
	const most = 20_000
	one := "len(filter(conns, .rport > 0))"
	j := NewJudge([]*Rule{compile(t, one+strings.Repeat(" + "+one, 59)+" == 1200000")}, most)
	e := endOf(1, event.ReasonFinished)
	for i := range most {
		e.Cookie = uint64(1 + i)
		if err := j.Apply(&e, func(*event.Event) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if v := j.Verdicts("")[0]; !v.Held {
		t.Errorf("%q", v.Why)
	}
}
