package feature

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// yes is the result of what is there, and what was seen of it.
func yes(seen string) Result { return Result{Answer: Yes, Reason: seen} }

// The first kernel with one of the ways to trace: raw tracepoints, and the
// tracepoint itself a version before.
const neededMajor, neededMinor = 4, 17

func kernel(l *List) Result {
	if !l.olderThan(neededMajor, neededMinor) {
		return yes("Linux " + l.release)
	}
	return Result{
		Answer: No,
		Reason: fmt.Sprintf("kernel %s is too old", l.release),
		Remedy: fmt.Sprintf("tracing needs Linux %d.%d or later", neededMajor, neededMinor),
	}
}

func proc(l *List) Result {
	if l.exists("proc/self/status") {
		return yes("")
	}
	return Result{
		Answer: No,
		Reason: "/proc is not mounted, and loading the programs needs it",
		Remedy: "mount -t proc proc /proc",
	}
}

func userNamespace(l *List) Result {
	if l.inFirstUserNamespace() {
		return yes("the machine's own")
	}
	return Result{
		Answer: No,
		Reason: "tracing needs the machine's own user namespace, and this process is in another one",
		Remedy: "run it outside of rootless containers and of unshare --user, as root",
	}
}

func capabilities(l *List) Result {
	missing := l.missingCapabilities()
	if missing == "" {
		return yes("those that tracing needs")
	}
	remedy := "run it as root (sudo tcpstates), or in a container with --cap-add BPF --cap-add PERFMON or --privileged"
	if !l.knowsCapBPF() {
		remedy = "run it as root (sudo tcpstates), or in a container with --cap-add SYS_ADMIN or --privileged"
	}
	return Result{Answer: No, Reason: "tracing needs " + missing, Remedy: remedy}
}

// lockdown looks at the file that shows the mode in force in brackets
// (security/lockdown/lockdown.c); it is not there in kernels without.
func lockdown(l *List) Result {
	modes := l.line("sys/kernel/security/lockdown")
	if !strings.Contains(modes, "[confidentiality]") {
		return yes("the kernel lets its memory be read")
	}
	return Result{
		Answer: No,
		Reason: "the kernel is locked down (mode confidentiality), which forbids tracing",
		Remedy: "boot with lockdown=integrity or without Secure Boot",
	}
}

func unprivilegedBPF(l *List) Result {
	value := l.line("proc/sys/kernel/unprivileged_bpf_disabled")
	if value == "" || value == "0" || l.missingCapabilities() == "" {
		return yes("kernel.unprivileged_bpf_disabled is no obstacle")
	}
	return Result{
		Answer: No,
		Reason: "kernel.unprivileged_bpf_disabled is " + value + ", so that bpf() is refused without capabilities",
		Remedy: "give it the capabilities, which tracing needs at any value",
	}
}

// enoughMemlock is a limit on locked memory that suffices, in bytes: the ring
// buffer is 8 MiB by default, and the other maps are smaller.
const enoughMemlock = 64 << 20

// memlock: kernels before 5.11 count maps against the limit on locked memory.
func memlock(l *List) Result {
	err := l.system.memlock()
	if err == nil || !l.olderThan(5, 11) {
		return yes("no limit is in the way of the maps")
	}
	return Result{
		Answer: No,
		Reason: "this kernel counts maps as locked memory, and this process may not raise its limit of it",
		Remedy: "run it as root, or with ulimit -l unlimited (LimitMEMLOCK=infinity in a service)",
		Err:    err,
	}
}

// isRefusal tells whether the kernel refused for want of privilege.
func isRefusal(err error) bool { return errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) }

// behind is the answer for what cannot be known for one of the ids, which
// keeps this process from loading programs whatever the kernel can do; false
// if none is seen to. err is the kernel's refusal.
func (l *List) behind(err error, ids ...ID) (Result, bool) {
	for _, id := range ids {
		if l.Ask(id).Answer == No {
			return Result{Reason: "not known, for want of the right: see " + l.rows[id].Name, Err: err}, true
		}
	}
	return Result{}, false
}

// The policies that may refuse bpf() to a process with all privileges.
var (
	bySeccomp = Result{
		Answer: No,
		Reason: "a seccomp filter of the container or service refuses bpf()",
		Remedy: "run the container with --privileged or --security-opt seccomp=unconfined, " +
			"or the service without SystemCallFilter",
	}
	bySELinux = Result{
		Answer: No,
		Reason: "SELinux is enforcing, and bpf() is refused to this process",
		Remedy: "look for its denial (ausearch -m avc -ts recent), and allow it or run tcpstates in another domain",
	}
	byPolicy = Result{
		Answer: No,
		Reason: "a security policy (SELinux, AppArmor or another) refuses bpf() to this process",
		Remedy: "look for its denial in the kernel's log (dmesg, ausearch -m avc)",
	}
)

// policy is the one that refused what capabilities allow, as far as is seen.
func (l *List) policy(err error) Result {
	result := byPolicy
	switch {
	case errors.Is(err, unix.EPERM) && l.filtered():
		result = bySeccomp
	case l.enforcing():
		result = bySELinux
	}
	result.Err = err
	return result
}

// filtered tells whether a seccomp filter is installed (mode 2 of proc(5)).
func (s system) filtered() bool { return s.ofStatus("Seccomp") == "2" }

// enforcing tells whether SELinux is.
func (s system) enforcing() bool { return s.line("sys/fs/selinux/enforce") == "1" }

var noSyscall = Result{
	Answer: No,
	Reason: "this kernel is built without bpf()",
	Remedy: "tracing needs one with CONFIG_BPF_SYSCALL",
}

func bpfSyscall(l *List) Result {
	err := l.bpf()
	switch {
	case err == nil:
		return yes("")
	case errors.Is(err, unix.ENOSYS):
		result := noSyscall
		result.Err = err
		return result
	case !isRefusal(err):
		return Result{Reason: "bpf() fails", Err: err}
	}
	if unknown, found := l.behind(err, UserNamespace, Capabilities, Lockdown, Memlock); found {
		return unknown
	}
	return l.policy(err)
}

// ofPolicy is the answer about one of the policies, which is here or absent.
func ofPolicy(l *List, here bool, absent string, policy Result) Result {
	bpf := l.Ask(BPFSyscall)
	switch {
	case !here:
		return yes(absent)
	case bpf.Answer == No && bpf.Reason == policy.Reason:
		return bpf
	case bpf.Answer == Unknown:
		return Result{Reason: bpf.Reason}
	}
	return yes("it lets bpf() pass")
}

func seccomp(l *List) Result { return ofPolicy(l, l.filtered(), "no filter is installed", bySeccomp) }
func selinux(l *List) Result { return ofPolicy(l, l.enforcing(), "it is not enforcing", bySELinux) }
