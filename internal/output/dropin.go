package output

import (
	"fmt"
	"strconv"
	"unicode/utf8"

	"tcpstates/internal/column"
	"tcpstates/internal/event"
)

// dropIn holds what the formats of the tools that tcpstates replaces have in
// common: the process on the CPU, the socket's address, the transition as the
// tracepoint words it, and 0.000 where a duration is not known.
type dropIn struct {
	buffer
	options Options
	state   column.State
}

func newDropIn(o Options) dropIn {
	return dropIn{buffer: newBuffer(o.Out), options: o}
}

// Flush implements pipeline.Sink.
func (d *dropIn) Flush() error { return d.flush() }

// Stop implements pipeline.Sink.
func (d *dropIn) Stop(event.Stop) error { return d.flush() }

// noteOther tells of a loss beside the data, where those tools do, and passes
// over other events that they do not know. A failure to write it is no failure
// of the trace; the summary tells of the loss again.
func (d *dropIn) noteOther(e *event.Event) {
	if e.Kind != event.KindLost {
		return
	}
	fmt.Fprintf(d.options.Notes, "%s\n", appendLoss(nil, e))
}

// timeOfDay is the length of 15:04:05.
const timeOfDay = 8

func (d *dropIn) appendTime(line []byte, e *event.Event) []byte {
	start := len(line)
	line = column.Time.Text(line, e, &d.state)
	return line[:min(len(line), start+timeOfDay)]
}

// appendSpan appends the milliseconds in the old state as these tools count
// them: they forget a socket when it closes, so CLOSE never has a duration.
func appendSpan(line []byte, e *event.Event) []byte {
	if _, known := e.Duration(); !known || e.OldState == event.Close {
		return append(line, "0.000"...)
	}
	return column.MS.Text(line, e, nil)
}

// appendPadded appends text, cut to at most and filled to at least so many
// characters; most zero means no limit.
func appendPadded(line []byte, text string, least, most int) []byte {
	start := len(line)
	return pad(append(line, text...), start, least, most)
}

// pad cuts and fills the text that line has from start on, by characters, and
// puts a space behind it.
func pad(line []byte, start, least, most int) []byte {
	chars := utf8.RuneCount(line[start:])
	for ; most > 0 && chars > most; chars-- {
		_, size := utf8.DecodeLastRune(line)
		line = line[:len(line)-size]
	}
	for ; chars < least; chars++ {
		line = append(line, ' ')
	}
	return append(line, ' ')
}

// appendNumberPadded appends n in decimal, filled to so many characters.
func appendNumberPadded(line []byte, n uint64, least int) []byte {
	start := len(line)
	return pad(strconv.AppendUint(line, n, 10), start, least, 0)
}

// dropInWidths are the column widths that the two tools do not share, and
// those that both change when they are wide.
type dropInWidths struct {
	pid, comm, address int
	ip                 bool // whether there is a column of the IP version
}

// appendHeader appends the line of headers from the socket's address on.
func (w dropInWidths) appendHeader(line []byte, pid, comm string) []byte {
	line = appendPadded(line, "SKADDR", 16, 0)
	line = appendPadded(line, pid, w.pid, 0)
	line = appendPadded(line, comm, w.comm, w.comm)
	if w.ip {
		line = appendPadded(line, "IP", 2, 0)
	}
	line = appendPadded(line, "LADDR", w.address, 0)
	line = appendPadded(line, "LPORT", 5, 0)
	line = appendPadded(line, "RADDR", w.address, 0)
	line = appendPadded(line, "RPORT", 5, 0)
	line = appendPadded(line, "OLDSTATE", 11, 0)
	line = append(line, "-> "...)
	line = appendPadded(line, "NEWSTATE", 11, 0)
	return append(line, "MS\n"...)
}

// appendLine appends the line of a transition from the socket's address on.
func (w dropInWidths) appendLine(line []byte, e *event.Event) []byte {
	start := len(line)
	line = pad(strconv.AppendUint(line, e.SkAddr, 16), start, 16, 0)
	line = appendNumberPadded(line, uint64(e.Current.PID), w.pid)
	start = len(line)
	line = pad(e.Current.Comm.AppendText(line), start, w.comm, w.comm)
	if w.ip {
		line = appendNumberPadded(line, uint64(e.Family), 2)
	}
	start = len(line)
	line = pad(e.Local.Addr().AppendTo(line), start, w.address, 0)
	line = appendNumberPadded(line, uint64(e.RawLocalPort), 5)
	start = len(line)
	line = pad(e.Remote.Addr().AppendTo(line), start, w.address, 0)
	line = appendNumberPadded(line, uint64(e.Remote.Port()), 5)
	line = appendPadded(line, e.OldState.String(), 11, 0)
	line = append(line, "-> "...)
	line = appendPadded(line, e.NewState.String(), 11, 0)
	return append(appendSpan(line, e), '\n')
}
