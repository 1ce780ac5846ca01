package conn_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tcpstates/internal/event"
	"tcpstates/internal/golden"
	"tcpstates/internal/record"
)

// recordings is where the events of scenarios are kept as text.
const recordings = "../../testdata/rec"

// keepRecording rewrites the recording of a scenario, if that is asked for, and
// shows it if the test has failed.
func keepRecording(t *testing.T, name string, events []event.Event) {
	t.Helper()
	var text []byte
	for _, e := range rebased(events) {
		text = record.Append(text, &e)
	}
	if t.Failed() {
		t.Logf("the kernel reported\n%s", text)
		return
	}
	if !*golden.Update {
		return
	}
	file := strings.NewReplacer(" ", "-", ",", "").Replace(name) + ".rec"
	if err := os.WriteFile(filepath.Join(recordings, file), text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// rebased makes of recorded events ones that do not depend on the machine: the
// first happens a second after its start, and what has a number is numbered
// anew.
func rebased(events []event.Event) []event.Event {
	if len(events) == 0 {
		return nil
	}
	const second = 1_000_000_000
	base := events[0].Ktime - second
	cookies, addresses, pids := numbers{}, numbers{}, numbers{}
	var all []event.Event
	for _, e := range events {
		e.Ktime -= base
		e.Wall = int64(e.Ktime)
		if e.Since != 0 {
			e.Since -= base
		}
		if e.Accepted != 0 {
			e.Accepted -= base
		}
		e.Cookie, e.SkAddr = cookies.of(e.Cookie), addresses.of(e.SkAddr)
		e.Owner.PID, e.Current.PID = uint32(pids.of(uint64(e.Owner.PID))), uint32(pids.of(uint64(e.Current.PID)))
		e.Owner.Cgroup, e.Netns = 1, 1
		all = append(all, e)
	}
	return all
}

// numbers numbers things in the order of their appearance, from 1 on; zero
// stays zero.
type numbers map[uint64]uint64

func (n numbers) of(v uint64) uint64 {
	if v == 0 {
		return 0
	}
	if _, known := n[v]; !known {
		n[v] = uint64(len(n) + 1)
	}
	return n[v]
}
