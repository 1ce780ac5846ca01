// Package output writes events in the formats that people and programs read,
// one file a format.
package output

import (
	"io"
	"net/netip"
	"slices"

	"tcpstates/internal/column"
	"tcpstates/internal/event"
	"tcpstates/internal/pipeline"
)

// Options shape a format.
type Options struct {
	// Out takes the events, in pieces of whole lines. A Marked one is told where in
	// them events end.
	Out io.Writer
	// Notes takes what a format has no place for in Out; a person reads it.
	Notes io.Writer
	// Width is the terminal's in characters at the time of the call, and zero
	// where Out is no terminal; then nothing is shortened. It must not be nil.
	Width func() int
	// Color says that Out shows colours.
	Color bool
	// Time asks for the time of day, Elapsed for the seconds since the first
	// event.
	Time, Elapsed bool
	// Wide asks for whole IPv6 addresses and the IP version.
	Wide bool
	// Of is what is shown.
	Of Subject
	// CSV asks for the CSV variant of a format that has one.
	CSV bool
	// Columns are those to show, from Format.Choose; nil stands for those that
	// the format has by default.
	Columns []*column.Column
	// Names tells the name of a remote address, and Services that of a port, as
	// column.State has them; nil: none is wanted.
	Names    func(netip.Addr) string
	Services func(port uint16, datagram bool) string
	// MaxConns is how many connections a grouped format holds at a time, at
	// least one.
	MaxConns int
}

// Subject is what a format shows.
type Subject uint8

// The subjects.
const (
	// OfTransitions are changes of state, with what is concluded of them.
	OfTransitions Subject = iota
	// OfRaw are changes of state as the tracepoint reports them.
	OfRaw
	// OfSockets are the sockets that exist.
	OfSockets
	// OfConns are connections that have ended.
	OfConns
)

// Format is a way to write events.
type Format struct {
	// Name is the word for it on the command line, Help the rest of its line
	// in the help.
	Name, Help string
	// Raw says that it shows what the tracepoint says, unchanged states
	// included.
	Raw bool
	// HasElapsed, HasWide and HasCSV say which Options it knows what to do
	// with.
	HasElapsed, HasWide, HasCSV bool
	// HasAll says that it has every subject, and not only transitions.
	HasAll bool
	// HasBlocks says that it can show connections one after the other, see Grouped.
	HasBlocks bool
	// Columns are those that it has by default; nil if there is nothing to
	// choose.
	Columns func(Options) []*column.Column
	// Typed says that each record begins with its type.
	Typed bool
	// New makes a writer of the format.
	New func(Options) pipeline.Sink
}

// Formats are all there are, the default first.
var Formats = []Format{
	{Name: "table", Help: "columns to read, fitted to the terminal", HasElapsed: true, HasWide: true, HasAll: true, HasBlocks: true, Columns: tableColumns, New: newTable},
	{Name: "wide", Help: "more columns: whole IPv6 addresses, who was on the CPU, who closed, container, ...", HasElapsed: true, HasWide: true, HasAll: true, HasBlocks: true, Columns: wideColumns, New: newWide},
	{Name: "csv", Help: "all columns as comma-separated values (RFC 4180)", HasElapsed: true, HasWide: true, HasCSV: true, HasAll: true, Columns: dataColumns, New: newCSV},
	{Name: "json", Help: "all columns, one JSON object a line", HasElapsed: true, HasAll: true, Columns: dataColumns, Typed: true, New: newJSON},
	{Name: "logfmt", Help: "all columns, a line of key=value each", HasElapsed: true, HasAll: true, Columns: dataColumns, Typed: true, New: newLogfmt},
	{Name: "bcc", Help: "what BCC's Python tcpstates prints", Raw: true, HasElapsed: true, HasWide: true, HasCSV: true, New: newBCC},
	{Name: "libbpf", Help: "what libbpf-tools' tcpstates prints", Raw: true, HasWide: true, New: newLibbpf},
}

// Find looks a format up by its name.
func Find(name string) (Format, bool) {
	i := slices.IndexFunc(Formats, func(f Format) bool { return f.Name == name })
	if i < 0 {
		return Format{}, false
	}
	return Formats[i], true
}

// Marked is an io.Writer that accounts for events.
type Marked interface {
	io.Writer
	// WriteMarked writes lines. The marks, in their order, are those of all events
	// that are told in them; none means that the lines tell of none.
	WriteMarked(lines []byte, marks []Mark) error
}

// Mark says where in lines that are written events end.
type Mark struct {
	End    int    // in bytes from the beginning
	Events uint64 // since the mark before; what tells of what is missing is none
	Shown  uint64 // those among them that count as shown (event.Stop)
}

// buffer collects lines and writes them out in large pieces.
type buffer struct {
	out    io.Writer
	marked Marked // out, if it is one
	lines  []byte
	marks  []Mark // of lines
}

// bufferSize is how much is written at a time in a burst: what a pipe holds by
// default (pipe(7)).
const bufferSize = 64 << 10

func newBuffer(out io.Writer) buffer {
	// A line is far shorter than the spare room, so that the buffer is
	// written out before it would have to grow.
	b := buffer{out: out, lines: make([]byte, 0, bufferSize+4<<10)}
	b.marked, _ = out.(Marked)
	return b
}

// putEvent is put of the lines of an event.
func (b *buffer) putEvent(lines []byte, e *event.Event) error {
	switch e.Kind {
	case event.KindLost, event.KindSampling:
		return b.put(lines)
	case event.KindTransition, event.KindConn:
		return b.putMarked(lines, 1, 1)
	}
	return b.putMarked(lines, 1, 0)
}

// putMarked is put of lines that tell of so many events.
func (b *buffer) putMarked(lines []byte, events, shown uint64) error {
	if b.marked != nil {
		b.marks = append(b.marks, Mark{len(lines), events, shown})
	}
	return b.put(lines)
}

// put takes back the lines with what was appended to them, and writes them
// out once they fill the buffer.
func (b *buffer) put(lines []byte) error {
	b.lines = lines
	if len(b.lines) < bufferSize {
		return nil
	}
	return b.flush()
}

func (b *buffer) flush() error {
	if len(b.lines) == 0 {
		return nil
	}
	var err error
	if b.marked != nil {
		err = b.marked.WriteMarked(b.lines, b.marks)
	} else {
		_, err = b.out.Write(b.lines)
	}
	b.lines, b.marks = b.lines[:0], b.marks[:0]
	return err
}
