package conn

// table keeps lives by their sockets, up to a number; beyond it the one whose
// last event is oldest goes. Lives lie in chunks that are never moved and are
// used again, so that a table that has reached its size allocates nothing.
type table struct {
	bySocket map[uint64]uint32
	recent   [recentSize]uint32 // places of those that were looked for last, by recentOf
	chunks   []*[chunkSize]life
	used     uint32   // places that were ever used
	free     []uint32 // places to use again
	max      int
	// The order of the last event, as places; none at the ends.
	oldest, newest uint32
}

const chunkSize = 1024

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

func (t *table) at(place uint32) *life { return &t.chunks[place/chunkSize][place%chunkSize] }

// find gives the life of a socket, as the latest to have had an event; nil if
// there is none.
func (t *table) find(socket uint64) *life {
	place, found := t.placeOf(socket)
	if !found {
		return nil
	}
	l := t.at(place)
	if place != t.newest {
		t.unlink(l)
		t.link(l, place)
	}
	return l
}

// placeOf is where the life of a socket is, if it has one.
func (t *table) placeOf(socket uint64) (place uint32, found bool) {
	recent := &t.recent[recentOf(socket)]
	if *recent < t.used && t.at(*recent).socket == socket {
		return *recent, true
	}
	if place, found = t.bySocket[socket]; found {
		*recent = place
	}
	return place, found
}

// retire makes a life the first to go when there is no room: all but its
// minisock's end was told.
func (t *table) retire(l *life) {
	place, _ := t.placeOf(l.socket)
	if place == t.oldest {
		return
	}
	t.unlink(l)
	t.at(t.oldest).older = place
	l.older, l.newer = none, t.oldest
	t.oldest = place
}

func (t *table) isFull() bool { return len(t.bySocket) >= t.max }

// evict removes the life whose last event is oldest. What it was holds until the
// next is added.
func (t *table) evict() *life {
	l := t.at(t.oldest)
	t.remove(l)
	return l
}

// add makes a life for a socket that has none. There must be room.
func (t *table) add(socket uint64) *life {
	var place uint32
	if n := len(t.free); n > 0 {
		place, t.free = t.free[n-1], t.free[:n-1]
	} else {
		if t.used%chunkSize == 0 {
			t.chunks = append(t.chunks, new([chunkSize]life))
		}
		place = t.used
		t.used++
	}
	l := t.at(place)
	*l = life{socket: socket}
	t.bySocket[socket] = place
	t.recent[recentOf(socket)] = place
	t.link(l, place)
	return l
}

// remove forgets a life; its place will be another's.
func (t *table) remove(l *life) {
	place, _ := t.placeOf(l.socket)
	delete(t.bySocket, l.socket)
	l.socket = 0
	t.unlink(l)
	t.free = append(t.free, place)
}

func (t *table) unlink(l *life) {
	if l.older == none {
		t.oldest = l.newer
	} else {
		t.at(l.older).newer = l.newer
	}
	if l.newer == none {
		t.newest = l.older
	} else {
		t.at(l.newer).older = l.older
	}
}

// link makes a life the newest.
func (t *table) link(l *life, place uint32) {
	l.older, l.newer = t.newest, none
	if t.newest == none {
		t.oldest = place
	} else {
		t.at(t.newest).newer = place
	}
	t.newest = place
}
