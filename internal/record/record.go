// Package record writes events down and reads them back, as a file, as text and
// as JSON: what the kernel reported, and nothing that was concluded from it. So
// what happened on one machine can be looked at again on another, without its
// kernel and without privileges.
package record

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"time"

	"tcpstates/internal/event"
)

// Start says how the trace began that is recorded, and what it could tell.
type Start struct {
	event.Start
	// Sockets, Facts and Owners are what the backend knows (probe.Knows), and Less
	// says in words what a better one would know beyond that.
	Sockets bool   `json:"sockets"`
	Facts   bool   `json:"facts"`
	Owners  bool   `json:"owners"`
	Less    string `json:"less,omitempty"`
	// Raw says that states which were set anew without a change are in it.
	Raw bool `json:"raw,omitempty"`
	// Lasts is how long the trace was to last; zero means until somebody ends it.
	Lasts time.Duration `json:"lasts,omitempty"`
	// Forks says that new processes are in it.
	Forks bool `json:"forks,omitempty"`
	// MaxEventsPerSecond bounded the events, by a sample of the connections; zero:
	// all are in it.
	MaxEventsPerSecond uint64 `json:"max_events_per_second,omitempty"`
	// Follows says that the trace shows what the recorder's command did, and what that
	// command's descendants did, alone.
	Follows bool `json:"follows,omitempty"`
}

// everything is the Start of a recording that has none: it had all to tell, as far as
// is known.
var everything = Start{Sockets: true, Facts: true, Owners: true}

// Stop says how the trace ended, as the machine knows it: what was shown is not
// for a recording to know.
type Stop struct {
	event.Stop
	// Dropped events were too old for a Ring.
	Dropped uint64 `json:"dropped,omitempty"`
	// Early says that the trace went on.
	Early bool `json:"early,omitempty"`
}

// Damage is what of a recording could not be read.
type Damage struct {
	// Blocks could not be read; what they held is missing.
	Blocks int
	// CutOff: the recording ends before the trace did.
	CutOff bool
}

// Source is a recording that is read: a pipeline.Source. It belongs to one
// goroutine.
type Source interface {
	Read(e *event.Event) error
	Pending() bool
	// Start is how the trace began; the zero value if the recording does not
	// say.
	Start() Start
	// Stop is how the trace ended; nil if the recording does not say. It is
	// known when Read has come to the end.
	Stop() *Stop
	// Damage is what could not be read so far.
	Damage() Damage
}

// Sink writes a recording, of kinds of events that are in one: others it passes
// over. It belongs to one goroutine.
type Sink interface {
	Write(e *event.Event) error
	// Flush writes out what is in memory.
	Flush() error
	// Stop ends the recording of a trace that has ended so.
	Stop(Stop) error
}

// Form is how a recording is written down.
type Form struct {
	// Name is the word for it on the command line, Help says what it is.
	Name, Help string
	// New begins a recording of a trace that began so.
	New func(out io.Writer, start Start) (Sink, error)
}

// Forms are all there are.
var Forms = []Form{
	{"recording", "compressed blocks, as tcpstates record writes them", func(out io.Writer, start Start) (Sink, error) { return NewWriter(out, start) }},
	{"text", "a line an event, for a person to read and write", newTextWriter},
	{"json", "a JSON object an event", newJSONWriter},
}

// ErrNoRecording is the error of a file that is something else.
var ErrNoRecording = errors.New("it is no recording")

// Open begins to read a recording in any of the forms. An error is
// ErrNoRecording, that of a newer version, or in's.
func Open(in io.Reader) (Source, error) {
	buffered := bufio.NewReaderSize(in, maxLine)
	head, err := buffered.Peek(len(magic))
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return nil, err
	case string(head) == magic:
		return newReader(buffered)
	case len(head) == 0:
		return nil, fmt.Errorf("%w: it is empty", ErrNoRecording)
	}
	return newLineReader(buffered)
}
