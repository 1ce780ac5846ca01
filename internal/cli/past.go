package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"tcpstates/internal/cgroup"
	"tcpstates/internal/conn"
	"tcpstates/internal/event"
	"tcpstates/internal/pipeline"
)

// listRecorded lists the sockets that there were at a time of a recording.
func (a *app) listRecorded(ctx context.Context, flags *listFlags, show shower) error {
	if flags.udp || flags.pidns {
		return usagef("-u and --pidns with --from: a recording has TCP sockets, with the process ids that it was made with: leave them out")
	}
	r, err := a.openReplay(ctx, flags.from)
	if err != nil {
		return err
	}
	defer r.Close()
	past := &past{asked: flags.at, sockets: map[uint64]event.Event{}}
	if past.asked != "" {
		if past.at, err = parseMoment(flags.at, time.Unix(0, r.began)); err != nil {
			return usagef("--at %s: %v", flags.at, err)
		}
	}
	places := cgroup.NewMemory()
	_, err = pipeline.Run(past.until(r), []pipeline.Stage{places, conn.NewTracker(conn.DefaultMaxConns), cgroup.Recall{Memory: places}, past}, nothing{}, 0)
	r.progress.clear()
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return nil // the user has seen enough
	}
	if past.asked == "" {
		past.at = r.lastWall
	}
	if err := r.finish(); err != nil {
		return err
	}
	if err := past.check(r); err != nil {
		return err
	}
	start := r.Start().Start
	start.Wall = past.at
	listed, err := show(start, past.list())
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "tcpstates: %s; at %s of %s\n",
		countByState(listed), time.Unix(0, past.at).Format("15:04:05.000"), flags.from)
	return r.tell()
}

// past is a stage that keeps the sockets as they are after the events that pass. It
// lets none go on.
type past struct {
	asked   string // empty: all events count
	at      int64  // wall clock: those until then do, if it is asked for
	from    int64  // wall clock: when the older sockets were listed; 0: they were not
	passed  int64  // wall clock of an event after at; 0: there was none
	first   int64  // wall clock of the first event
	sockets map[uint64]event.Event
}

// until is a source that ends at the time that is asked for, but not before it has
// told of the older sockets.
func (p *past) until(r *replayed) pipeline.Source { return &untilPast{r, p} }

type untilPast struct {
	*replayed
	past *past
}

// Read implements pipeline.Source.
func (u *untilPast) Read(e *event.Event) error {
	nobodySays := u.began == 0
	if err := u.replayed.Read(e); err != nil {
		return err
	}
	if nobodySays && u.past.asked != "" {
		u.past.at, _ = parseMoment(u.past.asked, time.Unix(0, u.began)) // it could be read before
	}
	if u.past.first == 0 {
		u.past.first = e.Wall
	}
	if u.past.asked != "" && e.Wall > u.past.at && e.Kind != event.KindSocket {
		u.past.passed = e.Wall
		return io.EOF
	}
	return nil
}

// Apply implements pipeline.Stage.
func (p *past) Apply(e *event.Event, _ func(*event.Event) error) error {
	socket := e.Socket()
	switch e.Kind {
	case event.KindSocket:
		p.from = e.Wall
		_, known := p.sockets[socket]
		// What becomes of a request is told of the socket to come alone.
		if !known && e.NewState != event.NewSynRecv {
			p.sockets[socket] = *e
		}
	case event.KindTransition:
		if e.NewState == event.Close {
			delete(p.sockets, socket)
			return nil
		}
		p.keep(e)
	case event.KindOwner:
		if s, known := p.sockets[socket]; known {
			s.Owner = e.Owner
			p.sockets[socket] = s
		}
	}
	return nil
}

// keep notes the state that a transition leads to.
func (p *past) keep(e *event.Event) {
	s := *e
	s.Kind, s.OldState, s.QueuesUnknown = event.KindSocket, s.NewState, true
	if old, known := p.sockets[e.Socket()]; known && s.Owner.PID == 0 {
		s.Owner = old.Owner
	}
	p.sockets[e.Socket()] = s
}

// check refuses a time that the recording does not tell of.
func (p *past) check(r *replayed) error {
	began, ended := r.began, r.lastWall
	if stop := r.Stop(); stop != nil {
		ended = max(ended, stop.Wall)
		if stop.Dropped > 0 {
			began = p.first
		}
	}
	if p.asked != "" && (p.at < began || p.passed == 0 && p.at > ended) {
		return fmt.Errorf("--at %s: the recording begins at %s, and ends at %s", p.asked,
			time.Unix(0, began).Format(time.DateTime), time.Unix(0, ended).Format(time.DateTime))
	}
	if p.from == 0 {
		fmt.Fprintln(r.app.stderr, "tcpstates: sockets that had no event are missing: those that existed before are not in the recording")
	}
	return nil
}

// list gives the sockets as of the time that was asked for.
func (p *past) list() []event.Event {
	var all []event.Event
	for _, s := range p.sockets {
		if since := time.Duration(p.at - s.Wall); since > 0 {
			if s.Left > 0 && s.Left <= since {
				continue // its TIME_WAIT is over
			}
			s.Left = max(0, s.Left-since)
			s.QueuesUnknown = true
		}
		all = append(all, s)
	}
	return all
}

// parseMoment reads a time of the recording that began then.
func parseMoment(text string, began time.Time) (wall int64, err error) {
	if after, found := strings.CutPrefix(text, "+"); found {
		d, err := time.ParseDuration(after)
		if err != nil || d < 0 {
			return 0, fmt.Errorf("it takes +1m30s, the time since the recording began")
		}
		return began.Add(d).UnixNano(), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t.UnixNano(), nil
	}
	for _, layout := range []string{time.TimeOnly, "15:04"} {
		t, err := time.Parse(layout, text)
		if err != nil {
			continue
		}
		local := began.Local()
		midnight := time.Date(local.Year(), local.Month(), local.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.Local)
		if midnight.Before(local.Truncate(time.Second)) { // a recording that goes on past midnight
			midnight = midnight.AddDate(0, 0, 1)
		}
		return midnight.UnixNano(), nil
	}
	return 0, fmt.Errorf("it takes 15:04:05, +1m30s after the recording began, or 2006-01-02T15:04:05Z (RFC 3339)")
}
