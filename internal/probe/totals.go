package probe

import (
	"fmt"

	"tcpstates/bpf"
)

// Totals are the account of a trace.
type Totals struct {
	// Emitted records were put into the buffer to user space.
	Emitted uint64
	// Lost records found it full.
	Lost uint64
	// Missed transitions were seen by none of the programs on their tracepoint.
	Missed uint64
	// MissedUnknown says that the kernel does not count them.
	MissedUnknown bool
	// Recovered transitions were missed by the first and seen by a later one.
	Recovered uint64
	// Gaps were found between two transitions of one socket.
	Gaps uint64
	// Unsampled events were of connections that are not in the sample, of which there
	// were UnsampledConns.
	Unsampled, UnsampledConns uint64
}

// Totals gives the account so far; it is exact after Stop.
func (t *Tracer) Totals() (Totals, error) {
	c, err := t.counts()
	if err != nil {
		return Totals{}, err
	}
	misses, err := t.misses()
	if err != nil {
		return Totals{}, err
	}
	totals := Totals{Emitted: c.Emitted, Lost: c.Lost, Recovered: c.Recovered, Gaps: c.Gaps,
		Unsampled: c.Unsampled, UnsampledConns: c.UnsampledConns}
	totals.MissedUnknown = t.choice.backend.countsMisses != nil && !t.choice.backend.countsMisses()
	// What the first did not handle, a later one did, or nobody.
	if unhandled := misses - t.missesBefore + c.Deferred; unhandled > c.Recovered {
		totals.Missed = unhandled - c.Recovered
	}
	return totals, nil
}

// misses is how often the kernel did not run the first program, until the trace
// ended.
func (t *Tracer) misses() (uint64, error) {
	if atEnd := t.missesAtEnd.Load(); atEnd != nil {
		return *atEnd, nil
	}
	stats, err := t.objects.Programs[t.choice.backend.programs[0]].Stats()
	if err != nil {
		return 0, fmt.Errorf("read the programs' statistics: %w", err)
	}
	return stats.RecursionMisses, nil
}

// counts are the programs' counters, and what the transport knows.
func (t *Tracer) counts() (bpf.TcpstatesCounts, error) {
	sum, err := t.programCounts()
	// Before Linux 5.1 the programs are not told of a loss.
	sum.Lost = max(sum.Lost, t.transport.lost())
	return sum, err
}

// programCounts is the sum of the programs' counters over the CPUs. It may be called
// from any goroutine.
func (t *Tracer) programCounts() (sum bpf.TcpstatesCounts, err error) {
	var perCPU []bpf.TcpstatesCounts
	if err := t.objects.Maps["counters"].Lookup(uint32(0), &perCPU); err != nil {
		return sum, fmt.Errorf("read the programs' counters: %w", err)
	}
	for _, c := range perCPU {
		sum.Emitted += c.Emitted
		sum.Lost += c.Lost
		sum.Recovered += c.Recovered
		sum.Deferred += c.Deferred
		sum.Gaps += c.Gaps
		sum.Unsampled += c.Unsampled
		sum.UnsampledConns += c.UnsampledConns
	}
	return sum, nil
}
