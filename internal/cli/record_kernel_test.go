package cli

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"tcpstates/internal/kerneltest"
)

// serve has a worker of a pre-fork server, whose listener is this process's, accept a
// connection and answer on it.
func serve(t *testing.T, l *net.TCPListener, ns *kerneltest.Netns) (worker uint32) {
	t.Helper()
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := kerneltest.StartHelper(t, ns, "the-worker", f)
	w.Ask(t, "serve")
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintln(c, "hello")
	if _, err := bufio.NewReader(c).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	w.Await(t)
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	w.End(t)
	_, _ = io.Copy(io.Discard, c)
	return w.PID()
}

// variety is connections of all kinds that filters tell apart.
func variety(t *testing.T, ns *kerneltest.Netns) {
	t.Helper()
	ns.Do(t, func() {
		l := kerneltest.Listen(t, "tcp4", "127.0.0.1:8080")
		serve(t, l, ns)
		l.Close()
		if c, err := net.Dial("tcp", "127.0.0.1:8081"); err == nil {
			c.Close()
			t.Error("nobody listens there, and it connects")
		}
		six := kerneltest.Listen(t, "tcp6", "[::1]:8082")
		client, server := kerneltest.Connect(t, six)
		client.CloseWrite()
		server.Close()
		client.Close()
		six.Close()
	})
	ns.Settle(t)
}

// comparableColumns are those without times, which two traces do not take at the same
// moment, and without the local end: the kernel tells a first transition that it has
// held with the port that was chosen later.
const comparableColumns = "type,sock,pid,comm,netns,raddr,rport,oldstate,newstate,role,reason"

// TestFiltersLiveAndReplayed runs traces with filters side by side with a recording
// without: what the kernel leaves out of those, the replay leaves out by itself.
func TestFiltersLiveAndReplayed(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	file := filepath.Join(t.TempDir(), "file")
	self := strconv.Itoa(os.Getpid())
	type test struct {
		flags      string
		has, lacks string // a line with it there must be, and must not
		trace      *live
		out        *os.File
		arguments  []string
	}
	tests := []*test{
		{flags: "", has: ",LISTEN,SYN_RECV,"},
		{flags: "-L 8080", has: ",LISTEN,SYN_RECV,", lacks: ",SYN_SENT,"},
		{flags: "-D 8080-8081", has: ",SYN_SENT,CLOSE,", lacks: ",LISTEN,"},
		{flags: "--port !8080,8082", has: ",8081,", lacks: ",the-worker,"},
		{flags: "--addr ::1", has: ",::1,", lacks: "127.0.0.1"},
		{flags: "--raddr 127.0.0.0/8 --role server", has: ",LISTEN,SYN_RECV,", lacks: ",client,"},
		{flags: "-6", has: "::1", lacks: "127.0.0.1"},
		{flags: "--comm the-worker", has: ",LISTEN,SYN_RECV,", lacks: ",SYN_SENT,"},
		{flags: "-p " + self, has: ",SYN_SENT,CLOSE,", lacks: ",the-worker,"},
		{flags: "-p !" + self, has: ",the-worker,", lacks: ",SYN_SENT,"},
		{flags: "--reason refused", has: ",CLOSE,SYN_SENT,", lacks: ",ESTABLISHED,"},
		{flags: "--transition *>ESTABLISHED --uid 0", has: ",SYN_RECV,ESTABLISHED,", lacks: ",LISTEN,"},
		{flags: "--state time-wait", has: ",FIN_WAIT2,TIME_WAIT,", lacks: ",ESTABLISHED,"},
	}
	recording := startLive(t, outputFile(t), "record", file)
	for _, test := range tests {
		test.arguments = append(strings.Fields(test.flags), "-o", "csv", "--columns", comparableColumns,
			"--netns", strconv.FormatUint(uint64(ns.Inode), 10))
		test.out = outputFile(t)
		test.trace = startLive(t, test.out, test.arguments...)
	}
	variety(t, ns)
	recording.end(t)
	for _, test := range tests {
		test.trace.end(t)
		shown, err := os.ReadFile(test.out.Name())
		if err != nil {
			t.Fatal(err)
		}
		replayed, err := command(t, append([]string{"replay", file}, test.arguments...)...).Output()
		if err != nil {
			t.Fatal(err)
		}
		// Of several sockets on several CPUs each buffer has its own order.
		if got, want := bySocket(shown), bySocket(replayed); !slices.Equal(got, want) {
			t.Errorf("%s: live\n%s\nreplayed\n%s", test.flags, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if !strings.Contains(string(shown), test.has) || test.lacks != "" && strings.Contains(string(shown), test.lacks) {
			t.Errorf("%s: it must show %s, and not %s:\n%s", test.flags, test.has, test.lacks, shown)
		}
	}
}

// bySocket orders the lines of CSV by their sockets.
func bySocket(text []byte) []string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\r\n")
	slices.SortStableFunc(lines[1:], func(a, b string) int { return strings.Compare(socketIn(a), socketIn(b)) })
	return lines
}

// socketIn is the second field of a line.
func socketIn(line string) string {
	fields := strings.SplitN(line, ",", 3)
	return fields[min(1, len(fields)-1)]
}

// TestRecordedIsReplayedByteForByte compares what is shown while it is recorded with
// what the recording shows, of connections and of transitions.
func TestRecordedIsReplayedByteForByte(t *testing.T) {
	kerneltest.Require(t)
	for _, format := range []string{"table", "wide", "csv", "json", "logfmt", "bcc"} {
		ns := kerneltest.NewNetns(t)
		out, file := outputFile(t), filepath.Join(t.TempDir(), "file")
		trace := startLive(t, out, "record", file, "-o", format)
		variety(t, ns)
		said := trace.end(t)
		shown, err := os.ReadFile(out.Name())
		if err != nil {
			t.Fatal(err)
		}
		var saidOfReplay bytes.Buffer
		replay := command(t, "replay", file, "-o", format)
		replay.Stderr = &saidOfReplay
		replayed, err := replay.Output()
		if err != nil {
			t.Fatal(err, &saidOfReplay)
		}
		if !bytes.Equal(shown, replayed) {
			t.Errorf("%s: live\n%s\nreplayed\n%s", format, shown, replayed)
		}
		if account := lineWith(said, "events lost"); account == "" || account != lineWith(saidOfReplay.String(), "events lost") {
			t.Errorf("%s: live says %q, the replay %q", format, said, &saidOfReplay)
		}
	}
}

func lineWith(text, words string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, words) {
			return line
		}
	}
	return ""
}

// TestKilledRecorderLeavesAReadableFile kills the command, and reads what it had
// written until then.
func TestKilledRecorderLeavesAReadableFile(t *testing.T) {
	kerneltest.Require(t)
	file := filepath.Join(t.TempDir(), "file")
	trace := startLive(t, outputFile(t), "record", file)
	if err := trace.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = trace.Wait()
	out, err := command(t, "replay", file).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "it is cut off: it ends before the trace did") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestOlderSocketsAreRecorded lists, of a recording, sockets that had no event.
func TestOlderSocketsAreRecorded(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	file := filepath.Join(t.TempDir(), "file")
	ns.Do(t, func() {
		l := kerneltest.Listen(t, "tcp4", "127.0.0.1:8080")
		defer l.Close()
		trace := startLive(t, outputFile(t), "record", file)
		trace.end(t)
	})
	out, err := command(t, "list", "--from", file, "-l", "-o", "json").Output()
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`"netns":%d,"uid":0,"pid":%d,`, ns.Inode, os.Getpid())
	if line := lineWith(string(out), want); !strings.Contains(line, `"state":"LISTEN"`) || !strings.Contains(line, `"lport":8080`) || strings.Contains(line, "recvq\":1") {
		t.Errorf("no line of a listener with %s in\n%s", want, out)
	}
}
