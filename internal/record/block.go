package record

import (
	"encoding/binary"
	"fmt"

	"tcpstates/internal/event"
)

// said is what a block has said so far: what the next event says of itself is
// foreseen from it. A block begins with none, so each can be read alone.
type said struct {
	last    event.Event   // the event before
	sockets []event.Event // the last event of each socket
	words   []string      // texts and addresses, which say themselves once

	foreseen event.Event // what the next event would be if nothing surprised

	// For writing: where they are.
	socketAt map[uint64]int
	wordAt   map[string]int
}

func (s *said) reset() {
	s.last = event.Event{}
	s.sockets = s.sockets[:0]
	s.words = s.words[:0]
	clear(s.socketAt)
	clear(s.wordAt)
}

// foresee makes foreseen that of a socket, by its number among the sockets; the
// next number stands for a new one.
func (s *said) foresee(socket int) {
	last := &s.last
	if socket < len(s.sockets) {
		s.foreseen = s.sockets[socket]
		f := &s.foreseen
		f.OldState, f.Since, f.Before = f.NewState, f.Ktime, false
		f.Facts = event.Facts{}
		f.Closes, f.Signal, f.Accepted, f.Lost, f.Loss, f.OneIn, f.Fate, f.Followed = false, 0, 0, 0, 0, 0, 0, false
	} else {
		s.foreseen = event.Event{
			Cookie: last.Cookie, SkAddr: last.SkAddr, Family: last.Family, Local: last.Local, Remote: last.Remote,
			RawLocalPort: last.RawLocalPort, Netns: last.Netns, UID: last.UID, Owner: last.Owner,
		}
	}
	s.foreseen.Current = last.Current
	s.foreseen.Ktime, s.foreseen.Wall = last.Ktime, last.Wall
}

// keep notes what the event has said.
func (s *said) keep(socket int, e *event.Event) {
	s.last = *e
	if socket == len(s.sockets) {
		s.sockets = append(s.sockets, *e)
		return
	}
	s.sockets[socket] = *e
}

// word appends bytes that come again: the first time themselves, and then their
// number.
func (s *said) word(dst, word []byte) []byte {
	if i, known := s.wordAt[string(word)]; known {
		return binary.AppendUvarint(dst, uint64(i)+1)
	}
	text := string(word)
	s.wordAt[text] = len(s.words)
	s.words = append(s.words, text)
	dst = binary.AppendUvarint(append(dst, 0), uint64(len(word)))
	return append(dst, word...)
}

// put appends the event, of a kind that recordings have: which kind, which
// socket of the block, which fields are not as foreseen, and those.
func (s *said) put(dst []byte, kind byte, e *event.Event) []byte {
	socket, known := s.socketAt[e.Socket()]
	if !known {
		socket = len(s.sockets)
		s.socketAt[e.Socket()] = socket
	}
	s.foresee(socket)
	var surprises uint64
	for i := range fields {
		if !fields[i].same(e, &s.foreseen) {
			surprises |= 1 << i
		}
	}
	dst = binary.AppendUvarint(append(dst, kind), uint64(socket))
	dst = binary.AppendUvarint(dst, surprises)
	for i := range fields {
		if surprises&(1<<i) != 0 {
			dst = fields[i].put(dst, e, s)
		}
	}
	s.keep(socket, e)
	return dst
}

// input is a block that is being read. Its first error stays, and what is read
// after it is zero.
type input struct {
	said
	rest []byte
	err  error
}

func (in *input) fail(format string, args ...any) {
	if in.err == nil {
		in.err = fmt.Errorf(format, args...)
	}
	in.rest = nil
}

// get reads the next event. What it makes of e is all that was put.
func (in *input) get(e *event.Event) error {
	kind := in.byte()
	if int(kind) >= len(kinds) {
		in.fail("%d is no kind of event", kind)
		return in.err
	}
	number := in.uvarint()
	if number > uint64(len(in.sockets)) {
		in.fail("socket %d of %d", number, len(in.sockets))
		return in.err
	}
	socket := int(number)
	in.foresee(socket)
	surprises := in.uvarint()
	if surprises>>len(fields) != 0 {
		in.fail("fields that nobody knows")
		return in.err
	}
	*e = in.foreseen
	e.Kind = kinds[kind]
	for i := 0; surprises != 0 && in.err == nil; i++ {
		if surprises&1 != 0 {
			fields[i].get(in, e)
		}
		surprises >>= 1
	}
	if in.err == nil {
		in.keep(socket, e)
	}
	return in.err
}

func (in *input) byte() byte {
	if len(in.rest) == 0 {
		in.fail("it ends in the middle of an event")
		return 0
	}
	b := in.rest[0]
	in.rest = in.rest[1:]
	return b
}

func (in *input) uint16() uint16 { return uint16(in.byte())<<8 | uint16(in.byte()) }

func (in *input) uvarint() uint64 {
	v, n := binary.Uvarint(in.rest)
	if n <= 0 {
		in.fail("it ends in the middle of an event")
		return 0
	}
	in.rest = in.rest[n:]
	return v
}

func (in *input) varint() int64 {
	v, n := binary.Varint(in.rest)
	if n <= 0 {
		in.fail("it ends in the middle of an event")
		return 0
	}
	in.rest = in.rest[n:]
	return v
}

// word reads what said.word appends.
func (in *input) word() string {
	number := in.uvarint()
	if number > 0 {
		if number > uint64(len(in.words)) {
			in.fail("word %d of %d", number, len(in.words))
			return ""
		}
		return in.words[number-1]
	}
	length := in.uvarint()
	if length > uint64(len(in.rest)) {
		in.fail("a word of %d bytes, of which %d are there", length, len(in.rest))
		return ""
	}
	word := string(in.rest[:length])
	in.rest = in.rest[length:]
	in.words = append(in.words, word)
	return word
}
