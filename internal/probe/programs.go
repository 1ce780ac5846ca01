package probe

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"tcpstates/bpf"
)

// programs are those of one trace in the kernel, with their maps, and the account of
// which of them have run.
type programs struct {
	objects *ebpf.Collection
	// The links are kept because one that is garbage-collected detaches its
	// program without a word.
	links []link.Link

	// What the kernel had not run programs for when the trace began, and when it
	// ended: nil until then.
	missesBefore misses
	missesAtEnd  atomic.Pointer[misses]
}

// misses is how often the kernel has not run programs.
type misses struct {
	first          uint64 // the first on the tracepoint of transitions
	forked, exited uint64 // those of processes
	segments       uint64 // those of resets and retransmissions
}

// attachTyped attaches a program whose type says to which tracepoint.
func (p *programs) attachTyped(program, _ string) error {
	l, err := link.AttachTracing(link.TracingOptions{Program: p.objects.Programs[program]})
	return p.keep(l, err, program)
}

// keep keeps the link of an attached program.
func (p *programs) keep(l link.Link, err error, program string) error {
	if err != nil {
		return fmt.Errorf("attach the program %q to its tracepoint: %w", program, err)
	}
	p.links = append(p.links, l)
	return nil
}

// detach takes the programs from their tracepoints, the last first: where the first of
// several goes, the kernel waits for all that may still run it, some 12 ms
// (tracepoint_remove_func).
func (p *programs) detach() error {
	var errs []error
	for _, l := range slices.Backward(p.links) {
		errs = append(errs, l.Close())
	}
	p.links = nil
	return errors.Join(errs...)
}

// begin has the attached programs begin to trace, all at once; first is the first of
// them on the tracepoint of transitions. A transition under way at that moment may be
// the twin's without being missed by the first: on each CPU one such can hide one miss
// from the account.
func (p *programs) begin(first string) (err error) {
	if p.missesBefore, err = p.misses(first); err != nil {
		return err
	}
	if err := p.setStarted(1); err != nil {
		return fmt.Errorf("have the programs begin: %w", err)
	}
	return nil
}

// end takes the programs away, and returns when none runs any more that may still tell
// something, if there can be such.
func (p *programs) end(first string, canBe bool) {
	if p.setStarted(0) == nil { // what they miss while they are detached is no loss
		if misses, err := p.misses(first); err == nil {
			p.missesAtEnd.Store(&misses)
		}
	}
	_ = p.detach() // errors leave nothing to do: the programs go with the process
	if canBe {
		awaitPrograms()
	}
}

// setStarted has the programs trace (1) or not (0).
func (p *programs) setStarted(is uint32) error { return p.objects.Maps["started"].Put(uint32(0), is) }

// misses counts them until the trace ended.
func (p *programs) misses(first string) (m misses, err error) {
	if atEnd := p.missesAtEnd.Load(); atEnd != nil {
		return *atEnd, nil
	}
	for _, each := range []struct {
		program string
		n       *uint64
	}{
		{first, &m.first}, {"forked", &m.forked}, {"exited", &m.exited}, {"reset_received", &m.segments},
		{"reset_sent", &m.segments}, {"retransmitted", &m.segments}, {"synack_retransmitted", &m.segments},
	} {
		program := p.objects.Programs[each.program]
		if program == nil {
			continue
		}
		stats, err := program.Stats()
		if err != nil {
			return m, fmt.Errorf("read the programs' statistics: %w", err)
		}
		*each.n += stats.RecursionMisses
	}
	return m, nil
}

// counts is the sum of the programs' counters over the CPUs. It may be called from any
// goroutine.
func (p *programs) counts() (sum bpf.TcpstatesCounts, err error) {
	var perCPU []bpf.TcpstatesCounts
	if err := p.objects.Maps["counters"].Lookup(uint32(0), &perCPU); err != nil {
		return sum, fmt.Errorf("read the programs' counters: %w", err)
	}
	for _, c := range perCPU {
		sum.Emitted += c.Emitted
		sum.Lost += c.Lost
		sum.Recovered += c.Recovered
		sum.Deferred += c.Deferred
		sum.RecoveredForks += c.RecoveredForks
		sum.RecoveredExits += c.RecoveredExits
		sum.RecoveredSegments += c.RecoveredSegments
		sum.Gaps += c.Gaps
		sum.Unsampled += c.Unsampled
		sum.UnsampledConns += c.UnsampledConns
	}
	return sum, nil
}

// unseen is of what none of the programs was run.
type unseen struct{ transitions, forks, exits, segments uint64 }

// unseen finds it: what the first of several did not handle, a later one did, or nobody.
func (p *programs) unseen(first string, c *bpf.TcpstatesCounts) (unseen, error) {
	now, err := p.misses(first)
	before := &p.missesBefore
	return unseen{
		transitions: beyond(now.first-before.first+c.Deferred, c.Recovered),
		forks:       beyond(now.forked-before.forked, c.RecoveredForks),
		exits:       beyond(now.exited-before.exited, c.RecoveredExits),
		segments:    unseenSegments(now.segments-before.segments, c.RecoveredSegments),
	}, err
}

// unseenSegments are what neither the programs on segments were run for nor their copies.
// Where no task is preempted in a program nothing can keep both from being run: what
// interrupts one is a softirq, and none interrupts that. Elsewhere it may be too many: a
// copy that is deceived by an old mark, as one in some ten thousand is of resets in answer
// to no connection, counts none (see bpf/marks.h).
func unseenSegments(missed, recovered uint64) uint64 {
	if !preemptsPrograms() {
		return 0
	}
	return beyond(missed, recovered)
}

// beyond is how much more n is than m.
func beyond(n, m uint64) uint64 { return max(n, m) - m }

// totals is the account as far as the programs know it; it is exact after end.
func (p *programs) totals(first string) (Totals, error) {
	c, err := p.counts()
	if err != nil {
		return Totals{}, err
	}
	unseen, err := p.unseen(first, &c)
	return Totals{
		Emitted: c.Emitted, Lost: c.Lost, Recovered: c.Recovered, Gaps: c.Gaps,
		Missed:    unseen.transitions + unseen.forks + unseen.segments,
		Unsampled: c.Unsampled, UnsampledConns: c.UnsampledConns,
	}, err
}
