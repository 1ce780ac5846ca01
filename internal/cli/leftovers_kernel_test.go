package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"tcpstates/internal/kerneltest"
	"tcpstates/internal/thread"
)

// TestNothingIsLeftOfTheKilled kills the command as nothing can prepare for, in
// a mount namespace of the test's own, so that no other process's mounts are in
// what it compares.
func TestNothingIsLeftOfTheKilled(t *testing.T) {
	kerneltest.Require(t)
	for _, args := range [][]string{
		{"--accept-probe"},
		{"--backend", "raw_tp", "--transport", "perf"},
		{"--backend", "tracepoint"}, // for which tracefs is mounted for a moment
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) { requireNothingLeft(t, args) })
	}
}

func requireNothingLeft(t *testing.T, args []string) {
	t.Helper()
	err := thread.Run(func() error {
		tracefs := t.TempDir()
		err := errors.Join(
			unix.Unshare(unix.CLONE_NEWNS),
			unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount("tracefs", tracefs, "tracefs", 0, ""))
		if err != nil {
			return err
		}
		before := outlasting(t, tracefs)
		trace := startLive(t, outputFile(t), args...)
		objects := objectsOf(t, trace.Process.Pid, slices.Contains(args, "tracepoint"))
		connectOnce(t, kerneltest.NewNetns(t), "0")
		if err := trace.Process.Kill(); err != nil {
			return err
		}
		if err := trace.Wait(); err == nil {
			t.Error("the trace ends in order, and was to be killed")
		}
		requireGone(t, objects)
		if diff := cmp.Diff(before, outlasting(t, tracefs)); diff != "" {
			t.Errorf("the killed trace has left -before +after:\n%s", diff)
		}
		return unix.Unmount(tracefs, 0)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// outlasting lists what can outlast a process: the mounts of this thread's
// namespace, the BPF objects that are pinned, and the instances and events of
// the kernel's tracing.
func outlasting(t *testing.T, tracefs string) (all []string) {
	t.Helper()
	for _, file := range []string{"/proc/thread-self/mountinfo", tracefs + "/set_event"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, strings.Split(string(text), "\n")...)
	}
	for _, dir := range []string{"/sys/fs/bpf", tracefs + "/instances"} {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			all = append(all, path)
			if entry != nil && entry.IsDir() && filepath.Dir(path) == tracefs+"/instances" {
				return fs.SkipDir // its name says enough
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// object is a BPF object: the name that its kind of id has in a file descriptor's
// fdinfo (kernel/bpf/syscall.c, the functions *_show_fdinfo), and the id.
type object struct {
	kind string
	id   uint32
}

// openObject opens an object by its id, for each kind.
var openObject = map[string]func(id uint32) (io.Closer, error){
	"prog_id": func(id uint32) (io.Closer, error) { return ebpf.NewProgramFromID(ebpf.ProgramID(id)) },
	"map_id":  func(id uint32) (io.Closer, error) { return ebpf.NewMapFromID(ebpf.MapID(id)) },
	"link_id": func(id uint32) (io.Closer, error) { return link.NewFromID(link.ID(id)) },
}

// objectsOf finds the programs, maps and links that a process has open. classic
// says that its program is on a classic tracepoint.
func objectsOf(t *testing.T, pid int, classic bool) (all []object) {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			kind, value, _ := strings.Cut(line, ":")
			if openObject[kind] == nil {
				continue
			}
			id, err := strconv.ParseUint(strings.TrimSpace(value), 10, 32)
			if err != nil {
				t.Fatalf("%v in %q", err, line)
			}
			found[kind] = true
			all = append(all, object{kind, uint32(id)})
		}
	}
	// A program on a classic tracepoint has no link before Linux 5.15.
	if !found["prog_id"] || !found["map_id"] || !found["link_id"] && !classic {
		t.Fatalf("process %d has only %v open, want all of programs, maps and links", pid, all)
	}
	return all
}

// requireGone waits until the kernel knows none of the objects any more. It frees
// them a moment after the process, when no CPU can be running them.
func requireGone(t *testing.T, all []object) {
	t.Helper()
	for begin := time.Now(); ; runtime.Gosched() {
		all = slices.DeleteFunc(all, func(o object) bool { return !exists(t, o) })
		if len(all) == 0 {
			return
		}
		if time.Since(begin) > startLimit {
			t.Errorf("the killed trace has left %v", all)
			return
		}
	}
}

func exists(t *testing.T, o object) bool {
	t.Helper()
	file, err := openObject[o.kind](o.id)
	switch {
	case err == nil:
		file.Close()
	case !errors.Is(err, os.ErrNotExist):
		t.Fatalf("look for %v: %v", o, err)
	}
	return err == nil
}
