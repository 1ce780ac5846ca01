package cli

import (
	"context"
	"errors"
	"slices"

	"tcpstates/internal/event"
	"tcpstates/internal/names"
	"tcpstates/internal/output"
	"tcpstates/internal/pipeline"
)

// socketShow is how sockets that exist are shown.
type socketShow struct {
	ctx      context.Context
	format   output.Format
	options  output.Options
	resolver *names.Resolver // nil if no names are wanted
}

// newSocketShow is what the flags of the command ask for. It is the caller's to close.
func (a *app) newSocketShow(ctx context.Context, flags *showFlags, formatGiven bool, command string) (*socketShow, error) {
	format, err := flags.outputFormat(formatGiven)
	if err != nil {
		return nil, err
	}
	if !format.HasAll {
		return nil, usagef("-o %s with %s: that tool lists no sockets: use table, wide, csv, json or logfmt", format.Name, command)
	}
	s := &socketShow{ctx: ctx, format: format, options: flags.options(a)}
	s.options.Of = output.OfSockets
	s.resolver, err = flags.columnFlags.apply(a, format, &s.options)
	return s, err
}

func (s *socketShow) close() {
	if s.resolver != nil {
		s.resolver.Close()
	}
}

// show is a shower of all sockets.
func (s *socketShow) show(start event.Start, sockets []event.Event) ([]event.Event, error) {
	slices.SortStableFunc(sockets, byState)
	if s.resolver != nil {
		settle(s.ctx, s.resolver, sockets)
	}
	return sockets, pipeline.Writing(writeSockets(s.format.New(s.options), start, sockets))
}

// shower shows those of the sockets that are wanted, all as of start's time, and
// returns them.
type shower func(start event.Start, sockets []event.Event) ([]event.Event, error)

// writeSockets writes the sockets.
func writeSockets(sink pipeline.Sink, start event.Start, sockets []event.Event) error {
	err := sink.Start(start)
	for i := range sockets {
		if err != nil {
			return err
		}
		sockets[i].Wall = start.Wall
		err = sink.Write(&sockets[i])
	}
	return errors.Join(err, sink.Stop(event.Stop{Wall: start.Wall, Shown: uint64(len(sockets))}))
}

// byState orders listeners first, then by the local end.
func byState(a, b event.Event) int {
	if la, lb := a.NewState == event.Listen, b.NewState == event.Listen; la != lb {
		if la {
			return -1
		}
		return 1
	}
	return a.Local.Compare(b.Local)
}
