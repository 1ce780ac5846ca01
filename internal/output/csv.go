package output

import (
	"bytes"
	"fmt"
	"io"
	"slices"

	"tcpstates/internal/column"
	"tcpstates/internal/event"
	"tcpstates/internal/pipeline"
)

// dataColumns are the fields of JSON and CSV, in order.
func dataColumns(o Options) []*column.Column {
	switch o.Of {
	case OfSockets:
		return withNames([]*column.Column{
			&column.Type, &column.Time, &column.Proto, &column.Now, &column.RecvQ, &column.SendQ, &column.Left,
			&column.Sock, &column.Netns, &column.UID, &column.PID, &column.Comm,
			&column.CgroupID, &column.Cgroup, &column.Container, &column.Unit, &column.Pod,
			&column.Family, &column.LAddr, &column.LPort, &column.RAddr, &column.RPort,
		}, o)
	case OfConns:
		return withNames(withElapsed(connColumns(), o), o)
	}
	columns := []*column.Column{
		&column.Type, &column.Time,
		&column.Sock, &column.SkAddr, &column.Netns, &column.UID,
		&column.PID, &column.Comm, &column.Source,
		&column.CgroupID, &column.Cgroup, &column.Container, &column.Unit, &column.Pod,
		&column.CurPID, &column.CurComm, &column.CloserPID, &column.CloserComm,
		&column.Family, &column.LAddr, &column.LPort, &column.RAddr, &column.RPort,
		&column.OldState, &column.NewState, &column.MS, &column.MSMin,
	}
	columns = withElapsed(columns, o)
	if o.Of == OfTransitions {
		columns = append(columns, &column.Now, &column.Derived)
		columns = append(columns, concluded...)
	} else {
		columns = append(columns, &column.Cause) // of losses
	}
	return withNames(append(columns, &column.Lost, &column.OneIn), o)
}

// withElapsed puts the seconds behind the time, if they are asked for.
func withElapsed(columns []*column.Column, o Options) []*column.Column {
	if !o.Elapsed {
		return columns
	}
	return slices.Insert(columns, 2, &column.Elapsed)
}

// withNames puts the names behind what they are of, if they are asked for.
func withNames(columns []*column.Column, o Options) []*column.Column {
	behind := func(number, name *column.Column) {
		columns = slices.Insert(columns, slices.Index(columns, number)+1, name)
	}
	if o.Names != nil {
		behind(&column.RAddr, &column.RName)
	}
	if o.Services != nil {
		behind(&column.LPort, &column.LService)
		behind(&column.RPort, &column.RService)
	}
	return columns
}

// concluded are the fields of what is judged of transitions and connections.
var concluded = []*column.Column{
	&column.Role, &column.Connect, &column.Took, &column.RTT, &column.RTTEstimate, &column.SynRetransmits, &column.Way,
	&column.AcceptWait, &column.AcceptWaitMax,
	&column.Reason, &column.Cause, &column.First, &column.Errno, &column.SoftErrno, &column.Reset, &column.Signal,
	&column.Out, &column.In, &column.SegsOut, &column.SegsIn, &column.Retransmits, &column.Why,
}

// connColumns are the fields of a connection that has ended.
func connColumns() []*column.Column {
	columns := []*column.Column{
		&column.Type, &column.Time, &column.MS, &column.MSMin,
		&column.Sock, &column.Netns, &column.UID,
		&column.PID, &column.Comm, &column.Source,
		&column.CgroupID, &column.Cgroup, &column.Container, &column.Unit, &column.Pod,
		&column.CloserPID, &column.CloserComm,
		&column.Family, &column.LAddr, &column.LPort, &column.RAddr, &column.RPort,
	}
	columns = append(columns, concluded...)
	columns = append(columns, column.InStates...)
	return append(columns, &column.Lost, &column.OneIn)
}

// csv writes comma-separated values by RFC 4180: a header, lines that end in
// CRLF, quotes where they are needed. Rows that have no type are all of one:
// what else happens is left out, and a loss that has no place among them is
// told beside them.
type csv struct {
	buffer
	columns []*column.Column
	members []column.Groups
	state   column.State
	notes   io.Writer
	untyped event.Kind // what the rows are of if they do not tell; zero: they do
	hasLost bool
	hasRate bool // of sampling
}

func newCSV(o Options) pipeline.Sink {
	columns := o.columns(dataColumns)
	c := &csv{
		buffer: newBuffer(o.Out), columns: columns, members: column.Members(columns), state: o.state(),
		notes: o.Notes, hasLost: column.Has(columns, column.Lost.Name), hasRate: column.Has(columns, column.OneIn.Name),
	}
	if !column.Has(columns, column.Type.Name) {
		c.untyped = o.Of.kind()
	}
	return c
}

// Start implements pipeline.Sink.
func (c *csv) Start(event.Start) error {
	line := c.lines
	for i, col := range c.columns {
		if i > 0 {
			line = append(line, ',')
		}
		line = append(line, col.Name...)
	}
	return c.put(append(line, '\r', '\n'))
}

// Write implements pipeline.Sink.
func (c *csv) Write(e *event.Event) error {
	if !c.takes(e) {
		return nil
	}
	line := c.lines
	groups := column.GroupsOf(e)
	for i, member := range c.members {
		if i > 0 {
			line = append(line, ',')
		}
		if groups&member == 0 {
			continue
		}
		col := c.columns[i]
		start := len(line)
		if line = col.Data(line, e, &c.state); col.Free {
			line = quoteCSV(line, start)
		}
	}
	return c.putEvent(append(line, '\r', '\n'), e)
}

// takes tells whether an event becomes a row. That of a sample is told beside the trace
// anyway. A failure to tell of a loss is no
// failure of the trace; the summary tells of it again.
func (c *csv) takes(e *event.Event) bool {
	switch {
	case c.untyped == 0, e.Kind == c.untyped:
		return true
	case e.Kind == event.KindLost && !c.hasLost:
		fmt.Fprintf(c.notes, "%s\n", appendLoss(nil, e))
	}
	return e.Kind == event.KindLost && c.hasLost || e.Kind == event.KindSampling && c.hasRate
}

// Flush implements pipeline.Sink.
func (c *csv) Flush() error { return c.flush() }

// Stop implements pipeline.Sink.
func (c *csv) Stop(event.Stop) error { return c.flush() }

// quoteCSV puts the field that line has from start on into quotes if it needs
// them. Values have no line breaks: columns escape them.
func quoteCSV(line []byte, start int) []byte {
	field := line[start:]
	if bytes.IndexByte(field, '"') < 0 && bytes.IndexByte(field, ',') < 0 {
		return line
	}
	quotes := bytes.Count(field, []byte{'"'})
	from := len(line) - 1
	line = append(line, make([]byte, quotes+2)...) // no allocation where there is room
	to := len(line) - 1
	line[to] = '"'
	for ; from >= start; from-- {
		to--
		line[to] = line[from]
		if line[from] == '"' {
			to--
			line[to] = '"'
		}
	}
	line[start] = '"'
	return line
}
