package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpstates/internal/event"
	"tcpstates/internal/record"
)

// soonBroken is an output that takes some writes, and then nothing.
type soonBroken struct {
	broken
	takes int
}

func (b *soonBroken) Write(p []byte) (int, error) {
	if b.takes--; b.takes >= 0 {
		return len(p), nil
	}
	return b.broken.Write(p)
}

// TestRecordingOutlivesTheOutput: what was recorded is whole, whatever has become of
// who looked at it.
func TestRecordingOutlivesTheOutput(t *testing.T) {
	for _, test := range []struct {
		ring []string
		err  error
		code int
	}{
		{nil, syscall.EPIPE, exitDone}, {[]string{"--ring", "1M"}, syscall.EPIPE, exitDone}, {nil, syscall.EIO, exitFailed},
	} {
		file := filepath.Join(t.TempDir(), "file")
		f := &fake{events: scenario(t, "refused")}
		args := append([]string{"record", file, "-o", "csv"}, test.ring...)
		if code, said := runCommand(t, f, &soonBroken{broken{test.err}, 1}, args...); code != test.code {
			t.Errorf("%v: exit code %d: %s", args, code, said)
		}
		var out bytes.Buffer
		if code, said := runCommand(t, &fake{}, &out, "replay", file); code != exitDone || !strings.Contains(out.String(), "SYN_SENT") {
			t.Errorf("%v: %v: the replay shows %q and says %s", args, test.err, &out, said)
		}
		if code, said := runCommand(t, &fake{}, broken{test.err}, args...); code != test.code {
			t.Errorf("%v: exit code %d: %s", args, code, said)
		}
		if code, said := runCommand(t, &fake{}, io.Discard, "replay", file); code != exitDone {
			t.Errorf("%v: %v: the replay of nothing says %s", args, test.err, said)
		}
	}
}

// TestRecordToAPipe gives what was recorded at once, and a ring at the end.
func TestRecordToAPipe(t *testing.T) {
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer out.Close()
	if err := in.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil { // rather than for ever
		t.Fatal(err)
	}
	events := scenario(t, "refused")
	want := len(events)
	f := &fake{events: events, reading: func(left int) {
		if left > 0 {
			return
		}
		r, err := record.Open(in)
		for range want {
			if err == nil {
				err = r.Read(new(event.Event))
			}
		}
		if err != nil {
			t.Errorf("before the trace has ended: %v", err)
		}
	}}
	if code, said := runCommand(t, f, out, "record", "-", "--duration", "30ms"); code != exitDone || !strings.Contains(said, "the recording has ") {
		t.Errorf("exit code %d: %s", code, said)
	}
	if code, said := runCommand(t, &fake{events: events}, out, "record", "-", "--ring", "1M", "--duration", "30ms"); code != exitDone {
		t.Errorf("--ring: exit code %d: %s", code, said)
	}
}

func TestRecordTellsOfMore(t *testing.T) {
	for args, want := range map[string]string{
		"--comm x":                      "the recording has more than --comm chooses: give it to replay, too\n",
		"--role client --comm !x -L 80": "the recording has more than --comm and --role choose: give them to replay, too\n",
		"-L 80":                         "",
	} {
		_, _, said := recordedBy(t, &fake{}, append(strings.Fields(args), "--duration", "30ms")...)
		if !strings.Contains(said, want) || want == "" && strings.Contains(said, "has more than") {
			t.Errorf("%s: it says %q, want %q", args, said, want)
		}
	}
}

// TestReplayOfAPipeThatStaysOpen ends when it has shown as much as is wanted.
func TestReplayOfAPipeThatStaysOpen(t *testing.T) {
	file, _, _ := recordedBy(t, &fake{events: scenario(t, "refused")}, "--duration", "30ms")
	recording, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	both, err := os.OpenFile(pipe, os.O_RDWR, 0) // opens at once
	if err != nil {
		t.Fatal(err)
	}
	defer both.Close()
	if _, err := both.Write(recording[:len(recording)-1]); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if code, said := runCommand(t, &fake{}, &out, "replay", pipe, "-n", "1"); code != exitDone || !strings.Contains(out.String(), "LISTEN") {
		t.Errorf("exit code %d: %s%s", code, said, &out)
	}
}

func TestInterruptible(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	silent, writer := io.Pipe()
	defer writer.Close()
	in := interruptible(ctx, silent)
	cancel()
	if n, err := in.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// TestTimesOfWhatNobodyDates: where a recording does not say when it began, it began
// with its first event.
func TestTimesOfWhatNobodyDates(t *testing.T) {
	inUTC(t)
	var text []byte
	for i, s := range []event.State{event.Listen, event.Close} {
		after := time.Duration(i) * 2 * time.Second
		e := event.Event{
			Kind: event.KindTransition, Ktime: uint64(time.Hour + after), Wall: int64(1e18) + int64(after), Cookie: 9, // 01:46:40
			OldState: event.Close, NewState: s,
		}
		text = record.Append(text, &e)
	}
	for start, shown := range map[string]int{
		"":                                       1,
		`{"lasts":1500000000}`:                   2, // it ended a little later
		`{"lasts":1600000000}`:                   1,
		`{"wall":1000000000000000000,"lasts":1}`: 2,
	} {
		file := filepath.Join(t.TempDir(), "file")
		content := string(text)
		if start != "" {
			content = "start " + start + "\n" + content + "stop {}\n"
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(replayOf(t, "replay", "--duration", "1500ms", "-o", "csv", file), "transition"); got != shown {
			t.Errorf("%s: %d are shown, want %d", start, got, shown)
		}
		for _, at := range []string{"+1s", "01:46:41"} {
			if got := replayOf(t, "list", "--from", file, "--at", at); !strings.Contains(got, "LISTEN") {
				t.Errorf("%s: --at %s: %s", start, at, got)
			}
		}
	}
}

// TestOlderSocketsChangeNothing: a live trace has them for its recording alone.
func TestOlderSocketsChangeNothing(t *testing.T) {
	lines := "transition ktime=1000000000 wall=1000000000 old=CLOSE new=SYN_SENT cookie=3\n" +
		"%stransition ktime=2000000000 wall=2000000000 old=SYN_SENT new=CLOSE cookie=3\n" +
		"tick ktime=9000000000 wall=9000000000\n"
	socket := "socket ktime=3000000000 wall=3000000000 old=LISTEN new=LISTEN cookie=4 path=\"/a\" source=6 pid=3\n"
	var said [2]string
	for i, older := range []string{"", socket} {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, []byte(strings.Replace(lines, "%s", older, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		_, told := runCommand(t, &fake{}, &out, "replay", "--every", "1500ms", file)
		said[i] = out.String() + strings.ReplaceAll(told, file, "")
	}
	if said[0] != said[1] {
		t.Errorf("with them it shows\n%s\nwithout\n%s", said[1], said[0])
	}
}
