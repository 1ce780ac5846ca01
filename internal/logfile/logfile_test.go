package logfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// open opens a file for the test and writes its header.
func open(t *testing.T, o Options) *File {
	t.Helper()
	if o.Path == "" {
		o.Path = filepath.Join(t.TempDir(), "out")
	}
	f, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	write(t, f, "HEAD\n")
	return f
}

func write(t *testing.T, f *File, lines string) {
	t.Helper()
	if n, err := f.Write([]byte(lines)); err != nil || n != len(lines) {
		t.Fatalf("%d of %d bytes written, %v", n, len(lines), err)
	}
}

// contents are what the files of the directory hold, by their names.
func contents(t *testing.T, f *File) map[string]string {
	t.Helper()
	all := map[string]string{}
	names, err := filepath.Glob(f.options.Path + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(name)] = string(text)
	}
	return all
}

func require(t *testing.T, f *File, want map[string]string) {
	t.Helper()
	if got := contents(t, f); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the files hold\n%q, want\n%q", got, want)
	}
}

func TestFilesHaveWholeLinesAndTheHeader(t *testing.T) {
	f := open(t, Options{MaxSize: 20, Keep: 3})
	write(t, f, "1234567\n1234567\n1\n22\n333\n4444\n55555\n") // the first two would make 21 bytes
	require(t, f, map[string]string{
		"out":   "HEAD\n333\n4444\n55555\n",
		"out.1": "HEAD\n1234567\n1\n22\n",
		"out.2": "HEAD\n1234567\n",
	})
}

func TestOldFilesGo(t *testing.T) {
	f := open(t, Options{MaxSize: 9, Keep: 2})
	for i := range 9 {
		write(t, f, fmt.Sprintf("ab%d\n", i))
	}
	require(t, f, map[string]string{"out": "HEAD\nab8\n", "out.1": "HEAD\nab7\n", "out.2": "HEAD\nab6\n"})
}

// TestLongLinesHaveAFileToThemselves: even one for which no file has room.
func TestLongLinesHaveAFileToThemselves(t *testing.T) {
	f := open(t, Options{MaxSize: 8, Keep: 9})
	write(t, f, "a line that is longer\n")
	write(t, f, "b\nanother long line\n")
	require(t, f, map[string]string{
		"out": "HEAD\nanother long line\n", "out.1": "HEAD\nb\n", "out.2": "HEAD\na line that is longer\n",
	})
}

// TestAFileThatIsThereIsGoneOnWith counts what it holds already.
func TestAFileThatIsThereIsGoneOnWith(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	if err := os.WriteFile(path, []byte("0123456789\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := open(t, Options{Path: path, MaxSize: 20, Keep: 1})
	write(t, f, "abc\n")
	write(t, f, "def\n")
	require(t, f, map[string]string{"out": "HEAD\ndef\n", "out.1": "0123456789\nHEAD\nabc\n"})
}

// TestAFullFileThatIsThereMakesRoom, for one that has the header once.
func TestAFullFileThatIsThereMakesRoom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	if err := os.WriteFile(path, []byte("0123456789\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := open(t, Options{Path: path, MaxSize: 11, Keep: 1})
	write(t, f, "abc\n")
	require(t, f, map[string]string{"out": "HEAD\nabc\n", "out.1": "0123456789\n"})
}

func TestReopen(t *testing.T) {
	f := open(t, Options{})
	write(t, f, "a\n")
	if err := os.Rename(f.options.Path, f.options.Path+".old"); err != nil {
		t.Fatal(err)
	}
	write(t, f, "b\n") // still to the same file
	// The second finds a file that is not empty: nobody has renamed it.
	if err := errors.Join(f.Reopen(), f.Reopen()); err != nil {
		t.Fatal(err)
	}
	write(t, f, "c\n")
	require(t, f, map[string]string{"out.old": "HEAD\na\nb\n", "out": "HEAD\nc\n"})
}

func TestAFileThatCannotBeReopenedStaysInUse(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "directory")
	if err := os.Mkdir(directory, 0o700); err != nil {
		t.Fatal(err)
	}
	f := open(t, Options{Path: filepath.Join(directory, "out")})
	if err := os.Rename(directory, directory+".old"); err != nil {
		t.Fatal(err)
	}
	if err := f.Reopen(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	write(t, f, "a\n")
	if text, err := os.ReadFile(directory + ".old/out"); string(text) != "HEAD\na\n" {
		t.Errorf("the old file holds %q, %v", text, err)
	}
}

func TestWhatIsNoRegularFileHasNoSize(t *testing.T) {
	if _, err := Open(Options{Path: "/dev/null", MaxSize: 1, Keep: 1}); err == nil {
		t.Error("it was opened")
	}
	f := open(t, Options{Path: "/dev/null"})
	write(t, f, "a\n")
}

// TestAFullDiskLeavesWholeLines lets the process write files of eight bytes at
// most.
func TestAFullDiskLeavesWholeLines(t *testing.T) {
	f := open(t, Options{})
	fill := f.options.Path
	limit := syscall.Rlimit{}
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	// Go ignores SIGXFSZ, so that the write fails instead.
	short := syscall.Rlimit{Cur: 12, Max: limit.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &short); err != nil {
		t.Fatal(err)
	}
	n, err := f.Write([]byte("abc\ndefgh\n"))
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, syscall.EFBIG) || n != 4 {
		t.Errorf("%d bytes written, %v", n, err)
	}
	if text, err := os.ReadFile(fill); string(text) != "HEAD\nabc\n" {
		t.Errorf("the file holds %q, %v", text, err)
	}
}

// limited runs f under a limit of the process.
func limited(t *testing.T, resource int, to uint64, f func()) {
	t.Helper()
	limit := syscall.Rlimit{}
	if err := syscall.Getrlimit(resource, &limit); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(resource, &syscall.Rlimit{Cur: to, Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	f()
	if err := syscall.Setrlimit(resource, &limit); err != nil {
		t.Fatal(err)
	}
}

// TestReopenOnAFullDisk: the header comes when there is room.
func TestReopenOnAFullDisk(t *testing.T) {
	f := open(t, Options{})
	if err := os.Rename(f.options.Path, f.options.Path+".old"); err != nil {
		t.Fatal(err)
	}
	limited(t, syscall.RLIMIT_FSIZE, 2, func() {
		if err := f.Reopen(); err != nil {
			t.Error(err)
		}
		if n, err := f.Write([]byte("a\n")); n != 0 || !errors.Is(err, syscall.EFBIG) {
			t.Errorf("%d bytes written, %v", n, err)
		}
	})
	write(t, f, "b\n")
	require(t, f, map[string]string{"out.old": "HEAD\n", "out": "HEAD\nb\n"})
}

// TestARotationThatFailsIsDoneAgain: what has its new name keeps it.
func TestARotationThatFailsIsDoneAgain(t *testing.T) {
	f := open(t, Options{MaxSize: 10, Keep: 2})
	write(t, f, "aaaa\n")
	for range 2 {
		limited(t, syscall.RLIMIT_NOFILE, 0, func() {
			if n, err := f.Write([]byte("b\n")); n != 0 || !errors.Is(err, syscall.EMFILE) {
				t.Errorf("%d bytes written, %v", n, err)
			}
		})
	}
	write(t, f, "c\n")
	require(t, f, map[string]string{"out": "HEAD\nc\n", "out.1": "HEAD\naaaa\n"})
}

// TestReopenBesideWrites loses no line, and cuts none in two.
func TestReopenBesideWrites(t *testing.T) {
	f := open(t, Options{MaxSize: 1000, Keep: 1000})
	var writing sync.WaitGroup
	writing.Go(func() {
		for i := range 5000 {
			if _, err := fmt.Fprintf(f, "%d\n", i); err != nil {
				t.Error(err)
			}
		}
	})
	for range 100 {
		if err := f.Reopen(); err != nil {
			t.Error(err)
		}
	}
	writing.Wait()
	lines := 0
	for name, text := range contents(t, f) {
		rest, found := strings.CutPrefix(text, "HEAD\n")
		if !found || len(text) > 1000 || !strings.HasSuffix(text, "\n") {
			t.Errorf("%s holds %q", name, text)
		}
		lines += strings.Count(rest, "\n")
	}
	if lines != 5000 {
		t.Errorf("%d lines, want 5000", lines)
	}
}
