package output

import (
	"slices"
	"strconv"

	"tcpstates/internal/column"
	"tcpstates/internal/event"
	"tcpstates/internal/pipeline"
)

// schema is the version of what the records mean; it rises when a field
// changes its meaning or goes.
const schema = 1

// syntax is how a format writes the fields of a record.
type syntax struct {
	begin, end string // a record
	between    string // two fields
	// key appends what stands before a value.
	key func(dst []byte, name string, quoted bool) []byte
	// seal ends the value that line has from start on.
	seal func(line []byte, start int, chars charset) []byte
}

// charset says what a value may hold.
type charset uint8

const (
	digits charset = iota
	words
	anything // quotes and backslashes, too, as names and paths do
)

// records writes a record a line; what is not known has no field.
type records struct {
	buffer
	syntax *syntax
	fields []field
	state  column.State
}

// field is what a record may have of a column.
type field struct {
	of    column.Groups
	key   []byte // what stands before its value
	data  text
	chars charset
}

func newRecords(o Options, s *syntax) pipeline.Sink {
	r := &records{buffer: newBuffer(o.Out), syntax: s, state: o.state()}
	columns := o.columns(dataColumns)
	members := column.Members(columns)
	for i, c := range columns {
		// The first is the type, which each event has.
		before := s.between
		if i == 0 {
			before = s.begin
		}
		r.fields = append(r.fields, field{
			of: members[i], key: s.key([]byte(before), c.Name, !c.Number), data: c.Data, chars: charsOf(c),
		})
	}
	return r
}

func charsOf(c *column.Column) charset {
	switch {
	case c.Number:
		return digits
	case c.Free:
		return anything
	}
	return words
}

// Start implements pipeline.Sink.
func (r *records) Start(s event.Start) error {
	line := r.open("start")
	line = r.number(line, "schema", schema)
	line = r.time(line, s.Wall)
	line = r.text(line, "version", s.Version)
	line = r.text(line, "kernel", s.Kernel)
	line = r.text(line, "backend", s.Backend)
	return r.put(append(line, r.syntax.end...))
}

// Write implements pipeline.Sink.
func (r *records) Write(e *event.Event) error {
	line := r.lines
	groups := column.GroupsOf(e)
	for i := range r.fields {
		if f := &r.fields[i]; groups&f.of != 0 {
			line = r.appendField(line, f, e)
		}
	}
	return r.putEvent(append(line, r.syntax.end...), e)
}

// appendField appends the field, if its value is known: half of them are not, so that
// its key is put in front when it is.
func (r *records) appendField(line []byte, f *field, e *event.Event) []byte {
	before := len(line)
	start := before + len(f.key)
	line = f.data(slices.Grow(line, len(f.key))[:start], e, &r.state)
	if len(line) == start {
		return line[:before]
	}
	copy(line[before:], f.key)
	if f.chars != digits {
		line = r.syntax.seal(line, start, f.chars)
	}
	return line
}

// Flush implements pipeline.Sink.
func (r *records) Flush() error { return r.flush() }

// Stop implements pipeline.Sink.
func (r *records) Stop(s event.Stop) error {
	line := r.open("stop")
	line = r.time(line, s.Wall)
	line = r.number(line, "shown", s.Shown)
	line = r.number(line, "lost", s.Lost)
	if !s.MissedUnknown {
		line = r.number(line, "missed", s.Missed)
	}
	line = r.number(line, "gaps", s.Gaps)
	line = r.number(line, "evicted", s.Evicted)
	line = r.number(line, "unfollowed", s.Unfollowed)
	if s.Unwritten > 0 {
		line = r.number(line, "unwritten", s.Unwritten)
	}
	if s.Unsampled > 0 {
		line = r.number(line, "unsampled_conns", s.UnsampledConns)
		line = r.number(line, "unsampled", s.Unsampled)
	}
	r.lines = append(line, r.syntax.end...)
	return r.flush()
}

// open begins a record of the type.
func (r *records) open(kind string) []byte {
	line := r.syntax.key(append(r.lines, r.syntax.begin...), column.Type.Name, true)
	start := len(line)
	return r.syntax.seal(append(line, kind...), start, words)
}

func (r *records) time(line []byte, wall int64) []byte {
	line = r.syntax.key(append(line, r.syntax.between...), column.Time.Name, true)
	start := len(line)
	return r.syntax.seal(column.Time.Data(line, &event.Event{Wall: wall}, &r.state), start, words)
}

func (r *records) number(line []byte, name string, n uint64) []byte {
	return strconv.AppendUint(r.syntax.key(append(line, r.syntax.between...), name, false), n, 10)
}

func (r *records) text(line []byte, name, value string) []byte {
	line = r.syntax.key(append(line, r.syntax.between...), name, true)
	start := len(line)
	return r.syntax.seal(event.AppendText(line, value), start, anything)
}
