package bpf

import (
	"testing"

	"github.com/cilium/ebpf"
)

// TestNoMapWithoutBound: what connections leave in the kernel is bounded by a number, or
// goes with their sockets.
func TestNoMapWithoutBound(t *testing.T) {
	for name, load := range map[string]func() (*ebpf.CollectionSpec, error){
		"Tcpstates": LoadTcpstates, "TcpstatesPerf": LoadTcpstatesPerf, "Portable": LoadPortable, "PortablePerf": LoadPortablePerf,
		"Tracepoint": LoadTracepoint, "TracepointPerf": LoadTracepointPerf, "Snapshot": LoadSnapshot, "Summary": LoadSummary,
		"Truth": LoadTruth,
	} {
		spec, err := load()
		if err != nil {
			t.Fatal(err)
		}
		if len(spec.Maps) == 0 {
			t.Errorf("%s has no maps", name)
		}
		for _, m := range spec.Maps {
			switch m.Type {
			case ebpf.SkStorage, ebpf.PerfEventArray: // by the sockets, by the CPUs
				continue
			case ebpf.Hash, ebpf.PerCPUHash, ebpf.LRUHash, ebpf.LPMTrie, ebpf.Array, ebpf.PerCPUArray, ebpf.RingBuf:
			default:
				t.Errorf("%s: nobody has thought about what bounds %s, a %v", name, m.Name, m.Type)
			}
			if m.MaxEntries == 0 || m.MaxEntries > 8<<20 { // of the ring buffer bytes
				t.Errorf("%s: %s may have %d entries", name, m.Name, m.MaxEntries)
			}
		}
	}
}
