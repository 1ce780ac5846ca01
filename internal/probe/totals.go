package probe

// Totals are the account of a trace.
type Totals struct {
	// Emitted records were put into the buffer to user space.
	Emitted uint64
	// Lost records found it full.
	Lost uint64
	// Missed transitions, resets, retransmissions and forks were seen by none of the
	// programs on their tracepoints.
	Missed uint64
	// MissedUnknown says that the kernel does not count them.
	MissedUnknown bool
	// Recovered transitions were missed by the first and seen by a later one; also such
	// as are not counted.
	Recovered uint64
	// Gaps were found between two transitions of one socket.
	Gaps uint64
	// Unsampled events were of connections that are not in the sample, of which there
	// were UnsampledConns.
	Unsampled, UnsampledConns uint64
}

// Totals gives the account so far; it is exact after Stop.
func (t *Tracer) Totals() (Totals, error) {
	totals, err := t.totals(t.first())
	if err != nil {
		return Totals{}, err
	}
	totals.Lost = max(totals.Lost, t.transport.lost())
	totals.MissedUnknown = t.choice.backend.countsMisses != nil && !t.choice.backend.countsMisses()
	return totals, nil
}

// lostSoFar is how many records found the buffer full. Before Linux 5.1 the programs
// are not told of a loss.
func (t *Tracer) lostSoFar() (uint64, error) {
	c, err := t.counts()
	return max(c.Lost, t.transport.lost()), err
}
