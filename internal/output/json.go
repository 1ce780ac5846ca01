package output

import (
	"bytes"
	"strconv"

	"tcpstates/internal/column"
	"tcpstates/internal/event"
	"tcpstates/internal/pipeline"
)

// schema is the version of what the JSON records mean; it rises when a field
// changes its meaning or goes.
const schema = 1

// jsonLines writes an object a line; what is not known has no field.
type jsonLines struct {
	buffer
	columns []*column.Column
	members []column.Groups
	names   []string // for each column what stands before its value
	state   column.State
}

func newJSON(o Options) pipeline.Sink {
	j := &jsonLines{buffer: newBuffer(o.Out), columns: dataColumns(o)}
	j.members = column.Members(j.columns)
	for _, c := range j.columns {
		name := `,"` + c.Name + `":`
		if !c.Number {
			name += `"`
		}
		j.names = append(j.names, name)
	}
	return j
}

// Start implements pipeline.Sink.
func (j *jsonLines) Start(s event.Start) error {
	line := append(j.lines, `{"type":"start","schema":`...)
	line = strconv.AppendInt(line, schema, 10)
	line = j.appendTime(line, s.Wall)
	line = appendString(line, "version", s.Version)
	line = appendString(line, "kernel", s.Kernel)
	line = appendString(line, "backend", s.Backend)
	return j.put(append(line, '}', '\n'))
}

// Write implements pipeline.Sink.
func (j *jsonLines) Write(e *event.Event) error {
	line := j.lines
	first := len(line)
	groups := column.GroupsOf(e)
	for i, member := range j.members {
		if groups&member == 0 {
			continue
		}
		c := j.columns[i]
		before := len(line)
		line = append(line, j.names[i]...)
		start := len(line)
		line = c.Data(line, e, &j.state)
		if len(line) == start {
			line = line[:before]
			continue
		}
		if c.Free {
			line = quoteJSON(line, start)
		}
		if !c.Number {
			line = append(line, '"')
		}
	}
	line[first] = '{' // where the first field has its comma; each event has a type
	return j.put(append(line, '}', '\n'))
}

// Flush implements pipeline.Sink.
func (j *jsonLines) Flush() error { return j.flush() }

// Stop implements pipeline.Sink.
func (j *jsonLines) Stop(s event.Stop) error {
	line := append(j.lines, `{"type":"stop"`...)
	line = j.appendTime(line, s.Wall)
	line = appendNumber(line, "shown", s.Shown)
	line = appendNumber(line, "lost", s.Lost)
	if !s.MissedUnknown {
		line = appendNumber(line, "missed", s.Missed)
	}
	line = appendNumber(line, "gaps", s.Gaps)
	line = appendNumber(line, "evicted", s.Evicted)
	line = appendNumber(line, "unfollowed", s.Unfollowed)
	j.lines = append(line, '}', '\n')
	return j.flush()
}

func (j *jsonLines) appendTime(line []byte, wall int64) []byte {
	line = append(line, `,"time":"`...)
	line = column.Time.Data(line, &event.Event{Wall: wall}, &j.state)
	return append(line, '"')
}

func appendNumber(line []byte, name string, n uint64) []byte {
	line = append(append(append(line, `,"`...), name...), `":`...)
	return strconv.AppendUint(line, n, 10)
}

func appendString(line []byte, name, value string) []byte {
	line = append(append(append(line, `,"`...), name...), `":"`...)
	start := len(line)
	return append(quoteJSON(append(line, value...), start), '"')
}

// quoteJSON escapes the string that line has from start on. Values have no
// control characters: columns escape them.
func quoteJSON(line []byte, start int) []byte {
	if value := line[start:]; bytes.IndexByte(value, '"') < 0 && bytes.IndexByte(value, '\\') < 0 {
		return line
	}
	for i := start; i < len(line); i++ {
		if b := line[i]; b == '"' || b == '\\' {
			line = append(line, 0)
			copy(line[i+1:], line[i:])
			line[i] = '\\'
			i++
		}
	}
	return line
}
