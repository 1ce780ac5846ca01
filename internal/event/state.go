package event

import (
	"strconv"
	"strings"
)

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

// ParseState finds a state by its name, in any case, with dashes or
// underscores, or as ss abbreviates it.
func ParseState(name string) (State, bool) {
	name = strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
	switch name {
	case "ESTAB":
		return Established, true
	case "FIN_WAIT_1", "FIN_WAIT_2":
		name = strings.Replace(name, "WAIT_", "WAIT", 1)
	case "LISTENING":
		return Listen, true
	case "CLOSED", "UNCONN":
		return Close, true
	}
	for s, known := range stateNames {
		if known == name && name != "" {
			return State(s), true
		}
	}
	return 0, false
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
