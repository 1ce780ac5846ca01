package cli

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tcpstates/internal/probe"
)

// TestExpectLive judges a live trace: refused is one connection, which is refused.
func TestExpectLive(t *testing.T) {
	const holds, fails = "len(conns) == 1", "all(conns, .established)"
	for _, test := range []struct {
		f    *fake
		args []string
		code int
		said string
		kept bool // the recording of a failure
	}{
		{&fake{}, []string{"--expect", holds}, exitDone, "ok      " + holds, false},
		{&fake{}, []string{"--expect", holds, "--expect", fails}, exitRuleFailed, "tcpstates: 1 of 2 rules failed\n", true},
		{&fake{totals: probe.Totals{Lost: 3}}, []string{"--expect", holds}, exitInconclusive, "as 3 events were lost in the buffer, see --buffer\n", true},
		{&fake{totals: probe.Totals{Missed: 3}}, []string{"--expect", holds}, exitInconclusive, "as 3 events were missed by recursion\n", true},
		{&fake{totals: probe.Totals{Gaps: 1}}, []string{"--expect", holds}, exitInconclusive, "as 1 times a socket's transitions had a gap\n", true},
		{&fake{totals: probe.Totals{Unsampled: 4}}, []string{"--expect", holds}, exitInconclusive, "4 events are not in the sample", true},
		// Who knows no reasons is not asked for them.
		{&fake{less: "no facts"}, []string{"--expect", "none(conns, .failed)"}, exitCannot, "--expect asks for what fake does not tell", false},
		{&fake{less: "no facts"}, []string{"--where", "reason == 'refused'"}, exitCannot, "--where asks for what fake does not tell", false},
		// What was lost is of no concern where nothing is expected.
		{&fake{totals: probe.Totals{Lost: 3}}, nil, exitDone, "3 events lost in the buffer", false},
	} {
		f := test.f
		f.events = scenario(t, "refused")
		file := filepath.Join(t.TempDir(), "kept.rec")
		args := append([]string{"--duration", "1ms", "-o", "csv"}, test.args...)
		if len(test.args) > 0 && test.args[0] == "--expect" {
			args = append(args, "--record-on-failure", file)
		}
		code, said := runCommand(t, f, io.Discard, args...)
		if code != test.code || !strings.Contains(said, test.said) {
			t.Errorf("%v: exit code %d, want %d, and %q:\n%s", test.args, code, test.code, test.said, said)
		}
		if _, err := os.Stat(file); (err == nil) != test.kept {
			t.Errorf("%v: the recording: %v", test.args, err)
		}
		if !test.kept {
			continue
		}
		// Without what was lost it is judged the same at the desk.
		var out bytes.Buffer
		if code, said := runCommand(t, &fake{}, &out, "replay", file, "-o", "csv", "--expect", holds); code != exitDone && test.f.totals == (probe.Totals{}) {
			t.Errorf("%v: the replay: exit code %d: %s", test.args, code, said)
		}
	}
}

// TestEachErrorHasALine of its own.
func TestEachErrorHasALine(t *testing.T) {
	dir := t.TempDir()
	f := &fake{events: scenario(t, "refused")}
	code, said := runCommand(t, f, io.Discard, "--duration", "1ms", "-o", "csv", "--expect", "none(conns, .failed)",
		"--junit", "/dev/full", "--record-on-failure", filepath.Join(dir, "kept.rec"))
	for _, want := range []string{"\ntcpstates: 1 of 1 rules failed\n", "\ntcpstates: write the answer with --junit: "} {
		if code != exitRuleFailed || !strings.Contains(said, want) {
			t.Errorf("exit code %d, want %q:\n%s", code, want, said)
		}
	}
}

// TestRulesMayTakeTheirTime: that they are judged for longer than an output may be stuck
// is no reason to give up.
func TestRulesMayTakeTheirTime(t *testing.T) {
	const slow = "all(conns, count(conns, any(conns, .lport == 1)) == 0)"
	f := &fake{patience: 100 * time.Millisecond}
	for i := range 200 {
		for _, e := range scenario(t, "refused") {
			e.Cookie, e.SkAddr = uint64(i+1), uint64(i+1)
			f.events = append(f.events, e)
		}
	}
	code, said := runCommand(t, f, io.Discard, "--duration", "1ms", "-o", "csv", "--expect", slow)
	if code != exitDone || !strings.Contains(said, "ok      "+slow) {
		t.Errorf("exit code %d: %s", code, said)
	}
}

// TestRulesAreNotJudgedWhereTheTraceBreaksOff: they are neither held nor failed.
func TestRulesAreNotJudgedWhereTheTraceBreaksOff(t *testing.T) {
	junit := filepath.Join(t.TempDir(), "junit.xml")
	f := &fake{events: scenario(t, "refused"), breaks: errors.New("out of order")}
	code, said := runCommand(t, f, io.Discard, "--expect", "true", "--junit", junit)
	if code != exitInconclusive || !strings.Contains(said, "the trace broke off: out of order") || !strings.Contains(said, "UNKNOWN true\n") {
		t.Errorf("exit code %d: %s", code, said)
	}
	if text, err := os.ReadFile(junit); err != nil || !strings.Contains(string(text), "<error") {
		t.Errorf("%v: %s", err, text)
	}
}

// TestExecThatIsInterruptedBeforeItBegins runs nothing, and passes nothing.
func TestExecThatIsInterruptedBeforeItBegins(t *testing.T) {
	var out bytes.Buffer
	f := &fake{interrupted: true}
	code, said := runCommand(t, f, &out, "exec", "--expect", "true", "--", "echo", "run")
	if code != exitFailed || out.Len() > 0 || !strings.HasSuffix(said, "tcpstates: exec: ended by a signal before the command was run\n") || strings.Contains(said, "\nok") {
		t.Errorf("exit code %d: %s%s", code, &out, said)
	}
}

// TestRulesOutliveTheOutput: they are judged, whatever has become of who looks.
func TestRulesOutliveTheOutput(t *testing.T) {
	for _, test := range []struct {
		rule string
		err  error
		code int
	}{
		{"len(conns) == 1", syscall.EPIPE, exitDone}, {"len(conns) == 0", syscall.EPIPE, exitRuleFailed},
		{"len(conns) == 1", syscall.EIO, exitFailed}, {"len(conns) == 0", syscall.EIO, exitRuleFailed},
	} {
		for _, args := range [][]string{{"--duration", "10ms"}, {"replay", "../../testdata/rec/refused.rec"}} {
			code, said := runCommand(t, &fake{events: scenario(t, "refused")}, broken{test.err}, append(args, "--expect", test.rule)...)
			if code != test.code || !strings.Contains(said, test.rule) {
				t.Errorf("%v, %s, %v: exit code %d, want %d: %s", args, test.rule, test.err, code, test.code, said)
			}
		}
	}
}

// TestKeptRecordingsSpareWhatIsThere: what was no recording of this run stays.
func TestKeptRecordingsSpareWhatIsThere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	link := file + "-link"
	if err := errors.Join(os.WriteFile(file, []byte("mine"), 0o600), os.Symlink(file, link)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, link, "/dev/null"} {
		code, said := runCommand(t, &fake{events: scenario(t, "refused")}, io.Discard, "--duration", "1ms", "--expect", "true", "--record-on-failure", path)
		if code != exitDone {
			t.Errorf("%s: exit code %d: %s", path, code, said)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Error(err)
		}
	}
	if text, err := os.ReadFile(file); string(text) != "mine" {
		t.Errorf("the file has %q, %v", text, err)
	}
	// But what fails is kept in its place.
	runCommand(t, &fake{events: scenario(t, "refused")}, io.Discard, "--duration", "1ms", "--expect", "false", "--record-on-failure", link)
	if code, said := runCommand(t, &fake{}, io.Discard, "replay", file); code != exitDone {
		t.Errorf("the recording: %s", said)
	}
}
