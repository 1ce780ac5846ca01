package probe

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"tcpstates/internal/event"
	"tcpstates/internal/kerneltest"
	"tcpstates/internal/thread"
)

// TestForksOnEveryRung starts a process and some threads: of the process the trace
// tells, once, and of no thread.
func TestForksOnEveryRung(t *testing.T) {
	onEveryRung(t, func(t *testing.T, o Options) {
		o.Forks = true
		c := trace(t, o)
		helper := kerneltest.StartHelper(t, kerneltest.NewNetns(t), "the-child")
		threads := startThreads(t)
		helper.End(t)
		c.end(t)
		if !c.Knows().Forks {
			if len(c.forks) > 0 {
				t.Errorf("%d forks, of which it knows nothing", len(c.forks))
			}
			return
		}
		self := event.Process{PID: uint32(os.Getpid()), Comm: ownComm(t)}
		var told int
		for _, e := range c.forks {
			switch {
			case e.Current.PID == helper.PID():
				told++
				if e.Owner.Process != self || e.Ktime == 0 || e.Wall == 0 || e.Before || e.Family != 0 {
					t.Errorf("the fork says %+v", e)
				}
			case slices.Contains(threads, e.Current.PID):
				t.Errorf("the thread %d is told as a process", e.Current.PID)
			}
		}
		if told != 1 {
			t.Errorf("the helper's beginning is told %d times", told)
		}
		requireTotals(t, c)
	})
}

// startThreads makes the runtime start threads, and returns the ids of all that were
// there at once.
func startThreads(t *testing.T) (ids []uint32) {
	t.Helper()
	var all, done sync.WaitGroup
	var mu sync.Mutex
	const threads = 8
	all.Add(threads)
	for range threads {
		done.Go(func() {
			runtime.LockOSThread() // and ends with the goroutine, as it is not unlocked
			mu.Lock()
			ids = append(ids, uint32(unix.Gettid()))
			mu.Unlock()
			all.Done()
			all.Wait()
		})
	}
	done.Wait()
	return ids
}

func TestNoForksUnlessAskedFor(t *testing.T) {
	kerneltest.Require(t)
	c := trace(t, Options{})
	kerneltest.StartHelper(t, kerneltest.NewNetns(t), "the-child").End(t)
	c.end(t)
	if len(c.forks) > 0 || c.objects.Programs["forked"] != nil {
		t.Errorf("%d forks are told, and nobody asked", len(c.forks))
	}
}

// TestForksInAPIDNamespace starts a process in a namespace that its parent is not in,
// and one outside of it.
func TestForksInAPIDNamespace(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	first := kerneltest.StartHelperInPIDNamespace(t, ns, "process-one")
	path := fmt.Sprintf("/proc/%d/ns/pid", first.PID())
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	c := trace(t, Options{Forks: true, PIDNamespace: uint32(st.Ino)})
	if !c.Knows().Forks {
		t.Skip("this kernel tells of no forks: its types are not known")
	}
	kerneltest.StartHelper(t, ns, "outside").End(t)
	var number uint32
	err := thread.Run(func() error { // whose children are in the namespace from then on
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.Setns(fd, unix.CLONE_NEWPID); err != nil {
			return err
		}
		child := exec.Command("/proc/self/exe", "-test.run=^$")
		if err := child.Start(); err != nil {
			return err
		}
		number = innermostPID(t, child.Process.Pid) // as long as nobody has waited for it
		return child.Wait()
	})
	if err != nil {
		t.Fatal(err)
	}
	c.end(t)
	if len(c.forks) != 1 || c.forks[0].Current.PID != number || c.forks[0].Owner.PID != 0 {
		t.Errorf("got %+v, want process %d, whose parent has no number", c.forks, number)
	}
}

// innermostPID is the number that a process has in its own PID namespace (NSpid,
// proc_pid_status(5)).
func innermostPID(t *testing.T, pid int) (n uint32) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(string(status)) {
		if name, numbers, _ := strings.Cut(line, ":"); name == "NSpid" {
			words := strings.Fields(numbers)
			_, err = fmt.Sscan(words[len(words)-1], &n)
		}
	}
	if err != nil || n == 0 {
		t.Errorf("process %d has the number %d in its namespace, %v", pid, n, err)
	}
	return n
}
