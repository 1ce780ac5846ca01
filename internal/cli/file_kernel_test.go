package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tcpstates/internal/kerneltest"
)

// startToFile starts a trace of the clients of port to a file, and has it show
// a connection to a server of the namespace that it returns.
func startToFile(t *testing.T, path string, args ...string) (l *live, connect func()) {
	t.Helper()
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	l = startLive(t, outputFile(t), append([]string{"-D", port, "--netns", inodeOf(ns), "--file", path}, args...)...)
	return l, func() { connectOnce(t, ns, port) }
}

// inodeOf names the namespace, whose connections alone a trace is to show: the
// machine may run the same test twice.
func inodeOf(ns *kerneltest.Netns) string { return strconv.FormatUint(uint64(ns.Inode), 10) }

// await waits until the file holds the text.
func await(t *testing.T, path, text string) {
	t.Helper()
	for begin := time.Now(); time.Since(begin) < startLimit; runtime.Gosched() {
		if held, err := os.ReadFile(path); err == nil && bytes.Contains(held, []byte(text)) {
			return
		}
	}
	t.Fatalf("%s does not get to hold %q", path, text)
}

// TestFileIsReopenedAtSIGHUP does what logrotate does.
func TestFileIsReopenedAtSIGHUP(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	l, connect := startToFile(t, path)
	connect()
	await(t, path, "FIN_WAIT1")
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	if err := l.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	await(t, path, "OLDSTATE") // the header, without any event
	connect()
	await(t, path, "FIN_WAIT1")
	l.end(t)
	for _, file := range []string{path, path + ".old"} {
		if text := read(t, file); strings.Count(text, "OLDSTATE") != 1 || strings.Count(text, "CLOSE       -> SYN_SENT") != 1 {
			t.Errorf("%s holds\n%s", file, text)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o644 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// TestFileThatCannotBeReopenedEndsTheTrace: who has dropped to another user may
// not write where root may.
func TestFileThatCannotBeReopenedEndsTheTrace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	l, connect := startToFile(t, path, "--drop-to", "nobody")
	connect()
	await(t, path, "FIN_WAIT1") // opened before the drop
	if err := l.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	err := l.Wait()
	if code := l.ProcessState.ExitCode(); code != exitFailed ||
		!strings.Contains(l.stderr.String(), "open the file of --file anew at SIGHUP: open "+path+": permission denied: "+
			"the trace goes on as nobody by --drop-to: let that user write to the file and its directory\n") {
		t.Errorf("exit code %d, %v: %s", code, err, &l.stderr)
	}
}

func TestSIGHUPWithoutFileEndsTheTrace(t *testing.T) {
	l := startLive(t, outputFile(t))
	if err := l.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if err := l.Wait(); err != nil {
		t.Errorf("%v: %s", err, &l.stderr)
	}
}
