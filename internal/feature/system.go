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

// system is what there is to look at.
type system struct {
	root    fs.FS        // the root file system
	release string       // the kernel's, as uname -r prints it
	bpf     func() error // tries bpf()
	memlock func() error // lifts the limit on locked memory, where it matters
}

func thisSystem() system {
	var uts unix.Utsname
	_ = unix.Uname(&uts) // fails for a bad pointer alone
	return system{
		root:    os.DirFS("/"),
		release: unix.ByteSliceToString(uts.Release[:]),
		bpf:     makeMap,
		memlock: liftMemlock,
	}
}

// KernelRelease is the running kernel's release, as uname -r prints it.
func KernelRelease() string { return thisSystem().release }

// The capabilities in question (include/uapi/linux/capability.h):
// CAP_SYS_ADMIN serves for CAP_BPF and CAP_PERFMON, which are of Linux 5.8.
const (
	capDACReadSearch = 2
	capSysPtrace     = 19
	capSysAdmin      = 21
	capPerfmon       = 38
	capBPF           = 39
)

func (s system) exists(name string) bool {
	_, err := fs.Stat(s.root, name)
	return err == nil
}

// line is what a file of one line says; empty if it cannot be read.
func (s system) line(name string) string {
	text, err := fs.ReadFile(s.root, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// ofStatus is the value of a field of /proc/self/status; empty if it is not
// there.
func (s system) ofStatus(field string) string {
	for line := range strings.Lines(s.line("proc/self/status")) {
		if name, value, _ := strings.Cut(line, ":"); name == field {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// capabilities gives a look at the process's effective ones; false if they
// cannot be known.
func (s system) capabilities() (has func(capability uint) bool, known bool) {
	effective, err := strconv.ParseUint(s.ofStatus("CapEff"), 16, 64)
	return func(capability uint) bool { return effective&(1<<capability) != 0 }, err == nil
}

// knowsCapBPF tells whether the kernel has CAP_BPF and CAP_PERFMON; a new one
// if it does not say.
func (s system) knowsCapBPF() bool {
	last, err := strconv.Atoi(s.line("proc/sys/kernel/cap_last_cap"))
	return err != nil || last >= capBPF
}

// missingCapabilities names those of the process's effective capabilities
// that are not there; empty when none is missing or when it cannot be known.
func (s system) missingCapabilities() string {
	has, known := s.capabilities()
	switch {
	case !known, has(capSysAdmin):
		return ""
	case !s.knowsCapBPF():
		return "root, or the capability CAP_SYS_ADMIN"
	case has(capBPF) && has(capPerfmon):
		return ""
	case has(capBPF):
		return "the capability CAP_PERFMON"
	case has(capPerfmon):
		return "the capability CAP_BPF"
	}
	return "root, or the capabilities CAP_BPF and CAP_PERFMON"
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

// initPIDNamespace is what /proc/PID/ns/pid links to in the machine's own PID
// namespace (PROC_PID_INIT_INO of include/linux/proc_ns.h).
const initPIDNamespace = "pid:[4026531836]"

// inFirstPIDNamespace tells whether process ids are the machine's; true if
// that cannot be known.
func (s system) inFirstPIDNamespace() bool {
	link, err := fs.ReadLink(s.root, "proc/self/ns/pid")
	return err != nil || link == initPIDNamespace
}

// mount is where a file system of the type is mounted first, with its options
// (proc_pid_mountinfo(5)); false if nowhere.
func (s system) mount(fsType string) (path, options string, found bool) {
	for line := range strings.Lines(s.line("proc/self/mountinfo")) {
		before, after, _ := strings.Cut(line, " - ")
		at, of := strings.Fields(before), strings.Fields(after)
		if len(at) > 4 && len(of) > 2 && of[0] == fsType {
			return at[4], of[2], true
		}
	}
	return "", "", false
}

// tracefs finds the one that is mounted.
func (s system) tracefs() (fs.FS, error) {
	path, _, found := s.mount("tracefs")
	if !found {
		return nil, errors.New("tracefs is not mounted")
	}
	return fs.Sub(s.root, strings.TrimPrefix(path, "/"))
}

// OlderThan tells whether the running kernel is older than Linux major.minor;
// false if its release says nothing of that.
func OlderThan(major, minor int) bool { return thisSystem().olderThan(major, minor) }

func (s system) olderThan(major, minor int) bool {
	var haveMajor, haveMinor int
	if n, _ := fmt.Sscanf(s.release, "%d.%d", &haveMajor, &haveMinor); n != 2 {
		return false
	}
	return haveMajor < major || haveMajor == major && haveMinor < minor
}
