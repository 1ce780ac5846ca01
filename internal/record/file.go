package record

import (
	"encoding/binary"
	"hash/crc32"
)

// A recording is a header and blocks, each of which can be read alone: what
// became of one is no harm to the others. Numbers are little-endian.
//
//	header  magic (8), version (4), checksum of these (4)
//	block   mark (4), what (1), zero (3), wall clock of its first event (8),
//	        events (4), bytes (4), bytes as stored (4), checksum of what is
//	        stored (4), checksum of these (4); what is stored, compressed by
//	        zstd (RFC 8878)
//
// The checksums are CRC-32C (RFC 3720, B.4).
//
// The version goes up with each kind of event, field, state or kind of block that is
// new, and with each change of what is foreseen (said.foresee): a reader refuses what
// is newer than itself as a whole, and reads all that is older. Only the JSON of
// start and stop may grow without, by what can be left out.
const (
	magic      = "tcpstRec"
	version    = 3
	headerSize = len(magic) + 8

	mark          = "\xb1ock"
	blockHeadSize = 36
	eventsAt      = 16 // in a block's head
)

// What a block holds.
const (
	blockStart  = 1 + iota // how the trace began, as JSON: the first block
	blockEvents            // events
	blockStop              // how it ended, as JSON: the last block
)

const (
	// eventsPerBlock and bytesPerBlock bound a block, and what it takes to read
	// one: some 4 MiB.
	eventsPerBlock = 4096
	bytesPerBlock  = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// blockHead is what stands before a block.
type blockHead struct {
	what          byte
	wall          int64
	events        uint32
	bytes, stored uint32
	checksum      uint32 // of what is stored
}

func appendHeader(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, magic...)
	dst = binary.LittleEndian.AppendUint32(dst, version)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

func (h *blockHead) append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, mark...)
	dst = append(dst, h.what, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.wall))
	for _, n := range [...]uint32{h.events, h.bytes, h.stored, h.checksum} {
		dst = binary.LittleEndian.AppendUint32(dst, n)
	}
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// parse reads a head, and tells whether it is one.
func (h *blockHead) parse(b []byte) bool {
	const covered = blockHeadSize - 4
	if string(b[:len(mark)]) != mark || binary.LittleEndian.Uint32(b[covered:]) != crc32.Checksum(b[:covered], castagnoli) {
		return false
	}
	h.what = b[4]
	h.wall = int64(binary.LittleEndian.Uint64(b[8:]))
	for i, n := range [...]*uint32{&h.events, &h.bytes, &h.stored, &h.checksum} {
		*n = binary.LittleEndian.Uint32(b[eventsAt+4*i:])
	}
	return h.events <= eventsPerBlock && h.bytes <= bytesPerBlock && h.stored <= 2*bytesPerBlock
}
