// Package column is the list of everything that is shown of an event: each
// row has a name, how it is written in tables, and how in data.
package column

import (
	"net/netip"
	"strconv"
	"time"

	"tcpstates/internal/event"
)

// Column is one thing to show of an event. The functions append to dst and
// return it; what is not known appends nothing.
type Column struct {
	// Name is the CSV header and the JSON field.
	Name string
	// Unit is what the data counts, or its notation; empty if it needs none.
	Unit string
	// Source is what the value comes from: a field or function of the kernel, or
	// who concludes it. Help says in a line what it means.
	Source, Help string
	// Header stands above the column in tables.
	Header string
	// Width is the column's in a table, in characters, where there is no
	// reason for another; Min and Max are how narrow and how wide a table may
	// make it on a terminal. Zero stands for Width.
	Width, Min, Max int
	// Drop says how early a table that is too wide for its terminal goes
	// without the column: lowest first, zero never.
	Drop int
	// Cut is how a value is shortened that is wider than the column.
	Cut Cut
	// Free says that the data may hold quotes, commas, backslashes and characters
	// of several bytes, as names and paths do. All else is ASCII.
	Free bool
	// Number says that the data is a JSON number, and not a string.
	Number bool
	// Remark says that it is empty where there is nothing to say, which is not
	// the same as not known.
	Remark bool
	// Of are the groups of the column.
	Of Groups
	// Data appends the value for programs to read.
	Data func(dst []byte, e *event.Event, s *State) []byte
	// Text appends the value for people to read; nil stands for Data.
	Text func(dst []byte, e *event.Event, s *State) []byte
}

// Groups is a set of groups of columns.
type Groups uint16

// The groups. A column is shown of an event if it is in one of the event's.
const (
	// Sockets are of events that speak of one socket. A column in no group is
	// in this one.
	Sockets Groups = 1 << iota
	// Transitions are of changes of state.
	Transitions
	// Timed are of those that tell how long something has lasted.
	Timed
	// Concluded are of changes of state and of connections that have ended.
	Concluded
	// Handshakes are of those among them that tell of a handshake.
	Handshakes
	// Ends are of those that tell of an end.
	Ends
	// Closes are of those that tell who closes, Waits of those that tell how long a
	// connection waited to be accepted.
	Closes
	Waits
	// Conns are of connections that have ended.
	Conns
	// Placed are of those whose owner runs in a place that is known.
	Placed
	// Losses are of events that are missing, Samples of connections that are.
	Losses
	Samples
	// Present are of those that speak of the state that a socket is in.
	Present
	// Listed are of sockets that exist.
	Listed
	// Everything is of every event.
	Everything
)

// GroupsOf are the groups of columns that have something to say of the event.
func GroupsOf(e *event.Event) Groups {
	groups := Everything
	if !e.IsNotice() {
		groups |= Sockets
	}
	switch {
	case e.Kind == event.KindLost:
		groups |= Losses
	case e.Kind == event.KindSampling:
		groups |= Samples
	case e.Kind == event.KindTransition:
		groups |= Transitions | Timed | Concluded
		if e.NewState == event.Established {
			groups |= Handshakes
		}
		if e.Closes {
			groups |= Closes
		}
		if e.End.Reason != event.ReasonNone {
			groups |= Ends
		}
	case e.Kind == event.KindConn:
		groups |= Timed | Concluded | Handshakes | Closes | Ends | Conns
	case e.Kind == event.KindSocket:
		groups |= Present | Listed
	case happens(e.Kind):
		groups |= Timed | Present
	}
	if e.AcceptWait.Known {
		groups |= Waits
	}
	if e.Owner.Place != nil && *e.Owner.Place != nowhere {
		groups |= Placed
	}
	return groups
}

// Members are the groups of each of the columns.
func Members(columns []*Column) []Groups {
	groups := make([]Groups, len(columns))
	for i, c := range columns {
		groups[i] = max(c.Of, Sockets) // the lowest, and none means it
	}
	return groups
}

// happens tells whether events of the kind tell of something that leaves the
// state as it is.
func happens(kind event.Kind) bool {
	switch kind {
	case event.KindResetSent, event.KindResetReceived, event.KindRetransmit, event.KindSynAckRetransmit:
		return true
	}
	return false
}

// Cut is a way to shorten a value.
type Cut uint8

const (
	// CutNever keeps the value whole, at the price of a ragged line.
	CutNever Cut = iota
	// CutEnd keeps the beginning and marks the cut.
	CutEnd
	// CutAddress keeps both ends of an address and marks the cut; of an
	// IPv4-mapped one it keeps the IPv4 address.
	CutAddress
	// CutPrecision keeps the beginning, of a value that is less exact then
	// and nothing worse.
	CutPrecision
)

// State is what columns remember from one event to the next. It serves one
// writer; the zero value is ready.
type State struct {
	// Names tells the name of a remote address, empty if it is not known; nil:
	// tables show addresses.
	Names func(netip.Addr) string
	// Services tells the name of a TCP port, or of a UDP one, empty if it has
	// none; nil: tables show numbers.
	Services func(port uint16, datagram bool) string

	local, utc clockText
	first      int64
}

// placeOf is where the owner runs.
func placeOf(e *event.Event) *event.Place {
	if e.Owner.Place == nil {
		return &nowhere
	}
	return e.Owner.Place
}

var nowhere event.Place

func elapsed(dst []byte, e *event.Event, s *State) []byte {
	if s.first == 0 {
		s.first = int64(e.Ktime)
	}
	return appendFixed(dst, int64(e.Ktime)-s.first, 9, 6)
}

func uid(dst []byte, e *event.Event, _ *State) []byte {
	if e.UIDUnknown {
		return dst
	}
	return strconv.AppendUint(dst, uint64(e.UID), 10)
}

func ownerPID(dst []byte, e *event.Event, _ *State) []byte {
	return appendCount(dst, uint64(e.Owner.PID))
}

func ownerComm(dst []byte, e *event.Event, _ *State) []byte {
	if e.Owner.PID == 0 {
		return dst
	}
	return e.Owner.Comm.AppendText(dst)
}

// remoteAddr appends nothing for a listener, which has no remote end.
func remoteAddr(dst []byte, e *event.Event, _ *State) []byte {
	if addr := e.Remote.Addr(); !addr.IsUnspecified() {
		return addr.AppendTo(dst)
	}
	return dst
}

func appendPort(dst []byte, port uint16) []byte {
	return appendCount(dst, uint64(port))
}

func appendMillis(dst []byte, e *event.Event, digits int) []byte {
	d, known := e.Duration()
	if !known {
		return dst
	}
	return appendFixed(dst, int64(d), 6, digits)
}

// durationText appends ">=" before a duration of which the beginning is not
// known.
func durationText(dst []byte, e *event.Event, _ *State) []byte {
	least, known := e.AtLeast()
	if !known || !e.Before {
		return appendMillis(dst, e, 3)
	}
	digits := 3 // a bound needs no precision that makes the column wider
	switch {
	case least >= time.Second:
		return strconv.AppendInt(append(dst, ">="...), int64(least/time.Millisecond), 10)
	case least >= time.Millisecond:
		digits = 1
	}
	return appendFixed(append(dst, ">="...), int64(least), 6, digits)
}

func appendAtLeast(dst []byte, e *event.Event, digits int) []byte {
	if least, known := e.AtLeast(); known && e.Before {
		return appendFixed(dst, int64(least), 6, digits)
	}
	return dst
}

func cgroupID(dst []byte, e *event.Event, _ *State) []byte {
	return appendCount(dst, e.Owner.Cgroup)
}

// closer is who closes the socket with the event, or has closed the connection
// that has ended; the zero process if nobody did.
func closer(e *event.Event) event.Process {
	switch {
	case e.Kind == event.KindConn:
		return e.End.By
	case e.Closes:
		return e.Current
	}
	return event.Process{}
}

func closerPID(dst []byte, e *event.Event, _ *State) []byte {
	return appendCount(dst, uint64(closer(e).PID))
}

func closerComm(dst []byte, e *event.Event, _ *State) []byte {
	by := closer(e)
	return by.Comm.AppendText(dst)
}

// currentPID appends 0 for the idle task, and nothing where nothing ran: what
// was derived.
func currentPID(dst []byte, e *event.Event, _ *State) []byte {
	if e.Current == (event.Process{}) && e.SkAddr == 0 {
		return dst
	}
	return strconv.AppendUint(dst, uint64(e.Current.PID), 10)
}

// oldState appends the name that also ss has for a half-open connection, which
// no socket stands for.
func oldState(dst []byte, e *event.Event, _ *State) []byte {
	if e.OldState == event.NewSynRecv {
		return append(dst, event.SynRecv.String()...)
	}
	return append(dst, e.OldState.String()...)
}

// newState appends nothing where the state stays.
func newState(dst []byte, e *event.Event, _ *State) []byte {
	if happens(e.Kind) {
		return dst
	}
	return append(dst, e.NewState.String()...)
}

// appendHex appends nothing for zero.
func appendHex(dst []byte, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return strconv.AppendUint(dst, v, 16)
}

// appendCount appends nothing for zero.
func appendCount(dst []byte, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return strconv.AppendUint(dst, v, 10)
}

func proto(dst []byte, e *event.Event, _ *State) []byte {
	if e.Datagram {
		return append(dst, "udp"...)
	}
	return append(dst, "tcp"...)
}

// state appends the state; a UDP socket that is not connected is in none.
func state(dst []byte, e *event.Event, _ *State) []byte {
	if e.Datagram && e.NewState == event.Close {
		return append(dst, "UNCONN"...)
	}
	return append(dst, e.NewState.String()...)
}

func queue(dst []byte, e *event.Event, n uint32) []byte {
	if e.QueuesUnknown {
		return dst
	}
	return strconv.AppendUint(dst, uint64(n), 10)
}

func left(dst []byte, e *event.Event, _ *State) []byte {
	if e.Left <= 0 {
		return dst
	}
	return appendFixed(dst, int64(e.Left), 9, 1)
}

func oneIn(dst []byte, e *event.Event, _ *State) []byte {
	return appendCount(dst, e.OneIn)
}

func lost(dst []byte, e *event.Event, _ *State) []byte {
	return appendCount(dst, e.Lost)
}

// appendFixed appends v/10^scale with so many digits behind the point, cutting
// off the rest, without the rounding of floating point.
func appendFixed(dst []byte, v int64, scale, digits int) []byte {
	if v < 0 {
		dst = append(dst, '-')
		v = -v
	}
	unit := pow10[scale]
	dst = strconv.AppendInt(dst, v/unit, 10)
	dst = append(dst, '.')
	return appendPadded(dst, v%unit/pow10[scale-digits], digits)
}

var pow10 = [...]int64{1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

// appendPadded appends v with zeros before it, to so many digits.
func appendPadded(dst []byte, v int64, digits int) []byte {
	start := len(dst)
	dst = append(dst, zeros[:digits]...)
	for i := len(dst) - 1; i >= start && v > 0; i-- {
		dst[i] = '0' + byte(v%10) // by a constant, which is no division
		v /= 10
	}
	return dst
}

const zeros = "000000000"
