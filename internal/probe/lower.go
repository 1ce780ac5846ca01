package probe

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"tcpstates/bpf"
	"tcpstates/internal/event"
	"tcpstates/internal/filter"
)

// maxValues is how many values a rule may have that the programs decide: the map
// takes its memory at once. A rule with more is left to user space.
const maxValues = 1024

// enum rule of bpf/settings.h.
const (
	ruleAny uint8 = iota
	ruleOnly
	ruleExcept
)

// The enums end and number_set of bpf/settings.h.
const (
	endLocal = iota
	endRemote
	endEither
	ends
)

const (
	numberNetns = iota
	numberPID
	numberUID
	numberSets
)

// lowering is the filters as the programs have them: each rule at the place that
// settings and maps have for it, nil where none is asked, or the programs cannot
// decide it.
type lowering struct {
	family    event.Family
	ports     [ends]*filter.PortRule
	addrs     [ends]*filter.AddrRule
	numbers   [numberSets]*filter.NumberRule
	undecided []string // the flags of those that they cannot
}

// lower takes from the filters what programs that know so much decide. Without
// facts they know no number but that of who is on the CPU, as the machine has it.
func lower(o *Options, knows Knows) lowering {
	f := &o.Filter
	l := lowering{
		family:  f.Family,
		ports:   [...]*filter.PortRule{endLocal: f.LocalPorts, endRemote: f.RemotePorts, endEither: f.Ports},
		addrs:   [...]*filter.AddrRule{endLocal: f.LocalAddrs, endRemote: f.RemoteAddrs, endEither: f.Addrs},
		numbers: [...]*filter.NumberRule{numberNetns: f.Netns, numberPID: f.PIDs, numberUID: f.UIDs},
	}
	for i, flag := range [...]string{endLocal: "laddr", endRemote: "raddr", endEither: "addr"} {
		if rule := l.addrs[i]; rule != nil && len(rule.Prefixes) > maxValues {
			l.addrs[i] = nil
			l.undecided = append(l.undecided, flag)
		}
	}
	for i, flag := range [...]string{numberNetns: "netns", numberPID: "pid", numberUID: "uid"} {
		known := knows.Facts || i == numberPID && o.PIDNamespace == 0
		if rule := l.numbers[i]; rule != nil && (!known || len(rule.Numbers) > maxValues) {
			l.numbers[i] = nil
			l.undecided = append(l.undecided, flag)
		}
	}
	return l
}

// prepare makes room in the maps before they are made, and sets the rules.
func (l *lowering) prepare(spec *ebpf.CollectionSpec, settings *bpf.TcpstatesSettings) {
	switch l.family {
	case event.IPv4:
		settings.OnlyFamily = unix.AF_INET
	case event.IPv6:
		settings.OnlyFamily = unix.AF_INET6
	}
	settings.Filters = l.family != 0
	ask := func(rule *uint8, exclude bool) {
		settings.Filters = true
		*rule = ruleOnly
		if exclude {
			*rule = ruleExcept
		}
	}
	var prefixes, numbers int
	for i, rule := range l.ports {
		if rule != nil {
			ask(&settings.Ports[i], rule.Exclude)
		}
	}
	for i, rule := range l.addrs {
		if rule != nil {
			ask(&settings.Addrs[i], rule.Exclude)
			prefixes += len(rule.Prefixes)
		}
	}
	for i, rule := range l.numbers {
		if rule != nil {
			ask(&settings.Numbers[i], rule.Exclude)
			numbers += len(rule.Numbers)
		}
	}
	spec.Maps["prefixes"].MaxEntries = uint32(max(1, prefixes))
	spec.Maps["numbers"].MaxEntries = uint32(max(1, numbers))
}

// fill hands over the sets.
func (l *lowering) fill(maps map[string]*ebpf.Map) error {
	return errors.Join(l.fillPorts(maps["ports"]), l.fillPrefixes(maps["prefixes"]), l.fillNumbers(maps["numbers"]))
}

func (l *lowering) fillPorts(sets *ebpf.Map) error {
	for end, rule := range l.ports {
		if rule == nil {
			continue
		}
		if err := sets.Put(uint32(end), rule.Set[:]); err != nil {
			return fmt.Errorf("hand over the ports: %w", err)
		}
	}
	return nil
}

// endBits is how many bits of a prefix's key the end takes, which precedes the
// address: struct prefix of bpf/filter.h.
const endBits = 32

// present is the value of what is in a set.
const present = uint8(1)

func (l *lowering) fillPrefixes(prefixes *ebpf.Map) error {
	for end, rule := range l.addrs {
		if rule == nil {
			continue
		}
		for _, p := range rule.Prefixes {
			key := bpf.TcpstatesPrefix{Length: uint32(endBits + p.Bits()), End: uint32(end), Addr: p.Addr().As16()}
			if err := prefixes.Put(&key, present); err != nil {
				return fmt.Errorf("hand over the addresses: %w", err)
			}
		}
	}
	return nil
}

func (l *lowering) fillNumbers(numbers *ebpf.Map) error {
	for what, rule := range l.numbers {
		if rule == nil {
			continue
		}
		for _, value := range rule.Numbers {
			if err := numbers.Put(&bpf.TcpstatesNumber{What: uint32(what), Value: value}, present); err != nil {
				return fmt.Errorf("hand over the numbers: %w", err)
			}
		}
	}
	return nil
}
