package cli

import (
	"context"
	"errors"
	"strconv"

	"github.com/spf13/cobra"

	"tcpstates/internal/output"
	"tcpstates/internal/record"
)

// minRing is some blocks of a recording.
const minRing = 1 << 20

// recordFlags are the flags of record as they were given.
type recordFlags struct {
	transitionsFlags
	ring      sizeFrom
	onFailure bool
}

// newRecord makes the command that records.
func (a *app) newRecord() *cobra.Command {
	flags := &recordFlags{transitionsFlags: transitionsFlags{traceFlags: newTraceFlags()}}
	cmd := &cobra.Command{
		Use:   "record FILE [flags]",
		Short: "Record every event to a file, to look at later, here or elsewhere",
		Long: `tcpstates record writes every event to a file, with owners, containers and the
sockets that exist when it begins, until Ctrl-C. tcpstates replay FILE, and conns
and list with --from FILE, then show what they would have shown live: on any
machine, without root. FILE - is stdout. With -o or --group it also shows what it records.

Filters that the kernel does not decide, such as --comm and --role, choose what is
shown, and the file has more: record says so, and replay takes them again.

With --ring it keeps the newest events alone, in memory, and writes them when it
ends; with --snapshot-on-failure when a connection has ended badly: refused,
reset, timed out, ...`,
		Example: `  tcpstates record all.rec                     everything, until Ctrl-C
  tcpstates record web.rec -L 443 --duration 1m
  tcpstates record last.rec --ring 100M        the newest 100 MiB of it
  tcpstates record bad.rec --ring 100M --snapshot-on-failure -D 5432
  ssh host tcpstates record - | tcpstates replay -`,
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.record(cmd.Context(), args[0], flags, cmd.Flags().Changed)
		},
	}
	cmd.Flags().SortFlags = false
	flags.viewFlags.bind(cmd.Flags())
	flags.bindSubject(cmd.Flags())
	flags.liveFlags.bind(cmd.Flags())
	flags.ring = sizeFrom{least: minRing, such: "100M"}
	cmd.Flags().Var(&flags.ring, "ring", "keep the newest events alone, in so many bytes of memory")
	cmd.Flags().BoolVar(&flags.onFailure, "snapshot-on-failure", false,
		"with --ring: write FILE when a connection that the filters choose has ended badly, a second later and every 10 s at most")
	setFormats(cmd, func(output.Format) bool { return true })
	return cmd
}

// oneFile refuses arguments other than one file.
func oneFile(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usagef("%s takes one FILE, and %d are given: see %[1]s --help", cmd.CommandPath(), len(args))
	}
	if args[0] == "" {
		return usagef("%s: %s is no file", cmd.CommandPath(), strconv.Quote(args[0]))
	}
	return nil
}

// record records a live trace.
func (a *app) record(ctx context.Context, path string, flags *recordFlags, given func(name string) bool) error {
	show, err := flags.show(given)
	if err != nil {
		return err
	}
	show.silent = !given("output") && !flags.csv && !flags.wide && !flags.group
	switch {
	case flags.onFailure && flags.ring.n == 0:
		return usagef("--snapshot-on-failure without --ring: it writes a ring: give its size, such as --ring 100M")
	case flags.onFailure && show.subject == output.OfRaw:
		return usagef("--snapshot-on-failure with what the tracepoint says alone, which judges no end: leave out --raw, -o bcc and -o libbpf")
	case path == "-" && (!show.silent || flags.onFailure):
		return usagef("record - with -o, --group or --snapshot-on-failure: stdout takes the recording alone: name a file")
	}
	if err := flags.checkAnswers(); err != nil {
		return err
	}
	if show.silent {
		show.what = "transitions recorded"
	}
	recorder := &recorder{app: a, path: path, onFailure: flags.onFailure}
	if flags.ring.n > 0 {
		recorder.ring = record.NewRing(flags.ring.n)
	}
	err = a.trace(ctx, &flags.traceFlags, show, company{recorder: recorder})
	return errors.Join(err, recorder.close())
}
