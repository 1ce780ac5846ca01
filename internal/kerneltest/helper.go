package kerneltest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
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

// help names the process, connects to every address that it reads a line of,
// and holds the connections until its input ends.
func help(name string) {
	if err := setLeaderName(name); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for addresses := bufio.NewScanner(os.Stdin); addresses.Scan(); {
		// A thread with a name of its own, as worker threads have them.
		connected := make(chan error)
		go func() {
			runtime.LockOSThread()
			if err := setThreadName("a-thread"); err != nil {
				connected <- err
				return
			}
			c, err := net.Dial("tcp", addresses.Text())
			held = append(held, c)
			connected <- err
		}()
		fmt.Println(<-connected)
	}
	for _, c := range held {
		c.Close()
	}
}

var held []net.Conn

// setLeaderName names the process: what /proc/PID/comm of it says.
func setLeaderName(name string) error {
	return os.WriteFile(fmt.Sprintf("/proc/self/task/%d/comm", os.Getpid()), []byte(name), 0)
}

func setThreadName(name string) error {
	text, err := unix.BytePtrFromString(name)
	if err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(text)), 0, 0, 0)
}

// StartHelper starts a helper with the given process name in the namespace. It
// ends with the test at the latest.
func StartHelper(t testing.TB, ns *Netns, name string) *Helper {
	t.Helper()
	h := &Helper{cmd: exec.Command("/proc/self/exe")}
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
	fmt.Fprintln(h.stdin, address)
	answer, err := h.lines.ReadString('\n')
	if err != nil || answer != "<nil>\n" {
		t.Errorf("a helper connects to %s: %s %v", address, answer, err)
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
