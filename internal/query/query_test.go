package query

import (
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"tcpstates/internal/event"
)

// ended is a client's connection that was reset.
func ended() *event.Event {
	e := &event.Event{
		Kind: event.KindConn, Ktime: uint64(time.Second), Since: 1, Role: event.RoleClient, NewState: event.Close, OldState: event.Established,
		Local: netip.MustParseAddrPort("127.0.0.1:40000"), Remote: netip.MustParseAddrPort("10.0.0.1:5432"), Family: event.IPv4,
		Handshake: event.Handshake{Connect: 1500 * time.Microsecond, Retransmits: 2},
		End:       event.End{Reason: event.ReasonResetByPeer, First: event.SidePeer},
		Owner:     event.Owner{Process: event.Process{PID: 4711, Comm: event.CommOf("app")}, Source: event.SourceConnect},
	}
	e.Times[event.Established] = 5 * time.Millisecond
	return e
}

// listening is a transition, of which nothing of a connection is known.
func listening() *event.Event {
	return &event.Event{
		Kind: event.KindTransition, Ktime: 5, OldState: event.Close, NewState: event.Listen, UIDUnknown: true,
		Local: netip.MustParseAddrPort("[::]:443"), Remote: netip.MustParseAddrPort("[::]:0"), Family: event.IPv6,
	}
}

func TestWhere(t *testing.T) {
	for _, test := range []struct {
		text            string
		ended, listener bool
	}{
		{`rport == 5432`, true, false},
		{`rport in [80, 5432]`, true, false},
		{`rport in 5000..6000`, true, false},
		{`reason == "reset by peer" and role == "client"`, true, false},
		{`reason in ["refused", "reset by peer"]`, true, false},
		{`reason != "reset by peer"`, false, true},
		{`connect_ms > 1.4 && connect_ms < 1.6`, true, false},
		// What is not known is not less, and not more.
		{`connect_ms < 1e9`, true, false},
		{`connect_ms >= 0`, true, false},
		{`known(connect_ms)`, true, false},
		{`not known(handshake_ms)`, true, true},
		{`known(reason)`, true, false},
		{`uid == 0`, true, false},
		{`syn_retransmits == 2`, true, false},
		{`syn_retransmits == 0`, false, true},
		{`established`, true, false},
		{`failed`, true, false},
		{`derived`, false, false},
		{`newstate == "LISTEN"`, false, true},
		{`comm startsWith "a" && pid == 4711`, true, false},
		{`raddr == "10.0.0.1"`, true, false},
		{`laddr matches "^127"`, true, false},
		{`type == "conn"`, true, false},
		{`family == 6`, false, true},
		{`established_ms == 5`, true, false},
	} {
		w, err := NewWhere(test.text)
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
			continue
		}
		for _, of := range []struct {
			e    *event.Event
			want bool
		}{{ended(), test.ended}, {listening(), test.listener}} {
			if got, err := w.Holds(of.e); got != of.want || err != nil {
				t.Errorf("%s of %s is %t, %v", test.text, of.e.Kind, got, err)
			}
		}
	}
}

func TestWhatIsNoExpression(t *testing.T) {
	for text, want := range map[string]string{
		``:                                       "at character 1 of 0: ",
		`rport = 5432`:                           "at character ",
		`rports == 5432`:                         `at character 1 of 14: "rports" is not there, rport is: there are type, time, `,
		`rport == "5432"`:                        "at character 7 of 15: invalid operation: == (mismatched types float64 and string)",
		`reason == 5`:                            "at character 8 of 11: invalid operation: == (mismatched types string and int)",
		`rport`:                                  "it must be true or false: expected bool, but got float64",
		`reason == "reset-by-peer"`:              `at character 11 of 25: reason is never "reset-by-peer": it can be finished, `,
		`reason in ["refused", "rst"]`:           `at character 23 of 28: reason is never "rst": `,
		`"LISTENING" != newstate`:                `at character 1 of 23: newstate is never "LISTENING": it can be ESTABLISHED, `,
		`connect_ms == nil`:                      "at character 15 of 17: connect_ms is never nil: write known(connect_ms)",
		`(connect_ms ?? 5) > 1`:                  "at character 2 of 21: connect_ms is never nil: write known(connect_ms) ? connect_ms : ",
		`reason contains "refussed"`:             `at character 17 of 26: reason never is what contains "refussed": it can be finished, `,
		`reason matches "^reffed"`:               `at character 16 of 24: reason never is what matches "^reffed": it can be finished, `,
		`not (newstate startsWith "FIN-")`:       `at character 26 of 32: newstate never is what startsWith "FIN-": `,
		`errno == "ECONNREFUSSED"`:               `at character 10 of 24: errno is never "ECONNREFUSSED": it can be ECONNREFUSED`,
		`signal == "KILL"`:                       `at character 11 of 16: signal is never "KILL": it has names such as SIGHUP, SIGINT, SIGQUIT`,
		`cause == "lingr 0"`:                     `at character 10 of 18: cause is never "lingr 0": it can be unread data, linger 0, `,
		`é == 1 || foo == 2`:                     `at character 1 of 18: "é" is not there`,
		`$env["rport"] == 5432`:                  `at character 1 of 21: "$env" is not there: there are type, `,
		strings.Repeat("!", maxNodes) + "failed": "at character ",
		strings.Repeat("(", maxText) + "failed":  "it has 10006 bytes, and 10000 are the most",
	} {
		if _, err := NewWhere(text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.40s: got %v, want %s", text, err, want)
		}
	}
}

func TestWordsThatAFieldCanBe(t *testing.T) {
	for _, text := range []string{
		`reason contains "reset"`, `reason matches "^re(fused|set)"`, `not (reason endsWith "closed")`, `reason == ""`,
		`errno == "ECONNREFUSED" or errno == "523"`, `signal in ["SIGKILL", "signal 34"]`, `signal startsWith "SIG"`,
		`cause == "linger 0"`, `container contains "web"`, `(known(rtt_ms) ? rtt_ms : 5) > 1`,
	} {
		if _, err := NewWhere(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestEveryColumnIsAField(t *testing.T) {
	var r Reader
	for i := range Fields {
		f := &Fields[i]
		for _, e := range []*event.Event{ended(), listening()} {
			switch v := r.Value(f, e).(type) {
			case float64:
				if f.Kind != Number {
					t.Errorf("%s is a number", f.Name)
				}
			case string:
				if f.Kind != Text || len(f.Words) > 0 && v != "" && !strings.Contains(strings.Join(f.Words, ","), v) {
					t.Errorf("%s is %q", f.Name, v)
				}
			case bool:
				if f.Kind != Truth {
					t.Errorf("%s is true or false", f.Name)
				}
			}
		}
	}
	if Find("ms") == nil || Find("rname") != nil {
		t.Error("ms is a field, and rname, which nobody looks up, is none")
	}
	if v := r.Value(Find("rtt_ms"), listening()); !math.IsNaN(v.(float64)) {
		t.Errorf("an unknown time is %v", v)
	}
}

func TestStage(t *testing.T) {
	w, err := NewWhere(`rport == 5432`)
	if err != nil {
		t.Fatal(err)
	}
	if !w.Uses("reason", "rport") || w.Uses("lport") {
		t.Error("it uses rport alone")
	}
	closes := ended()
	closes.Kind = event.KindTransition
	other := ended()
	other.Cookie = 7
	for _, test := range []struct {
		wholes bool
		events []*event.Event
		passed int
	}{
		{true, []*event.Event{ended(), other}, 2},
		{false, []*event.Event{ended()}, 0}, // no transition of it has passed
		{false, []*event.Event{closes, ended(), ended(), other}, 2},
		{false, []*event.Event{listening(), {Kind: event.KindTick}, {Kind: event.KindLost, Lost: 3}}, 2},
	} {
		stage := NewStage([]*Where{w}, test.wholes, 10)
		passed := 0
		for _, e := range test.events {
			if err := stage.Apply(e, func(*event.Event) error { passed++; return nil }); err != nil {
				t.Error(err)
			}
		}
		if passed != test.passed {
			t.Errorf("of %d events %d passed, want %d", len(test.events), passed, test.passed)
		}
		if len(stage.touched) > 0 {
			t.Errorf("%d are remembered", len(stage.touched))
		}
	}
}
