package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tcpstates/internal/event"
	"tcpstates/internal/output"
	"tcpstates/internal/pipeline"
	"tcpstates/internal/record"
)

// newReplay makes the command that shows a recording.
func (a *app) newReplay() *cobra.Command {
	flags := &transitionsFlags{traceFlags: newTraceFlags()}
	cmd := &cobra.Command{
		Use:   "replay FILE [flags]",
		Short: "Show a recording as it would have been shown live",
		Long: `tcpstates replay shows every transition that a file has recorded, as the same
flags would have shown it live: on any machine, without root. It reads what
tcpstates record and tcpstates convert write; FILE - is stdin. What is damaged it
leaves out, says so, and exits with 1.`,
		Example: `  tcpstates replay all.rec
  tcpstates replay all.rec -D 5432 -o json | jq .
  tcpstates conns --from all.rec --failed    the connections of a recording
  tcpstates list --from all.rec --at 12:30   the sockets that there were`,
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			show, err := flags.show(cmd.Flags().Changed)
			if err != nil {
				return err
			}
			if err := flags.checkAnswers(); err != nil {
				return err
			}
			return a.replay(cmd.Context(), args[0], &flags.viewFlags, show)
		},
	}
	cmd.Flags().SortFlags = false
	flags.viewFlags.bind(cmd.Flags())
	flags.bindSubject(cmd.Flags())
	setFormats(cmd, func(output.Format) bool { return true })
	return cmd
}

// replay shows what a file has recorded.
func (a *app) replay(ctx context.Context, path string, flags *viewFlags, show show) (err error) {
	r, err := a.openReplay(ctx, path)
	if err != nil {
		return err
	}
	defer r.Close()
	start := r.Start()
	if _, err := flags.filters(); err != nil {
		return err
	}
	if err := flags.checkRecording(path, start, show); err != nil {
		return err
	}
	if start.Follows {
		flags.set.Follow()
	}
	fmt.Fprintln(a.stderr, "tcpstates: "+r.describe())
	if show.subject == output.OfRaw && !start.Raw {
		fmt.Fprintln(a.stderr, "tcpstates: states that were set anew without a change are not in it: record them with --raw")
	}
	r.limit(time.Duration(flags.duration))

	target, err := a.openTarget(flags, &show, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.close()) }()
	answers, err := a.openAnswers(&flags.expectFlags)
	if err != nil {
		return err
	}
	before := []pipeline.Stage{keeper(isNoSocket)}
	if start.MaxEventsPerSecond > 0 {
		before = append(before, newRateTeller(a, start.MaxEventsPerSecond))
	}
	way := a.newWay(r, before, flags, show, target.sink, start.Owners)
	var judges *patient
	if way.judge != nil {
		judges = &patient{Sink: way.sink}
		way.sink = judges
	}
	if err := way.sink.Start(start.Start); err != nil {
		return pipeline.Writing(err)
	}
	shown, err := pipeline.Run(way.source, way.stages, way.sink, uint64(flags.count))
	r.progress.clear()
	if err != nil {
		return err
	}
	if ctx.Err() == nil {
		if err := r.finish(); err != nil {
			return err
		}
	}
	stop := r.account(shown)
	way.account(&stop)
	if err := way.sink.Stop(stop); err != nil {
		return pipeline.Writing(err)
	}
	way.summarize()
	fmt.Fprintln(a.stderr, "tcpstates: "+account(show.what, stop))
	tellHasty(a, way.filter)
	if ctx.Err() != nil && way.judge == nil {
		return nil // the user has seen enough
	}
	answer := r.judge(flags, way, stop).answer(&flags.expectFlags, answers)
	return errors.Join(answer, judges.err(), r.tell())
}

// judge judges what was replayed; nil if nothing was asked.
func (r *replayed) judge(flags *viewFlags, way *way, stop event.Stop) *verdict {
	missing := r.lacks()
	if r.ctx.Err() != nil {
		missing = append(missing, "the replay was interrupted")
	}
	if r.cut {
		missing = append(missing, "the recording goes on after --duration")
	}
	if s := r.Stop(); s != nil && s.Dropped > 0 {
		missing = append(missing, fmt.Sprintf("%d older events are not in the recording", s.Dropped))
	}
	if stop.Unwritten > 0 {
		missing = append(missing, fmt.Sprintf("%d events are not in the recording, as the disk was full", stop.Unwritten))
	}
	began := time.Unix(0, r.began)
	return r.app.judge(judged{
		flags: flags, judge: way.judge, began: began, took: time.Duration(stop.Wall - r.began), missing: way.unknown(stop, missing...),
	})
}

// isNoSocket keeps all but the sockets that existed before, of which a live trace
// tells nothing but its recording.
func isNoSocket(e *event.Event) bool { return e.Kind != event.KindSocket }

// checkRecording refuses what the recording cannot show.
func (f *viewFlags) checkRecording(path string, start record.Start, show show) error {
	if show.reasons != "" && !start.Facts {
		return fmt.Errorf("%s: %s goes by the reasons of ends, and %s, by which it was recorded, knows none: leave it out",
			path, show.reasons, printableText(start.Backend))
	}
	if flag := f.asksFacts(); flag != "" && !start.Facts {
		return fmt.Errorf("%s: --%s asks for what %s, by which it was recorded, does not tell: leave it out", path, flag, printableText(start.Backend))
	}
	if f.tree && !start.Forks {
		return fmt.Errorf("%s: --tree goes by the parents of processes, which are recorded with --pid and --tree alone: leave it out", path)
	}
	return nil
}

// replayed is a recording on its way through the stages: a pipeline.Source that
// ends with its context, or when as much has passed as is wanted.
type replayed struct {
	record.Source
	app      *app
	ctx      context.Context
	path     string
	file     io.Closer
	waits    bool // for who writes it: it comes from a pipe
	progress *progress
	after    time.Duration // it ends so long after the recording began; 0: at its end

	began    int64 // wall clock: of the first event, where the recording does not say
	cut      bool  // it ended so, and there was more
	reads    uint64
	lost     uint64
	lastWall int64

	unwritten uint64 // as the disk was full that it was recorded on
}

// openReplay opens a recording.
func (a *app) openReplay(ctx context.Context, path string) (*replayed, error) {
	r := &replayed{app: a, ctx: ctx, path: path, file: io.NopCloser(nil)}
	in, size := a.stdin, int64(0)
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("read the recording: %w", err)
		}
		in, r.file = file, file
	}
	if file, ok := in.(*os.File); ok {
		info, err := file.Stat()
		if r.waits = err != nil || !info.Mode().IsRegular(); !r.waits {
			size = info.Size()
		} else {
			in = interruptible(ctx, in)
		}
	}
	r.progress = a.newProgress("reading "+path, size)
	source, err := record.Open(r.progress.reader(in))
	if err != nil {
		r.file.Close()
		if ctx.Err() != nil {
			err = errors.New("interrupted before any of it had come")
		}
		return nil, r.failing(err)
	}
	r.Source, r.began = source, source.Start().Wall
	return r, nil
}

// interruptible gives what in has, which ends with ctx at the latest: reading from a
// pipe cannot be called back.
func interruptible(ctx context.Context, in io.Reader) io.Reader {
	out, to := io.Pipe()
	context.AfterFunc(ctx, func() { to.Close() })
	go func() {
		_, err := io.Copy(to, in)
		to.CloseWithError(err)
	}()
	return out
}

// failing says of an error what was being read.
func (r *replayed) failing(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return fmt.Errorf("read the recording %s: %w", r.path, err)
}

// Close closes the file.
func (r *replayed) Close() { r.file.Close() }

// limit ends the replay so long after the recording began; zero means never. What was
// to last no longer is shown to its end, which comes a little later.
func (r *replayed) limit(after time.Duration) {
	if lasts := r.Start().Lasts; lasts == 0 || after < lasts {
		r.after = after
	}
}

// interruptEvery is how many events pass between two looks at the context.
const interruptEvery = 1024

// Read implements pipeline.Source.
func (r *replayed) Read(e *event.Event) error {
	if r.reads++; r.reads%interruptEvery == 0 {
		r.progress.show()
		if r.ctx.Err() != nil {
			return io.EOF
		}
	}
	err := r.Source.Read(e)
	switch {
	case errors.Is(err, io.EOF):
		return err
	case err != nil:
		return r.failing(err)
	}
	if r.began == 0 {
		r.began = e.Wall
	}
	if r.after > 0 && e.Wall > r.began+int64(r.after) {
		r.cut = true
		return io.EOF
	}
	r.lastWall = e.Wall
	if e.Loss == event.LossBuffer {
		r.lost += e.Lost
	} else {
		r.unwritten += e.Lost
	}
	return nil
}

// finish reads on to where the recording accounts for itself, unless that can take
// as long as somebody records.
func (r *replayed) finish() error {
	if r.waits {
		return nil
	}
	for r.after = 0; ; {
		var e event.Event
		if err := r.Read(&e); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// account is that of the recording, of which so much was shown.
func (r *replayed) account(shown uint64) event.Stop {
	stop := event.Stop{Wall: r.lastWall, Lost: r.lost, Unwritten: r.unwritten, MissedUnknown: true}
	if s := r.Stop(); s != nil {
		stop = s.Stop
	}
	stop.Shown = shown
	return stop
}

// describe says in a sentence what is replayed.
func (r *replayed) describe() string {
	start := r.Start()
	text := "replaying " + r.path
	if start.Wall == 0 {
		return text
	}
	text += fmt.Sprintf(": recorded on %s, on Linux %s with %s",
		time.Unix(0, start.Wall).Format(time.DateTime), printableText(start.Kernel), printableText(start.Backend))
	if start.Less != "" {
		text += " (" + printableText(start.Less) + ")"
	}
	return text
}

// printableText is text of a file that nobody vouches for, as a person may see it.
func printableText(text string) string { return strings.Map(printable, text) }

// tell says what the recording lacks; an error says that it is damaged.
func (r *replayed) tell() error {
	if s := r.Stop(); s != nil && s.Dropped > 0 {
		fmt.Fprintf(r.app.stderr, "tcpstates: %d older events are not in it: it was recorded with --ring\n", s.Dropped)
	}
	if s := r.Stop(); s != nil && s.Early {
		fmt.Fprintln(r.app.stderr, "tcpstates: it was written when a connection had ended badly, and the trace went on")
	}
	what := r.lacks()
	if len(what) == 0 {
		return nil
	}
	return fmt.Errorf("%s is not complete: %s", r.path, strings.Join(what, ", and "))
}

// lacks says what of the recording could not be read.
func (r *replayed) lacks() (what []string) {
	damage := r.Damage()
	if damage.Blocks > 0 {
		what = append(what, fmt.Sprintf("%d damaged blocks were left out", damage.Blocks))
	}
	if damage.CutOff {
		what = append(what, "it is cut off: it ends before the trace did")
	}
	return what
}
