//go:build linux

package conn_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tcpstates/internal/conn"
	"tcpstates/internal/event"
	"tcpstates/internal/filter"
	"tcpstates/internal/kerneltest"
	"tcpstates/internal/probe"
)

// counting is a summary in the kernel beside a trace; nil where that has not the backend
// for one.
type counting struct{ *probe.Summary }

// countBeside begins one of the namespace.
func countBeside(t *testing.T, ns *kerneltest.Netns, k *tracking) *counting {
	t.Helper()
	if !k.knows.Sockets {
		return nil
	}
	s, err := probe.LoadSummary(probe.Options{Filter: filter.Lowered{Netns: &filter.NumberRule{Numbers: []uint32{ns.Inode}}}})
	if err != nil {
		t.Fatalf("summary: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.Start(); err != nil {
		t.Fatalf("summary: %v", err)
	}
	return &counting{s}
}

// requireSame checks that it tells of the ends of connections what is told of the events
// that the kernel has reported, by who follows no minisocks: as often each reason.
func (c *counting) requireSame(t *testing.T, events []event.Event) {
	t.Helper()
	if c == nil {
		return
	}
	c.Stop()
	var counted probe.Counted
	if err := c.Counted(&counted); err != nil {
		t.Fatal(err)
	}
	got, want := map[string]uint64{}, map[string]uint64{}
	for _, end := range counted.Ends {
		if conn.EndOf(&end.Event, end.Reported) && end.Event.Role != event.RoleListener {
			got[reasonOf(&end.Event)] += end.N
		}
	}
	events = slices.DeleteFunc(events, func(e event.Event) bool { // of a minisock
		return e.Kind == event.KindResetSent && e.NewState == event.TimeWait
	})
	out, _ := replay(t, conn.DefaultMaxConns, withoutCookies(events))
	for _, e := range ends(out) {
		want[reasonOf(&e)]++
	}
	if diff := cmp.Diff(want, got); diff != "" || counted.Unsorted != 0 {
		t.Errorf("counted in the kernel, with %d unsorted: -want +got:\n%s", counted.Unsorted, diff)
	}
}

func reasonOf(e *event.Event) string {
	return e.OldState.String() + " " + e.End.Reason.String() + " " + e.End.Cause.String()
}
