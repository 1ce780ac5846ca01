package conn

// table keeps lives by their sockets, up to a number; beyond it the one whose
// last event is oldest goes. Both parts of lives lie in chunks that are never moved
// and are used again, so that a table that has reached its size allocates nothing.
type table struct {
	bySocket map[uint64]uint32
	recent   [recentSize]uint32 // places of those that were looked for last, by recentOf
	cores    slab[core]
	details  slab[detail]
	max      int
	// The order of the last event, as places; none at the ends.
	oldest, newest uint32
}

// recentSize is how many sockets are found without the map, which is far too
// large for the caches when there are many: a connection's events follow each other.
const recentSize = 1 << recentBits

const recentBits = 10

// recentOf spreads cookies, which count up, and addresses, whose low bits are all
// the same, by the golden ratio (Knuth, The Art of Computer Programming, 6.4).
func recentOf(socket uint64) uint64 { return socket * 0x9e3779b97f4a7c15 >> (64 - recentBits) }

// none is no place.
const none = ^uint32(0)

func newTable(maxLives int) *table {
	return &table{bySocket: map[uint64]uint32{}, max: maxLives, oldest: none, newest: none}
}

func (t *table) len() int { return len(t.bySocket) }

// at is the life at a place.
func (t *table) at(place uint32) life {
	l := life{core: t.cores.at(place)}
	if l.detailAt != none {
		l.detail = t.details.at(l.detailAt)
	}
	return l
}

// find gives the life of a socket, as the latest to have had an event, and false if
// there is none.
func (t *table) find(socket uint64) (l life, found bool) {
	place, found := t.placeOf(socket)
	if !found {
		return life{}, false
	}
	l = t.at(place)
	if place != t.newest {
		t.unlink(l.core)
		t.link(l.core, place)
	}
	return l, true
}

// placeOf is where the life of a socket is, if it has one.
func (t *table) placeOf(socket uint64) (place uint32, found bool) {
	recent := &t.recent[recentOf(socket)]
	if *recent < t.cores.used && t.cores.at(*recent).socket == socket {
		return *recent, true
	}
	if place, found = t.bySocket[socket]; found {
		*recent = place
	}
	return place, found
}

// retire makes a life the first to go when there is no room, and forgets its detail:
// all but its minisock's end was told.
func (t *table) retire(l life) {
	t.forgetDetail(l.core)
	place, _ := t.placeOf(l.socket)
	if place == t.oldest {
		return
	}
	t.unlink(l.core)
	t.cores.at(t.oldest).older = place
	l.older, l.newer = none, t.oldest
	t.oldest = place
}

// complete gives a life a detail if it has none: then nothing is known of it.
func (t *table) complete(l *life) {
	if l.detail == nil {
		l.detailAt = t.details.take()
		l.detail = t.details.at(l.detailAt)
	}
}

func (t *table) forgetDetail(c *core) {
	if c.detailAt != none {
		t.details.giveBack(c.detailAt)
		c.detailAt = none
	}
}

func (t *table) isFull() bool { return len(t.bySocket) >= t.max }

// evict removes the life whose last event is oldest. What its core was holds until
// the next is added.
func (t *table) evict() *core {
	l := t.at(t.oldest)
	t.remove(l)
	return l.core
}

// add makes a life for a socket that has none. There must be room.
func (t *table) add(socket uint64) life {
	place := t.cores.take()
	l := life{core: t.cores.at(place)}
	l.socket, l.detailAt = socket, none
	t.complete(&l)
	t.bySocket[socket] = place
	t.recent[recentOf(socket)] = place
	t.link(l.core, place)
	return l
}

// remove forgets a life; its place will be another's.
func (t *table) remove(l life) {
	place, _ := t.placeOf(l.socket)
	delete(t.bySocket, l.socket)
	t.recent[recentOf(l.socket)] = none
	t.forgetDetail(l.core)
	t.unlink(l.core)
	t.cores.giveBack(place)
}

func (t *table) unlink(c *core) {
	if c.older == none {
		t.oldest = c.newer
	} else {
		t.cores.at(c.older).newer = c.newer
	}
	if c.newer == none {
		t.newest = c.older
	} else {
		t.cores.at(c.newer).older = c.older
	}
}

// link makes a life the newest.
func (t *table) link(c *core, place uint32) {
	c.older, c.newer = t.newest, none
	if t.newest == none {
		t.oldest = place
	} else {
		t.cores.at(t.newest).newer = place
	}
	t.newest = place
}
