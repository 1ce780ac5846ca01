package kerneltest

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tcpstates/internal/event"
)

// Transition is what the kernel's own text says of one run of
// sock:inet_sock_set_state for a TCP socket.
type Transition struct {
	SkAddr             uint64
	OldState, NewState event.State
	LocalPort          uint16
	RemotePort         uint16
	Family             event.Family
	// Optional says that a thread of process 1 was interrupted for it. Some
	// machines run no tracing programs while that process is on the CPU, and
	// do not count it as a miss either; no tool can see such a transition.
	Optional bool
}

// String is for the messages of failing tests.
func (tr Transition) String() string {
	return fmt.Sprintf("%x %d %d>%d %v>%v", tr.SkAddr, tr.Family, tr.LocalPort, tr.RemotePort, tr.OldState, tr.NewState)
}

// Truth records the tracepoint in a tracefs instance of its own.
type Truth struct {
	dir string
	// text says that the kernel's text has all fields, since Linux 6.4. Else
	// the records are read as they are.
	text bool
}

// perCPUBuffer holds some 600,000 transitions, in kB.
const perCPUBuffer = 64 << 10

// StartTruth begins to record, for all of the machine.
func StartTruth(t testing.TB) *Truth {
	t.Helper()
	root := mountTracefs(t)
	tr := &Truth{dir: filepath.Join(root, "instances", fmt.Sprintf("tcpstates-test-%d", os.Getpid()))}
	if err := os.Mkdir(tr.dir, 0o755); err != nil {
		t.Fatalf("make a tracefs instance: %v", err)
	}
	t.Cleanup(func() { unix.Rmdir(tr.dir) })
	tr.set(t, "buffer_size_kb", strconv.Itoa(perCPUBuffer))
	// This clock counts, so that the records of all CPUs have one order.
	tr.set(t, "trace_clock", "counter")
	// With this option the text has every field, the socket's address among
	// them, as numbers.
	const fields = "options/fields"
	if _, err := os.Stat(filepath.Join(tr.dir, fields)); err == nil {
		tr.set(t, fields, "1")
		tr.text = true
	}
	tr.enable(t, "1")
	return tr
}

const tracepoint = "sock/inet_sock_set_state"

func (tr *Truth) enable(t testing.TB, value string) {
	t.Helper()
	tr.set(t, filepath.Join("events", tracepoint, "enable"), value)
}

func (tr *Truth) set(t testing.TB, name, value string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(tr.dir, name), []byte(value), 0); err != nil {
		t.Fatalf("set up the tracefs instance: %v", err)
	}
}

// Stop ends the recording and gives what was recorded, in order. A recording
// with gaps fails the test, as it is no truth.
func (tr *Truth) Stop(t testing.TB) []Transition {
	t.Helper()
	tr.enable(t, "0")
	tr.requireComplete(t)
	if tr.text {
		return tr.readText(t)
	}
	return tr.readPages(t)
}

// readText gives what was recorded, by the kernel's text.
func (tr *Truth) readText(t testing.TB) []Transition {
	t.Helper()
	trace, err := os.Open(filepath.Join(tr.dir, "trace"))
	if err != nil {
		t.Fatal(err)
	}
	defer trace.Close()
	shielded := threadsOfInit(t)
	var all []Transition
	for lines := bufio.NewScanner(trace); lines.Scan(); {
		context, fields, found := strings.Cut(lines.Text(), ": inet_sock_set_state: ")
		if !found {
			continue
		}
		transition, isTCP, err := parseTransition(fields)
		if err != nil {
			t.Fatalf("%v, in %q", err, fields)
		}
		if isTCP {
			transition.Optional = shielded[pidOf(context)]
			all = append(all, transition)
		}
	}
	return all
}

// requireComplete looks for records that were overwritten or dropped.
func (tr *Truth) requireComplete(t testing.TB) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(tr.dir, "per_cpu/cpu*/stats"))
	if len(files) == 0 {
		t.Fatal("the tracefs instance has no statistics")
	}
	for _, file := range files {
		stats, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(stats)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			switch name {
			case "overrun", "commit overrun", "dropped events":
				if value != "0" {
					t.Fatalf("the kernel's own recording is incomplete: %s %s", name, value)
				}
			}
		}
	}
}

// parseTransition reads fields of the form "name=0x7 (7)".
func parseTransition(fields string) (tr Transition, isTCP bool, err error) {
	values := map[string]uint64{}
	for word := range strings.FieldsSeq(fields) {
		name, value, found := strings.Cut(word, "=0x")
		if !found {
			continue
		}
		if values[name], err = strconv.ParseUint(value, 16, 64); err != nil {
			return tr, false, fmt.Errorf("read the field %s: %w", name, err)
		}
	}
	return transitionOf(values)
}

// transitionOf puts together the tracepoint's fields.
func transitionOf(values map[string]uint64) (tr Transition, isTCP bool, err error) {
	for _, name := range []string{"skaddr", "oldstate", "newstate", "sport", "dport", "family", "protocol"} {
		if _, found := values[name]; !found {
			return tr, false, fmt.Errorf("the field %s is missing", name)
		}
	}
	family := event.IPv4
	if values["family"] == unix.AF_INET6 {
		family = event.IPv6
	}
	return Transition{
		SkAddr:     values["skaddr"],
		OldState:   event.State(values["oldstate"]),
		NewState:   event.State(values["newstate"]),
		LocalPort:  uint16(values["sport"]),
		RemotePort: uint16(values["dport"]),
		Family:     family,
	}, values["protocol"] == unix.IPPROTO_TCP, nil
}

// threadsOfInit is the set of thread ids of process 1, in decimal.
func threadsOfInit(t testing.TB) map[string]bool {
	t.Helper()
	entries, err := os.ReadDir("/proc/1/task")
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, entry := range entries {
		ids[entry.Name()] = true
	}
	return ids
}

// pidOf is the thread id in what the text has before the time: "name-75  [001] ...".
func pidOf(context string) string {
	task, _, _ := strings.Cut(context, " [")
	return strings.TrimSpace(task[strings.LastIndexByte(task, '-')+1:])
}
