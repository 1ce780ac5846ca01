package conn

// slab gives places for values, in chunks that are never moved. The zero value is
// ready.
type slab[T any] struct {
	chunks []*[chunkSize]T
	used   uint32   // places that were ever used
	free   []uint32 // places to use again
}

const chunkSize = 1024

func (s *slab[T]) at(place uint32) *T { return &s.chunks[place/chunkSize][place%chunkSize] }

// take gives a place with the zero value.
func (s *slab[T]) take() (place uint32) {
	if n := len(s.free); n > 0 {
		place, s.free = s.free[n-1], s.free[:n-1]
		var zero T
		*s.at(place) = zero
		return place
	}
	if s.used%chunkSize == 0 {
		s.chunks = append(s.chunks, new([chunkSize]T))
	}
	place = s.used
	s.used++
	return place
}

// giveBack lets a place be taken again; until then the value is what it was.
func (s *slab[T]) giveBack(place uint32) { s.free = append(s.free, place) }
