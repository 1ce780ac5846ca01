package output

import (
	"strconv"

	"tcpstates/internal/column"
	"tcpstates/internal/event"
	"tcpstates/internal/pipeline"
)

// bcc writes what BCC's tcpstates.py prints, with its flags -T, -t, -w and -s.
type bcc struct {
	dropIn
	widths dropInWidths
}

func newBCC(o Options) pipeline.Sink {
	b := &bcc{dropIn: newDropIn(o), widths: dropInWidths{pid: 5, comm: 10, address: 15}}
	if o.Wide {
		b.widths = dropInWidths{pid: 5, comm: 16, address: 26, ip: true}
	}
	return b
}

// Start implements pipeline.Sink.
func (b *bcc) Start(event.Start) error {
	line := b.lines
	if b.options.CSV {
		if b.options.Time {
			line = append(line, "TIME,"...)
		}
		if b.options.Elapsed {
			line = append(line, "TIME(s),"...)
		}
		return b.put(append(line, "SKADDR,C-PID,C-COMM,IP,LADDR,LPORT,RADDR,RPORT,OLDSTATE,NEWSTATE,MS\n"...))
	}
	if b.options.Time {
		line = appendPadded(line, "TIME", timeOfDay, 0)
	}
	if b.options.Elapsed {
		line = appendPadded(line, "TIME(s)", 9, 0)
	}
	return b.put(b.widths.appendHeader(line, "C-PID", "C-COMM"))
}

// Write implements pipeline.Sink.
func (b *bcc) Write(e *event.Event) error {
	if e.Kind != event.KindTransition {
		b.noteOther(e)
		return nil
	}
	line := b.lines
	least, separator := 9, byte(' ')
	if b.options.CSV {
		least, separator = 0, ','
	}
	if b.options.Time {
		line = append(b.appendTime(line, e), separator)
	}
	if b.options.Elapsed {
		start := len(line)
		line = pad(column.Elapsed.Data(line, e, &b.state), start, least, 0)
		line[len(line)-1] = separator
	}
	if b.options.CSV {
		return b.putEvent(appendBCCFields(line, e), e)
	}
	return b.putEvent(b.widths.appendLine(line, e), e)
}

// appendBCCFields appends a transition as comma-separated values. BCC quotes
// nothing; a name with a comma is quoted here, which a CSV reader wants.
func appendBCCFields(line []byte, e *event.Event) []byte {
	line = append(strconv.AppendUint(line, e.SkAddr, 16), ',')
	line = append(strconv.AppendUint(line, uint64(e.Current.PID), 10), ',')
	start := len(line)
	line = append(quoteCSV(e.Current.Comm.AppendText(line), start), ',')
	line = append(strconv.AppendUint(line, uint64(e.Family), 10), ',')
	line = append(e.Local.Addr().AppendTo(line), ',')
	line = append(strconv.AppendUint(line, uint64(e.RawLocalPort), 10), ',')
	line = append(e.Remote.Addr().AppendTo(line), ',')
	line = append(strconv.AppendUint(line, uint64(e.Remote.Port()), 10), ',')
	line = append(append(line, e.OldState.String()...), ',')
	line = append(append(line, e.NewState.String()...), ',')
	return append(appendSpan(line, e), '\n')
}
