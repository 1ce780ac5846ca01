// Package feature knows what tracing may need of the kernel and of the
// process's privileges: which of it is there, and in words what is missing and
// what mends it. Its one list serves who chooses the way to trace, who
// explains why none is left, and who shows all of it to a person: so the three
// cannot differ.
package feature

import (
	"io/fs"

	"github.com/cilium/ebpf/btf"
)

// Answer says whether something is there.
type Answer int

// The answers.
const (
	// Unknown: it could not be found out, mostly for want of privilege.
	Unknown Answer = iota
	Yes
	No
)

// String is the answer in a word.
func (a Answer) String() string {
	switch a {
	case Yes:
		return "yes"
	case No:
		return "no"
	}
	return "unknown"
}

// Result is what is known of a feature.
type Result struct {
	Answer Answer
	// Reason is why the answer is what it is, as the beginning of a sentence;
	// of a Yes what was seen, or empty.
	Reason string
	// Remedy is what turns a No into a Yes, as the end of that sentence; empty
	// if there is nothing to mend.
	Remedy string
	// Err is the kernel's refusal; nil if there was none.
	Err error
}

// Sentence is the reason and the remedy.
func (r Result) Sentence() string {
	if r.Remedy == "" {
		return r.Reason
	}
	return r.Reason + ": " + r.Remedy
}

// Options say where a List looks.
type Options struct {
	// KernelTypes reads the kernel's type information; nil means the running
	// kernel's own. It is called at most once.
	KernelTypes func() (*btf.Spec, error)
	// Tracefs gives the root of a tracefs; nil means the one that is mounted.
	// It is called at most once, and only for who asks for Tracepoint.
	Tracefs func() (fs.FS, error)
}

// List answers what is there. Each feature is tried when it is first asked
// for, once. It is for one goroutine at a time.
type List struct {
	system
	rows    []Row
	options Options
	results map[ID]Result

	cache    *btf.Cache
	types    *btf.Spec
	typesErr error
}

// NewList makes a list that knows nothing yet.
func NewList(o Options) *List { return newList(thisSystem(), o) }

func newList(s system, o Options) *List {
	cache := btf.NewCache()
	if o.KernelTypes == nil {
		o.KernelTypes = cache.Kernel
	}
	if o.Tracefs == nil {
		o.Tracefs = s.tracefs
	}
	return &List{system: s, rows: rows, options: o, results: map[ID]Result{}, cache: cache}
}

// Cache has the running kernel's own type information once it was read, for others
// who load programs: reading it takes longer than most of them.
func (l *List) Cache() *btf.Cache { return l.cache }

// Ask tells whether a feature is there.
func (l *List) Ask(id ID) Result {
	if result, known := l.results[id]; known {
		return result
	}
	result := l.rows[id].probe(l)
	l.results[id] = result
	return result
}

// Has tells whether all of the features are there.
func (l *List) Has(ids ...ID) bool {
	for _, id := range ids {
		if l.Ask(id).Answer != Yes {
			return false
		}
	}
	return true
}

// KernelTypes is the kernel's type information, read once; an error if there
// is none.
func (l *List) KernelTypes() (*btf.Spec, error) {
	if l.types == nil && l.typesErr == nil {
		l.types, l.typesErr = l.options.KernelTypes()
	}
	return l.types, l.typesErr
}
