package kerneltest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Helper is another process, the test binary run anew, that opens connections.
type Helper struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Reader
}

// helperName is the environment variable that makes the test binary a helper:
// its value is the process's name to be.
const helperName = "KERNELTEST_HELPER"

// The name of a process is its main thread's, and the goroutine that helps keeps
// that thread from other goroutines.
func init() {
	if os.Getenv(helperName) != "" {
		runtime.LockOSThread()
	}
}

// Main must be called first in TestMain of a package that starts helpers or
// uses sandboxes: in those it does the work and does not return.
func Main() {
	if sandbox, found := os.LookupEnv(sandboxName); found {
		becomeSandboxed(sandbox)
	}
	if name, found := os.LookupEnv(helperName); found {
		help(name)
		os.Exit(0)
	}
}

// help names the process and does what the lines of its input ask, until that
// ends; then it closes what it holds. Each line is answered by one: "<nil>", or
// an error.
func help(name string) {
	if err := setLeaderName(name); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		// On a thread with a name of its own, as worker threads have them.
		done := make(chan error)
		go func() {
			runtime.LockOSThread()
			if err := setThreadName("a-thread"); err != nil {
				done <- err
				return
			}
			verb, address, _ := strings.Cut(lines.Text(), " ")
			if verb == "outlive" {
				done <- errOutlived
				outlive()
			}
			done <- obey(verb, address)
		}()
		err := <-done
		if errors.Is(err, errOutlived) {
			_, _, _ = unix.Syscall(unix.SYS_EXIT, 0, 0, 0) // of this thread alone
		}
		fmt.Println(err)
	}
	for _, c := range held {
		c.Close()
	}
}

// errOutlived ends the leader of the helper's threads, whom another outlives.
var errOutlived = errors.New("the leader is to end")

// outlive waits for the end of the leader, says so, and ends the process with its input.
func outlive() {
	leader := fmt.Sprintf("/proc/self/task/%d/stat", os.Getpid())
	for {
		// The state follows the name (proc_pid_stat(5)).
		if stat, err := os.ReadFile(leader); err != nil || strings.Contains(string(stat), ") Z ") {
			fmt.Println(err)
			break
		}
		runtime.Gosched()
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// setLeaderName names the process: what /proc/PID/comm of it says.
func setLeaderName(name string) error {
	return setThreadName(name) // init has locked this goroutine to the main thread
}

func setThreadName(name string) error {
	text, err := unix.BytePtrFromString(name)
	if err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(text)), 0, 0, 0)
}

// StartHelper starts a helper with the given process name in the namespace,
// and at most one file for it to work on. It ends with the test at the latest.
func StartHelper(t testing.TB, ns *Netns, name string, given ...*os.File) *Helper {
	t.Helper()
	return startHelper(t, ns, name, &syscall.SysProcAttr{}, given)
}

// StartHelperInPIDNamespace is StartHelper in a PID namespace of its own, in
// which the helper is process 1.
func StartHelperInPIDNamespace(t testing.TB, ns *Netns, name string) *Helper {
	t.Helper()
	return startHelper(t, ns, name, &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}, nil)
}

func startHelper(t testing.TB, ns *Netns, name string, attr *syscall.SysProcAttr, given []*os.File) *Helper {
	t.Helper()
	h := &Helper{cmd: exec.Command("/proc/self/exe")}
	h.cmd.ExtraFiles = given
	h.cmd.SysProcAttr = attr
	h.cmd.Env = append(os.Environ(), helperName+"="+name)
	h.cmd.Stderr = os.Stderr
	var err error
	if h.stdin, err = h.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := h.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	h.lines = bufio.NewReader(stdout)
	ns.Do(t, func() { err = h.cmd.Start() })
	if err != nil {
		t.Fatalf("start a helper: %v", err)
	}
	t.Cleanup(h.Kill)
	return h
}

// PID is the helper's process id.
func (h *Helper) PID() uint32 { return uint32(h.cmd.Process.Pid) }

// Connect makes the helper connect to the address, and waits until it has.
func (h *Helper) Connect(t testing.TB, address net.Addr) {
	t.Helper()
	h.Ask(t, "connect "+address.String())
	h.Await(t)
}

// Ask makes the helper do something, see obey.
func (h *Helper) Ask(t testing.TB, what string) {
	t.Helper()
	if _, err := fmt.Fprintln(h.stdin, what); err != nil {
		t.Errorf("ask a helper to %s: %v", what, err)
		runtime.Goexit()
	}
}

// Await waits until the helper has done what it was asked.
func (h *Helper) Await(t testing.TB) {
	t.Helper()
	answer, err := h.lines.ReadString('\n')
	if err != nil || answer != "<nil>\n" {
		t.Errorf("a helper: %s %v", answer, err)
		runtime.Goexit()
	}
}

// Kill ends the helper with SIGKILL, its connections open.
func (h *Helper) Kill() {
	_ = h.cmd.Process.Kill()
	_ = h.cmd.Wait()
}

// End makes the helper close its connections and waits until it has ended.
func (h *Helper) End(t testing.TB) {
	t.Helper()
	h.stdin.Close()
	if err := h.cmd.Wait(); err != nil {
		t.Errorf("a helper ends: %v", err)
	}
}
