package feature

import (
	"errors"
	"io/fs"
	"strconv"
	"strings"
)

// What else a trace may use, and where this process stands.

func tracefs(l *List) Result {
	if path, _, found := l.mount("tracefs"); found {
		return yes("at " + path)
	}
	if l.exists("sys/kernel/debug/tracing/events") { // mounted when it is looked at
		return yes("at /sys/kernel/debug/tracing")
	}
	return Result{Answer: No, Reason: "tracefs is not mounted", Remedy: "mount -t tracefs tracefs /sys/kernel/tracing"}
}

func walk(l *List) Result {
	missing := l.missingForWalk()
	if missing == "" {
		return yes("")
	}
	return Result{Answer: No, Reason: "the process lacks " + missing, Remedy: "run it as root, or with them"}
}

func pidNamespace(l *List) Result {
	if l.inFirstPIDNamespace() {
		return yes("the machine's own")
	}
	return Result{
		Answer: No,
		Reason: "this process is in a PID namespace of its own",
		Remedy: "run the container with --pid=host, or give --pidns for the process ids of this namespace",
	}
}

// hiddenProc: the mount option hidepid hides the processes of others, but not
// from CAP_SYS_PTRACE (proc(5)).
func hiddenProc(l *List) Result {
	_, options, _ := l.mount("proc")
	has, _ := l.capabilities()
	for option := range strings.SplitSeq(options, ",") {
		value, found := strings.CutPrefix(option, "hidepid=")
		if found && value != "0" && value != "off" && !has(capSysPtrace) {
			return Result{
				Answer: No,
				Reason: "/proc is mounted with " + option + ", and hides the processes of others",
				Remedy: "run it as root, or with CAP_SYS_PTRACE",
			}
		}
	}
	return yes("nothing is hidden")
}

func cgroup2(l *List) Result {
	if path, _, found := l.mount("cgroup2"); found {
		return yes("at " + path)
	}
	return Result{
		Answer: No,
		Reason: "the version 2 hierarchy of cgroups is not mounted",
		Remedy: "mount -t cgroup2 cgroup2 /sys/fs/cgroup, or in a container --cgroupns=host",
	}
}

// ofTracefs tells whether programs may be tied to the tracepoint by its number
// in tracefs.
func (l *List) ofTracefs(root fs.FS) Result {
	text, err := fs.ReadFile(root, tracepointID)
	if err == nil {
		_, err = strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return Result{Reason: "not known: this process may not read tracefs", Err: err}
	case err != nil:
		return Result{Answer: No, Err: err, Reason: "the kernel has no tracepoint sock:" + traced, Remedy: "boot Linux 4.16 or later"}
	}
	return l.tried(l.tryTracepoint(), "the kernel has no programs of this type", "boot one with CONFIG_BPF_EVENTS")
}
