package main

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"tcpstates/internal/traffic"
	"tcpstates/internal/truth"
)

// TestVerdict has a soak without fault, and one for each fault.
func TestVerdict(t *testing.T) {
	end := netip.MustParseAddrPort("127.77.0.1:1")
	for broken, spoil := range map[string]func(f *findings){
		"": func(*findings) {},
		"transitions were shown, where 12 happened": func(f *findings) { f.seen.Add(-2) },
		"shown, where 12 happened":                  func(f *findings) { f.seen.Add(3) },
		"3 events were lost":                        func(f *findings) { f.lost = 3 },
		"1 times in ESTABLISHED are wrong":          func(f *findings) { f.matched.judge(2*time.Second, traffic.Bounds{Max: time.Second}) },
		"of 1 clients was not told":                 func(f *findings) { f.matched.happened(traffic.Bounds{Local: end}) },
		"load knows nothing of":                     func(f *findings) { f.matched.tell(ends{local: end}, 0) },
		"memory grew":                               func(f *findings) { f.memory[3], f.memory[2] = 90<<20, 90<<20 },
		"open files grew":                           func(f *findings) { f.files[3], f.files[2] = 13, 13 },
	} {
		f := &findings{
			matched: newMatcher(csvGrain), count: truth.Count{All: 13, OfListeners: 2, Missed: 1},
			memory: []float64{50 << 20, 52 << 20, 57 << 20, 58 << 20}, files: []int{10, 12, 11, 12},
		}
		f.seen.Store(12)
		spoil(f)
		err := f.verdict()
		if broken == "" && err != nil {
			t.Errorf("without a fault: %v", err)
		}
		if broken != "" && (err == nil || !strings.Contains(err.Error(), broken)) {
			t.Errorf("the verdict is %v, want %q", err, broken)
		}
		if f.text() == "" {
			t.Error("nothing is said")
		}
	}
}
