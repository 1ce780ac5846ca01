package snapshot

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"tcpstates/internal/event"
)

// machinesPIDNamespace is the inode number of the machine's own PID namespace
// (include/linux/proc_ns.h, PROC_PID_INIT_INO).
const machinesPIDNamespace = 0xEFFFFFFC

// Processes lists the processes that exist and that /proc shows, parents before
// their children, as events of event.KindFork without a time. pidNamespace is the
// inode number of the PID namespace whose process ids are told; zero means the
// machine's. /proc has those of the caller's own namespace alone: it is an error to
// ask for others.
func Processes(pidNamespace uint32) ([]event.Event, error) {
	own, err := inodeOf("/proc/self/ns/pid")
	if err != nil {
		return nil, fmt.Errorf("find the processes that exist: %w: is /proc mounted?", err)
	}
	if pidNamespace == 0 {
		pidNamespace = machinesPIDNamespace
	}
	if own != uint64(pidNamespace) {
		return nil, errors.New("find the processes that exist: /proc has the process ids of another PID namespace than the trace: " +
			"run the container with --pid=host, or give --pidns")
	}
	var all []event.Event
	for _, name := range entries("/proc") {
		pid, err := strconv.ParseUint(name, 10, 32)
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			continue // it has ended
		}
		comm, parent, err := parseStat(string(stat))
		if err != nil {
			return nil, fmt.Errorf("find the processes that exist: /proc/%s/stat: %w", name, err)
		}
		all = append(all, event.Event{
			Kind: event.KindFork, Before: true,
			Owner:   event.Owner{Process: event.Process{PID: parent}},
			Current: event.Process{PID: uint32(pid), Comm: comm},
		})
	}
	return parentsFirst(all), nil
}

// parseStat reads a process's name and its parent's number: "12 (name) S 1 ..."
// (proc_pid_stat(5)). The name may have any characters, parentheses included.
func parseStat(stat string) (comm event.Comm, parent uint32, err error) {
	begin, end := strings.IndexByte(stat, '('), strings.LastIndexByte(stat, ')')
	if begin < 0 || end < begin {
		return comm, 0, fmt.Errorf("no name in %q", stat)
	}
	fields := strings.Fields(stat[end+1:])
	if len(fields) < 2 {
		return comm, 0, fmt.Errorf("no parent in %q", stat)
	}
	n, err := strconv.ParseUint(fields[1], 10, 32)
	return event.CommOf(stat[begin+1 : end]), uint32(n), err
}

// parentsFirst puts each process behind its parent, if that is among them, and says
// its parent's name. What was read of numbers that were used again meanwhile may go
// round in a circle: then it begins somewhere.
func parentsFirst(all []event.Event) []event.Event {
	place := make(map[uint32]int, len(all))
	for i := range all {
		place[all[i].Current.PID] = i
	}
	ordered := make([]event.Event, 0, len(all))
	told := make([]bool, len(all))
	for i := range all {
		var line []int // of ancestors that were not told yet, the youngest first
		for known := true; known && !told[i]; i, known = place[all[i].Owner.PID] {
			told[i] = true
			line = append(line, i)
		}
		for _, i := range slices.Backward(line) {
			e := all[i]
			if parent, known := place[e.Owner.PID]; known {
				e.Owner.Comm = all[parent].Current.Comm
			}
			ordered = append(ordered, e)
		}
	}
	return ordered
}
