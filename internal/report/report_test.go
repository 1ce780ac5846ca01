package report

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tcpstates/internal/golden"
)

// smoke is a run of a script whose two rules hold.
func smoke() *Report {
	return &Report{
		Name:  "tcpstates exec -- ./smoke.sh",
		Host:  "runner-7",
		Began: time.Date(2026, 11, 22, 23, 59, 59, 990_000_000, time.FixedZone("here", 2*60*60)),
		Took:  1234567 * time.Microsecond, Setup: 118_204 * time.Microsecond,
		Outcome: Passed,
		Command: &Command{Args: []string{"./smoke.sh"}},
		Rules: []Rule{
			{
				Name: "fast handshakes", Description: "The database is in the same zone.",
				Expression: "all(conns, .connect_ms < 50)", Outcome: Passed,
			},
			{
				Name: "nothing is refused", Expression: `none(conns, .reason == "refused")`, Outcome: Passed,
			},
		},
		Conns:   3,
		Reasons: []Count{{"finished", 2}, {"refused", 1}},
	}
}

// refused is a connection with all there is to know of one.
func refused() Conn {
	return Conn{
		Sock: "1f", PID: 17205, Comm: "curl", Local: "192.168.122.166:41538", Remote: "[2001:db8::1]:5432",
		Role: "client", Reason: "refused", Timeline: []string{
			"00:00:00.001 CLOSE    -> SYN_SENT  -",
			"00:00:00.073 SYN_SENT -> CLOSE     72.100 ms, refused",
		},
	}
}

// broken is the run with a rule that two connections break.
func broken() *Report {
	r := smoke()
	r.Outcome = RuleFailed
	rule := &r.Rules[1]
	rule.Outcome, rule.More = RuleFailed, 12
	rule.Why = []string{"14 of 20 connections break it", "the first was refused after 72.1 ms"}
	rule.Conns = []Conn{refused(), {Local: "127.0.0.1:1"}}
	return r
}

// hostile is a run whose texts attack readers, with two rules of one name.
func hostile() *Report {
	const attack = "]]></failure><testcase/>\x1b[2J\x00\xff\ufffe\u202e::error::\r\n::warning title=a,b:c::100%0A\n\"'&<"
	r := broken()
	r.Name, r.Host, r.Why, r.Outcome = "a\nb, "+attack, attack, attack, CommandFailed
	r.Command = &Command{Args: []string{"sh", "-c", attack}, Exit: 3}
	rule := Rule{
		Name: attack, Description: attack, Expression: attack, Outcome: RuleFailed, Why: []string{attack, attack},
		Conns: []Conn{{
			Sock: attack, PID: 1, Comm: attack, Local: attack, Remote: attack, Role: attack, Reason: attack,
			Timeline: []string{attack},
		}},
	}
	r.Rules = []Rule{rule, rule, {Name: " \n", Outcome: Passed}}
	r.Reasons = []Count{{attack, 3}}
	return r
}

// scenes are what the goldens show.
func scenes() map[string]*Report {
	signal := smoke()
	signal.Outcome, signal.Command.Exit, signal.Command.Signal = CommandFailed, -1, "SIGSEGV"

	failed := broken()
	failed.Outcome, failed.Why, failed.Command.Exit = CommandFailed, "./smoke.sh exited with 7", 7

	timedOut := smoke()
	timedOut.Outcome, timedOut.Why = TimedOut, "./smoke.sh was still running after 10s"
	timedOut.Command.Exit, timedOut.Command.Signal = -1, "SIGTERM"
	timedOut.Rules[0].Outcome, timedOut.Rules[1].Outcome = Inconclusive, Inconclusive

	lost := broken()
	lost.Outcome, lost.Why = Inconclusive, "23 events were lost, so that no rule can be judged: --buffer 64M makes more room"

	replayed := smoke()
	replayed.Name, replayed.Host, replayed.Setup, replayed.Command = "tcpstates replay nightly.rec", "", 0, nil

	return map[string]*Report{
		"passed": smoke(), "rule-failed": broken(), "command-failed": failed, "signal": signal, "timed-out": timedOut,
		"inconclusive": lost, "replayed": replayed, "hostile": hostile(), "empty": {},
	}
}

// writers are the formats by the endings of their goldens.
var writers = map[string]func(io.Writer, *Report) error{"xml": JUnit, "json": JSON, "github": GitHub}

// render writes a report.
func render(t testing.TB, write func(io.Writer, *Report) error, r *Report) string {
	t.Helper()
	var out bytes.Buffer
	if err := write(&out, r); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestGoldens(t *testing.T) {
	for name, r := range scenes() {
		for ending, write := range writers {
			golden.Check(t, filepath.Join("../../testdata/golden/report", name+"."+ending), render(t, write, r))
		}
	}
}

// printed fails where text holds what acts on a terminal.
func printed(t testing.TB, text string) {
	t.Helper()
	for _, r := range text {
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 || r == 0x202e || r == 0xfffe {
			t.Errorf("the character %q in %q", r, text)
		}
	}
}

func TestNothingRawGetsOut(t *testing.T) {
	for _, write := range writers {
		printed(t, render(t, write, hostile()))
	}
}

// TestWhatFailedIsNoPass goes through all outcomes of a run, with and without a command
// and rules: each format shows at least one thing that has not passed, unless all has.
func TestWhatFailedIsNoPass(t *testing.T) {
	for outcome := range Outcome(len(outcomeNames)) {
		for _, command := range []*Command{nil, {}, {Exit: 1}, {Exit: -1, Signal: "SIGKILL"}} {
			for _, rules := range [][]Rule{nil, {{Name: "a", Outcome: Passed}}, {{Name: "a", Outcome: RuleFailed}}} {
				r := &Report{Name: "run", Outcome: outcome, Command: command, Rules: rules}
				commandFailed := outcome == CommandFailed || command != nil && command.Exit != 0
				if outcome == CommandFailed && command == nil || outcome == RuleFailed && (rules == nil || rules[0].Outcome == Passed) {
					continue // there is no such run
				}
				want := outcome != Passed || commandFailed || rules != nil && rules[0].Outcome == RuleFailed
				about := fmt.Sprintf("%v, command %v, rules %v", outcome, command, rules)
				if suite := parse(t, render(t, JUnit, r)); want != (suite.Failures+suite.Errors > 0) {
					t.Errorf("%s: %d failures, %d errors", about, suite.Failures, suite.Errors)
				}
				if annotations := render(t, GitHub, r); want != (annotations != "") {
					t.Errorf("%s: the annotations are %q", about, annotations)
				}
			}
		}
	}
}

func TestInconclusiveIsNeverAPass(t *testing.T) {
	r := smoke()
	r.Outcome, r.Why = Inconclusive, "23 events were lost"
	for _, c := range parse(t, render(t, JUnit, r)).Cases[1:] {
		if c.Error == nil || !strings.Contains(c.Error.Text, r.Why) {
			t.Errorf("%s: %+v", c.Name, c)
		}
	}
	if text := render(t, JSON, r); strings.Contains(text, "passed") || strings.Count(text, `"outcome": "inconclusive"`) != 3 {
		t.Error(text)
	}
}

// failing is a full disk.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestWriteErrorsAreTold(t *testing.T) {
	for ending, write := range writers {
		if err := write(failing{}, broken()); !errors.Is(err, io.ErrShortWrite) || !strings.HasPrefix(err.Error(), "write the ") {
			t.Errorf("%s: got %v", ending, err)
		}
	}
}
