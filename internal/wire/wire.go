// Package wire turns the records of the kernel side into events. It is pure:
// bytes in, values out, whatever the bytes.
package wire

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"unsafe"

	"tcpstates/bpf"
	"tcpstates/internal/event"
)

// Size is the length of the longest record in bytes. Of transitions that say nothing
// but states, and of IPv4, there is less.
const (
	Size      = int(unsafe.Sizeof(layout))
	factsSize = int(unsafe.Offsetof(layout.Laddr))  // with all but the addresses of IPv6
	plainSize = int(unsafe.Offsetof(layout.Moment)) // and without facts
)

// kinds are those of records in the project's words; zero is none.
var kinds = [...]event.Kind{
	bpf.TcpstatesEventKindEVENT_TRANSITION:        event.KindTransition,
	bpf.TcpstatesEventKindEVENT_OWNER:             event.KindOwner,
	bpf.TcpstatesEventKindEVENT_RESET_SENT:        event.KindResetSent,
	bpf.TcpstatesEventKindEVENT_RESET_RECEIVED:    event.KindResetReceived,
	bpf.TcpstatesEventKindEVENT_RETRANSMIT:        event.KindRetransmit,
	bpf.TcpstatesEventKindEVENT_SYNACK_RETRANSMIT: event.KindSynAckRetransmit,
	bpf.TcpstatesEventKindEVENT_FORK:              event.KindFork,
}

// The kernel's numbers of the address families (include/linux/socket.h).
const (
	afInet  = 2
	afInet6 = 10
)

// layout lends its field offsets, which the compiler folds into constants: the
// Go mirror that bpf2go makes is the only place that knows them.
var layout bpf.TcpstatesEvent

// Decode fills e with what the record says and leaves e.Wall zero. It keeps no
// reference to the record and allocates nothing but its errors. The record is
// taken as it comes from the kernel: of the length and the kinds this version
// knows, or it is an error and e is undefined.
func Decode(record []byte, e *event.Event) error {
	switch len(record) {
	case Size, factsSize, plainSize:
	default:
		return fmt.Errorf("a record of %d bytes, want %d, %d or %d: the programs are of another version",
			len(record), plainSize, factsSize, Size)
	}
	r := (*[plainSize]byte)(record)
	if size := u16(r[unsafe.Offsetof(layout.Size):]); int(size) != len(record) {
		return fmt.Errorf("a record that says it has %d bytes has %d", size, len(record))
	}
	kind := r[unsafe.Offsetof(layout.Kind)]
	if int(kind) >= len(kinds) || kinds[kind] == 0 {
		return fmt.Errorf("a record of unknown kind %d", kind)
	}

	*e = event.Event{Kind: kinds[kind]}
	e.Ktime = u64(r[unsafe.Offsetof(layout.Time):])
	e.Owner.PID = u32(r[unsafe.Offsetof(layout.Pid):])
	e.Owner.Comm = commFrom(r[unsafe.Offsetof(layout.Comm):])
	e.Current.PID = u32(r[unsafe.Offsetof(layout.Curpid):])
	e.Current.Comm = commFrom(r[unsafe.Offsetof(layout.Curcomm):])
	if e.Kind == event.KindFork { // it has nothing else
		e.Followed = flagsOf(r)&bpf.TcpstatesEventFlagsEVENT_FOLLOWED != 0
		return nil
	}
	if err := decodeEnds(record, e); err != nil {
		return err
	}
	decodeSocket(r, e)
	if len(record) >= factsSize {
		decodeFacts((*[factsSize]byte)(record), e)
	}
	return nil
}

// decodeEnds reads the addresses and ports.
func decodeEnds(record []byte, e *event.Event) error {
	r := (*[plainSize]byte)(record)
	var local, remote netip.Addr
	switch family := r[unsafe.Offsetof(layout.Family)]; {
	case family == afInet:
		e.Family = event.IPv4
		local = netip.AddrFrom4([4]byte(r[unsafe.Offsetof(layout.Laddr4):]))
		remote = netip.AddrFrom4([4]byte(r[unsafe.Offsetof(layout.Raddr4):]))
	case family != afInet6:
		return fmt.Errorf("a record of unknown address family %d", family)
	case len(record) < Size:
		return fmt.Errorf("a record of %d bytes has no room for the addresses of IPv6", len(record))
	default:
		e.Family = event.IPv6
		local = netip.AddrFrom16([16]byte(record[unsafe.Offsetof(layout.Laddr):]))
		remote = netip.AddrFrom16([16]byte(record[unsafe.Offsetof(layout.Raddr):]))
	}
	e.Local = netip.AddrPortFrom(local, u16(r[unsafe.Offsetof(layout.Lport):]))
	e.Remote = netip.AddrPortFrom(remote, u16(r[unsafe.Offsetof(layout.Rport):]))
	e.RawLocalPort = u16(r[unsafe.Offsetof(layout.TpLport):])
	return nil
}

// decodeSocket reads what all records of sockets have.
func decodeSocket(r *[plainSize]byte, e *event.Event) {
	e.Since = u64(r[unsafe.Offsetof(layout.Since):])
	e.Cookie = u64(r[unsafe.Offsetof(layout.Cookie):])
	e.SkAddr = u64(r[unsafe.Offsetof(layout.Skaddr):])
	e.OldState = event.State(r[unsafe.Offsetof(layout.Oldstate)])
	e.NewState = event.State(r[unsafe.Offsetof(layout.Newstate)])
	e.Netns = u32(r[unsafe.Offsetof(layout.Netns):])
	e.UID = u32(r[unsafe.Offsetof(layout.Uid):])
	e.Owner.Source = event.Source(r[unsafe.Offsetof(layout.Source)])
	e.Owner.Cgroup = u64(r[unsafe.Offsetof(layout.Cgroup):])
	flags := flagsOf(r)
	e.UIDUnknown = flags&bpf.TcpstatesEventFlagsEVENT_UID_UNKNOWN != 0
	e.Closes = flags&bpf.TcpstatesEventFlagsEVENT_CLOSER != 0
	e.Before = flags&bpf.TcpstatesEventFlagsEVENT_SINCE_SEED != 0
	e.Facts.Unknown = flags&bpf.TcpstatesEventFlagsEVENT_NO_FACTS != 0
	e.Facts.Shutdown = r[unsafe.Offsetof(layout.Shutdown)]
	e.Signal = r[unsafe.Offsetof(layout.Signal)]
}

func flagsOf(r *[plainSize]byte) bpf.TcpstatesEventFlags {
	return bpf.TcpstatesEventFlags(r[unsafe.Offsetof(layout.Flags)])
}

// decodeFacts reads what else sockets say of themselves.
func decodeFacts(r *[factsSize]byte, e *event.Event) {
	if flagsOf((*[plainSize]byte)(r[:]))&bpf.TcpstatesEventFlagsEVENT_ACCEPTED != 0 {
		e.Accepted = u64(r[unsafe.Offsetof(layout.Moment):])
	}
	f := &e.Facts
	f.Err = u16(r[unsafe.Offsetof(layout.Err):])
	f.SoftErr = u16(r[unsafe.Offsetof(layout.ErrSoft):])
	f.Flags = event.SockFlags(u16(r[unsafe.Offsetof(layout.Facts):]))
	f.Linger2 = int32(u32(r[unsafe.Offsetof(layout.Linger2):]))
	f.SRTT = u32(r[unsafe.Offsetof(layout.Srtt):]) / srttUnit
	f.MinRTT = u32(r[unsafe.Offsetof(layout.RttMin):])
	f.Retransmits = u32(r[unsafe.Offsetof(layout.Retrans):])
	f.BytesAcked = u64(r[unsafe.Offsetof(layout.BytesAcked):])
	f.BytesReceived = u64(r[unsafe.Offsetof(layout.BytesReceived):])
	f.SegsIn = u32(r[unsafe.Offsetof(layout.SegsIn):])
	f.SegsOut = u32(r[unsafe.Offsetof(layout.SegsOut):])
	f.DataSegsIn = u32(r[unsafe.Offsetof(layout.DataSegsIn):])
}

// srttUnit is by what the kernel multiplies its smoothed round trip times
// (struct tcp_sock, srtt_us).
const srttUnit = 8

// Length is how long the record at the beginning of data is, which may go on behind
// it; zero for what is no record.
func Length(data []byte) int {
	if len(data) < plainSize {
		return 0
	}
	if size := int(u16(data[unsafe.Offsetof(layout.Size):])); size <= len(data) {
		return size
	}
	return 0
}

// Time is when what the record tells happened, in nanoseconds of
// CLOCK_MONOTONIC; zero for what is no record.
func Time(record []byte) uint64 {
	if len(record) < plainSize {
		return 0
	}
	return u64(record[unsafe.Offsetof(layout.Time):])
}

// ResetReason is the number of the reason for which a reset was sent (enum
// sk_rst_reason), and -1 if the record has none. The names are the kernel's,
// and differ from one to the next.
func ResetReason(record []byte) int32 {
	if len(record) < factsSize {
		return -1
	}
	return int32(u32(record[unsafe.Offsetof(layout.ResetReason):]))
}

// commFrom reads a name. Before Linux 5.17 what stands behind its zero is the
// rest of an older one.
func commFrom(b []byte) (c event.Comm) {
	low, ended := untilZero(u64(b))
	binary.LittleEndian.PutUint64(c[:], low)
	if !ended {
		high, _ := untilZero(u64(b[8:]))
		binary.LittleEndian.PutUint64(c[8:], high)
	}
	return c
}

// untilZero clears what is above the lowest byte that is zero, and tells whether
// there is one.
func untilZero(word uint64) (cleared uint64, ended bool) {
	const ones = 0x0101010101010101
	// The top bit of each byte that is zero, and of some above one.
	zeros := (word - ones) &^ word & (ones << 7)
	lowest := zeros & -zeros
	return word & (lowest>>7 - 1), zeros != 0 // of no bit all bytes stay
}

// The object is built for little-endian machines alone.
func u16(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }
func u32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
func u64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }
