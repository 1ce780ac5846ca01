package cgroup

import (
	"encoding/binary"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tcpstates/internal/event"
)

// Resolver is a pipeline.Stage that fills in the place of each event's owner.
// It looks when an owner is first heard of, while the process lives, and
// remembers what it found. What it found by the process, which may move to
// another cgroup of the same id in the version 2 hierarchy, it looks up again
// after a second. Its methods may be called from several goroutines.
type Resolver struct {
	mount *os.File // of the version 2 hierarchy; nil if there is none

	mu     sync.Mutex
	known  map[key]finding
	handle [8]byte
}

// key is what a place is remembered by. Processes in the root of the version 2
// hierarchy are told apart, since their place is in a version 1 hierarchy.
type key struct {
	cgroup  uint64
	process event.Process // the zero one: whoever is in the cgroup
}

// finding is a place and when it was found, by CLOCK_MONOTONIC in nanoseconds.
type finding struct {
	place *event.Place
	ktime uint64
}

// freshness is how long a place holds that was found by its process, in
// nanoseconds.
const freshness = uint64(time.Second)

// maxKnown bounds the memory; beyond it everything is looked up anew.
const maxKnown = 8192

// NewResolver finds the machine's hierarchies. Without the version 2 one, or
// the right to look into it by id (CAP_DAC_READ_SEARCH), places are found as
// long as their processes live.
func NewResolver() *Resolver {
	r := &Resolver{known: map[key]finding{}}
	if path := version2Mount(); path != "" {
		r.mount, _ = os.Open(path) // nil has the same meaning
	}
	return r
}

// Close gives the hierarchy back.
func (r *Resolver) Close() {
	if r.mount != nil {
		r.mount.Close()
	}
}

// version2Mount is where the version 2 hierarchy is mounted (proc_pid_mountinfo(5)):
// alone, or beside others in the hybrid layout. Empty if nowhere.
func version2Mount() string {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(mounts)) {
		before, after, found := strings.Cut(line, " - ")
		if fields := strings.Fields(before); found && len(fields) > 4 && strings.HasPrefix(after, "cgroup2 ") {
			return fields[4]
		}
	}
	return ""
}

// Apply implements pipeline.Stage.
func (r *Resolver) Apply(e *event.Event, next func(*event.Event) error) error {
	if e.Owner.Source != event.SourceUnknown {
		e.Owner.Place = r.Place(&e.Owner, e.Ktime)
	}
	return next(e)
}

// Place finds the place of an owner at the time of ktime, in nanoseconds of
// CLOCK_MONOTONIC; zero stands for a time before all others. What cannot be
// found is empty.
func (r *Resolver) Place(o *event.Owner, ktime uint64) *event.Place {
	r.mu.Lock()
	defer r.mu.Unlock()
	byCgroup := key{cgroup: o.Cgroup}
	if found, known := r.known[byCgroup]; known {
		return found.place
	}
	byProcess := key{o.Cgroup, o.Process}
	before, known := r.known[byProcess]
	if known && ktime < before.ktime+freshness {
		return before.place
	}
	if len(r.known) >= maxKnown {
		clear(r.known)
	}
	place, key := Parse(r.pathOf(o.Cgroup)), byCgroup
	if place.Cgroup == "" || place.Cgroup == "/" {
		place, key = Parse(processPath(o)), byProcess
	}
	found := &place
	if place.Cgroup == "" && known {
		found = before.place // the process has ended meanwhile
	}
	r.known[key] = finding{found, ktime}
	return found
}

// pathOf finds the path of a cgroup in the version 2 hierarchy by its id; empty
// if it is gone or may not be looked up.
func (r *Resolver) pathOf(id uint64) string {
	if r.mount == nil || id == 0 {
		return ""
	}
	binary.NativeEndian.PutUint64(r.handle[:], id)
	fd, err := openByID(r.mount, r.handle[:])
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	path, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return ""
	}
	path, inside := strings.CutPrefix(path, strings.TrimSuffix(r.mount.Name(), "/"))
	if !inside || strings.HasSuffix(path, " (deleted)") {
		return ""
	}
	return "/" + strings.TrimPrefix(path, "/")
}

// processPath is the path of a process's cgroup as /proc tells it (cgroups(7)):
// that in the version 2 hierarchy, or if the process is in its root, that in
// systemd's or any other. Empty if the process is gone, or its id is another
// process's by now.
func processPath(o *event.Owner) string {
	dir := "/proc/" + strconv.FormatUint(uint64(o.PID), 10)
	hierarchies, err := os.ReadFile(dir + "/cgroup")
	if err != nil {
		return ""
	}
	name, err := os.ReadFile(dir + "/comm")
	if err != nil || event.CommOf(strings.TrimSuffix(string(name), "\n")) != o.Comm {
		return ""
	}
	best := ""
	for line := range strings.Lines(string(hierarchies)) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(fields) != 3 {
			continue
		}
		controllers, path := fields[1], fields[2]
		preferred := controllers == "" || controllers == "name=systemd"
		if best == "" || best == "/" || preferred && path != "/" {
			best = path
		}
	}
	return best
}
