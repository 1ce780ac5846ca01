package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tcpstates/internal/kerneltest"
)

// TestExecExitCodes: the command's own when it fails, and the answer's when it does not.
func TestExecExitCodes(t *testing.T) {
	ns := kerneltest.NewNetns(t)
	url := "http://" + greeter(t, ns) + "/"
	curl := []string{"curl", "-s", "-o", "/dev/null", url}
	script := filepath.Join(t.TempDir(), "no-format")
	if err := os.WriteFile(script, []byte("\x00no program"), 0o755); err != nil {
		t.Fatal(err)
	}
	const noneSeen = "no connection was seen"
	for _, test := range []struct {
		flags, argv []string
		code        int
		said        string
	}{
		{nil, []string{"sh", "-c", "exit 7"}, 7, "tcpstates: exec: the command has exited with 7\n"},
		{nil, []string{"sh", "-c", "kill -KILL $$"}, 128 + 9, "tcpstates: exec: the command was killed by SIGKILL\n"},
		{[]string{"--expect", "all(conns, .established && .connect_ms < 60000)"}, curl, 0, "ok      all(conns"},
		{[]string{"--expect", "none(conns, .established)"}, curl, exitRuleFailed, "tcpstates: 1 of 1 rules failed\n"},
		{[]string{"--expect", "any(conns, .established)"}, []string{"true"}, exitRuleFailed, noneSeen},
		{[]string{"--expect", "all(conns, .established)", "-D", "1"}, curl, exitRuleFailed, "--rport 1"},
		// What the command says counts for more.
		{[]string{"--expect", "any(conns, .established)"}, []string{"sh", "-c", "exit 3"}, 3, "FAILED"},
		{[]string{"--timeout", "100ms"}, []string{"sleep", "60"}, exitTimedOut, "tcpstates: exec: the command still ran after 100ms, and was ended: see --timeout\n"},
		// Also where it is another user's by then.
		{[]string{"--timeout", "300ms"}, []string{"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "sleep", "60"}, exitTimedOut, "was ended: see --timeout"},
		// An output that takes nothing spoils no answer.
		{[]string{"--file", "/dev/full", "--expect", "any(conns, .established)"}, []string{"true"}, exitRuleFailed, noneSeen},
		{[]string{"--timeout", "300ms"}, []string{"sh", "-c", "sleep 60 >/dev/null 2>&1 </dev/null &"}, 0, "summary: "},
		{nil, []string{script}, exitNotExecutable, "tcpstates: exec " + script + ": it cannot be executed: exec format error: nothing was traced\n"},
	} {
		e := execIn(t, ns, test.flags, test.argv...)
		if e.code != test.code || !strings.Contains(e.stderr, test.said) {
			t.Errorf("%v %v: exit code %d, want %d, and %q:\n%s", test.flags, test.argv, e.code, test.code, test.said, e.stderr)
		}
	}
}

func TestExecOfWhatIsNoCommand(t *testing.T) {
	for name, test := range map[string]struct {
		code int
		said string
	}{
		"no-such-command": {exitNotFound, "tcpstates: exec no-such-command: there is no such command: nothing was traced\n"},
		"/no/such":        {exitNotFound, "tcpstates: exec /no/such: there is no such command: nothing was traced\n"},
		"/etc/passwd":     {exitNotExecutable, "tcpstates: exec /etc/passwd: it cannot be executed: permission denied: nothing was traced\n"},
		"/etc":            {exitNotExecutable, "tcpstates: exec /etc: it cannot be executed: is a directory: nothing was traced\n"},
	} {
		// What an older run has answered is not this one's.
		junit := filepath.Join(t.TempDir(), "junit.xml")
		if err := os.WriteFile(junit, []byte("<older/>"), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := command(t, "exec", "--junit", junit, "--", name).CombinedOutput()
		if exit, _ := err.(*exec.ExitError); exit == nil || exit.ExitCode() != test.code || string(out) != test.said {
			t.Errorf("%s: %v: %s", name, err, out)
		}
		if text, err := os.ReadFile(junit); err != nil || !bytes.Contains(text, []byte("<error")) || bytes.Contains(text, []byte("older")) {
			t.Errorf("%s: %v: %s", name, err, text)
		}
	}
}

// TestExecOfAScript runs what has no #! line, and what PATH finds in the directory that
// it is in.
func TestExecOfAScript(t *testing.T) {
	kerneltest.Require(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "script"), []byte("echo $1; exit 7\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"./script", "script"} {
		cmd := command(t, "exec", "--file", os.DevNull, "--", name, "said")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH=.:"+os.Getenv("PATH"))
		out, err := cmd.Output()
		if exit, _ := err.(*exec.ExitError); exit == nil || exit.ExitCode() != 7 || string(out) != "said\n" {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
}

// TestExecPassesSignalsOn sends signals to exec, which has no terminal, so that the
// command gets them from exec alone.
func TestExecPassesSignalsOn(t *testing.T) {
	for _, s := range passedOn {
		number := s.(syscall.Signal)
		// A minute is the end of a command that the signal does not reach.
		script := "trap 'echo caught; exit 5' " + strconv.Itoa(int(number)) + "; echo ready; for i in $(seq 6000); do sleep 0.01; done"
		cmd := command(t, "exec", "--", "sh", "-c", script)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		var said bytes.Buffer
		cmd.Stderr = &said
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(out)
		if first, err := lines.ReadString('\n'); first != "ready\n" {
			t.Fatalf("%s: the command says %q, %v", s, first, err)
		}
		if err := cmd.Process.Signal(s); err != nil {
			t.Error(err)
		}
		second, _ := lines.ReadString('\n')
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); second != "caught\n" || code != 5 || !strings.Contains(said.String(), "has exited with 5") {
			t.Errorf("%s: the command says %q, and exec exits with %d: %s", s, second, code, &said)
		}
	}
}

// TestExecThatLosesEvents has a buffer that is too small for what the command does.
func TestExecThatLosesEvents(t *testing.T) {
	ns := kerneltest.NewNetns(t)
	t.Setenv(serverName, "300")
	junit := filepath.Join(t.TempDir(), "junit.xml")
	e := execIn(t, ns, []string{"--buffer", "4K", "--expect", "len(conns) >= 0", "--expect", "false", "--junit", junit}, "/proc/"+strconv.Itoa(os.Getpid())+"/exe")
	if e.code != exitInconclusive || !strings.Contains(e.stderr, "UNKNOWN len(conns) >= 0\n") || strings.Contains(e.stderr, "\nok") ||
		!strings.Contains(e.stderr, "tcpstates: inconclusive: the rules cannot be judged, as ") || !strings.Contains(e.stderr, "events were lost in the buffer") {
		t.Errorf("exit code %d: %s", e.code, e.stderr)
	}
	written, err := os.ReadFile(junit)
	if err != nil || bytes.Count(written, []byte("<error")) != 3 || !bytes.Contains(written, []byte(`tests="4"`)) {
		t.Errorf("%v: the report is %s", err, written)
	}
}

// TestExecOutlivesItsOutput has nobody read the timeline: the command runs to its end.
func TestExecOutlivesItsOutput(t *testing.T) {
	ns := kerneltest.NewNetns(t)
	url := "http://" + greeter(t, ns) + "/"
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	reader.Close()
	cmd := command(t, "exec", "--expect", "len(clients) == 3", "--", "sh", "-c", "for i in 1 2 3; do curl -s "+url+"; done; exit 4")
	cmd.Stderr = writer
	var out []byte
	ns.Do(t, func() { out, err = cmd.Output() })
	writer.Close()
	if cmd.ProcessState.ExitCode() != 4 || string(out) != "hellohellohello" {
		t.Errorf("%v: the command says %q", err, out)
	}
}

// TestExecThatCannotSayWhatItBegins has nobody read what is said before the command is run:
// a signal ends it.
func TestExecThatCannotSayWhatItBegins(t *testing.T) {
	kerneltest.Require(t)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	fd := int(writer.Fd())
	if err := syscall.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	for err == nil { // until it is full
		_, err = syscall.Write(fd, make([]byte, 4096))
	}
	if err := syscall.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
	cmd := command(t, "exec", "--", "true")
	cmd.Stderr = writer
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	for tasks := fmt.Sprintf("/proc/%d/task/*/wchan", cmd.Process.Pid); !anyHas(tasks, "pipe_write"); runtime.Gosched() {
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != exitFailed {
		t.Errorf("got %v, want exit code %d", err, exitFailed)
	}
}

// anyHas tells whether one of the files has the text.
func anyHas(pattern, text string) bool {
	paths, err := filepath.Glob(pattern)
	return err == nil && slices.ContainsFunc(paths, func(path string) bool {
		content, err := os.ReadFile(path)
		return err == nil && bytes.Contains(content, []byte(text))
	})
}

// TestExecInAContainer has the command be its own child, in a container that has nothing
// else: doctor makes a connection.
func TestExecInAContainer(t *testing.T) {
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	inside := "/" + filepath.Base(path)
	cmd := command(t, "exec", "--pidns", "-o", "json", "--json", "-", "--expect", "any(clients, .established)", "--expect", "all(conns, .pid > 1 && .comm == 'tcpstates')",
		"--", inside, "doctor", "--json")
	kerneltest.Sandbox(cmd, kerneltest.Container)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		t.Errorf("%v: %s%s", err, &out, &said)
	}
	var doctor struct{ Works bool }
	var answer struct{ Outcome string }
	decoder := json.NewDecoder(&out)
	if err := decoder.Decode(&doctor); err != nil || !doctor.Works {
		t.Errorf("the command says that it works: %t, %v", doctor.Works, err)
	}
	if err := decoder.Decode(&answer); err != nil || answer.Outcome != "passed" {
		t.Errorf("the answer is %q, %v", answer.Outcome, err)
	}
}

// TestExecKeepsARecordingOfAFailure, and of nothing else.
func TestExecKeepsARecordingOfAFailure(t *testing.T) {
	ns := kerneltest.NewNetns(t)
	url := "http://" + greeter(t, ns) + "/"
	file := filepath.Join(t.TempDir(), "kept.rec")
	e := execIn(t, ns, []string{"--record-on-failure", file, "--expect", "all(conns, .established)"}, "curl", "-s", url)
	if _, err := os.Stat(file); e.code != 0 || !os.IsNotExist(err) {
		t.Errorf("exit code %d, and the recording of it: %v: %s", e.code, err, e.stderr)
	}
	e = execIn(t, ns, []string{"--record-on-failure", file, "--expect", "none(conns, .established)"}, "curl", "-s", url)
	if e.code != exitRuleFailed {
		t.Errorf("exit code %d: %s", e.code, e.stderr)
	}
	// At the desk the same rule fails, of the same connection alone.
	out, err := command(t, "replay", file, "-o", "csv", "--expect", "len(conns) == 1", "--expect", "none(conns, .established)").CombinedOutput()
	exit, _ := err.(*exec.ExitError)
	if exit == nil || exit.ExitCode() != exitRuleFailed || !strings.Contains(string(out), "\nok      len(conns) == 1\n") {
		t.Errorf("the replay: %v: %s", err, out)
	}
}

// TestExecAwaitsWhatIsNotShownYet has the server close half a second after the command
// has ended: what the filters hold, or leave out, is waited for like everything else, and
// what has closed already is not.
func TestExecAwaitsWhatIsNotShownYet(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	var late, prompt string
	ns.Do(t, func() { late, prompt = closer(t, 500*time.Millisecond), closer(t, 0) })
	const linger = 2 * time.Minute
	for _, test := range []struct {
		address string
		flags   []string
	}{
		{late, nil},
		{late, []string{"--reason", "finished"}},
		{late, []string{"--where", `newstate == "TIME_WAIT"`}},
		{late, []string{"--transition", "FIN_WAIT2>TIME_WAIT"}},
		{late, []string{"--state", "time-wait"}},
		{prompt, []string{"--where", `newstate == "ESTABLISHED"`}},
	} {
		t.Run(strings.Join(test.flags, " "), func(t *testing.T) {
			flags := append([]string{"--linger", linger.String(), "--expect", "len(conns) == 1"}, test.flags...)
			began := time.Now()
			e := execIn(t, ns, flags, "bash", "-c", "exec 3<>/dev/tcp/"+strings.Replace(test.address, ":", "/", 1))
			if e.code != 0 {
				t.Errorf("exit code %d: %s", e.code, e.stderr)
			}
			if took := time.Since(began); took > linger {
				t.Errorf("it has taken %v", took)
			}
		})
	}
}

// closer closes each connection so long after its client has.
func closer(t *testing.T, delay time.Duration) (address string) {
	l := kerneltest.Listen(t, "tcp4", "127.0.0.1:0")
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, c)
			time.AfterFunc(delay, func() { c.Close() })
		}
	}()
	return l.Addr().String()
}
