package cli

import (
	"time"

	"tcpstates/internal/event"
	"tcpstates/internal/pipeline"
	"tcpstates/internal/summary"
)

// summarizer is a stage that counts connections, and prints the summary so far
// at every so long a time of the events.
type summarizer struct {
	*app
	sink  pipeline.Sink
	sum   *summary.Summary
	every time.Duration // zero: only at the end
	due   uint64        // ktime
	// ofWritten says that only connections that are written count, which a
	// summing sink sees to.
	ofWritten bool
}

// summing is a sink that has what it writes counted.
type summing struct {
	pipeline.Sink
	sum *summary.Summary
}

// Write implements pipeline.Sink.
func (s summing) Write(e *event.Event) error {
	s.sum.Add(e)
	return s.Sink.Write(e)
}

// Apply implements pipeline.Stage.
func (s *summarizer) Apply(e *event.Event, next func(*event.Event) error) error {
	if !s.ofWritten {
		s.sum.Add(e)
	}
	if s.every > 0 && e.Wall != 0 {
		if s.due == 0 {
			s.due = e.Ktime + uint64(s.every)
		}
		if e.Ktime >= s.due {
			s.due = e.Ktime + uint64(s.every)
			if err := s.sink.Flush(); err != nil {
				return pipeline.Writing(err)
			}
			s.print()
		}
	}
	return next(e)
}

// print prints the summary where it does not mix with the events.
func (s *summarizer) print() {
	width := widthOf(s.stderr)()
	_, _ = s.stderr.Write(s.sum.AppendText(nil, width)) // nobody is left to tell
}
