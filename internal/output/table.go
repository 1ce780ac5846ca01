package output

import (
	"bytes"
	"slices"
	"strconv"

	"tcpstates/internal/column"
	"tcpstates/internal/event"
	"tcpstates/internal/pipeline"
)

// table writes aligned columns, a line an event.
type table struct {
	buffer
	options Options
	columns []*column.Column
	width   int // of the terminal that layout was made for; 0: none
	layout  column.Layout
	below   bool // notes stand in lines of their own, as there is no room for a column
	state   column.State
}

// arrow stands between the states; it exists in tables alone.
var arrow = column.Column{Header: "->", Width: 2,
	Data: func(dst []byte, e *event.Event, _ *column.State) []byte {
		if e.Kind == event.KindTransition {
			return append(dst, "->"...)
		}
		return append(dst, "  "...)
	}}

func newTable(o Options) pipeline.Sink {
	if o.Wide {
		return newWide(o)
	}
	t := &table{buffer: newBuffer(o.Out), options: o}
	t.columns = t.choose(&column.LAddr, &column.RAddr, false)
	t.setWidth(o.Width())
	return t
}

func newWide(o Options) pipeline.Sink {
	// All of it is wanted, wherever the terminal may break the lines.
	o.Width = func() int { return 0 }
	t := &table{buffer: newBuffer(o.Out), options: o}
	laddr, raddr := column.LAddr, column.RAddr
	laddr.Width, raddr.Width = laddr.Max, raddr.Max
	t.columns = t.choose(&laddr, &raddr, true)
	t.setWidth(0)
	return t
}

// choose lists the columns, with those of the addresses as given.
func (t *table) choose(laddr, raddr *column.Column, wide bool) []*column.Column {
	switch t.options.Of {
	case OfSockets:
		return chooseForList(*laddr, raddr, wide)
	case OfConns:
		return t.chooseForConns(laddr, raddr, wide)
	}
	ends := endColumns(laddr, raddr, wide)
	columns := append(t.leading(), &column.Sock, &column.PID, &column.Comm)
	columns = append(columns, ends...)
	columns = append(columns, &column.OldState, &arrow, &column.NewState, &column.MS)
	if wide {
		columns = append(columns, &column.Netns, &column.CurPID, &column.CurComm, &column.CloserPID, &column.CloserComm,
			&column.Container, &column.Unit, &column.Cgroup)
	}
	if t.options.Of == OfTransitions {
		if wide {
			columns = append(columns, &column.Role, &column.Errno, &column.Reset)
		}
		columns = append(columns, &column.Why)
	}
	return columns
}

// chooseForConns lists the columns of connections that have ended.
func (t *table) chooseForConns(laddr, raddr *column.Column, wide bool) []*column.Column {
	columns := append(t.leading(), &column.PID, &column.Comm, &column.Role)
	columns = append(columns, endColumns(laddr, raddr, wide)...)
	columns = append(columns, &column.MS, &connect, &column.RTT)
	if wide {
		columns = append(columns, column.InStates...)
		columns = append(columns, &column.Out, &column.In, &column.SegsOut, &column.SegsIn, &column.Retransmits,
			&column.Sock, &column.Netns, &column.CloserPID, &column.CloserComm,
			&column.Container, &column.Unit, &column.Cgroup, &column.Errno, &column.Reset)
	}
	return append(columns, &column.Why)
}

// connect is how long either side's handshake took; it exists in tables alone.
var connect = column.Column{Header: "HANDSHAKE", Width: 9, Drop: 5, Cut: column.CutNever, Data: column.HandshakeMillis}

// chooseForList lists the columns of sockets that exist. Where one listens is
// what such a list is read for: it goes last.
func chooseForList(laddr column.Column, raddr *column.Column, wide bool) []*column.Column {
	pid := column.PID
	pid.Drop, laddr.Drop = 5, 6
	columns := []*column.Column{&column.Proto, &column.Now, &column.RecvQ, &column.SendQ}
	columns = append(append(columns, endColumns(&laddr, raddr, wide)...), &pid, &column.Comm, &column.Left)
	if wide {
		columns = append(columns, &column.Netns, &column.Sock, &column.UID,
			&column.Container, &column.Unit, &column.Cgroup)
	}
	return columns
}

// endColumns are those of both ends, in a wide table behind the IP version.
func endColumns(laddr, raddr *column.Column, wide bool) []*column.Column {
	ends := []*column.Column{laddr, &column.LPort, raddr, &column.RPort}
	if wide {
		ends = slices.Insert(ends, 0, &column.Family)
	}
	return ends
}

// leading are the columns of time: that of the day unless only the seconds
// are asked for.
func (t *table) leading() []*column.Column {
	var columns []*column.Column
	if t.options.Time || !t.options.Elapsed {
		time := column.Time
		if t.options.Time {
			time.Drop = 0
		}
		columns = append(columns, &time)
	}
	if t.options.Elapsed {
		columns = append(columns, &column.Elapsed)
	}
	return columns
}

func (t *table) setWidth(width int) {
	t.width = width
	if width > 0 {
		t.layout = column.Fit(t.columns, width)
	} else {
		t.layout = column.Natural(t.columns)
	}
	t.below = slices.Contains(t.columns, &column.Why) && !slices.Contains(t.layout.Columns, &column.Why)
}

// Start implements pipeline.Sink.
func (t *table) Start(event.Start) error {
	return t.putHeader()
}

func (t *table) putHeader() error {
	return t.put(append(t.layout.AppendHeader(t.lines), '\n'))
}

// Write implements pipeline.Sink.
func (t *table) Write(e *event.Event) error {
	switch e.Kind {
	case event.KindLost:
		return t.put(t.appendLost(t.lines, e))
	case event.KindOwner, event.KindResetSent, event.KindResetReceived: // the lines to come tell
		return nil
	case event.KindRetransmit:
		if e.OldState != event.SynSent && e.OldState != event.SynRecv {
			return nil // there may be many, and the connection's last line has their number
		}
	}
	line := t.lines
	for i, c := range t.layout.Columns {
		text := c.Text
		if text == nil {
			text = c.Data
		}
		color := ""
		if t.options.Color {
			color = colorOf(c, e)
		}
		line = append(line, color...)
		start := len(line)
		line = t.layout.AppendCell(text(line, e, &t.state), start, i)
		if color != "" {
			line = append(line, colorOff...)
		}
	}
	line = append(bytes.TrimRight(line, " "), '\n')
	if t.below {
		line = t.appendNote(line, e)
	}
	return t.put(line)
}

// noteIndent begins a note that stands in a line of its own.
const noteIndent = "        "

// appendNote appends the note as a line, cut to the terminal's width; nothing
// if there is none.
func (t *table) appendNote(line []byte, e *event.Event) []byte {
	before := len(line)
	line = append(line, noteIndent...)
	start := len(line)
	line = column.Why.Data(line, e, &t.state)
	if len(line) == start {
		return line[:before]
	}
	alone := column.Layout{Columns: []*column.Column{&column.Why}, Widths: []int{t.width - len(noteIndent)}, Cut: true}
	return append(alone.AppendCell(line, start, 0), '\n')
}

// appendLost appends the line that tells of a loss.
func (t *table) appendLost(line []byte, e *event.Event) []byte {
	if t.options.Color {
		line = append(line, colorOfPhase[event.PhaseFailed]...)
	}
	line = append(column.Time.Text(line, e, &t.state), ' ')
	line = appendLoss(line, e.Lost)
	if t.options.Color {
		line = append(line, colorOff...)
	}
	return append(line, '\n')
}

// appendLoss appends the sentence that tells a person of a loss.
func appendLoss(line []byte, n uint64) []byte {
	line = strconv.AppendUint(append(line, "-- "...), n, 10)
	return append(line, " events lost: buffer full, see --buffer --"...)
}

// Flush implements pipeline.Sink. A terminal that changed its size since the
// last time gets a layout and a header for the new one.
func (t *table) Flush() error {
	if err := t.flush(); err != nil {
		return err
	}
	if width := t.options.Width(); width != t.width {
		t.setWidth(width)
		if err := t.putHeader(); err != nil {
			return err
		}
		return t.flush()
	}
	return nil
}

// Stop implements pipeline.Sink.
func (t *table) Stop(event.Stop) error { return t.flush() }

// The colours of the phases, as terminals understand them (ECMA-48, SGR).
var colorOfPhase = [...]string{
	event.PhaseOpening: "\x1b[33m", // yellow
	event.PhaseOpen:    "\x1b[32m", // green
	event.PhaseClosing: "\x1b[36m", // cyan
	event.PhaseClosed:  "\x1b[2m",  // dim
	event.PhaseFailed:  "\x1b[31m", // red
}

const colorOff = "\x1b[0m"

// colorOf is the colour of a cell; empty for most.
func colorOf(c *column.Column, e *event.Event) string {
	switch c {
	case &column.OldState:
		return colorOfPhase[event.PhaseOf(e.OldState, e.OldState)]
	case &column.NewState:
		return colorOfPhase[event.PhaseOf(e.OldState, e.NewState)]
	case &column.Why:
		if e.End.Reason.IsFailure() {
			return colorOfPhase[event.PhaseFailed]
		}
	case &column.Now:
		return colorOfPhase[event.PhaseOf(e.NewState, e.NewState)]
	}
	return ""
}
