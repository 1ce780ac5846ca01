package cli

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"tcpstates/internal/column"
	"tcpstates/internal/event"
	"tcpstates/internal/logfile"
	"tcpstates/internal/names"
	"tcpstates/internal/outlet"
	"tcpstates/internal/output"
	"tcpstates/internal/pipeline"
)

// target is where events are shown.
type target struct {
	*app
	sink    pipeline.Sink
	outlet  *outlet.Outlet  // what the format writes to; nil: nothing is written
	file    *logfile.File   // nil: the output is stdout
	journal *output.Journal // nil if it is not wanted
	names   *names.Resolver // nil if no names are wanted
	taken   *atomic.Uint64  // writes that it has taken
}

// openTarget opens what the flags name, while the process has all its privileges.
// pids says that the owners' numbers are those of this machine's processes.
func (a *app) openTarget(flags *viewFlags, show *show, pids bool) (*target, error) {
	t := &target{app: a, sink: nothing{}, taken: new(atomic.Uint64)}
	options := flags.options(a)
	options.Time, options.Elapsed, options.Of = flags.time, flags.elapsed, show.subject
	options.MaxConns = int(flags.maxConns)
	to := asLines(a.stdout)
	resolver, err := flags.columnFlags.apply(a, show.format, &options)
	if err != nil {
		return nil, err
	}
	if t.names = resolver; resolver != nil && show.subject == output.OfConns {
		show.names = resolver
	}
	show.places = flags.askPlaces(show.format, options)
	if t.file, err = flags.fileFlags.open(); err != nil {
		return nil, err
	}
	if t.file != nil {
		to = t.file
		toFile(&options)
	}
	if !show.silent || t.file != nil {
		t.outlet = a.newOutlet(countingWriter{to, t.taken}, "the events")
		options.Out = t.outlet
		format := show.format.New(options)
		show.ends, _ = format.(pipeline.Stage) // of blocks alone
		t.sink = outlet.NewSink(t.outlet, format)
	}
	if t.file != nil {
		t.sink = headed{t.sink}
	}
	if t.journal, err = a.openJournal(flags, show, pids); err != nil {
		return nil, errors.Join(err, t.close())
	}
	if t.journal != nil {
		t.sink = pipeline.Tee(t.sink, t.journal)
	}
	return t, nil
}

// askPlaces tells whether a column, a filter or the journal asks where owners run: to
// know it costs.
func (f *viewFlags) askPlaces(format output.Format, o output.Options) bool {
	if f.journal || f.asksPlaces() || f.expectFlags.uses(ofPlaces()...) {
		return true
	}
	columns := o.Columns
	if columns == nil && format.Columns != nil {
		columns = format.Columns(o)
	}
	return slices.ContainsFunc(column.Places, func(c *column.Column) bool { return column.Has(columns, c.Name) })
}

// close ends what runs beside, and gives the file back, whose error is the disk's.
func (t *target) close() error {
	t.closeJournal(t.journal)
	if t.names != nil {
		t.names.Close()
	}
	if t.file != nil {
		return pipeline.Writing(t.file.Close())
	}
	return nil
}

// newOutlet makes an outlet to where something with a name is written.
func (a *app) newOutlet(to io.Writer, name string) *outlet.Outlet {
	return outlet.New(outlet.Options{
		To: to, Name: name, Now: time.Now,
		Say: func(text string) { fmt.Fprintln(a.stderr, "tcpstates: "+text) },
	})
}

// endure has a disk that is full for a while end the trace no more.
func (t *target) endure() {
	if t.outlet != nil {
		t.outlet.Endure()
	}
}

// account completes that of a trace whose last event is written.
func (t *target) account(stop *event.Stop) {
	if t.outlet != nil {
		t.outlet.Account(stop)
	}
}

// incomplete is the error that something is not written; nil if all is.
func (t *target) incomplete() error {
	if t.outlet == nil {
		return nil
	}
	return t.outlet.Incomplete()
}

// countingWriter counts the writes that come to their end.
type countingWriter struct {
	io.Writer
	taken *atomic.Uint64
}

func (w countingWriter) Write(b []byte) (int, error) {
	defer w.taken.Add(1)
	return w.Writer.Write(b)
}

// nothing is a sink that writes nothing.
type nothing struct{}

// Start implements pipeline.Sink.
func (nothing) Start(event.Start) error { return nil }

// Write implements pipeline.Sink.
func (nothing) Write(*event.Event) error { return nil }

// Flush implements pipeline.Sink.
func (nothing) Flush() error { return nil }

// Stop implements pipeline.Sink.
func (nothing) Stop(event.Stop) error { return nil }
