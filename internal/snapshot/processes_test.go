package snapshot

import (
	"os"
	"slices"
	"strings"
	"testing"

	"tcpstates/internal/event"
	"tcpstates/internal/kerneltest"
)

func TestProcesses(t *testing.T) {
	kerneltest.Require(t)
	helper := kerneltest.StartHelper(t, kerneltest.NewNetns(t), "a) S 1 (b")
	own, err := inodeOf("/proc/self/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	all, err := Processes(uint32(own))
	if err != nil {
		t.Fatal(err)
	}
	at := map[uint32]int{}
	for i, e := range all {
		if e.Kind != event.KindFork || !e.Before {
			t.Fatalf("process %d: it is said to be new: %+v", e.Current.PID, e)
		}
		at[e.Current.PID] = i
	}
	for i, e := range all {
		if parent, known := at[e.Owner.PID]; known && parent > i {
			t.Errorf("process %d stands before its parent", e.Current.PID)
		}
	}
	child := all[at[helper.PID()]]
	self := all[at[uint32(os.Getpid())]]
	// The helper gives itself its name, perhaps after this.
	if name := child.Current.Comm; name != event.CommOf("a) S 1 (b") && name != event.CommOf("exe") {
		t.Errorf("the helper has the name %q", name)
	}
	if child.Owner.Process != self.Current || self.Owner.PID != uint32(os.Getppid()) {
		t.Errorf("the helper %+v is the child of %+v, and this process of %+v", child.Current, child.Owner.Process, self.Owner.Process)
	}
}

func TestProcessesOfAnotherPIDNamespace(t *testing.T) {
	if _, err := Processes(1); err == nil || !strings.Contains(err.Error(), "another PID namespace") {
		t.Errorf("got %v", err)
	}
}

func TestParseStat(t *testing.T) {
	for stat, want := range map[string]event.Process{
		"1 (systemd) S 0 1 1 0":        {PID: 0, Comm: event.CommOf("systemd")},
		"12 (a) R 9 (b) S 34 12\n":     {PID: 34, Comm: event.CommOf("a) R 9 (b")},
		"12 () S 4294967295":           {PID: 4294967295},
		"12 (kworker/u8:2-events) I 2": {PID: 2, Comm: event.CommOf("kworker/u8:2-events")},
	} {
		if comm, parent, err := parseStat(stat); err != nil || (event.Process{PID: parent, Comm: comm}) != want {
			t.Errorf("%q: got %s and %d, %v", stat, comm, parent, err)
		}
	}
	for _, stat := range []string{"", "12", "12 )name( S 1", "12 (name)", "12 (name) S", "12 (name) S -1", "12 (name) S 4294967296"} {
		if _, _, err := parseStat(stat); err == nil {
			t.Errorf("%q: no error", stat)
		}
	}
}

func TestParentsFirst(t *testing.T) {
	for _, test := range []struct {
		name    string
		parents [][2]uint32 // of each process: itself, its parent
		want    []uint32
	}{
		{"in order", [][2]uint32{{1, 0}, {2, 1}, {3, 2}}, []uint32{1, 2, 3}},
		{"against it", [][2]uint32{{3, 2}, {2, 1}, {1, 0}}, []uint32{1, 2, 3}},
		{"an unknown parent", [][2]uint32{{7, 99}, {5, 7}}, []uint32{7, 5}},
		{"two families", [][2]uint32{{4, 2}, {5, 3}, {2, 0}, {3, 0}}, []uint32{2, 4, 3, 5}},
		{"a circle", [][2]uint32{{1, 2}, {2, 1}, {3, 1}}, []uint32{2, 1, 3}},
		{"its own parent", [][2]uint32{{1, 1}}, []uint32{1}},
	} {
		var all []event.Event
		for _, p := range test.parents {
			all = append(all, event.Event{Current: event.Process{PID: p[0]}, Owner: event.Owner{Process: event.Process{PID: p[1]}}})
		}
		var got []uint32
		for _, e := range parentsFirst(all) {
			got = append(got, e.Current.PID)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}
