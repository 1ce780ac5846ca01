// Package privilege gives up what a trace under way does not need, on all
// threads of the process: its user, and its capabilities (capabilities(7)).
package privilege

// Needs say what a trace still does, beside reading events.
type Needs struct {
	// Cgroups: it names the cgroups of owners.
	Cgroups bool
	// Minisocks: it follows minisocks to their end.
	Minisocks bool
	// Signals: it sends signals to a process that may have become another user's.
	Signals bool
}

// Report tells of capabilities by their names, such as CAP_BPF.
type Report struct {
	Kept, Dropped []string
}
