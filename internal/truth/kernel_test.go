package truth

import (
	"testing"

	"tcpstates/internal/kerneltest"
	"tcpstates/internal/traffic"
)

// TestCount counts what a storm is made of, and nothing of another namespace.
func TestCount(t *testing.T) {
	kerneltest.Require(t)
	ns, other := kerneltest.NewNetns(t), kerneltest.NewNetns(t)
	counter, err := Start(ns.Inode)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { counter.Close() })
	kerneltest.Storm(t, other, 100)
	kerneltest.Storm(t, ns, 4000)
	ns.Settle(t)
	count, err := counter.Now()
	if err != nil {
		t.Fatal(err)
	}
	// What was missed may have been of others.
	const want = uint64(4000 * traffic.MeanTransitions)
	if got := count.OfConnections(); got < want || got-count.Missed > want {
		t.Errorf("%d transitions of connections counted, of which %d missed; want %v", got, count.Missed, want)
	}
	if count.OfListeners == 0 || count.OfListeners%traffic.OfListener != 0 {
		t.Errorf("%d transitions of listeners counted", count.OfListeners)
	}
}
