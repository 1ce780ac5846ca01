package wire

import (
	"fmt"
	"unsafe"

	"tcpstates/bpf"
	"tcpstates/internal/event"
)

// Found is a TCP socket that a process has open.
type Found struct {
	// Cookie identifies the socket.
	Cookie uint64
	// Netns is the inode number of its network namespace.
	Netns uint32
	State event.State
	// FD is the owner's descriptor of it, and negative if it has none, as the
	// subflow of a multipath socket.
	FD int32
	// Owner is the process; of several, any.
	Owner event.Owner
}

// FoundSize is the length of a record of a found socket in bytes.
const FoundSize = int(unsafe.Sizeof(found))

var (
	found   bpf.SnapshotFound
	owner   bpf.SnapshotOwner
	process bpf.SnapshotProcess
)

// Where the owner's parts are in the record.
const (
	ownerAt = unsafe.Offsetof(found.Owner)
	commAt  = ownerAt + unsafe.Offsetof(owner.Process) + unsafe.Offsetof(process.Comm)
	pidAt   = ownerAt + unsafe.Offsetof(owner.Process) + unsafe.Offsetof(process.Pid)
)

// DecodeFound reads the record of a found socket, of which it must have the
// length.
func DecodeFound(record []byte) (Found, error) {
	if len(record) != FoundSize {
		return Found{}, fmt.Errorf("a record of %d bytes, want %d: the programs are of another version", len(record), FoundSize)
	}
	r := (*[FoundSize]byte)(record)
	return Found{
		Cookie: u64(r[unsafe.Offsetof(found.Cookie):]),
		Netns:  u32(r[unsafe.Offsetof(found.Netns):]),
		FD:     int32(u32(r[unsafe.Offsetof(found.Fd):])),
		State:  event.State(r[unsafe.Offsetof(found.State)]),
		Owner: event.Owner{
			Process: event.Process{PID: u32(r[pidAt:]), Comm: commFrom(r[commAt:])},
			Source:  event.Source(r[ownerAt+unsafe.Offsetof(owner.Source)]),
			Cgroup:  u64(r[ownerAt+unsafe.Offsetof(owner.Cgroup):]),
		},
	}, nil
}

// Minisock is what is left of a socket in TIME_WAIT, or in FIN_WAIT2 without a
// process.
type Minisock struct {
	// Cookie is the socket's. One socket can leave several, which their ports
	// tell apart.
	Cookie                uint64
	LocalPort, RemotePort uint16
	// State is TimeWait or FinWait2.
	State event.State
}

// MinisockSize is the length of a record of a minisock in bytes.
const MinisockSize = int(unsafe.Sizeof(minisock))

var minisock bpf.SnapshotMinisock

// DecodeMinisock reads the record of a minisock, of which it must have the
// length.
func DecodeMinisock(record []byte) (Minisock, error) {
	if len(record) != MinisockSize {
		return Minisock{}, fmt.Errorf("a record of %d bytes, want %d: the programs are of another version", len(record), MinisockSize)
	}
	return Minisock{
		Cookie:     u64(record[unsafe.Offsetof(minisock.Cookie):]),
		LocalPort:  u16(record[unsafe.Offsetof(minisock.Lport):]),
		RemotePort: u16(record[unsafe.Offsetof(minisock.Rport):]),
		State:      event.State(record[unsafe.Offsetof(minisock.State)]),
	}, nil
}
