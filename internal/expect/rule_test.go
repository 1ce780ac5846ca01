package expect

import (
	"math"
	"slices"
	"strings"
	"testing"
)

// TestFunctions asks each function of a scene, and of one in which nothing was seen.
func TestFunctions(t *testing.T) {
	for _, test := range []struct {
		text        string
		held, empty bool
	}{
		{`len(conns) == 8`, true, false},
		{`len(clients) == 7 && len(servers) == 1 && len(listeners) == 1`, true, false},
		{`len(conns) == 0`, false, true},
		{`conns[0].rport == 5432`, true, false}, // by their beginning
		{`conns[-1].rport == 444`, true, false},
		{`all(conns, .family == 4)`, true, false}, // and of none it is false
		{`all(conns, .ended)`, false, false},
		{`all(conns, all(listeners, .lport == 80))`, true, false},
		{`not all(conns, .ended)`, true, true},
		{`none(conns, .rport == 22)`, true, true},
		{`none(conns, .failed)`, false, true},
		{`any(conns, .reason == "refused")`, true, false},
		{`one(conns, .reason == "refused")`, true, false},
		{`one(conns, .reason == "finished")`, false, false},
		{`count(conns, .failed) == 2`, true, false},
		{`count(conns, .failed) == 0`, false, true},
		{`count(conns, .established) == 6`, true, false},
		{`count(conns, .ended) == 6`, true, false},
		{`count(clients, known(.connect_ms)) == 5`, true, false},
		{`p50(clients, "connect_ms") == 31`, true, false}, // of 2, 9, 31, 82, 1100
		{`p90(clients, "connect_ms") == 1100`, true, false},
		{`p95(clients, "connect_ms") == 1100`, true, false},
		{`p99(clients, "connect_ms") < 5000`, true, false},
		{`p99(clients, "connect_ms") >= 0`, true, false},
		{`known(p50(clients, "connect_ms"))`, true, false},
		{`p50(filter(conns, .rport == 5432), "connect_ms") == 2`, true, false},
		{`values(clients, "connect_ms") == [2.0, 82.0, 31.0, 1100.0, 9.0]`, true, false},
		{`len(values(clients, "connect_ms")) == 0`, false, true},
		{`min(values(clients, "connect_ms")) == 2`, true, false},
		{`max(values(clients, "connect_ms")) == 1100`, true, false},
		{`mean(values(clients, "connect_ms")) == 244.8`, true, false},
		{`median(values(clients, "connect_ms")) == 31`, true, false},
		{`median(1, 2, 3, 5) == 2.5`, true, true},
		{`max(3, 5) == 5 && min([3, 5]) == 3 && max(map(1..3, # * 2)) == 6`, true, true},
		{`sum(values(clients, "connect_ms")) == 1224`, true, false},
		{`sum(values(clients, "connect_ms")) == 0`, false, true},
		{`mean(values(clients, "connect_ms")) < 1e9`, true, false}, // of none it is not 0
		{`max(map(clients, .connect_ms)) < 1e9`, false, false},     // some are not known
		{`known(median(map(conns, .connect_ms)))`, false, false},
		{`max(values(conns, "accept_wait_ms")) < 1e9`, false, false},
		{`path(conns[0]) startsWith "CLOSE SYN_SENT ESTABLISHED"`, true, false},
		{`path(conns[0]) == "CLOSE SYN_SENT ESTABLISHED FIN_WAIT1 FIN_WAIT2 TIME_WAIT"`, true, false},
		{`all(servers, path(#) startsWith "LISTEN SYN_RECV ESTABLISHED")`, true, false},
		{`path(find(conns, .reason == "refused")) == "CLOSE SYN_SENT CLOSE"`, true, false},
		{`path(first(conns)) startsWith "CLOSE"`, true, false},
		{`path(listeners[0]) == "CLOSE LISTEN"`, true, false},
		{`let slow = filter(clients, .connect_ms > 50); len(slow) == 2 && all(slow, .rport in [80, 5432])`, true, false},
		{`find(conns, .rport == 443).ms_min >= 9`, true, false}, // it has lived so long
		{`not known(find(conns, .rport == 443).ms) && not known(find(conns, .rport == 443).reason)`, true, false},
		{`find(conns, .rport == 443).syn_sent_ms == 9 && not known(find(conns, .rport == 443).established_ms)`, true, false},
		{`find(conns, .rport == 443).connect_ms == 9`, true, false},
		{`all(conns, .pid == 4711 && .comm == "curl")`, true, false},
	} {
		j := judge(t, 100, mixed(), test.text)
		if v := j.Verdicts(""); len(v) != 1 || v[0].Held != test.held || test.held == (len(v[0].Why) > 0) {
			t.Errorf("%s: %+v", test.text, v)
		}
		j = judge(t, 100, nil, test.text)
		if v := j.Verdicts(""); len(v) != 1 || v[0].Held != test.empty || test.empty == (len(v[0].Why) > 0) {
			t.Errorf("of nothing, %s: %+v", test.text, v)
		}
	}
}

func TestWhatIsNoRule(t *testing.T) {
	for text, want := range map[string]string{
		``:                                          "at character 1 of 0: ",
		`conns`:                                     "it must be true or false: expected bool, but got []interface {}",
		`conn[0].failed`:                            `at character 1 of 14: "conn" is not there, conns is: there are clients, conns, listeners, servers`,
		`all(conns, .rports == 1)`:                  `at character 13 of 24: "rports" is not there, rport is: there are ended, time, sock, `,
		`all(conns, .oldstate == "CLOSE")`:          `at character 13 of 32: "oldstate" is not there`, // of transitions
		`all(conns, .curpid == 1)`:                  `at character 13 of 24: "curpid" is not there`,
		`all(conns, .rport == "80")`:                "at character 19 of 26: invalid operation: == (mismatched types float64 and string)",
		`any(conns, .reason == "rst")`:              `at character 23 of 28: .reason is never "rst": it can be finished, `,
		`p99(conns, "connect_m") < 5`:               `at character 12 of 27: "connect_m" is not there, connect_ms is: `,
		`p99(conns, "reason") < 5`:                  `at character 12 of 24: "reason" is no number: these are netns, uid, pid, `,
		`p99(conns, "ended") < 5`:                   `at character 12 of 23: "ended" is no number: `,
		`p99(conns, conns[0].reason) < 5`:           `at character 21 of 31: p99 takes the name of a field in quotes: netns, uid, `,
		`p99(conns) < 5`:                            "at character 1 of 14: not enough arguments to call p99",
		`p99("conns", "rport") < 5`:                 "at character 5 of 25: cannot use string as argument",
		`values(conns, "rprot") == []`:              `at character 15 of 28: "rprot" is not there, rport is: `,
		`path(conns) == ""`:                         "at character 6 of 17: cannot use []interface {} as argument",
		`none(conns, path(#) contains "FIN_WAIT3")`: `at character 30 of 41: there is no state "FIN_WAIT3" in a path: there are ESTABLISHED, `,
		`count(conns) == 1`:                         "at character 1 of 17: count takes what is counted, as count(conns, .failed) does: all are len(conns)",
		`none(conns, (.rtt_ms ?? 9) > 5)`:           "at character 15 of 31: .rtt_ms is never nil: write known(.rtt_ms) ? .rtt_ms : 9",
		`max("a") < 5`:                              "at character 5 of 12: cannot use string as argument",
		`first(conns).rport == 5`:                   "at character 14 of 23: first(conns) may be anything: ",
		`any([1, "a"], .rport == 5)`:                "at character 16 of 26: # may be anything: ",
		`conns[0]["rp" + "ort"] == 5`:               "at character 15 of 27: the name of a field stands here, in quotes",
		`none(conns, "rport" in #)`:                 "at character 24 of 25: a connection is no list",
		`keys(conns[0]) == []`:                      "at character 11 of 20: keys does not take a connection, but a field of one",
		`$env["con" + "ns"] == 5`:                   `at character 1 of 23: "$env" is not there: there are clients, `,
		`now() > date("2026-01-01")`:                `at character 1 of 26: "now" is not there: `,
		"any(conns, .comm == \"\x1b[31m\")":         `'\x1b' is no character for a rule`,
		"any(conns, .comm == \"\xff\")":             "it is no UTF-8",
	} {
		if _, err := Compile("", "", text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

func TestNames(t *testing.T) {
	rule := compile(t, "all(conns,\n\t.failed)")
	if rule.Name != "all(conns, .failed)" || rule.Expression != "all(conns,\n\t.failed)" {
		t.Errorf("%+v", rule)
	}
	if rule, err := Compile("near", "it is in the zone", "true"); err != nil || rule.Name != "near" || rule.Description != "it is in the zone" {
		t.Errorf("%+v, %v", rule, err)
	}
	if _, err := Compile("a\x07", "", "true"); err == nil {
		t.Error("a name with a bell")
	}
}

func TestUses(t *testing.T) {
	rule := compile(t, `p99(conns, "connect_ms") < 5 && any(clients, .reason == "refused" && .ended) || conns[0].unit == "" || max(values(conns, "rtt_ms")) > 5`)
	want := []string{"connect_ms", "ended", "reason", "rtt_ms", "unit"}
	if got := rule.Uses(); !slices.Equal(slices.Sorted(slices.Values(got)), want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestNearestRank compares percentiles with their definition.
func TestNearestRank(t *testing.T) {
	var list []any
	for n := 1; n <= 250; n++ {
		list = append(list, map[string]any{self: &Conn{}, "ms": float64(n)}, map[string]any{self: &Conn{}, "ms": math.NaN()})
		all, err := known(list, "ms")
		if err != nil || len(all) != n {
			t.Fatal(len(all), err)
		}
		for _, p := range []int{50, 90, 95, 99} {
			got := percentileOf(all, p)
			below := 0
			for _, v := range all {
				if v <= got {
					below++
				}
			}
			if below*100 < p*n || (below-1)*100 >= p*n {
				t.Errorf("of %d, p%d is %v", n, p, got)
			}
		}
	}
}
