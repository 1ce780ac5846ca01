package probe

import (
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"tcpstates/internal/kerneltest"
)

// BenchmarkKernel measures what the programs add to a transition, by the
// kernel's own clock of them, which itself costs some 40 ns a run: the median
// of several storms, in which each transition runs both programs.
func BenchmarkKernel(b *testing.B) {
	kerneltest.Require(b)
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		b.Fatal(err)
	}
	defer stats.Close()
	const rounds, connections = 7, 10_000
	var perEvent []float64
	for range rounds {
		ns := kerneltest.NewNetns(b)
		c := trace(b, Options{})
		kerneltest.Storm(b, ns, connections)
		events := len(c.end(b))
		var total float64
		for _, program := range []*ebpf.Program{c.objects.Programs["first"], c.objects.Programs["twin"]} {
			s, err := program.Stats()
			if err != nil {
				b.Fatal(err)
			}
			total += float64(s.Runtime.Nanoseconds())
		}
		perEvent = append(perEvent, total/float64(events))
	}
	for b.Loop() {
		// The rounds above are the measurement.
	}
	slices.Sort(perEvent)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(perEvent[rounds/2], "kernel-ns/event")
}
