package privilege

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"

	"tcpstates/internal/kerneltest"
	"tcpstates/internal/thread"
)

// aloneName is the environment variable that tells a test that it has a process
// of its own, which it may change for good.
const aloneName = "PRIVILEGE_TEST_ALONE"

// alone runs the test in a process of its own. It returns false in the other.
func alone(t *testing.T) bool {
	t.Helper()
	kerneltest.Require(t)
	if os.Getenv(aloneName) != "" {
		return true
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), aloneName+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	return false
}

// TestDropWhileThreadsWork has threads come, enter a network namespace and go,
// as those of a trace do, while the process drops what it drops.
func TestDropWhileThreadsWork(t *testing.T) {
	if !alone(t) {
		return
	}
	ns := kerneltest.NewNetns(t)
	target, err := os.Open(ns.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	if err := (User{UID: 54321, GID: 1234}).Become(); err != nil {
		t.Fatal(err)
	}

	var dropped atomic.Bool
	var working sync.WaitGroup
	for range 8 {
		working.Go(func() {
			for last := false; !last; {
				last = dropped.Load() // a thread that is begun after that
				err := thread.Run(func() error { return unix.Setns(int(target.Fd()), unix.CLONE_NEWNET) })
				if err != nil {
					t.Errorf("enter the namespace, the last time %v: %v", last, err)
					return
				}
			}
		})
	}
	report, err := Drop(Needs{Minisocks: true})
	dropped.Store(true)
	if err != nil {
		t.Fatal(err)
	}
	requireThreads(t)
	working.Wait()
	requireThreads(t)
	if want := []string{"CAP_SYS_PTRACE", "CAP_SYS_ADMIN", "CAP_PERFMON", "CAP_BPF"}; !slices.Equal(report.Kept, want) {
		t.Errorf("it kept %v, want %v", report.Kept, want)
	}
	if !slices.Contains(report.Dropped, "CAP_SETUID") || slices.Contains(report.Dropped, "CAP_BPF") {
		t.Errorf("it dropped %v", report.Dropped)
	}
}

// requireThreads looks at all threads of the process, of which those that begin
// meanwhile have the credentials of the others.
func requireThreads(t *testing.T) {
	t.Helper()
	threads, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(threads) < 2 {
		t.Fatalf("the threads are %q, %v", threads, err)
	}
	for _, path := range threads {
		status, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		for _, want := range []string{
			"CapInh:\t0000000000000000", "CapPrm:\t000000c000280000", "CapEff:\t000000c000280000",
			"CapBnd:\t000000c000280000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1",
			"Uid:\t54321\t54321\t54321\t54321", "Gid:\t1234\t1234\t1234\t1234",
		} {
			if !strings.Contains(string(status), want+"\n") {
				t.Errorf("%s: want %q in\n%s", path, want, status)
			}
		}
	}
}

// TestSysAdminStandsForBPF has a process with the capabilities of old kernels.
func TestSysAdminStandsForBPF(t *testing.T) {
	if !alone(t) {
		return
	}
	old := cap.GetProc()
	if err := errors.Join(old.SetFlag(cap.Permitted, false, cap.BPF), old.SetFlag(cap.Effective, false, cap.BPF), old.SetProc()); err != nil {
		t.Fatal(err)
	}
	if report, err := Drop(Needs{}); err != nil || !slices.Equal(report.Kept, []string{"CAP_SYS_ADMIN"}) {
		t.Errorf("got %+v, %v", report, err)
	}
}

func TestDropTwice(t *testing.T) {
	if !alone(t) {
		return
	}
	if _, err := Drop(Needs{Minisocks: true}); err != nil {
		t.Fatal(err)
	}
	// Without CAP_SETPCAP now.
	report, err := Drop(Needs{Cgroups: true})
	if err != nil || !slices.Equal(report.Kept, []string{"CAP_BPF"}) || len(report.Dropped) != 3 {
		t.Errorf("got %+v, %v", report, err)
	}
	if err := (User{UID: 54321, GID: 1234}).Become(); err == nil || !strings.HasPrefix(err.Error(), "change the group to 1234: ") {
		t.Errorf("without the capability the user was changed: %v", err)
	}
}
