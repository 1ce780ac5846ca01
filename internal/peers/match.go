package main

import (
	"fmt"
	"sync"
	"time"

	"tcpstates/internal/traffic"
)

// matcher holds the times in ESTABLISHED that a tracer tells against what they
// can have been. The n-th time of a connection's ends is that of the n-th
// connection that has had them. It is safe for concurrent use, and remembers
// only what the other side has not told of yet.
type matcher struct {
	grain time.Duration // to which the tracer's times are rounded

	mu       sync.Mutex
	bounds   map[ends][]traffic.Bounds
	told     map[ends][]time.Duration
	right    int
	wrong    int
	examples []string // of what is wrong, a few
}

const maxExamples = 5

func newMatcher(grain time.Duration) *matcher {
	return &matcher{grain: grain, bounds: map[ends][]traffic.Bounds{}, told: map[ends][]time.Duration{}}
}

// happened takes what a client's time was between.
func (m *matcher) happened(b traffic.Bounds) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := ends{b.Local, b.Remote}
	if told, found := take(m.told, e); found {
		m.judge(told, b)
		return
	}
	m.bounds[e] = append(m.bounds[e], b)
}

// tell takes what a tracer tells of a client.
func (m *matcher) tell(e ends, lasted time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b, found := take(m.bounds, e); found {
		m.judge(lasted, b)
		return
	}
	m.told[e] = append(m.told[e], lasted)
}

// take takes the first that waits.
func take[T any](waiting map[ends][]T, e ends) (first T, found bool) {
	queue := waiting[e]
	switch len(queue) {
	case 0:
		return first, false
	case 1:
		delete(waiting, e)
	default:
		waiting[e] = queue[1:]
	}
	return queue[0], true
}

func (m *matcher) judge(told time.Duration, b traffic.Bounds) {
	if b.Min-m.grain <= told && told <= b.Max+m.grain {
		m.right++
		return
	}
	m.wrong++
	if len(m.examples) < maxExamples {
		m.examples = append(m.examples, fmt.Sprintf("%v -> %v was established for %v to %v, and %v is told",
			b.Local, b.Remote, b.Min, b.Max, told))
	}
}

// untold counts the connections that nothing was told of so far.
func (m *matcher) untold() (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return count(m.bounds)
}

// unknown counts what was told so far of connections that nobody has made.
func (m *matcher) unknown() (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return count(m.told)
}

func count[T any](waiting map[ends][]T) (n int) {
	for _, queue := range waiting {
		n += len(queue)
	}
	return n
}
