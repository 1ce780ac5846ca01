package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"tcpstates/internal/cgroup"
	"tcpstates/internal/event"
	"tcpstates/internal/feature"
	"tcpstates/internal/output"
	"tcpstates/internal/pipeline"
	"tcpstates/internal/probe"
)

// newRoot makes the command without a name, which traces.
func (a *app) newRoot() *cobra.Command {
	flags := &traceFlags{buffer: probe.DefaultBufferSize}
	cmd := &cobra.Command{
		Use:   "tcpstates [flags]",
		Short: "Show every TCP state transition on this machine, live",
		Long: `tcpstates shows every TCP connection on this machine changing its state, as it
happens: the process that owns the socket, both ends, the old and the new state
and the milliseconds spent in the old one. It traces until Ctrl-C.

What is not known is shown as "-": a duration whose beginning was before the
trace, a port that the kernel has not chosen yet, the owner of an older socket.`,
		Example: `  tcpstates                       every transition until Ctrl-C
  tcpstates -L 80,443             connections to this machine's web server
  tcpstates -D 5432 --duration 1m connections to a database, for a minute
  tcpstates -o json | jq .        one JSON object a line
  tcpstates -o bcc -T             as BCC's tcpstates prints it`,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("%s: tcpstates takes flags alone: see tcpstates --help", strconv.Quote(args[0]))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.trace(cmd.Context(), flags, cmd.Flags().Changed("output"))
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	cmd.Flags().SortFlags = false
	flags.bind(cmd.Flags())
	cmd.SetUsageTemplate(usageTemplate + formatHelp())
	return cmd
}

// usageTemplate lays out the help of a command without subcommands.
const usageTemplate = `Usage:
  {{.UseLine}}

Examples:
{{.Example}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}
`

// formatHelp lists the formats for the help.
func formatHelp() string {
	text := "\nFormats (-o):\n"
	for _, format := range output.Formats {
		text += fmt.Sprintf("  %-7s %s\n", format.Name, format.Help)
	}
	return text
}

// trace runs a live trace to its end.
func (a *app) trace(ctx context.Context, flags *traceFlags, formatGiven bool) error {
	format, err := flags.outputFormat(formatGiven)
	if err != nil {
		return err
	}
	filters, err := flags.filters()
	if err != nil {
		return err
	}
	source, err := a.open(probe.Options{
		Filter:          filters,
		SelfTransitions: format.Raw,
		BufferSize:      int(flags.buffer),
		Clock:           a.clock,
	})
	if err != nil {
		a.explain(flags, err)
		return err
	}
	defer source.Close()
	flags.notef(a, "tracing with %s of %s", probe.Backend, flags.buffer)

	sink := format.New(output.Options{
		Out:     a.stdout,
		Notes:   a.stderr,
		Width:   widthOf(a.stdout),
		Color:   wantsColor(a.stdout, a.getenv),
		Time:    flags.time,
		Elapsed: flags.elapsed,
		Wide:    flags.wide,
		CSV:     flags.csv,
	})
	stop, err := a.pump(ctx, source, sink, flags)
	if err != nil {
		return err
	}
	if file, ok := a.stderr.(*os.File); ok && ctx.Err() != nil && isTerminal(file) {
		fmt.Fprintln(a.stderr) // Ctrl-C has left its ^C on the line
	}
	fmt.Fprintln(a.stderr, "tcpstates: "+summary(stop))
	return nil
}

// summary accounts for a trace in a sentence.
func summary(stop event.Stop) string {
	text := fmt.Sprintf("%d events shown, %d lost in the ring buffer, %d missed by recursion",
		stop.Shown, stop.Lost, stop.Missed)
	if stop.Gaps > 0 {
		text += fmt.Sprintf("; %d times a socket's transitions had a gap: "+
			"this kernel did not run the programs for all of them", stop.Gaps)
	}
	return text
}

// pump moves events from source to sink until a signal, the end of the time or
// of the number that the flags give, or the end of who reads the output.
func (a *app) pump(ctx context.Context, source tracer, sink pipeline.Sink, flags *traceFlags) (stop event.Stop, err error) {
	if flags.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(flags.duration))
		defer cancel()
	}
	ctx, hangUp := context.WithCancelCause(ctx)
	defer hangUp(nil)
	onHangup(a.stdout, func() { hangUp(syscall.EPIPE) })
	context.AfterFunc(ctx, source.Stop)

	err = sink.Start(event.Start{
		Wall:    a.clock.Now(),
		Version: version,
		Kernel:  feature.KernelRelease(),
		Backend: probe.Backend,
	})
	if err = errors.Join(err, sink.Flush()); err != nil {
		return stop, pipeline.Writing(err)
	}
	if flags.readyFile != "" {
		if err := os.WriteFile(flags.readyFile, strconv.AppendInt(nil, int64(os.Getpid()), 10), 0o644); err != nil {
			return stop, fmt.Errorf("tell that tracing has begun: %w", err)
		}
	}

	places := cgroup.NewResolver()
	defer places.Close()
	stop.Shown, err = pipeline.Run(source, []pipeline.Stage{places}, sink, uint64(flags.count))
	if err != nil {
		return stop, err
	}
	if cause := context.Cause(ctx); errors.Is(cause, syscall.EPIPE) {
		return stop, cause
	}
	source.Stop()
	totals, err := source.Totals()
	if err != nil {
		return stop, err
	}
	stop.Lost, stop.Missed, stop.Gaps = totals.Lost, totals.Missed, totals.Gaps
	stop.Wall = a.clock.Now()
	flags.notef(a, "%d records through the ring buffer, %d recovered by the second program",
		totals.Emitted, totals.Recovered)
	return stop, pipeline.Writing(sink.Stop(stop))
}

// notef tells the user of -v what is going on.
func (f *traceFlags) notef(a *app, format string, args ...any) {
	if f.verbose {
		fmt.Fprintf(a.stderr, "tcpstates: "+format+"\n", args...)
	}
}

// explain tells the user of -v the kernel's own words of its refusal.
func (a *app) explain(flags *traceFlags, err error) {
	var missing *feature.Missing
	if errors.As(err, &missing) {
		flags.notef(a, "the kernel says: %+v", missing.Err)
	}
}
