package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tcpstates/internal/cgroup"
	"tcpstates/internal/event"
	"tcpstates/internal/feature"
	"tcpstates/internal/filter"
	"tcpstates/internal/output"
	"tcpstates/internal/snapshot"
)

// waitFlags are the flags of wait as they were given.
type waitFlags struct {
	traceFlags
	states  stateList
	timeout span
}

// stateList is a flag that takes states.
type stateList []event.State

// Set implements pflag.Value.
func (l *stateList) Set(list string) error {
	*l = nil
	for word := range strings.SplitSeq(list, ",") {
		state, known := event.ParseState(word)
		if !known {
			return fmt.Errorf("%q is no state: it takes states such as established,time-wait or SYN_RECV", word)
		}
		*l = append(*l, state)
	}
	return nil
}

// String implements pflag.Value.
func (l *stateList) String() string {
	var names []string
	for _, state := range *l {
		names = append(names, state.String())
	}
	return strings.Join(names, ",")
}

// Type implements pflag.Value.
func (l *stateList) Type() string { return "STATES" }

// newWait makes the command that waits for a socket to be in a state.
func (a *app) newWait() *cobra.Command {
	flags := &waitFlags{traceFlags: newTraceFlags(), states: stateList{event.Established}}
	cmd := &cobra.Command{
		Use:   "wait [flags]",
		Short: "Wait until a socket is in a state: a server listens, a client is connected",
		Long: `tcpstates wait ends as soon as a socket that the filters choose is in one of the
states of --state, at once if there is one already, and shows it as tcpstates list
does. It exits with 0 then, with 11 when --timeout has passed, and with 12 when
that has passed and events were lost.`,
		Example: `  tcpstates wait -L 8080 --state listen --timeout 10s && curl localhost:8080
  tcpstates wait -D 5432 --comm app --timeout 1m     until the app is connected to its database
  tcpstates wait -L 443 --state established -o json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.wait(cmd.Context(), flags, cmd.Flags().Changed("output"))
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().Var(&flags.states, "state", "wait for one of these states")
	cmd.Flags().Var(&flags.timeout, "timeout", "give up after this time: 10s, 5m; it waits for ever unless given")
	flags.showFlags.bind(cmd.Flags())
	flags.filterFlags.bind(cmd.Flags(), func(row *filter.Row) bool {
		return row.Name == "netns" || row.Listed && row.Name != "state"
	})
	flags.liveFlags.bind(cmd.Flags())
	cmd.Flags().BoolVarP(&flags.verbose, "verbose", "v", false, "say on stderr what is done, and the kernel's own words where it refuses")
	setFormats(cmd, func(f output.Format) bool { return f.HasAll })
	return cmd
}

// waiting is what a trace waits for.
type waiting struct {
	states  stateList
	filters *filter.Set
	where   whereFlag

	found    *event.Event // that has come; nil as long as there is none
	existing *event.Event // that was there already, which who looks leaves here
	stop     event.Stop
}

// wait waits until a socket is in a state.
func (a *app) wait(ctx context.Context, flags *waitFlags, formatGiven bool) error {
	show, err := a.newSocketShow(ctx, &flags.showFlags, formatGiven, "wait")
	if err != nil {
		return err
	}
	defer show.close()
	for _, of := range []output.Subject{output.OfTransitions, output.OfSockets} {
		if err := flags.where.check(of); err != nil {
			return err
		}
	}
	w := &waiting{states: flags.states}
	if w.where, err = flags.where.clone(); err != nil {
		return err
	}
	if w.filters, err = flags.filters(); err != nil {
		return err
	}
	flags.count, flags.duration = 1, flags.timeout
	err = a.trace(ctx, &flags.traceFlags, w.show(), company{waiting: w})
	if err != nil && !errors.Is(err, errFound) {
		return err
	}
	found := cmp.Or(w.found, w.existing)
	if found == nil {
		return w.inVain(ctx, time.Duration(flags.timeout))
	}
	start := event.Start{Wall: a.clock.Now(), Version: version, Kernel: feature.KernelRelease(), Backend: "wait"}
	_, err = show.show(start, []event.Event{*found})
	return err
}

// show is what the trace shows: nothing, until it ends.
func (w *waiting) show() show {
	return show{subject: output.OfTransitions, keep: w.isIt, silent: true, quiet: true}
}

// isIt tells whether a transition leads to what is waited for, and keeps it then as the
// socket that it is of.
func (w *waiting) isIt(e *event.Event) bool {
	if e.Kind != event.KindTransition || !slices.Contains(w.states, e.NewState) {
		return false
	}
	found := *e
	found.Kind, found.OldState, found.QueuesUnknown = event.KindSocket, e.NewState, true
	w.found = &found
	return true
}

// errFound ends a trace when there is a socket already.
var errFound = errors.New("there is a socket already")

// look looks for a socket that exists already, beside the trace; it is errFound if there
// is one.
func (w *waiting) look(a *app, pidns uint32, places *cgroup.Resolver) error {
	listing, err := a.sockets(snapshot.ListOptions{PIDNamespace: pidns})
	if err != nil {
		return err
	}
	for i := range listing.Sockets {
		e := &listing.Sockets[i]
		if places != nil && e.Owner.Source != event.SourceUnknown {
			e.Owner.Place = places.Place(&e.Owner, 0)
		}
		if !slices.Contains(w.states, e.NewState) || !w.filters.Match(e) {
			continue
		}
		if holds, err := w.where.holds(e); err != nil || !holds {
			if err != nil {
				return err
			}
			continue
		}
		w.existing = e
		return errFound
	}
	return nil
}

// inVain is the error that there was none.
func (w *waiting) inVain(ctx context.Context, timeout time.Duration) error {
	switch {
	case ctx.Err() != nil:
		return errors.New("wait: interrupted before a socket was in the state")
	case w.stop.Lost+w.stop.Missed+w.stop.Gaps+w.stop.Unsampled > 0:
		return coded{exitInconclusive, fmt.Errorf("wait: nobody knows: no socket was seen in %s within %s, and %s",
			&w.states, timeout, lostWords(w.stop))}
	}
	return coded{exitTimedOut, fmt.Errorf("wait: no socket was in %s within %s", &w.states, timeout)}
}
