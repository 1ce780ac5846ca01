package output

import (
	"tcpstates/internal/event"
	"tcpstates/internal/pipeline"
)

// libbpf writes what libbpf-tools' tcpstates prints, with its flags -T and -w.
type libbpf struct {
	dropIn
	widths dropInWidths
}

func newLibbpf(o Options) pipeline.Sink {
	l := &libbpf{dropIn: newDropIn(o), widths: dropInWidths{pid: 7, comm: 10, address: 15}}
	if o.Wide {
		l.widths = dropInWidths{pid: 7, comm: 16, address: 26, ip: true}
	}
	return l
}

// Start implements pipeline.Sink.
func (l *libbpf) Start(event.Start) error {
	line := l.lines
	if l.options.Time {
		line = appendPadded(line, "TIME(s)", timeOfDay, 0)
	}
	return l.put(l.widths.appendHeader(line, "PID", "COMM"))
}

// Write implements pipeline.Sink.
func (l *libbpf) Write(e *event.Event) error {
	if e.Kind != event.KindTransition {
		l.noteOther(e)
		return nil
	}
	line := l.lines
	if l.options.Time {
		line = append(l.appendTime(line, e), ' ')
	}
	return l.putEvent(l.widths.appendLine(line, e), e)
}
