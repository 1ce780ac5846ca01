// Package summary counts the connections that have ended and remembers their
// times, to tell a person of them all at once.
package summary

import (
	"tcpstates/internal/event"
)

// Summary counts connections that have ended and remembers their times. Its
// size does not depend on how many they are.
type Summary struct {
	endings
	connect, rtt, took, wait times
	// waitAtMost says that some connections waited less than wait has.
	waitAtMost bool
	states     [event.NewSynRecv + 1]times
	// slowest are the slowest handshakes, the slowest first.
	slowest []handshake
}

// New makes a Summary that has seen nothing.
func New() *Summary {
	return &Summary{endings: newEndings(), slowest: make([]handshake, 0, maxSlowest)}
}

// Add counts the connection that has ended with the event; events that tell of
// something else are ignored.
func (s *Summary) Add(e *event.Event) {
	if e.Kind == event.KindSampling {
		s.oneIn = max(s.oneIn, e.OneIn)
	}
	if e.Kind != event.KindConn {
		return
	}
	if !s.endings.add(e, 1) {
		return
	}
	s.addTimes(e)
	s.addHandshake(e)
}

func (s *Summary) addTimes(e *event.Event) {
	if d := e.Handshake.Connect; d > 0 {
		s.connect.add(d)
	}
	if d := e.Handshake.RTT; d > 0 && e.Role == event.RoleServer && !e.Handshake.Estimate {
		s.rtt.add(d)
	}
	if d := e.Handshake.Took; d > 0 {
		s.took.add(d)
	}
	if e.AcceptWait.Known {
		s.wait.add(e.AcceptWait.Time)
		s.waitAtMost = s.waitAtMost || e.AcceptWait.AtMost
	}
	for state := event.Established; int(state) < len(e.Times); state++ {
		if d := e.Times[state]; d > 0 && !isBookkeeping(e, state) {
			s.states[state].add(d)
		}
	}
}

// isBookkeeping tells whether a time says nothing of the connection: a server's
// socket passes through SYN_RECV when the handshake is over already, unless it
// was born by a SYN with data (Fast Open).
func isBookkeeping(e *event.Event, state event.State) bool {
	return state == event.SynRecv && e.Role == event.RoleServer && e.Handshake.Way != event.WayFastOpen
}

// lifeOrder are the states of a connection in the order in which it can pass
// through them (RFC 9293, figure 5).
var lifeOrder = [...]event.State{
	event.SynSent, event.SynRecv, event.Established, event.FinWait1, event.FinWait2, event.Closing,
	event.CloseWait, event.LastAck,
}

// defaultWidth is for output that has no width of its own.
const defaultWidth = 100

// AppendText appends the summary for a person, in lines of at most width
// characters; zero stands for 100, and fewer than 60 may not be enough. Nothing
// is cut: long addresses make a longer line.
func (s *Summary) AppendText(dst []byte, width int) []byte {
	if width <= 0 {
		width = defaultWidth
	}
	dst = s.appendTotals(dst, width)
	dst = s.appendEnds(dst, width)
	layout := cells{count: 7, time: 7, sketchFrom: 70}
	if width >= wideFrom {
		layout.count, layout.time = 9, 9
	}
	dst = appendTimes(dst, width, layout, s.rows())
	return s.appendSlowest(dst, width)
}

// rows are those of the table of times.
func (s *Summary) rows() []timesRow {
	wait := "accept wait"
	if s.waitAtMost {
		wait = "accept wait <="
	}
	rows := []timesRow{{"connect", &s.connect}, {"handshake rtt", &s.rtt}, {"handshake took", &s.took}, {wait, &s.wait}}
	for _, state := range lifeOrder {
		rows = append(rows, timesRow{"in " + state.String(), &s.states[state]})
	}
	return rows
}
