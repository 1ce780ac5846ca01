package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"tcpstates/internal/event"
	"tcpstates/internal/output"
)

// connsFlags are the flags of conns as they were given.
type connsFlags struct {
	traceFlags
	minHandshake, minDuration span
	failed                    bool
}

// newConns makes the command that shows connections as they end.
func (a *app) newConns() *cobra.Command {
	flags := &connsFlags{traceFlags: newTraceFlags()}
	cmd := &cobra.Command{
		Use:   "conns [flags]",
		Short: "Show each TCP connection when it ends: how it lived, and why it ended",
		Long: `tcpstates conns shows one line for each TCP connection when it ends: its owner,
both ends, how long it lived (MS), how long its handshake took, what it carried,
who closed it and why. A connection in TIME_WAIT has ended. With -o wide, csv,
json and logfmt there are the milliseconds in each state, too. It traces until Ctrl-C, and
ends with a summary on stderr.`,
		Example: `  tcpstates conns                        every connection
  tcpstates conns --failed               refused, reset, timed out, ...
  tcpstates conns --min-handshake 50ms   whose handshake was slow
  tcpstates conns -L 443 --every 10s     a web server, with a summary every 10 s`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.traceConns(cmd.Context(), flags, cmd.Flags().Changed)
		},
	}
	cmd.Flags().SortFlags = false
	flags.bind(cmd.Flags())
	cmd.Flags().Var(&flags.minHandshake, "min-handshake", "only connections whose handshake took at least this long: 50ms")
	cmd.Flags().Var(&flags.minDuration, "min-duration", "only connections that lived at least this long: 1s")
	cmd.Flags().BoolVar(&flags.failed, "failed", false, "only connections that did not come up, or did not end in order")
	setFormats(cmd, func(f output.Format) bool { return f.HasAll })
	return cmd
}

// traceConns shows connections as they end.
func (a *app) traceConns(ctx context.Context, flags *connsFlags, given func(name string) bool) error {
	format, err := flags.outputFormat(given("output"))
	if err != nil {
		return err
	}
	if !format.HasAll {
		return usagef("-o %s with conns: that tool shows transitions alone: use table, wide, csv, json or logfmt", format.Name)
	}
	if err := flags.where.check(output.OfConns); err != nil {
		return err
	}
	return a.traceOrReplay(ctx, &flags.traceFlags, show{
		format: format, subject: output.OfConns, what: "connections shown", keep: flags.keeps, summary: true,
		reasons: flags.reasons(),
	}, given)
}

// reasons is the flag that goes by the reasons of ends; empty if none does.
func (f *connsFlags) reasons() string {
	if f.failed {
		return "--failed"
	}
	return f.filterFlags.reasons()
}

// keeps tells whether an event is shown: a connection that the flags ask for,
// or a notice.
func (f *connsFlags) keeps(e *event.Event) bool {
	if e.Kind != event.KindConn {
		return e.IsNotice()
	}
	lived, _ := e.AtLeast()
	h := &e.Handshake
	return max(h.Connect, h.Took, h.RTT) >= time.Duration(f.minHandshake) &&
		lived >= time.Duration(f.minDuration) &&
		(!f.failed || e.End.Reason.IsFailure())
}
