package kerneltest

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The sandboxes: what a machine may withhold from a program.
const (
	// NoBPF refuses bpf() with a seccomp filter, as containers do.
	NoBPF = "no bpf()"
	// NoBTF hides the kernel's type information.
	NoBTF = "no BTF"
	// Container is what a container engine gives a container that has CAP_BPF
	// and CAP_PERFMON alone: mount and PID namespaces of its own, and an empty
	// root with nothing but the program, /proc and a read-only /sys. There is
	// no /dev, no tracefs, and no file of the test's.
	Container = "container"
	// withJournald has a journald; see Journald.Sandbox.
	withJournald = "journald"
)

// sandboxName is the environment variable that makes the test binary put
// itself into a sandbox and become the program that its arguments name.
const sandboxName = "KERNELTEST_SANDBOX"

// Sandbox makes the command run in the sandbox. The test's package must call
// Main in TestMain.
func Sandbox(cmd *exec.Cmd, sandbox string) {
	cmd.Args = append([]string{"sandbox", cmd.Path}, cmd.Args...)
	cmd.Path = "/proc/self/exe"
	cmd.Env = append(cmd.Environ(), sandboxName+"="+sandbox)
	switch sandbox {
	case NoBTF:
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	case Container:
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID}
	}
}

// becomeSandboxed does not return.
func becomeSandboxed(sandbox string) {
	runtime.LockOSThread()
	program := os.Args[1]
	var err error
	switch sandbox {
	case NoBPF:
		err = refuseBPF()
	case NoBTF:
		err = unix.Mount("tmpfs", "/sys/kernel/btf", "tmpfs", 0, "")
	case withJournald:
		err = enterJournald()
	case Container:
		program, err = enterContainer(program)
	}
	if err == nil {
		os.Unsetenv(sandboxName)
		err = syscall.Exec(program, os.Args[2:], os.Environ())
	}
	fmt.Fprintf(os.Stderr, "enter the sandbox %q: %v\n", sandbox, err)
	os.Exit(100)
}

// refuseBPF installs a seccomp filter in classic BPF: it loads the number of
// the system call, which seccomp_data begins with, and compares it.
func refuseBPF() error {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_BPF, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: seccompErrno | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: seccompAllow},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_SECCOMP, seccompFilter, uintptr(unsafe.Pointer(&program)), 0, 0)
}

// From include/uapi/linux/seccomp.h.
const (
	seccompFilter = 2          // SECCOMP_MODE_FILTER
	seccompErrno  = 0x00050000 // SECCOMP_RET_ERRNO
	seccompAllow  = 0x7fff0000 // SECCOMP_RET_ALLOW
)
