package snapshot

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tcpstates/internal/event"
	"tcpstates/internal/wire"
)

// ListOptions say which sockets are listed.
type ListOptions struct {
	// UDP lists UDP's sockets instead of TCP's.
	UDP bool
	// PIDNamespace is the inode number of the PID namespace whose process ids
	// are told; zero means the machine's.
	PIDNamespace uint32
	// Netns is the inode number of the only network namespace wanted; zero
	// wants all. NetnsPath is a path to it, empty if none is known.
	Netns     uint64
	NetnsPath string
}

// Listing is a list of sockets.
type Listing struct {
	// Sockets are of event.KindSocket, in no order. Wall and Ktime are for the caller to set.
	Sockets []event.Event
	Report
	// OwnersErr is why only those owners are known whose processes the caller
	// may look at; nil if all are.
	OwnersErr error
}

// List lists the sockets of all network namespaces, as sock_diag(7) tells them,
// with their owners.
func List(o ListOptions) (Listing, error) {
	var list Listing
	spaces, refused := namespaces()
	list.Refused = refused
	defer spaces.close()
	if o.NetnsPath != "" {
		_ = spaces.add(o.NetnsPath) // if it is gone, nothing is found below
	}
	owners := list.findOwners(o, spaces)
	entered := false
	for _, ns := range spaces.all {
		if o.Netns != 0 && o.Netns != ns.inode {
			continue
		}
		entered = true
		err := inNamespace(ns.path, func() error { return list.add(o, ns, owners) })
		if err := list.note(err); err != nil {
			return list, fmt.Errorf("ask the kernel for its sockets (sock_diag; modprobe tcp_diag udp_diag): %w", err)
		}
	}
	if !entered {
		return list, fmt.Errorf("there is no network namespace %d that a process or a socket is in, or that ip netns has named", o.Netns)
	}
	return list, nil
}

// add lists the sockets of the namespace that the thread is in.
func (l *Listing) add(o ListOptions, ns namespace, owners owners) error {
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		sockets, err := dump(family, o.UDP)
		if err != nil {
			return err
		}
		for _, s := range sockets {
			e := socketEvent(s)
			e.Netns = uint32(ns.inode)
			e.Datagram = o.UDP
			e.Owner = owners.of(e.Cookie, s.INode)
			l.Sockets = append(l.Sockets, e)
		}
	}
	return nil
}

// socketEvent reads what sock_diag tells of a socket (struct inet_diag_msg).
func socketEvent(s *netlink.Socket) event.Event {
	e := event.Event{
		Kind:     event.KindSocket,
		OldState: event.State(s.State),
		NewState: event.State(s.State),
		Cookie:   uint64(s.ID.Cookie[1])<<32 | uint64(s.ID.Cookie[0]),
		Family:   event.IPv4,
		Local:    addrPort(s.ID.Source, s.ID.SourcePort, s.Family),
		Remote:   addrPort(s.ID.Destination, s.ID.DestinationPort, s.Family),
		UID:      s.UID,
		// Of minisocks and requests sock_diag does not know it, and says 0.
		UIDUnknown: s.INode == 0 && s.UID == 0 && s.State != uint8(event.Listen),
		RecvQ:      s.RQueue,
		SendQ:      s.WQueue,
	}
	if s.Family == unix.AF_INET6 {
		e.Family = event.IPv6
	}
	if s.Timer == timerTimeWait {
		e.Left = time.Duration(s.Expires) * time.Millisecond
	}
	return e
}

// timerTimeWait is the idiag_timer of a timewait minisock.
const timerTimeWait = 3

func addrPort(ip net.IP, port uint16, family uint8) netip.AddrPort {
	addr, _ := netip.AddrFromSlice(ip)
	if family == unix.AF_INET {
		addr = addr.Unmap()
	}
	return netip.AddrPortFrom(addr, port)
}

// owners are who has which socket open, by the sockets' cookies, or where
// those may not be known by the inodes of their files.
type owners struct {
	byCookie map[uint64]event.Owner
	byInode  map[uint32]event.Owner
}

// of is the owner of a socket; the zero one if nobody has it open.
func (o owners) of(cookie uint64, inode uint32) event.Owner {
	if o.byCookie != nil {
		return o.byCookie[cookie]
	}
	return o.byInode[inode]
}

// findOwners asks the walk over all files, or where that is not allowed /proc.
func (l *Listing) findOwners(o ListOptions, spaces *spaces) owners {
	byCookie := map[uint64]event.Owner{}
	var walked Report // the list itself enters the same namespaces, and counts
	err := walked.walk(walkOptions{udp: o.UDP, pidNamespace: o.PIDNamespace}, spaces, func(f wire.Found) {
		if _, known := byCookie[f.Cookie]; !known {
			byCookie[f.Cookie] = f.Owner
		}
	})
	if err != nil {
		l.OwnersErr = err
		return owners{byInode: processOwners()}
	}
	return owners{byCookie: byCookie}
}
