package probe

import (
	"net/netip"
	"slices"
	"testing"

	"tcpstates/internal/filter"
)

func TestUndecidedFilters(t *testing.T) {
	few := filter.Lowered{
		LocalPorts: ports(false, 80), RemoteAddrs: addrs(true, "10.0.0.0/8"),
		Netns: numbers(false, 1), PIDs: numbers(true, 1), UIDs: numbers(false, 0),
	}
	many := few
	many.RemoteAddrs = &filter.AddrRule{Prefixes: make([]netip.Prefix, maxValues+1)}
	many.UIDs = numbers(true, make([]uint32, maxValues+1)...)
	facts := Knows{Facts: true}
	for _, test := range []struct {
		name  string
		o     Options
		knows Knows
		want  []string
	}{
		{"none", Options{}, Knows{}, nil},
		{"all are decided", Options{Filter: few}, facts, nil},
		{"in a PID namespace", Options{Filter: few, PIDNamespace: 1}, facts, nil},
		{"too many values", Options{Filter: many}, facts, []string{"raddr", "uid"}},
		{"without facts", Options{Filter: few}, Knows{}, []string{"netns", "uid"}},
		{"without facts, in a PID namespace", Options{Filter: few, PIDNamespace: 1}, Knows{}, []string{"netns", "pid", "uid"}},
	} {
		if got := lower(&test.o, test.knows); !slices.Equal(got.undecided, test.want) {
			t.Errorf("%s: left undecided %v, want %v", test.name, got.undecided, test.want)
		}
	}
}
