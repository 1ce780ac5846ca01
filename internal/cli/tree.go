package cli

import (
	"tcpstates/internal/event"
	"tcpstates/internal/feature"
	"tcpstates/internal/pipeline"
)

// listProcesses gives the processes that exist, for --tree: later ones the trace tells
// of, from before on.
func (a *app) listProcesses(source tracer, pidns uint32) ([]event.Event, error) {
	if !source.Knows().Forks {
		return nil, &feature.Missing{What: "--tree follows new processes, and " + source.Backend() +
			" tells of none: leave it out, and see tcpstates doctor for a better way to trace"}
	}
	processes, err := a.processes(pidns)
	if err != nil {
		return nil, err
	}
	now := ktime()
	for i := range processes {
		processes[i].Ktime, processes[i].Wall = now, a.clock.Wall(now)
	}
	return processes, nil
}

// preceded is a source that gives some events before another's.
type preceded struct {
	pipeline.Source
	first []event.Event
}

// Pending implements pipeline.Source.
func (p *preceded) Pending() bool { return len(p.first) > 0 || p.Source.Pending() }

// Read implements pipeline.Source.
func (p *preceded) Read(e *event.Event) error {
	if len(p.first) == 0 {
		return p.Source.Read(e)
	}
	*e, p.first = p.first[0], p.first[1:]
	return nil
}
