package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"tcpstates/internal/event"
	"tcpstates/internal/outlet"
	"tcpstates/internal/output"
	"tcpstates/internal/pipeline"
	"tcpstates/internal/record"
)

// recorder is a stage that records what passes: what the source gives, with the
// places of owners. A nil one records nothing.
type recorder struct {
	*app
	path string
	file io.Writer

	ring      *record.Ring // nil: everything is kept
	onFailure bool         // the ring is written when a connection has ended badly
	onVerdict bool         // it is written at the end, unless all is as expected
	made      bool         // the file was not there before
	failed    uint64       // ktime of such an end that was not written yet; 0: none
	snapshots int
	written   uint64 // ktime of the last of them

	start   record.Start
	sink    *record.Writer
	gate    *outlet.Gate // before sink
	outlet  *outlet.Outlet
	counted *counter    // bytes written
	inBlock uint64      // events of the block under way
	begins  bool        // a block does
	rate    event.Event // that has told of a sample last; none if it is of no kind
	lost    uint64
	events  uint64
	kept    uint64 // events that the last snapshot has
	over    bool   // nothing more is to be written, or can be

	// older are the sockets that existed before, which who lists them leaves here.
	older atomic.Pointer[[]event.Event]
}

// counter counts the bytes of a recording.
type counter struct {
	io.Writer
	n uint64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.Writer.Write(b)
	c.n += uint64(n)
	return n, err
}

// open opens the file, while the process may.
func (r *recorder) open() error {
	if r.path == "-" {
		if file, ok := r.stdout.(*os.File); ok && isTerminal(file) {
			return usagef("record -: a recording is no text for a terminal: name a file, or pipe it somewhere")
		}
		r.file = r.stdout
		return nil
	}
	if r.onVerdict {
		return r.openKept()
	}
	// Others need not see who talks to whom.
	file, err := os.OpenFile(r.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return r.failing(err)
	}
	r.file = file
	return nil
}

// failing says of an error what was being done.
func (r *recorder) failing(err error) error {
	r.over = r.over || err != nil
	if err == nil || r.path == "-" {
		return err
	}
	var path *os.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return fmt.Errorf("write the recording %s: %w", r.path, err)
}

// begin begins the recording of a trace by the source.
func (r *recorder) begin(start event.Start, source tracer, show show, flags *traceFlags) error {
	if r == nil {
		return nil
	}
	if err := r.open(); err != nil {
		return err
	}
	knows := source.Knows()
	r.start = record.Start{
		Start: start, Sockets: knows.Sockets, Facts: knows.Facts, Owners: knows.Owners, Less: knows.Less,
		Raw: show.subject == output.OfRaw, Forks: flags.tree || flags.follow, Follows: flags.follow, Lasts: time.Duration(flags.duration),
		MaxEventsPerSecond: uint64(flags.most),
	}
	r.counted = &counter{Writer: asLines(r.file)}
	r.outlet = r.newOutlet(r.counted, r.name())
	var err error
	r.sink, err = record.NewWriter(blocks{r}, r.start)
	r.gate = outlet.NewGate(r.outlet, counted{r})
	return r.failing(err)
}

// name is what the recording is called in messages.
func (r *recorder) name() string {
	if r.path == "-" {
		return "the recording"
	}
	return "the recording " + r.path
}

// endure has a disk that is full for a while end the recording no more.
func (r *recorder) endure() {
	if r != nil {
		r.outlet.Endure()
	}
}

// incomplete is the error that something is not recorded; nil if all is.
func (r *recorder) incomplete() error {
	if r == nil {
		return nil
	}
	return r.outlet.Incomplete()
}

// counted counts the events that a block is made of. Each begins with which part of
// the connections it has: those before may be lost, or too old for the ring.
type counted struct{ *recorder }

// Write implements outlet.Writer.
func (c counted) Write(e *event.Event) error {
	if e.Kind == event.KindSampling {
		c.rate = *e
	} else if c.begins && c.rate.OneIn > 0 {
		c.rate.Ktime, c.rate.Wall = e.Ktime, e.Wall
		if err := c.sink.Write(&c.rate); err != nil {
			return err
		}
	}
	c.begins = false
	switch e.Kind {
	case event.KindTick, event.KindSocket, event.KindLost, event.KindSampling:
	default:
		c.inBlock++
	}
	return c.sink.Write(e)
}

// Flush implements outlet.Writer.
func (c counted) Flush() error { return c.sink.Flush() }

// blocks takes blocks, and says how many events each has.
type blocks struct{ *recorder }

// Write implements io.Writer.
func (b blocks) Write(block []byte) (int, error) {
	b.begins = true
	if b.ring != nil {
		return b.ring.Write(block)
	}
	err := b.outlet.WriteMarked(block, []output.Mark{{End: len(block), Events: b.inBlock}})
	b.inBlock = 0
	if err != nil {
		return 0, err
	}
	return len(block), nil
}

// Apply implements pipeline.Stage.
func (r *recorder) Apply(e *event.Event, next func(*event.Event) error) error {
	if older := r.older.Swap(nil); older != nil {
		for i := range *older {
			if err := r.write(&(*older)[i]); err != nil {
				return err
			}
		}
	}
	if e.Ktime != pipeline.EndOfTime {
		if err := r.write(e); err != nil {
			return err
		}
		if err := r.snapshotIfDue(e); err != nil {
			return err
		}
	}
	return next(e)
}

func (r *recorder) write(e *event.Event) error {
	r.events++
	if e.Kind == event.KindLost {
		r.lost += e.Lost
	}
	return r.failing(r.gate.Write(e))
}

// The ring is written so long after a connection has ended badly, as what follows
// may explain it, and so long after the last time.
const (
	aftermath     = uint64(time.Second)
	snapshotPause = uint64(10 * time.Second)
)

// watch has the recorder learn of connections that end badly and are shown.
func (r *recorder) watch(w *way) {
	if r != nil && r.onFailure {
		w.tracker.Wholes = true
		w.stages = append(w.stages, failures{r})
	}
	if r != nil && r.ring == nil && isPipe(r.file) {
		w.sink = prompt{w.sink, r}
	}
}

// prompt is a sink that has the recording flushed with it: who reads a pipe need not
// wait for a block to be full.
type prompt struct {
	pipeline.Sink
	recorder *recorder
}

// Flush implements pipeline.Sink.
func (p prompt) Flush() error {
	return errors.Join(p.recorder.failing(p.recorder.gate.Flush()), p.Sink.Flush())
}

// failures is the stage that tells the recorder of them.
type failures struct{ *recorder }

// Apply implements pipeline.Stage.
func (f failures) Apply(e *event.Event, next func(*event.Event) error) error {
	if f.failed == 0 && e.End.Reason.IsFailure() {
		f.failed = e.Ktime
	}
	return next(e)
}

func (r *recorder) snapshotIfDue(e *event.Event) error {
	if r.failed == 0 || e.Ktime < r.failed+aftermath || r.written != 0 && e.Ktime < r.written+snapshotPause {
		return nil
	}
	r.written = e.Ktime
	failed := r.failed
	err := r.snapshot(record.Stop{Stop: event.Stop{Wall: e.Wall, Lost: r.lost, MissedUnknown: true}, Early: true})
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		fmt.Fprintf(r.stderr, "tcpstates: %v: what is in memory is kept, and written when there is room\n", err)
		r.failed, r.over = failed, false
		return nil
	}
	return err
}

// snapshot writes the ring in place of what the file had.
func (r *recorder) snapshot(stop record.Stop) error {
	if err := r.sink.Flush(); err != nil {
		return r.failing(err)
	}
	if r.snapshots > 0 || r.onVerdict {
		if err := r.rewind(); err != nil {
			return r.failing(err)
		}
	}
	stop.Dropped = r.ring.Dropped()
	r.kept = r.events - stop.Dropped
	r.counted.n = 0
	_, err := r.ring.WriteTo(r.counted)
	if err == nil {
		err = r.sink.StopTo(r.counted, stop)
	}
	r.failed = 0
	r.snapshots++
	return r.failing(err)
}

// rewind makes the file empty.
func (r *recorder) rewind() error {
	file, ok := r.file.(*os.File)
	if !ok {
		return nil
	}
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return file.Truncate(0)
}

// stop ends the recording of a trace that has ended so.
func (r *recorder) stop(stop event.Stop) error {
	if r == nil {
		return nil
	}
	r.over = true
	whole := record.Stop{Stop: stop}
	whole.Shown = 0
	var err error
	switch {
	case r.ring == nil:
		if err = r.failing(r.gate.End()); err == nil {
			r.outlet.Account(&whole.Stop)
			err = r.failing(r.sink.Stop(whole))
		}
	case !r.onFailure && !r.onVerdict || r.failed != 0:
		err = r.snapshot(whole)
	}
	return err
}

// breakOff ends the recording of a trace that an error has ended: what is in memory is
// worth keeping all the same.
func (r *recorder) breakOff(now int64) error {
	if r == nil || r.over {
		return nil
	}
	return r.stop(event.Stop{Wall: now, Lost: r.lost, MissedUnknown: true})
}

// close gives the file back; its error is the disk's.
func (r *recorder) close() error {
	if r == nil {
		return nil
	}
	if r.made && r.snapshots == 0 {
		r.unmake()
	}
	if file, ok := r.file.(*os.File); ok && r.path != "-" {
		return r.failing(file.Close())
	}
	return nil
}

// tellMore says that the file has more than the filters choose which user space
// decides.
func (r *recorder) tellMore(names []string) {
	if r == nil || len(names) == 0 {
		return
	}
	choose, them := " chooses", "it"
	if len(names) > 1 {
		choose, them = " choose", "them"
	}
	fmt.Fprintf(r.stderr, "tcpstates: the recording has more than --%s%s: give %s to replay, too\n",
		strings.Join(names, " and --"), choose, them)
}

// tell tells the user what is in the file.
func (r *recorder) tell() {
	if r == nil || r.onVerdict && (r.snapshots == 0 || r.counted.n == 0) { // nothing of use is kept
		return
	}
	if r.onFailure && r.snapshots == 0 {
		fmt.Fprintf(r.stderr, "tcpstates: no connection has ended badly: %s is empty\n", r.path)
		return
	}
	what := r.path
	if what == "-" {
		what = "the recording"
	}
	kept := r.events
	text := ""
	if r.ring != nil {
		kept = r.kept
		text = fmt.Sprintf("; %d older ones had no room, see --ring", r.ring.Dropped())
	}
	if r.onVerdict {
		text = fmt.Sprintf("; %d older ones had no room: tcpstates replay %s shows them", r.ring.Dropped(), r.path)
	}
	var left event.Stop
	r.outlet.Account(&left)
	kept -= min(kept, left.Unwritten)
	each := 0.0
	if kept > 0 {
		each = float64(r.counted.n) / float64(kept)
	}
	fmt.Fprintf(r.stderr, "tcpstates: %s has %d events in %d bytes, %.1f each%s\n", what, kept, r.counted.n, each, text)
}
