package probe

import (
	"fmt"
	"strings"

	"github.com/cilium/ebpf"

	"tcpstates/bpf"
	"tcpstates/internal/feature"
)

// A Backend is a way to see transitions and to remember sockets, and a
// Transport a way to bring them here. Of each the first is taken that this
// machine can have, unless Options name one.
type (
	Backend   struct{ row *backend }
	Transport struct{ row *transportRow }
)

// backend is a rung of the ladder.
type backend struct {
	name  string // for --backend
	words string // as it is told
	memo  string // how sockets are remembered, as it is told
	needs []feature.ID
	// specs are the programs for each transport.
	specs [2]func() (*ebpf.CollectionSpec, error)
	// attach ties a program to the tracepoint that it is made for; prepare
	// changes its type before loading, if need be.
	attach  func(t *Tracer, program, tracepoint string) error
	prepare func(*ebpf.ProgramSpec)
	// programs are those on the tracepoint of transitions, in this order. This
	// kernel may need less of them.
	programs []string
	// countsMisses tells whether the kernel counts the runs that it skips; nil
	// means that it does, or skips none.
	countsMisses func() bool
	knows        Knows
}

// Knows says what a trace can tell by the backend that it uses.
type Knows struct {
	// Less is what the best backend would tell beyond that, in words; empty
	// means nothing.
	Less string
	// Sockets: which TCP socket an event is of, for as long as the machine is
	// up (the cookie), who owns older sockets, and what becomes of TIME_WAIT.
	Sockets bool
	// Facts: what sockets say of themselves: round trip times, errors, bytes,
	// network namespace, user; and the tracepoints beside that of transitions.
	Facts bool
	// Forks: new processes.
	Forks bool
	// Owners: who serves a connection, when that shows; else a child is its
	// listener's.
	Owners bool
}

// The transports, as indexes of backend.specs.
const (
	byRing = iota
	byPerf
)

var backends = []*backend{
	{
		name: "full", words: "tp_btf", memo: "socket storage",
		needs:    []feature.ID{feature.BTF, feature.TpBTF, feature.SocketStorage, feature.SocketCookie},
		specs:    [2]func() (*ebpf.CollectionSpec, error){bpf.LoadTcpstates, bpf.LoadTcpstatesPerf},
		attach:   (*Tracer).attachTyped,
		programs: []string{"first", "between", "between_2nd", "twin"},
		knows:    Knows{Sockets: true, Facts: true, Forks: true},
	},
	{
		name: "tp_btf", words: "tp_btf", memo: "LRU hash",
		needs:    []feature.ID{feature.BTF, feature.TpBTF},
		specs:    [2]func() (*ebpf.CollectionSpec, error){bpf.LoadPortable, bpf.LoadPortablePerf},
		attach:   (*Tracer).attachTyped,
		prepare:  makeTyped,
		programs: []string{"first", "between", "between_2nd", "twin"},
		knows:    Knows{Facts: true, Forks: true, Less: lessOfSockets},
	},
	{
		name: "raw_tp", words: "raw_tp", memo: "LRU hash",
		needs:    []feature.ID{feature.BTF, feature.RawTp},
		specs:    [2]func() (*ebpf.CollectionSpec, error){bpf.LoadPortable, bpf.LoadPortablePerf},
		attach:   (*Tracer).attachRaw,
		programs: []string{"first", "between", "between_2nd", "twin"},
		knows:    Knows{Facts: true, Forks: true, Less: lessOfSockets},
	},
	{
		name: "tracepoint", words: "tracepoint", memo: "LRU hash",
		needs:    []feature.ID{feature.Tracepoint},
		specs:    [2]func() (*ebpf.CollectionSpec, error){bpf.LoadTracepoint, bpf.LoadTracepointPerf},
		attach:   (*Tracer).attachClassic,
		programs: []string{"single"},
		// Since Linux 6.7 (bpf_prog_inc_misses_counters in trace_call_bpf).
		countsMisses: func() bool { return !feature.OlderThan(6, 7) },
		knows: Knows{Less: "only what the tracepoint itself says: no reasons of ends, no handshakes, no retransmissions, " +
			"no network namespaces, no owners of accepted connections"},
	},
}

// lessOfSockets is what is not known without socket storage.
const lessOfSockets = "no owners of sockets older than the trace, no cookies, and no end of TIME_WAIT"

type transportRow struct {
	name  string // for --transport
	words string // as it is told
	needs feature.ID
	index int
	open  func(events *ebpf.Map, o *Options) (transport, error)
}

var transports = []*transportRow{
	{"ring", "ring buffer", feature.RingBuffer, byRing, openRing},
	{"perf", "perf event array", feature.PerfEventArray, byPerf, openPerCPU},
}

// BackendNames and TransportNames are what ParseBackend and ParseTransport
// take, the best first.
func BackendNames() (names []string) {
	for _, row := range backends {
		names = append(names, row.name)
	}
	return names
}

// TransportNames are the names of the transports.
func TransportNames() (names []string) {
	for _, row := range transports {
		names = append(names, row.name)
	}
	return names
}

// ParseBackend finds a backend by its name.
func ParseBackend(name string) (Backend, error) {
	for _, row := range backends {
		if row.name == name {
			return Backend{row}, nil
		}
	}
	return Backend{}, fmt.Errorf("it takes %s", strings.Join(BackendNames(), ", "))
}

// ParseTransport finds a transport by its name.
func ParseTransport(name string) (Transport, error) {
	for _, row := range transports {
		if row.name == name {
			return Transport{row}, nil
		}
	}
	return Transport{}, fmt.Errorf("it takes %s", strings.Join(TransportNames(), ", "))
}

// Choice is what a trace uses.
type Choice struct {
	backend   *backend
	transport *transportRow
}

// String names the kernel's mechanisms, as the user is told.
func (c Choice) String() string {
	return c.backend.words + ", " + c.transport.words + ", " + c.backend.memo
}

// Choose finds the best way to trace that the machine has, or says why it has
// not the one that the options name, or none.
func Choose(list *feature.List, o *Options) (Choice, error) { return choose(list, o, backends) }

// choose finds it among these backends.
func choose(list *feature.List, o *Options, among []*backend) (c Choice, err error) {
	if c.backend, err = best(list, among, o.Backend.row, func(b *backend) []feature.ID { return b.needs }); err != nil {
		return c, err
	}
	c.transport, err = best(list, transports, o.Transport.row, func(t *transportRow) []feature.ID { return []feature.ID{t.needs} })
	return c, err
}

// best is the first of the rows whose needs are there, or the wanted one.
func best[T any](list *feature.List, rows []*T, wanted *T, needs func(*T) []feature.ID) (*T, error) {
	var refusal error
	for _, row := range rows {
		if wanted != nil && wanted != row {
			continue
		}
		missing := whatIsMissing(list, needs(row))
		if missing == nil {
			return row, nil
		}
		refusal = missing
	}
	return nil, list.Diagnose(refusal)
}

// whatIsMissing is the first of the needs that is not there.
func whatIsMissing(list *feature.List, needs []feature.ID) error {
	for _, id := range needs {
		if result := list.Ask(id); result.Answer != feature.Yes {
			return &feature.Missing{What: result.Sentence(), Err: result.Err}
		}
	}
	return nil
}
