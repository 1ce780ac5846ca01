package filter

// tree is processes and their descendants.
type tree struct{ in map[uint32]struct{} }

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
// in the tree by its own parent alone; of one that existed before the number is its
// own.
func (t *tree) fork(parent, child uint32, existed bool) {
	if t.has(parent) {
		t.in[child] = struct{}{}
	} else if !existed {
		delete(t.in, child)
	}
}
