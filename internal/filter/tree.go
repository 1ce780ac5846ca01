package filter

import "tcpstates/internal/event"

// tree is processes and their descendants.
type tree struct {
	in map[uint32]struct{}
	// follows says that it is of those processes that the kernel follows, which it
	// says of each.
	follows bool
}

func newTree(roots []uint32) *tree {
	t := &tree{in: map[uint32]struct{}{}}
	for _, pid := range roots {
		t.in[pid] = struct{}{}
	}
	return t
}

func (t *tree) has(pid uint32) bool {
	_, in := t.in[pid]
	return in
}

// fork notes a process. A new one that has the number of another, which has ended, is
// in the tree by itself alone; of one that existed before the number is its own.
func (t *tree) fork(e *event.Event) {
	child := e.Current.PID
	if t.isOne(e) {
		t.in[child] = struct{}{}
	} else if !e.Before {
		delete(t.in, child)
	}
}

func (t *tree) isOne(e *event.Event) bool {
	if t.follows {
		return e.Followed
	}
	return t.has(e.Owner.PID)
}
