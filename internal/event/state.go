package event

import "strconv"

// State is a TCP state, numbered as the kernel numbers it
// (include/net/tcp_states.h). Zero is no state.
type State uint8

// The states in the kernel's order.
const (
	Established State = 1 + iota
	SynSent
	SynRecv
	FinWait1
	FinWait2
	TimeWait
	Close
	CloseWait
	LastAck
	Listen
	Closing
	NewSynRecv
)

var stateNames = [...]string{
	Established: "ESTABLISHED",
	SynSent:     "SYN_SENT",
	SynRecv:     "SYN_RECV",
	FinWait1:    "FIN_WAIT1",
	FinWait2:    "FIN_WAIT2",
	TimeWait:    "TIME_WAIT",
	Close:       "CLOSE",
	CloseWait:   "CLOSE_WAIT",
	LastAck:     "LAST_ACK",
	Listen:      "LISTEN",
	Closing:     "CLOSING",
	NewSynRecv:  "NEW_SYN_RECV",
}

// String returns the kernel's name of the state without its TCP_ prefix, or
// the number of a state that has no name here.
func (s State) String() string {
	if s > 0 && int(s) < len(stateNames) {
		return stateNames[s]
	}
	return strconv.Itoa(int(s))
}

// Phase is the part of a connection's life that a transition belongs to.
type Phase uint8

// The phases. PhaseClosed is the orderly end, PhaseFailed every other one.
const (
	PhaseOpening Phase = iota
	PhaseOpen
	PhaseClosing
	PhaseClosed
	PhaseFailed
)

// PhaseOf tells to which phase the change from oldState to newState leads. A
// connection ends in order when both FINs were exchanged (RFC 9293, 3.6): from
// FIN_WAIT2, CLOSING or LAST_ACK; a listener ends in order whenever it does.
func PhaseOf(oldState, newState State) Phase {
	switch newState {
	case Established:
		return PhaseOpen
	case SynSent, SynRecv, NewSynRecv, Listen:
		return PhaseOpening
	case Close:
		switch oldState {
		case FinWait2, Closing, LastAck, TimeWait, Listen, Close:
			return PhaseClosed
		}
		return PhaseFailed
	}
	return PhaseClosing
}
