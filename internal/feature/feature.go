// Package feature knows what tracing needs of the kernel and of the process's
// privileges, and puts into words which of it is missing.
package feature

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Missing is why this machine, or this process on it, cannot trace.
type Missing struct {
	// What is a sentence for the person at the terminal: what is missing and
	// what mends it.
	What string
	// Err is the kernel's refusal.
	Err error
}

func (m *Missing) Error() string { return m.What }

// Unwrap gives the kernel's refusal.
func (m *Missing) Unwrap() error { return m.Err }

// Diagnose finds out why the kernel refused to load or attach the programs,
// err being its refusal, by looking at what they need.
func Diagnose(err error) *Missing {
	return &Missing{What: diagnose(thisSystem(), err), Err: err}
}

// system is what a diagnosis looks at.
type system struct {
	root    fs.FS  // the root file system
	release string // the kernel's, as uname -r prints it
}

func thisSystem() system {
	var uts unix.Utsname
	_ = unix.Uname(&uts) // fails for a bad pointer alone
	return system{root: os.DirFS("/"), release: unix.ByteSliceToString(uts.Release[:])}
}

// KernelRelease is the running kernel's release, as uname -r prints it.
func KernelRelease() string { return thisSystem().release }

// The capabilities that the programs need (include/uapi/linux/capability.h):
// CAP_SYS_ADMIN serves for both of the others.
const (
	capDACReadSearch = 2
	capSysPtrace     = 19
	capSysAdmin      = 21
	capPerfmon       = 38
	capBPF           = 39
)

// The first kernel with all the programs use: bpf_get_socket_cookie in tp_btf
// programs came last.
const neededMajor, neededMinor = 5, 12

// diagnose asks the causes in the order in which a person would have to mend
// them.
func diagnose(s system, err error) string {
	switch {
	case errors.Is(err, unix.ENOSYS):
		return "this kernel is built without bpf(): tracing needs one with CONFIG_BPF_SYSCALL"
	case !s.exists("proc/self/status"):
		return "/proc is not mounted, and loading the programs needs it: mount -t proc proc /proc"
	case !s.exists("sys/kernel"):
		return "/sys is not mounted, and the kernel's type information is in there: mount -t sysfs sysfs /sys"
	case !s.inFirstUserNamespace():
		return "tracing needs the machine's own user namespace, and this process is in another one: " +
			"run it outside of rootless containers and of unshare --user, as root"
	}
	if missing := s.missingCapabilities(); missing != "" {
		return "tracing needs " + missing + ": run it as root (sudo tcpstates), " +
			"or in a container with --cap-add BPF --cap-add PERFMON or --privileged"
	}
	switch {
	case s.lockedDown():
		return "the kernel is locked down (mode confidentiality), which forbids tracing: " +
			"boot with lockdown=integrity or without Secure Boot"
	case s.olderThan(neededMajor, neededMinor):
		return fmt.Sprintf("kernel %s is too old: tracing needs Linux %d.%d or later",
			s.release, neededMajor, neededMinor)
	case !s.exists("sys/kernel/btf/vmlinux"):
		return "the kernel has no type information (/sys/kernel/btf/vmlinux is not there): " +
			"boot a kernel with CONFIG_DEBUG_INFO_BTF=y, as the distributions' own have it"
	case errors.Is(err, unix.EPERM) && s.filtered():
		return "a seccomp filter of the container or service refuses bpf(): " +
			"run the container with --privileged or --security-opt seccomp=unconfined, " +
			"or the service without SystemCallFilter"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return "a security policy (SELinux, AppArmor or another) refuses bpf() to this process: " +
			"look for its denial in the kernel's log (dmesg, ausearch -m avc)"
	case errors.Is(err, unix.ENOMEM):
		return "the kernel has no memory for the maps: give a smaller --buffer, or raise the memory limit of the cgroup"
	}
	return "the kernel refuses the programs: run with -v for its own words"
}

func (s system) exists(name string) bool {
	_, err := fs.Stat(s.root, name)
	return err == nil
}

// MissingForWalk names the capabilities that looking into other network
// namespaces and finding cgroups by their ids needs, and that the process
// lacks; empty if it has them all. Those of a user namespace of its own do not
// count.
func MissingForWalk() string { return thisSystem().missingForWalk() }

func (s system) missingForWalk() string {
	has, known := s.capabilities()
	if !known {
		return ""
	}
	foreign := !s.inFirstUserNamespace()
	var missing []string
	for _, capability := range []struct {
		bit  uint
		name string
	}{{capSysPtrace, "CAP_SYS_PTRACE"}, {capSysAdmin, "CAP_SYS_ADMIN"}, {capDACReadSearch, "CAP_DAC_READ_SEARCH"}} {
		if foreign || !has(capability.bit) {
			missing = append(missing, capability.name)
		}
	}
	return strings.Join(missing, ", ")
}

// capabilities gives a look at the process's effective ones; false if they
// cannot be known.
func (s system) capabilities() (has func(capability uint) bool, known bool) {
	effective, err := strconv.ParseUint(s.ofStatus("CapEff"), 16, 64)
	return func(capability uint) bool { return effective&(1<<capability) != 0 }, err == nil
}

// missingCapabilities names those of the process's effective capabilities
// that are not there; empty when none is missing or when it cannot be known.
func (s system) missingCapabilities() string {
	has, known := s.capabilities()
	switch {
	case !known:
		return ""
	case has(capSysAdmin) || has(capBPF) && has(capPerfmon):
		return ""
	case has(capBPF):
		return "the capability CAP_PERFMON"
	case has(capPerfmon):
		return "the capability CAP_BPF"
	}
	return "root, or the capabilities CAP_BPF and CAP_PERFMON"
}

// ofStatus is the value of a field of /proc/self/status; empty if it is not
// there.
func (s system) ofStatus(field string) string {
	status, err := fs.ReadFile(s.root, "proc/self/status")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(status)) {
		if name, value, _ := strings.Cut(line, ":"); name == field {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// inFirstUserNamespace tells whether user ids map to themselves, all of them,
// as they do in the initial user namespace alone (user_namespaces(7)).
func (s system) inFirstUserNamespace() bool {
	uidMap, err := fs.ReadFile(s.root, "proc/self/uid_map")
	if err != nil {
		return true // a kernel without user namespaces
	}
	fields := strings.Fields(string(uidMap))
	return len(fields) == 3 && fields[0] == "0" && fields[1] == "0" && fields[2] == "4294967295"
}

// lockedDown tells whether reading kernel memory is forbidden; the file shows
// the mode in force in brackets (security/lockdown/lockdown.c).
func (s system) lockedDown() bool {
	modes, err := fs.ReadFile(s.root, "sys/kernel/security/lockdown")
	return err == nil && strings.Contains(string(modes), "[confidentiality]")
}

// filtered tells whether a seccomp filter is installed (mode 2 of proc(5)).
func (s system) filtered() bool { return s.ofStatus("Seccomp") == "2" }

func (s system) olderThan(major, minor int) bool {
	var haveMajor, haveMinor int
	if n, _ := fmt.Sscanf(s.release, "%d.%d", &haveMajor, &haveMinor); n != 2 {
		return false
	}
	return haveMajor < major || haveMajor == major && haveMinor < minor
}
