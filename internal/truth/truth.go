// Package truth counts TCP transitions in the kernel by a program of its own, so
// that what tracers show can be held against it.
package truth

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"tcpstates/bpf"
)

// Counter counts from its start until it is closed.
type Counter struct {
	objects bpf.TruthObjects
	link    link.Link
}

// Count is how many transitions there were so far.
type Count struct {
	// All are the changes of TCP sockets' states.
	All uint64
	// OfListeners are those among them that begin or end a listener.
	OfListeners uint64
	// Missed says how often the program was not run, as it was running already on
	// that CPU: for the namespace's changes and for whatever else the tracepoint
	// tells of, all over the machine. They are changes of the namespace where
	// nothing else uses TCP meanwhile.
	Missed uint64
}

// OfConnections are the changes of all but listeners, those missed included.
func (c Count) OfConnections() uint64 { return c.All - c.OfListeners + c.Missed }

// Start begins to count in the network namespace with the given inode. It needs
// CAP_BPF and CAP_PERFMON, and a kernel with BTF, of 5.12 or later.
func Start(netns uint32) (*Counter, error) {
	spec, err := bpf.LoadTruth()
	if err != nil {
		return nil, fmt.Errorf("read the embedded program: %w", err)
	}
	if err := spec.Variables["netns"].Set(netns); err != nil {
		return nil, fmt.Errorf("set the network namespace: %w", err)
	}
	c := &Counter{}
	if err := spec.LoadAndAssign(&c.objects, nil); err != nil {
		return nil, fmt.Errorf("load the program that counts transitions: %w", err)
	}
	if c.link, err = link.AttachTracing(link.TracingOptions{Program: c.objects.Count}); err != nil {
		c.objects.Close()
		return nil, fmt.Errorf("attach the program that counts transitions: %w", err)
	}
	return c, nil
}

// Now is what was counted so far. It is exact while no transition is under way.
func (c *Counter) Now() (Count, error) {
	var perCPU []bpf.TruthChanges
	if err := c.objects.Counted.Lookup(uint32(0), &perCPU); err != nil {
		return Count{}, fmt.Errorf("read the count of transitions: %w", err)
	}
	stats, err := c.objects.Count.Stats()
	if err != nil {
		return Count{}, fmt.Errorf("read how many transitions were not counted: %w", err)
	}
	count := Count{Missed: stats.RecursionMisses}
	for _, changes := range perCPU {
		count.All += changes.All
		count.OfListeners += changes.OfListeners
	}
	return count, nil
}

// Program is the id of the program that counts, as the kernel has it.
func (c *Counter) Program() (ebpf.ProgramID, error) {
	info, err := c.objects.Count.Info()
	if err != nil {
		return 0, fmt.Errorf("ask for the id of the program that counts transitions: %w", err)
	}
	id, _ := info.ID() // kernels that count misses have ids
	return id, nil
}

// Close ends the counting.
func (c *Counter) Close() error {
	if err := c.link.Close(); err != nil {
		return fmt.Errorf("detach the program that counts transitions: %w", err)
	}
	return c.objects.Close()
}
