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
	members []column.Groups // of each column of the layout
	texts   []text          // and how it is written
	width   int             // of the terminal that layout was made for; 0: none
	layout  column.Layout
	below   bool // notes stand in lines of their own, as there is no room for a column
	state   column.State
}

// text appends what a column has to say of an event.
type text func(dst []byte, e *event.Event, s *column.State) []byte

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
	t := &table{buffer: newBuffer(o.Out), options: o, columns: withArrow(o.columns(tableColumns)), state: o.state()}
	t.setWidth(o.Width())
	return t
}

func newWide(o Options) pipeline.Sink {
	// All of it is wanted, wherever the terminal may break the lines.
	o.Width = func() int { return 0 }
	t := &table{buffer: newBuffer(o.Out), options: o, columns: withArrow(o.columns(wideColumns)), state: o.state()}
	t.setWidth(0)
	return t
}

// tableColumns are the columns of a table.
func tableColumns(o Options) []*column.Column {
	if o.Wide {
		return wideColumns(o)
	}
	return choose(o, &column.LAddr, &column.RAddr, false)
}

// wideColumns are those of a wide one.
func wideColumns(o Options) []*column.Column {
	laddr, raddr := column.LAddr, column.RAddr
	laddr.Width, raddr.Width = laddr.Max, raddr.Max
	return choose(o, &laddr, &raddr, true)
}

// choose lists the columns, with those of the addresses as given.
func choose(o Options, laddr, raddr *column.Column, wide bool) []*column.Column {
	switch o.Of {
	case OfSockets:
		return withRoom(chooseForList(*laddr, raddr, wide), o)
	case OfConns:
		return withRoom(chooseForConns(o, laddr, raddr, wide), o)
	}
	ends := endColumns(laddr, raddr, wide)
	columns := append(leading(o), &column.Sock, &column.PID, &column.Comm)
	columns = append(columns, ends...)
	columns = append(columns, &column.OldState, &column.NewState, &column.MS)
	if wide {
		columns = append(columns, &column.Netns, &column.CurPID, &column.CurComm, &column.CloserPID, &column.CloserComm,
			&column.Container, &column.Unit, &column.Cgroup)
	}
	if o.Of == OfTransitions {
		if wide {
			columns = append(columns, &column.Role, &column.Errno, &column.Reset)
		}
		columns = append(columns, &column.Why)
	}
	return withRoom(columns, o)
}

// withArrow puts the arrow between the states where they stand side by side.
func withArrow(columns []*column.Column) []*column.Column {
	at := column.Find(columns, column.OldState.Name) + 1
	if at == 0 || at == len(columns) || columns[at].Name != column.NewState.Name {
		return columns
	}
	return slices.Insert(slices.Clone(columns), at, &arrow)
}

// withRoom gives the columns room that show names.
func withRoom(columns []*column.Column, o Options) []*column.Column {
	if o.Names == nil && o.Services == nil {
		return columns
	}
	for i, c := range columns {
		named := column.Named(*c, o.Names != nil, o.Services != nil)
		columns[i] = &named
	}
	return columns
}

// chooseForConns lists the columns of connections that have ended.
func chooseForConns(o Options, laddr, raddr *column.Column, wide bool) []*column.Column {
	columns := append(leading(o), &column.PID, &column.Comm, &column.Role)
	columns = append(columns, endColumns(laddr, raddr, wide)...)
	columns = append(columns, &column.MS, &column.Took, &column.RTT)
	if wide {
		columns = append(columns, column.InStates...)
		columns = append(columns, &column.Out, &column.In, &column.SegsOut, &column.SegsIn, &column.Retransmits,
			&column.Sock, &column.Netns, &column.CloserPID, &column.CloserComm,
			&column.Container, &column.Unit, &column.Cgroup, &column.Errno, &column.Reset)
	}
	return append(columns, &column.Why)
}

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
func leading(o Options) []*column.Column {
	var columns []*column.Column
	if o.Time || !o.Elapsed {
		time := column.Time
		if o.Time {
			time.Drop = 0
		}
		columns = append(columns, &time)
	}
	if o.Elapsed {
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
	t.members, t.texts = column.Members(t.layout.Columns), t.texts[:0]
	for i, c := range t.layout.Columns {
		if c.Text == nil {
			t.texts = append(t.texts, c.Data)
			continue
		}
		t.texts = append(t.texts, c.Text)
		t.members[i] = column.Everything // it knows of each event what a person wants to see
	}
	t.below = column.Has(t.columns, column.Why.Name) && !column.Has(t.layout.Columns, column.Why.Name)
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
	switch {
	case e.IsNotice():
		return t.putEvent(t.appendNotice(t.lines, e), e)
	case !hasLine(e):
		return nil
	}
	return t.putEvent(t.appendLine(t.lines, e), e)
}

// hasLine tells whether a person wants to see the event.
func hasLine(e *event.Event) bool {
	switch e.Kind {
	case event.KindOwner, event.KindResetSent, event.KindResetReceived: // the lines to come tell
		return false
	case event.KindRetransmit:
		// Of data there may be many, and the connection's last line has their number.
		return e.OldState == event.SynSent || e.OldState == event.SynRecv
	}
	return true
}

// appendLine appends the event's line, and its note in one of its own if there is
// no column for it.
func (t *table) appendLine(line []byte, e *event.Event) []byte {
	groups := column.GroupsOf(e)
	for i, text := range t.texts {
		color := ""
		if t.options.Color {
			color = colorOf(t.layout.Columns[i], e)
			line = append(line, color...)
		}
		start := len(line)
		if groups&t.members[i] != 0 {
			line = text(line, e, &t.state)
		}
		line = t.layout.AppendCell(line, start, i)
		if color != "" {
			line = append(line, colorOff...)
		}
	}
	line = append(bytes.TrimRight(line, " "), '\n')
	if t.below {
		line = t.appendNote(line, e)
	}
	return line
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

// appendNotice appends the line of a notice.
func (t *table) appendNotice(line []byte, e *event.Event) []byte {
	if t.options.Color {
		phase := event.PhaseFailed
		if e.Kind == event.KindSampling {
			phase = event.PhaseOpening
		}
		line = append(line, colorOfPhase[phase]...)
	}
	line = append(column.Time.Text(line, e, &t.state), ' ')
	line = appendSentence(line, e)
	if t.options.Color {
		line = append(line, colorOff...)
	}
	return append(line, '\n')
}

// appendSentence appends the sentence that gives a person notice.
func appendSentence(line []byte, e *event.Event) []byte {
	switch {
	case e.Kind == event.KindLost:
		return appendLoss(line, e)
	case e.OneIn <= 1:
		return append(line, "-- of new connections all are shown --"...)
	}
	line = strconv.AppendUint(append(line, "-- of new connections one in "...), e.OneIn, 10)
	return append(line, " is shown --"...)
}

// appendLoss appends the sentence that tells a person of a loss.
func appendLoss(line []byte, e *event.Event) []byte {
	line = strconv.AppendUint(append(line, "-- "...), e.Lost, 10)
	switch e.Loss {
	case event.LossBuffer:
		return append(line, " events lost: buffer full, see --buffer --"...)
	case event.LossCounted:
		return append(line, " transitions were counted in the kernel, and are not shown --"...)
	}
	line = append(append(line, " events not written: "...), e.Loss.String()...)
	return append(line, " --"...)
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
	switch c.Name {
	case column.OldState.Name:
		return colorOfPhase[event.PhaseOf(e.OldState, e.OldState)]
	case column.NewState.Name:
		return colorOfPhase[event.PhaseOf(e.OldState, e.NewState)]
	case column.Why.Name:
		if e.End.Reason.IsFailure() {
			return colorOfPhase[event.PhaseFailed]
		}
	case column.Now.Name:
		return colorOfPhase[event.PhaseOf(e.NewState, e.NewState)]
	}
	return ""
}
