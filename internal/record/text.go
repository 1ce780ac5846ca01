package record

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"tcpstates/internal/event"
)

// Append appends the event as a line of text; nothing of a kind that is in no
// recording.
func Append(dst []byte, e *event.Event) []byte {
	if !slices.Contains(kinds, e.Kind) {
		return dst
	}
	dst = append(dst, e.Kind.String()...)
	for i := range fields {
		f := &fields[i]
		before := len(dst)
		dst = append(append(append(dst, ' '), f.name...), '=')
		start := len(dst)
		if dst = f.add(dst, e); len(dst) == start {
			dst = dst[:before]
		}
	}
	return append(dst, '\n')
}

// Parse reads a line of text, without its end, into e.
func Parse(line string, e *event.Event) error {
	words := strings.Split(line, " ")
	if err := setKind(e, words[0]); err != nil {
		return err
	}
	for _, word := range words[1:] {
		name, value, _ := strings.Cut(word, "=")
		if err := setField(e, name, func(*field) (string, error) { return value, nil }); err != nil {
			return err
		}
	}
	return nil
}

// setKind makes e an event of the kind, of which nothing else is known.
func setKind(e *event.Event, word string) error {
	i := slices.IndexFunc(kinds, func(k event.Kind) bool { return k.String() == word })
	if i < 0 {
		return fmt.Errorf("%.40q is no kind of event", word)
	}
	*e = event.Event{Kind: kinds[i]}
	return nil
}

// setField sets what value gives of the field.
func setField(e *event.Event, name string, value func(*field) (string, error)) error {
	f := find(name)
	if f == nil {
		return fmt.Errorf("%.40q is no field of an event", name)
	}
	text, err := value(f)
	if err == nil {
		err = f.set(e, text)
	}
	if err != nil {
		return fmt.Errorf("the field %s: %w", name, err)
	}
	return nil
}

// The words that begin the lines of how a trace began and ended.
const (
	startWord = "start"
	stopWord  = "stop"
)

// textLines writes a recording as text.
type textLines struct{ lineWriter }

func newTextWriter(out io.Writer, start Start) (Sink, error) {
	t := &textLines{lineWriter{out: bufio.NewWriterSize(out, 64<<10)}}
	return t, t.tell(startWord, start)
}

// Write implements Sink.
func (t *textLines) Write(e *event.Event) error {
	t.line = Append(t.line[:0], e)
	return t.put()
}

// Stop implements Sink.
func (t *textLines) Stop(stop Stop) error {
	if err := t.tell(stopWord, stop); err != nil {
		return err
	}
	return t.Flush()
}

// tell writes a line that is no event: a word and a JSON object.
func (t *textLines) tell(word string, told any) error {
	object, err := json.Marshal(told)
	if err != nil {
		return err
	}
	t.line = fmt.Appendf(t.line[:0], "%s %s\n", word, object)
	return t.put()
}

// lineWriter writes line by line.
type lineWriter struct {
	out  *bufio.Writer
	line []byte
}

func (w *lineWriter) put() error {
	_, err := w.out.Write(w.line)
	return err
}

// Flush implements Sink.
func (w *lineWriter) Flush() error { return w.out.Flush() }

// Read reads text until its end: the events alone.
func Read(r io.Reader) (all []event.Event, err error) {
	lines := &lines{in: bufio.NewReaderSize(r, maxLine)}
	for {
		var e event.Event
		if err := lines.Read(&e); err == io.EOF {
			return all, nil
		} else if err != nil {
			return all, err
		}
		all = append(all, e)
	}
}

// maxLine bounds a line in bytes: the longest that is written has some paths.
const maxLine = 64 << 10

// lines reads a recording of lines, of either form.
type lines struct {
	in      *bufio.Reader // of maxLine
	number  int
	start   Start
	started bool // the recording says how the trace began
	stop    *Stop
	ahead   *event.Event // was read to see whether it is a recording
}

// newLineReader begins to read lines. What does not begin with one is no
// recording.
func newLineReader(in *bufio.Reader) (*lines, error) {
	l := &lines{in: in, start: everything}
	var first event.Event
	switch err := l.Read(&first); {
	case err == io.EOF:
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrNoRecording, err)
	default:
		l.ahead = &first
	}
	return l, nil
}

// Pending implements Source. From a pipe more may have to be waited for.
func (l *lines) Pending() bool {
	seen, _ := l.in.Peek(l.in.Buffered())
	return l.ahead != nil || bytes.IndexByte(seen, '\n') >= 0
}

// Start implements Source.
func (l *lines) Start() Start { return l.start }

// Stop implements Source.
func (l *lines) Stop() *Stop { return l.stop }

// Damage implements Source. What a person has written says neither how it began
// nor how it ended.
func (l *lines) Damage() Damage { return Damage{CutOff: l.started && l.stop == nil} }

// Read implements Source. Lines that are empty or begin with # say nothing.
func (l *lines) Read(e *event.Event) error {
	if l.ahead != nil {
		*e, l.ahead = *l.ahead, nil
		return nil
	}
	for {
		line, err := l.next()
		if errors.Is(err, io.EOF) {
			return io.EOF
		}
		l.number++
		isEvent := false
		if err == nil && len(line) > 0 && line[0] != '#' {
			isEvent, err = l.parse(line, e)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", l.number, err)
		}
		if isEvent {
			return nil
		}
	}
}

// next reads the next line, without its end. The last may have none.
func (l *lines) next() ([]byte, error) {
	line, err := l.in.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, fmt.Errorf("it is longer than the %d bytes that a line may have", maxLine)
	case err != nil && len(line) == 0, err != nil && !errors.Is(err, io.EOF):
		return nil, err
	}
	return bytes.TrimRight(line, "\r\n"), nil
}

// parse reads a line, and tells whether it is an event.
func (l *lines) parse(line []byte, e *event.Event) (isEvent bool, err error) {
	if line[0] == '{' {
		return l.parseJSON(line, e)
	}
	word, object, _ := bytes.Cut(line, []byte{' '})
	switch string(word) {
	case startWord:
		return false, l.setStart(object)
	case stopWord:
		return false, l.setStop(object)
	}
	return true, Parse(string(line), e)
}

func (l *lines) setStart(object []byte) error {
	l.start, l.started = Start{}, true
	return json.Unmarshal(object, &l.start)
}

func (l *lines) setStop(object []byte) error {
	l.stop = new(Stop)
	return json.Unmarshal(object, l.stop)
}

// appendWord appends text in quotes, as Go writes them, and without spaces.
func appendWord(dst []byte, s string) []byte {
	quoted := strconv.QuoteToASCII(s)
	return append(dst, strings.ReplaceAll(quoted, " ", `\x20`)...)
}

func parseWord(value string) (string, error) {
	s, err := strconv.Unquote(value)
	if err != nil {
		return "", fmt.Errorf("%.40s is no quoted text", value)
	}
	return s, nil
}
