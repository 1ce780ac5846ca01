package cli

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"tcpstates/internal/event"
	"tcpstates/internal/golden"
	"tcpstates/internal/output"
	"tcpstates/internal/probe"
	"tcpstates/internal/record"
)

// recordings are the texts of the scenarios.
func recordings(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("../../testdata/rec/*.rec")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d recordings, %v", len(files), err)
	}
	return files
}

// replayOf runs the command on recordings, and wants it to succeed.
func replayOf(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	if code, said := runCommand(t, &fake{}, &out, args...); code != exitDone {
		t.Fatalf("%v: exit code %d: %s", args, code, said)
	}
	return out.String()
}

// inUTC has times of day as they are in Greenwich.
func inUTC(t *testing.T) {
	here := time.Local
	time.Local = time.UTC
	t.Cleanup(func() { time.Local = here })
}

// TestEveryRecordingInEveryFormat compares with goldens, a file a format.
func TestEveryRecordingInEveryFormat(t *testing.T) {
	inUTC(t)
	for _, format := range output.Formats {
		for _, command := range []string{"replay", "conns"} {
			if command == "conns" && !format.HasAll {
				continue
			}
			var all strings.Builder
			for _, file := range recordings(t) {
				args := []string{command, "-o", format.Name}
				if command == "conns" {
					args = append(args, "--from")
				}
				fmt.Fprintf(&all, "== %s\n%s", filepath.Base(file), replayOf(t, append(args, file)...))
			}
			golden.Check(t, fmt.Sprintf("../../testdata/golden/rec/%s-%s.txt", command, format.Name), all.String())
		}
	}
}

// TestEveryRecordingInBlocks compares with a golden.
func TestEveryRecordingInBlocks(t *testing.T) {
	inUTC(t)
	var all strings.Builder
	for _, file := range recordings(t) {
		fmt.Fprintf(&all, "== %s\n%s\n", filepath.Base(file), replayOf(t, "replay", "--group", file))
	}
	golden.Check(t, "../../testdata/golden/rec/replay-group.txt", all.String())
}

// TestBlocksCountTransitions: the ends of connections are shown, and do not count.
func TestBlocksCountTransitions(t *testing.T) {
	file, live, said := recordedBy(t, &fake{events: scenario(t, "active-close")}, "--group", "--duration", "30ms")
	if want := "tcpstates: 12 transitions shown, "; strings.Count(live, "\n\n") != 3 || !strings.Contains(said, want) {
		t.Errorf("live:\n%s%s", live, said)
	}
	for _, test := range []struct {
		count        string
		shown, ended int
	}{{"12", 12, 3}, {"11", 11, 3}, {"5", 5, 0}} {
		var out bytes.Buffer
		code, said := runCommand(t, &fake{}, &out, "replay", "--group", "-n", test.count, file)
		if code != exitDone || !strings.Contains(said, fmt.Sprintf("tcpstates: %d transitions shown, ", test.shown)) ||
			strings.Count(out.String(), "\n\n") != 3 || strings.Count(out.String(), " closed first\n")+strings.Count(out.String(), "not ended") < test.ended {
			t.Errorf("-n %s: exit code %d\n%s%s", test.count, code, &out, said)
		}
	}
}

// TestFormsReplayAlike converts each recording to each form and back, and replays
// all of them.
func TestFormsReplayAlike(t *testing.T) {
	for _, file := range recordings(t) {
		original, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want := replayOf(t, "replay", "-o", "json", file)
		for _, form := range record.Forms {
			there := filepath.Join(t.TempDir(), "there")
			replayOf(t, "convert", "--to", form.Name, file, there)
			if got := eventsOf(replayOf(t, "replay", "-o", "json", there)); got != eventsOf(want) {
				t.Errorf("%s as %s: %s\nwant %s", file, form.Name, got, want)
			}
			var events []string
			for line := range strings.Lines(replayOf(t, "convert", there)) {
				if !strings.HasPrefix(line, "start ") && !strings.HasPrefix(line, "stop ") {
					events = append(events, line)
				}
			}
			if back := strings.Join(events, ""); back != string(original) {
				t.Errorf("%s as %s and back: %s", file, form.Name, back)
			}
		}
	}
}

// eventsOf leaves out the records of how a trace began and ended, of which what a
// person wrote has none.
func eventsOf(json string) string {
	lines := strings.SplitAfter(json, "\n")
	return strings.Join(lines[1:len(lines)-2], "")
}

// recordedBy has the command record what a fake kernel tells.
func recordedBy(t *testing.T, f *fake, args ...string) (file, live, said string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "file")
	var out bytes.Buffer
	code, said := runCommand(t, f, &out, append([]string{"record", file}, args...)...)
	if code != exitDone {
		t.Fatalf("exit code %d: %s", code, said)
	}
	return file, out.String(), said
}

// scenario are the events of a text recording.
func scenario(t testing.TB, name string) []event.Event {
	t.Helper()
	text, err := os.ReadFile("../../testdata/rec/" + name + ".rec")
	if err != nil {
		t.Fatal(err)
	}
	events, err := record.Read(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// TestReplayIsAsLive records every scenario while it is shown, and replays it with
// the same flags.
func TestReplayIsAsLive(t *testing.T) {
	for _, flags := range []string{
		"-o table", "-o wide", "-o csv -t", "-o json", "-o bcc -T", "-o json --raw", "-o json -n 3", "-o table --summary",
		"--group", "--group -n 3", "--group -w --role client",
	} {
		for _, file := range recordings(t) {
			name := strings.TrimSuffix(filepath.Base(file), ".rec")
			f := &fake{events: scenario(t, name), totals: probe.Totals{Lost: 1, Missed: 2, Gaps: 3}}
			file, live, said := recordedBy(t, f, append(strings.Fields(flags), "--duration", "30ms")...)
			var out bytes.Buffer
			code, saidOfReplay := runCommand(t, &fake{}, &out, append([]string{"replay", file}, strings.Fields(flags)...)...)
			if code != exitDone || out.String() != live {
				t.Errorf("%s %s: exit code %d, replayed\n%s\nlive\n%s", name, flags, code, &out, live)
			}
			// What is said ends with the same account, but for the lines about the file.
			var account []string
			for line := range strings.Lines(said) {
				if !strings.Contains(line, "the recording has more") {
					account = append(account, line)
				}
			}
			account = append(account, "")
			if want := strings.Join(account[:len(account)-2], ""); !strings.HasSuffix(saidOfReplay, want) || !strings.Contains(want, " 1 events lost") {
				t.Errorf("%s %s: replay says %q, live %q", name, flags, saidOfReplay, said)
			}
		}
	}
}

func TestReplayTellsWhatIsMissing(t *testing.T) {
	file, _, _ := recordedBy(t, &fake{events: scenario(t, "refused")}, "--duration", "30ms")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	change := func(at int, by byte) []byte {
		changed := bytes.Clone(whole)
		changed[at] += by
		return changed
	}
	newer := change(8, 1)
	checksum := crc32.Checksum(newer[:12], crc32.MakeTable(crc32.Castagnoli))
	for i := range 4 {
		newer[12+i] = byte(checksum >> (8 * i))
	}
	for _, test := range []struct {
		name    string
		content []byte
		said    string
	}{
		{"cut", whole[:len(whole)-1], "is not complete: it is cut off: it ends before the trace did"},
		{"damaged", change(len(whole)-200, 1), "is not complete: 1 damaged blocks were left out"},
		{"newer", newer, "it is of version 4, and this tcpstates reads up to 3: read it with a newer one"},
		{"another file", []byte("#!/bin/sh\necho hello\n"), `it is no recording: line 2: "echo" is no kind of event`},
		{"empty", nil, "it is no recording: it is empty"},
		{"no beginning", change(13, 1), "its first bytes are damaged or cut off"},
		{"wrong line", []byte("lost lost=1\nlost lost=many\n"), "line 2: the field lost: "},
	} {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, test.content, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"replay", path}, {"conns", "--from", path}, {"list", "--from", path}, {"convert", path}} {
			code, said := runCommand(t, &fake{}, io.Discard, args...)
			if code != exitFailed || !strings.Contains(said, test.said) || !strings.Contains(said, path) {
				t.Errorf("%s, %v: exit code %d, %q, want %q", test.name, args, code, said, test.said)
			}
		}
	}
	for path, want := range map[string]string{
		filepath.Join(t.TempDir(), "none"): "no such file or directory",
		t.TempDir():                        "is a directory",
	} {
		if code, said := runCommand(t, &fake{}, io.Discard, "replay", path); code != exitFailed || !strings.Contains(said, want) {
			t.Errorf("%s: exit code %d, %q, want %q", path, code, said, want)
		}
	}
}

// many are connections that end in order, one after the other, and one that is
// refused.
func many(t *testing.T, orderly int) (events []event.Event) {
	t.Helper()
	add := func(name string, number int) {
		for _, e := range scenario(t, name) {
			e.Ktime += uint64(number) * uint64(time.Second)
			if e.Since != 0 {
				e.Since += uint64(number) * uint64(time.Second)
			}
			e.Wall = int64(e.Ktime)
			e.Cookie += uint64(100 * number)
			events = append(events, e)
		}
	}
	for i := range orderly {
		add("active-close", i)
	}
	add("refused", orderly)
	return append(events, event.Event{Kind: event.KindTick, Ktime: uint64(orderly+10) * uint64(time.Second), Wall: int64(orderly+10) * int64(time.Second)})
}

func TestRingKeepsTheNewest(t *testing.T) {
	events := many(t, 30_000)
	file, _, said := recordedBy(t, &fake{events: events}, "--ring", "1M", "--duration", "2s")
	info, err := os.Stat(file)
	if err != nil || info.Size() > 1<<20+1000 || info.Size() < 1<<19 {
		t.Fatalf("%v, %d bytes: %s", err, info.Size(), said)
	}
	if !strings.Contains(said, "older ones had no room, see --ring") {
		t.Errorf("it says %q", said)
	}
	var out bytes.Buffer
	code, said := runCommand(t, &fake{}, &out, "replay", file)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if last := lines[len(lines)-1]; code != exitDone || !strings.Contains(last, "refused") {
		t.Errorf("exit code %d, the last line is %q", code, last)
	}
	if !strings.Contains(said, "older events are not in it: it was recorded with --ring") {
		t.Errorf("the replay says %q", said)
	}
}

func TestSnapshotOnFailure(t *testing.T) {
	for _, test := range []struct {
		events []event.Event
		said   string
		code   int
		shown  string
	}{
		{many(t, 2), "has", exitDone, "refused"},
		{scenario(t, "active-close"), "no connection has ended badly", exitFailed, ""},
	} {
		file, _, said := recordedBy(t, &fake{events: test.events}, "--ring", "1M", "--snapshot-on-failure", "--duration", "30ms")
		if !strings.Contains(said, test.said) {
			t.Errorf("it says %q, want %q", said, test.said)
		}
		var out bytes.Buffer
		code, said := runCommand(t, &fake{}, &out, "replay", file)
		if code != test.code || !strings.Contains(out.String(), test.shown) {
			t.Errorf("exit code %d, want %d: %s\n%s", code, test.code, said, &out)
		}
		if wantEarly := test.code == exitDone; strings.Contains(said, "and the trace went on") != wantEarly {
			t.Errorf("the replay says %q", said)
		}
	}
}

// TestASnapshotThatFindsNoRoom leaves the ring in memory, and the trace goes on.
func TestASnapshotThatFindsNoRoom(t *testing.T) {
	var out bytes.Buffer
	code, said := runCommand(t, &fake{events: many(t, 2)}, &out,
		"record", "/dev/full", "--ring", "1M", "--snapshot-on-failure", "--duration", "30ms", "-o", "csv")
	if !strings.Contains(said, "no space left on device: what is in memory is kept, and written when there is room\n") ||
		code != exitFailed { // at the end it is no more tried again
		t.Errorf("exit code %d: %s", code, said)
	}
	if !strings.Contains(out.String(), "refused") {
		t.Errorf("the trace shows\n%s", &out)
	}
}

func TestRecordRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/f", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"record":                         "takes one FILE, and 0 are given",
		"record a b":                     "takes one FILE, and 2 are given",
		"replay":                         "takes one FILE",
		"record f --snapshot-on-failure": "--snapshot-on-failure without --ring",
		"record f --ring 1M --snapshot-on-failure --raw": "--snapshot-on-failure with what the tracepoint says alone",
		"record - -o json":           "stdout takes the recording alone",
		"record f --ring 1K":         "it takes a size from 1M on",
		"replay f --buffer 1M":       "unknown flag: --buffer",
		"--from f --buffer 1M":       "--buffer with --from",
		"conns --from f --drop-to 1": "--drop-to with --from",
		"list --at 12:00":            "--at without --from",
		"list --from f -u":           "-u and --pidns with --from",
		"convert":                    "takes one file to read",
		"convert --to xml f":         `--to "xml": there is no such form: it takes recording, text or json`,
		"convert " + dir + "/f " + dir + "/../" + filepath.Base(dir) + "/f": "to itself",
	} {
		code, said := runCommand(t, &fake{}, io.Discard, strings.Fields(args)...)
		if code != exitUsage || !strings.Contains(said, want) {
			t.Errorf("%s: exit code %d, %q, want %q", args, code, said, want)
		}
	}
	if code, said := runCommand(t, &fake{}, io.Discard, "convert", recordings(t)[0], dir+"/no/file"); code != exitFailed ||
		said != "tcpstates: write the recording: open "+dir+"/no/file: no such file or directory\n" {
		t.Errorf("exit code %d, %q", code, said)
	}
	if code, said := runCommand(t, &fake{}, io.Discard, "record", dir+"/no/file"); code != exitFailed ||
		said != "tcpstates: write the recording "+dir+"/no/file: no such file or directory\n" {
		t.Errorf("exit code %d, %q", code, said)
	}
}

// TestListAt lists the sockets of a recording at times of it.
func TestListAt(t *testing.T) {
	inUTC(t)
	events := scenario(t, "active-close")
	older := event.Event{
		Kind: event.KindSocket, Ktime: events[0].Ktime - 1, Wall: events[0].Wall - 1, OldState: event.TimeWait, NewState: event.TimeWait,
		Cookie: 7, Family: event.IPv4, Local: events[1].Local, Remote: events[1].Remote, Left: 2 * time.Second,
	}
	later := event.Event{Kind: event.KindTick, Ktime: events[0].Ktime + uint64(3*time.Second), Wall: events[0].Wall + int64(3*time.Second)}
	file := filepath.Join(t.TempDir(), "file")
	var text []byte
	text = append(text, `start {"wall":`+fmt.Sprint(older.Wall)+"}\n"...)
	for _, e := range slices.Concat([]event.Event{older}, events, []event.Event{later}) {
		text = record.Append(text, &e)
	}
	text = fmt.Appendf(text, "stop {\"wall\":%d}\n", later.Wall)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, at := range []string{"+0s", time.Unix(0, events[len(events)/2].Wall).UTC().Format(time.RFC3339Nano), "00:00:03", ""} {
		args := []string{"list", "--from", file}
		if at != "" {
			args = append(args, "--at", at)
		}
		fmt.Fprintf(&all, "== %s\n%s", at, replayOf(t, args...))
	}
	golden.Check(t, "../../testdata/golden/rec/list-at.txt", all.String())
	for at, want := range map[string]string{
		"noon": "it takes 15:04:05", "+x": "it takes +1m30s", "1970-01-01T00:00:00Z": "the recording begins at", "+1h": "and ends at 1970-01-01 00:00:",
	} {
		if code, said := runCommand(t, &fake{}, io.Discard, "list", "--from", file, "--at", at); code == exitDone || !strings.Contains(said, want) {
			t.Errorf("--at %s: exit code %d, %q, want %q", at, code, said, want)
		}
	}
}

// TestHostileRecording shows texts that a recording has of nobody knows whom: in no
// format do they get control characters through, or end a string.
func TestHostileRecording(t *testing.T) {
	const hostile = `"\x1b]0;x\x07\",\n\u009b\u202e\""`
	text := `start {"wall":1,"version":"v\u001b\n","kernel":"k\u001b\n","backend":"b\u001b\n","less":"l\u001b\n","facts":true,"sockets":true}` + "\n"
	for _, line := range []string{
		"transition old=CLOSE new=SYN_SENT", "reset_sent old=SYN_SENT new=SYN_SENT", "transition old=SYN_SENT new=CLOSE closes=true signal=255 err=65535 fate=255",
		"transition old=CLOSE new=LISTEN",
	} {
		text += line + " ktime=2 wall=2 since=1 cookie=3 family=9 source=255 flags=65535 pid=3 cgroup=7 local=127.0.0.1:1 remote=127.0.0.1:2 comm=\"\\x1b\\n\\\"\" curcomm=\"\\x1b\\n\""
		for _, field := range []string{"reset", "path", "container", "unit", "pod"} {
			text += " " + field + "=" + hostile
		}
		text += "\n"
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(text+"stop {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, format := range output.Formats {
		for _, command := range []string{"replay", "conns --from", "list --from"} {
			if command != "replay" && !format.HasAll {
				continue
			}
			var out bytes.Buffer
			args := append(strings.Fields(command), file, "-o", format.Name)
			if format.Name == "table" {
				args = append(args, "--columns", "+container,+pod,+unit,+cgroup,+family")
			}
			code, said := runCommand(t, &fake{}, &out, args...)
			if code != exitDone || out.Len() == 0 {
				t.Errorf("%v: exit code %d: %s", args, code, said)
			}
			for _, r := range out.String() + said {
				if r != '\n' && r != '\r' && !unicode.IsPrint(r) {
					t.Errorf("%v: %q is in\n%q", args, r, &out)
					break
				}
			}
			for line := range strings.Lines(out.String()) {
				if format.Name == "json" && !json.Valid([]byte(line)) {
					t.Errorf("%v: no JSON: %s", args, line)
				}
			}
			if strings.HasPrefix(format.Name, "csv") {
				if _, err := csv.NewReader(&out).ReadAll(); err != nil {
					t.Errorf("%v: %v", args, err)
				}
			}
		}
	}
}
