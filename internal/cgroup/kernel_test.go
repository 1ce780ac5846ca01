package cgroup

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"tcpstates/internal/event"
	"tcpstates/internal/kerneltest"
)

// sleeper is a process in a cgroup of its own, and its owner's record.
func sleeper(t *testing.T) (dir string, o event.Owner, end func()) {
	t.Helper()
	mount := version2Mount()
	if mount == "" {
		t.Fatal("the version 2 hierarchy is not mounted")
	}
	parent := filepath.Join(mount, "tcpstates-test-"+strconv.Itoa(os.Getpid()))
	dir = filepath.Join(parent, "docker-"+id+".scope")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.Remove(dir)
		_ = os.Remove(parent)
	}
	t.Cleanup(end)
	var st unix.Stat_t
	err := errors.Join(
		os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(cmd.Process.Pid)), 0),
		unix.Stat(dir, &st))
	if err != nil {
		t.Fatal(err)
	}
	return dir, event.Owner{
		Process: event.Process{PID: uint32(cmd.Process.Pid), Comm: event.CommOf("sleep")},
		Source:  event.SourceConnect, Cgroup: st.Ino,
	}, end
}

func TestResolver(t *testing.T) {
	kerneltest.Require(t)
	_, o, end := sleeper(t)

	byID := NewResolver()
	defer byID.Close()
	withoutID := o
	withoutID.Cgroup = 0
	byProcess := NewResolver()
	defer byProcess.Close()
	wrongName := withoutID
	wrongName.Comm = event.CommOf("another")

	for _, test := range []struct {
		name     string
		resolver *Resolver
		owner    event.Owner
		want     string
	}{
		{"by the cgroup's id", byID, o, id},
		{"by the process", byProcess, withoutID, id},
		{"another process of that number", NewResolver(), wrongName, ""},
	} {
		e := event.Event{Owner: test.owner}
		test.resolver.Apply(&e, dismiss)
		if got := e.Owner.Place.Container; got != test.want {
			t.Errorf("%s: %+v, want container %q", test.name, e.Owner.Place, test.want)
		}
	}

	end()
	if place := byID.Place(&o, 0); place.Container != id {
		t.Errorf("forgot the place when the process had ended: %+v", place)
	}
	if place := NewResolver().Place(&o, 0); *place != (event.Place{}) {
		t.Errorf("a removed cgroup has the place %+v", place)
	}
	unknown := event.Event{}
	byID.Apply(&unknown, dismiss)
	if unknown.Owner.Place != nil {
		t.Errorf("an unknown owner has the place %+v", unknown.Owner.Place)
	}
}

// TestProcessThatMoves looks a process up by /proc, before and after it moves
// and when it has ended.
func TestProcessThatMoves(t *testing.T) {
	kerneltest.Require(t)
	dir, o, end := sleeper(t)
	o.Cgroup = 0
	r := NewResolver()
	defer r.Close()
	if place := r.Place(&o, 0); place.Container != id {
		t.Errorf("at first: %+v", place)
	}
	parent := filepath.Dir(dir)
	if err := os.WriteFile(filepath.Join(parent, "cgroup.procs"), []byte(strconv.Itoa(int(o.PID))), 0); err != nil {
		t.Fatal(err)
	}
	if place := r.Place(&o, freshness-1); place.Container != id {
		t.Errorf("what was just found is looked up again: %+v", place)
	}
	if place := r.Place(&o, freshness); place.Container != "" || place.Cgroup == "" {
		t.Errorf("after it moved: %+v", place)
	}
	end()
	if place := r.Place(&o, 3*freshness); place.Cgroup == "" {
		t.Error("forgotten when it ended")
	}
	reused := o
	reused.Comm = event.CommOf("another")
	if place := r.Place(&reused, 3*freshness); place.Cgroup != "" {
		t.Errorf("another process has the place of the one that ended: %+v", place)
	}
}

func TestResolverIsBounded(t *testing.T) {
	r := NewResolver()
	defer r.Close()
	for i := range uint64(3 * maxKnown) {
		r.Place(&event.Owner{Cgroup: 1<<60 + i}, 0)
	}
	if len(r.known) > maxKnown {
		t.Errorf("%d places are remembered, the limit is %d", len(r.known), maxKnown)
	}
}

func TestKnownPlaceAllocatesNothing(t *testing.T) {
	r := NewResolver()
	defer r.Close()
	e := event.Event{Owner: event.Owner{Cgroup: 1 << 60, Source: event.SourceIO}}
	r.Apply(&e, dismiss)
	if n := testing.AllocsPerRun(100, func() { _ = r.Apply(&e, dismiss) }); n != 0 {
		t.Errorf("%v allocations an event", n)
	}
}

// dismiss is what comes after the resolver.
func dismiss(*event.Event) error { return nil }
