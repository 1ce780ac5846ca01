// Package names knows what addresses and ports are called.
package names

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"time"

	"tcpstates/internal/event"
)

// Lookup asks for the names of an address, as net.Resolver.LookupAddr does.
type Lookup func(ctx context.Context, addr string) ([]string, error)

// Resolver finds the names of addresses without making anybody wait: it asks
// beside, remembers the answers, and until there is one an address has no name.
// It is a pipeline.Stage that asks for the remote end of each socket that passes, so
// that a name can be known when the connection ends. Its methods may be called
// from several goroutines.
type Resolver struct {
	lookup Lookup
	now    func() time.Time
	ctx    context.Context
	cancel context.CancelFunc

	mu       sync.Mutex
	known    map[netip.Addr]finding
	waiting  []netip.Addr // for their turn to be asked for
	underway int
	idle     chan struct{} // closed when nothing is under way; nil if nobody waits for that
}

// finding is what is known of an address.
type finding struct {
	name   string    // empty: it has none, or none is known yet
	until  time.Time // when to ask again
	asking bool      // it is asked for, or waits for that
}

// The bounds. How long DNS lets an answer hold the resolver does not tell.
const (
	// holds is how long a name does, and holdsNot how long that there is none.
	holds, holdsNot = 10 * time.Minute, time.Minute
	// patience is how long an answer may take.
	patience = 2 * time.Second
	// maxKnown bounds the addresses that are remembered, maxWaiting those among
	// them that wait to be asked for, and maxUnderway the requests at a time.
	maxKnown, maxWaiting, maxUnderway = 16384, 4096, 16
)

// NewResolver makes a Resolver that asks by lookup, and goes by the clock now.
// It runs nothing until it is asked for a name.
func NewResolver(lookup Lookup, now func() time.Time) *Resolver {
	ctx, cancel := context.WithCancel(context.Background())
	return &Resolver{lookup: lookup, now: now, ctx: ctx, cancel: cancel, known: map[netip.Addr]finding{}}
}

// Close gives up all requests under way.
func (r *Resolver) Close() { r.cancel() }

// Apply implements pipeline.Stage: it asks for the event's remote end.
func (r *Resolver) Apply(e *event.Event, next func(*event.Event) error) error {
	if addr := e.Remote.Addr(); addr.IsValid() && !addr.IsUnspecified() {
		r.Name(addr)
	}
	return next(e)
}

// Name is the name of the address, as far as it is known now; else it is empty,
// and asked for unless too many are. A name of which the time is over stands
// until there is another answer.
func (r *Resolver) Name(addr netip.Addr) string {
	addr = addr.Unmap().WithZone("")
	r.mu.Lock()
	defer r.mu.Unlock()
	found, is := r.known[addr]
	if is && (found.asking || r.now().Before(found.until)) {
		return found.name
	}
	if found.asking = r.ask(addr); found.asking {
		r.keep(addr, found)
	}
	return found.name
}

// ask begins a request, or queues it; false if there is no room for it.
func (r *Resolver) ask(addr netip.Addr) bool {
	switch {
	case r.underway < maxUnderway:
		r.underway++
		go r.work(addr)
	case len(r.waiting) < maxWaiting:
		r.waiting = append(r.waiting, addr)
	default:
		return false
	}
	return true
}

// keep remembers what is known of an address, in place of whatever else if there
// is too much.
func (r *Resolver) keep(addr netip.Addr, f finding) {
	if _, is := r.known[addr]; !is && len(r.known) >= maxKnown {
		for other := range r.known {
			delete(r.known, other)
			break
		}
	}
	r.known[addr] = f
}

// work asks for an address, and then for those that wait.
func (r *Resolver) work(addr netip.Addr) {
	for more := true; more; {
		name := r.find(addr)
		addr, more = r.learn(addr, name)
	}
}

// learn remembers an answer, and returns the address to ask for next; false if
// none waits.
func (r *Resolver) learn(addr netip.Addr, name string) (next netip.Addr, more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	holding := holds
	if name == "" {
		holding = holdsNot
	}
	r.keep(addr, finding{name: name, until: r.now().Add(holding)})
	if len(r.waiting) > 0 && r.ctx.Err() == nil {
		next = r.waiting[0]
		r.waiting = r.waiting[1:]
		return next, true
	}
	if r.underway--; r.underway == 0 && r.idle != nil {
		close(r.idle)
		r.idle = nil
	}
	return next, false
}

// find asks for the name of an address; empty if there is none.
func (r *Resolver) find(addr netip.Addr) string {
	ctx, cancel := context.WithTimeout(r.ctx, patience)
	defer cancel()
	answers, err := r.lookup(ctx, addr.String())
	if err != nil {
		return ""
	}
	for _, name := range answers {
		if name = strings.TrimSuffix(name, "."); isHostName(name) {
			return name
		}
	}
	return ""
}

// Settle waits until nothing is under way, or the context is over.
func (r *Resolver) Settle(ctx context.Context) {
	r.mu.Lock()
	if r.underway == 0 {
		r.mu.Unlock()
		return
	}
	if r.idle == nil {
		r.idle = make(chan struct{})
	}
	idle := r.idle
	r.mu.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

// maxName is how long the name of a host can be (RFC 1035, 2.3.4).
const maxName = 253

// isHostName tells whether a name may stand for an address: of the characters
// that host names have (RFC 952, and the underscore), and no address itself,
// which whoever answers could pass another off as.
func isHostName(name string) bool {
	if name == "" || len(name) > maxName {
		return false
	}
	for _, b := range []byte(name) {
		switch {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', b == '-', b == '.', b == '_':
		default:
			return false
		}
	}
	last := name[strings.LastIndexByte(name, '.')+1:]
	return strings.Trim(last, "0123456789") != "" // no domain at the top is a number (RFC 3696, 2)
}
