package record

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"tcpstates/internal/event"
)

// jsonLines writes a recording as a JSON object a line: the fields of the text,
// numbers as numbers. Texts of any bytes keep the escapes that they have there,
// which JSON has none for.
type jsonLines struct{ lineWriter }

func newJSONWriter(out io.Writer, start Start) (Sink, error) {
	j := &jsonLines{lineWriter{out: bufio.NewWriterSize(out, 64<<10)}}
	return j, j.tell(startWord, start)
}

// Write implements Sink.
func (j *jsonLines) Write(e *event.Event) error {
	if !slices.Contains(kinds, e.Kind) {
		return nil
	}
	j.line = fmt.Appendf(j.line[:0], `{"type":"%s"`, e.Kind)
	for i := range fields {
		j.line = fields[i].appendJSON(j.line, e)
	}
	j.line = append(j.line, '}', '\n')
	return j.put()
}

// appendJSON appends the field; nothing for zero.
func (f *field) appendJSON(dst []byte, e *event.Event) []byte {
	before := len(dst)
	dst = fmt.Appendf(dst, `,"%s":`, f.name)
	start := len(dst)
	dst = f.add(dst, e)
	if len(dst) == start {
		return dst[:before]
	}
	if f.form == aNumber {
		return dst
	}
	value := string(dst[start:])
	if f.form == aText {
		value = strings.TrimSuffix(strings.TrimPrefix(value, `"`), `"`)
	}
	quoted, _ := json.Marshal(value) // fails for no string
	return append(dst[:start], quoted...)
}

// Stop implements Sink.
func (j *jsonLines) Stop(stop Stop) error {
	if err := j.tell(stopWord, stop); err != nil {
		return err
	}
	return j.Flush()
}

// tell writes an object that is no event.
func (j *jsonLines) tell(word string, told any) error {
	object, err := json.Marshal(told)
	if err != nil {
		return err
	}
	j.line = fmt.Appendf(j.line[:0], `{"type":"%s",%s`+"\n", word, object[1:])
	return j.put()
}

// parseJSON reads an object, and tells whether it is an event.
func (l *lines) parseJSON(line []byte, e *event.Event) (isEvent bool, err error) {
	var values map[string]json.RawMessage
	if err := json.Unmarshal(line, &values); err != nil {
		return false, err
	}
	kind, err := stringOf(values["type"])
	if err != nil {
		return false, fmt.Errorf("the field type: %w", err)
	}
	delete(values, "type")
	switch kind {
	case startWord:
		return false, l.setStart(line)
	case stopWord:
		return false, l.setStop(line)
	}
	if err := setKind(e, kind); err != nil {
		return false, err
	}
	for name, raw := range values {
		if err := setField(e, name, func(f *field) (string, error) { return f.textOf(raw) }); err != nil {
			return false, err
		}
	}
	return true, nil
}

// textOf is a JSON value as text has it.
func (f *field) textOf(raw json.RawMessage) (string, error) {
	if f.form == aNumber {
		return string(raw), nil
	}
	value, err := stringOf(raw)
	if err == nil && f.form == aText {
		value = `"` + value + `"`
	}
	return value, err
}

func stringOf(raw json.RawMessage) (s string, err error) {
	if len(raw) == 0 {
		return "", fmt.Errorf("it is missing")
	}
	return s, json.Unmarshal(raw, &s)
}
