package event

// Source says how the owner of a socket is known.
type Source uint8

// The sources, in the order of enum owner_source in bpf/event.h.
const (
	// SourceUnknown: nobody knows the owner.
	SourceUnknown Source = iota
	// SourceConnect: it called connect().
	SourceConnect
	// SourceListen: it called listen().
	SourceListen
	// SourceInherited: it owns the listener; who serves the connection has
	// not shown yet.
	SourceInherited
	// SourceAccept: it accepted the connection.
	SourceAccept
	// SourceIO: it was the first to receive or send on the connection.
	SourceIO
	// SourceSeed: it had the socket open when tracing began.
	SourceSeed
	// SourcePort: it owns the one listener of the connection's port that was
	// seen; who serves the connection has not shown yet.
	SourcePort
)

var sourceNames = [...]string{
	SourceConnect:   "connect",
	SourceListen:    "listen",
	SourceInherited: "inherited",
	SourceAccept:    "accept",
	SourceIO:        "io",
	SourceSeed:      "seed",
	SourcePort:      "port",
}

// String is the source in a word; empty if it is unknown.
func (s Source) String() string { return nameOf(sourceNames[:], s) }

// Owner is the process that a socket belongs to. Its user and its network
// namespace are the socket's, which the Event has.
type Owner struct {
	Process
	Source Source
	// Cgroup is the id of its cgroup in the version 2 hierarchy, the inode of
	// the cgroup's directory; zero means unknown.
	Cgroup uint64
	// Place is what the cgroup says of where the process runs; nil if that is
	// not known. It is shared, and never changed.
	Place *Place
}

// Place is where a process runs, as the path of its cgroup tells. What it does
// not tell is empty.
type Place struct {
	// Cgroup is the path, from the root of its hierarchy.
	Cgroup string
	// Container is the id of the container: 64 hexadecimal digits as a rule.
	Container string
	// Unit is the innermost systemd unit: a service, a scope or a slice.
	Unit string
	// Pod is the uid of the Kubernetes pod.
	Pod string
}
