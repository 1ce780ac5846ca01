package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpstates/internal/event"
	"tcpstates/internal/kerneltest"
	"tcpstates/internal/probe"
)

// pressure keeps a trace from getting rid of what it reads, for a while.
type pressure struct {
	out     *os.File // the trace's
	begin   func(trace *live)
	end     func(trace *live)
	shown   func() string // so far
	goneOff func()        // when the trace has ended
}

// stopping stops the command, as Ctrl-Z does.
func stopping(t *testing.T) pressure {
	out := outputFile(t)
	return pressure{
		out: out,
		begin: func(l *live) {
			if err := l.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			awaitStopped(t, l.Process.Pid)
		},
		end: func(l *live) {
			if err := l.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
		},
		shown:   func() string { return read(t, out.Name()) },
		goneOff: func() {},
	}
}

// awaitStopped waits until each thread of the process has stopped (proc_pid_stat(5)).
func awaitStopped(t *testing.T, pid int) {
	t.Helper()
	tasks := "/proc/" + strconv.Itoa(pid) + "/task/"
	for begin := time.Now(); time.Since(begin) < startLimit; runtime.Gosched() {
		threads, err := os.ReadDir(tasks)
		if err != nil {
			t.Fatal(err)
		}
		running := 0
		for _, thread := range threads {
			stat, _ := os.ReadFile(tasks + thread.Name() + "/stat")
			if _, rest, _ := bytes.Cut(stat, []byte(") ")); !bytes.HasPrefix(rest, []byte("T")) {
				running++
			}
		}
		if running == 0 {
			return
		}
	}
	t.Fatal("the command does not stop")
}

// unread lets nobody read the other end of the output.
func unread(t *testing.T, out, other *os.File) pressure {
	var reading, mu sync.Mutex // mu is that of text
	var text bytes.Buffer
	over := make(chan struct{})
	fds := []unix.PollFd{{Fd: int32(other.Fd()), Events: unix.POLLIN}}
	// readSome reads what is there, if it may, and waits a little for it.
	readSome := func() error {
		reading.Lock()
		defer reading.Unlock()
		if n, err := unix.Poll(fds, 10); n == 0 || err != nil {
			return nil
		}
		piece := make([]byte, 4096)
		n, err := other.Read(piece)
		mu.Lock()
		defer mu.Unlock()
		text.Write(piece[:n])
		return err
	}
	go func() {
		defer close(over)
		for readSome() == nil { // EIO: nobody has the terminal open any more
		}
	}()
	return pressure{
		out:   out,
		begin: func(*live) { reading.Lock() },
		end:   func(*live) { reading.Unlock() },
		shown: func() string {
			mu.Lock()
			defer mu.Unlock()
			return text.String()
		},
		goneOff: func() { <-over },
	}
}

// aPipe is a pipe.
func aPipe(t *testing.T) pressure {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reader.Close(); writer.Close() })
	return unread(t, writer, reader)
}

// aTerminal is a terminal.
func aTerminal(t *testing.T) pressure {
	screen, tty := terminal(t, 120)
	return unread(t, tty, screen)
}

// sighting is what a line says of a transition.
type sighting struct{ oldState, newState string }

// accountOf is what the output says of itself, line by line.
type accountOf struct {
	shown    []string // the remote ports of transitions, as text
	sockets  map[string][]sighting
	lost     uint64
	holes    int // records of losses
	lastHole int // how many transitions are shown before the last of them
	stop     *jsonRecord
}

// ofJSON reads the lines of -o json.
func ofJSON(t *testing.T, text string) (a accountOf) {
	t.Helper()
	a.sockets = map[string][]sighting{}
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		var r jsonRecord
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatalf("%v in %q", err, lines.Text())
		}
		switch r.Type {
		case "transition":
			a.shown = append(a.shown, strconv.Itoa(int(r.RPort)))
			a.sockets[r.SkAddr] = append(a.sockets[r.SkAddr], sighting{r.OldState, r.NewState})
		case "lost":
			a.lost += r.Lost
			a.holes, a.lastHole = a.holes+1, len(a.shown)
		case "stop":
			a.stop = &r
		}
	}
	return a
}

var (
	hopLine  = regexp.MustCompile(` (\d+|-) +[A-Z_12]+ +-> `)
	lossLine = regexp.MustCompile(`-- (\d+) events lost: buffer full`)
)

// ofTable reads the lines of a table.
func ofTable(t *testing.T, text string) (a accountOf) {
	t.Helper()
	for line := range strings.Lines(text) {
		if m := lossLine.FindStringSubmatch(line); m != nil {
			n, err := strconv.ParseUint(m[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			a.lost += n
			a.holes, a.lastHole = a.holes+1, len(a.shown)
		} else if m := hopLine.FindStringSubmatch(line); m != nil {
			a.shown = append(a.shown, m[1])
		}
	}
	return a
}

// requireInOrder checks that what is shown of each socket has happened so, if not
// without holes.
func (a accountOf) requireInOrder(t *testing.T, happened []event.Event) {
	t.Helper()
	of := map[string][]sighting{}
	for _, e := range happened {
		socket := strconv.FormatUint(e.SkAddr, 16)
		of[socket] = append(of[socket], sighting{e.OldState.String(), e.NewState.String()})
	}
	for socket, shown := range a.sockets {
		rest := of[socket]
		for _, s := range shown {
			for len(rest) > 0 && rest[0] != s {
				rest = rest[1:]
			}
			if len(rest) == 0 {
				t.Errorf("socket %s: shown are %v, and this has happened: %v", socket, shown, of[socket])
				break
			}
			rest = rest[1:]
		}
	}
}

// count counts the transitions of connections to the port, from the i-th on.
func (a accountOf) count(port string, from, to int) (n int) {
	for _, p := range a.shown[from:to] {
		if p == port {
			n++
		}
	}
	return n
}

// TestNothingIsLostWithoutAWord keeps the command from reading, or from writing,
// while there is a storm, and then no more.
func TestNothingIsLostWithoutAWord(t *testing.T) {
	kerneltest.Require(t)
	t.Setenv("NO_COLOR", "1")
	for _, test := range []struct {
		name     string
		pressure func(*testing.T) pressure
		format   string
		account  func(*testing.T, string) accountOf
	}{
		{"a stopped reader", stopping, "json", ofJSON},
		{"a pipe that nobody reads", aPipe, "json", ofJSON},
		{"a terminal that nobody reads", aTerminal, "table", ofTable},
	} {
		t.Run(test.name, func(t *testing.T) {
			ns := kerneltest.NewNetns(t)
			p := test.pressure(t)
			trace := startLive(t, p.out, "--raw", "-o", test.format, "-v", "--buffer", "128K", "--netns", inodeOf(ns))
			if p.out.Name() == "|1" || test.format == "table" {
				p.out.Close() // the command alone has it
			}
			w := startWitness(t, probe.Options{SelfTransitions: true})
			const before = "901"
			connectOnce(t, ns, before)
			p.awaitPort(t, before)

			p.begin(trace)
			kerneltest.Storm(t, ns, 2000) // which comes to its end
			ns.Settle(t)
			p.end(trace)

			p.await(t, func(text string) bool { return test.account(t, wholeLines(text)).holes > 0 })
			after := p.recovered(t, ns)
			happened, others := w.end(t, ns)
			said := trace.end(t)
			p.goneOff()

			a := test.account(t, p.shown())
			if a.stop != nil && (a.stop.Shown != uint64(len(a.shown)) || a.stop.Lost != a.lost || a.stop.Missed != 0) {
				t.Errorf("the last record is %+v: %d transitions are shown, %d events lost", a.stop, len(a.shown), a.lost)
			}
			if test.format == "json" && a.stop == nil {
				t.Error("there is no last record")
			}
			if len(others) > 0 || uint64(len(a.shown))+a.lost != uint64(len(happened)) {
				t.Errorf("%d shown and %d lost, of %d that happened, and %d events of other kinds",
					len(a.shown), a.lost, len(happened), len(others))
			}
			if emitted := recordsThrough(t, said); emitted+a.lost != uint64(len(happened)) {
				t.Errorf("%d records came through the buffer and %d were lost, of %d", emitted, a.lost, len(happened))
			}
			requireSaid(t, said, len(a.shown), a.lost)
			a.requireInOrder(t, happened)
			// A client's transitions have the port that it connects to.
			if n := a.count(before, 0, a.lastHole); n != ofClient {
				t.Errorf("before the storm %d transitions of a client are shown, want %d", n, ofClient)
			}
			if n := a.count(after, a.lastHole, len(a.shown)); n != ofClient {
				t.Errorf("behind the last loss %d transitions of a client are shown, want %d", n, ofClient)
			}
		})
	}
}

// ofClient is how many transitions the client of connectOnce has.
const ofClient = 5

// wholeLines leaves out what comes after the last line.
func wholeLines(text string) string { return text[:strings.LastIndexByte(text, '\n')+1] }

// await waits until what is shown is as asked.
func (p pressure) await(t *testing.T, is func(text string) bool) {
	t.Helper()
	for begin := time.Now(); !is(p.shown()); time.Sleep(time.Millisecond) {
		if time.Since(begin) > startLimit {
			t.Fatalf("the output does not get there: %d bytes", len(p.shown()))
		}
	}
}

// hasPort tells whether a connection to the port is in the output, of either format.
func hasPort(text, port string) bool {
	return strings.Contains(text, `"rport":`+port+`,`) || strings.Contains(text, " "+port+" ")
}

func (p pressure) awaitPort(t *testing.T, port string) {
	t.Helper()
	p.await(t, func(text string) bool { return hasPort(text, port) })
}

// recovered makes connections until one is shown, and gives its port: what waits in
// the buffer may leave no room for the first.
func (p pressure) recovered(t *testing.T, ns *kerneltest.Netns) (port string) {
	t.Helper()
	for i := range 20 {
		port = strconv.Itoa(910 + i)
		connectOnce(t, ns, port)
		for begin := time.Now(); time.Since(begin) < time.Second; time.Sleep(time.Millisecond) {
			if hasPort(p.shown(), port) {
				return port
			}
		}
	}
	t.Fatal("after the storm nothing is shown any more")
	return ""
}

// recordsThrough is how many records the command says that it has read.
func recordsThrough(t *testing.T, said string) uint64 {
	t.Helper()
	return numberBefore(t, said, " records through the buffer")
}

// numberBefore is the number that stands before the words.
func numberBefore(t *testing.T, said, words string) uint64 {
	t.Helper()
	m := regexp.MustCompile(`(\d+)` + regexp.QuoteMeta(words)).FindStringSubmatch(said)
	if m == nil {
		t.Fatalf("there is no number of%s in %q", words, said)
	}
	n, err := strconv.ParseUint(m[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// requireSaid checks the last line.
func requireSaid(t *testing.T, said string, shown int, lost uint64) {
	t.Helper()
	want := strconv.Itoa(shown) + " transitions shown, " + strconv.FormatUint(lost, 10) + " events lost in the buffer, 0 missed by recursion"
	if !strings.Contains(said, want) {
		t.Errorf("stderr is %q, want %q in it", said, want)
	}
}
