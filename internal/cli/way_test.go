package cli

import (
	"io"
	"net/netip"
	"runtime"
	"testing"

	"tcpstates/internal/event"
	"tcpstates/internal/output"
	"tcpstates/internal/pipeline"
)

// BenchmarkWay measures what an event costs between the source and the output:
// both ends of connections over the loopback, 500 at a time, one after the other.
func BenchmarkWay(b *testing.B) {
	for _, of := range []struct{ name, format string }{{"table", "table"}, {"csv", "csv"}, {"json", "json"}, {"libbpf", "libbpf"}, {"conns", "table"}} {
		b.Run(of.name, func(b *testing.B) {
			format, _ := output.Find(of.format)
			show := show{format: format, subject: output.OfTransitions, keep: isNoConn}
			switch {
			case format.Raw:
				show.subject, show.keep = output.OfRaw, isRaw
			case of.name == "conns":
				show.subject, show.keep = output.OfConns, (&connsFlags{}).keeps
			}
			sink := format.New(output.Options{Out: io.Discard, Notes: io.Discard, Of: show.subject, Width: func() int { return 0 }})
			flags := &viewFlags{maxConns: 1_000_000}
			way := (&app{}).newWay(&busy{left: b.N, lives: livesOf(500)}, nil, flags, show, sink, true)
			b.ReportAllocs()
			b.ResetTimer()
			if _, err := pipeline.Run(way.source, way.stages, way.sink, 0); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// busy is a source of so many events, over and over those of lives, each time of
// new sockets at a later time.
type busy struct {
	lives []event.Event
	left  int
	at    int
	round uint64
}

func (s *busy) Pending() bool { return s.left%3000 != 0 } // so much comes in 10 ms

func (s *busy) Read(e *event.Event) error {
	if s.left == 0 {
		return io.EOF
	}
	s.left--
	*e = s.lives[s.at]
	const lap = 10_000_000
	e.Ktime += s.round * lap
	e.Wall += int64(s.round * lap)
	if e.Since != 0 {
		e.Since += s.round * lap
	}
	e.Cookie += s.round * uint64(len(s.lives))
	if s.at++; s.at == len(s.lives) {
		s.at = 0
		s.round++
	}
	return nil
}

// livesOf are the transitions of both ends of so many connections, which take them
// in turn.
func livesOf(connections int) []event.Event {
	comm := event.Process{PID: 4711, Comm: event.CommOf("load")}
	var lives []event.Event
	at := uint64(1_000_000_000)
	add := func(cookie uint64, i int, client bool, since *uint64, from, to event.State) {
		at += 1000
		e := event.Event{
			Kind: event.KindTransition, Ktime: at, Wall: 1_700_000_000_000_000_000 + int64(at), OldState: from, NewState: to, Since: *since,
			Cookie: cookie, SkAddr: 0xffff888000000000 + cookie<<8, Family: event.IPv4, Netns: 4026531840,
			Owner:   event.Owner{Process: comm, Source: event.SourceConnect, Cgroup: 1},
			Current: comm,
		}
		near := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(20_000+i))
		far := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 77, 0, 1}), 8080)
		e.Local, e.Remote = far, near
		if client {
			e.Local, e.Remote = near, far
		}
		if to == event.Established || to == event.Close {
			e.Facts = event.Facts{SRTT: 15, MinRTT: 15, SegsIn: 3, SegsOut: 4, BytesAcked: 2, Flags: event.Done | event.Dead | event.AllAcked}
		}
		*since = at
		lives = append(lives, e)
	}
	since := make([][2]uint64, connections)
	type step struct {
		client   bool
		from, to event.State
	}
	for _, s := range []step{
		{true, event.Close, event.SynSent}, {false, event.Listen, event.SynRecv}, {true, event.SynSent, event.Established},
		{false, event.SynRecv, event.Established}, {true, event.Established, event.FinWait1},
		{false, event.Established, event.CloseWait}, {false, event.CloseWait, event.LastAck},
		{true, event.FinWait1, event.FinWait2}, {true, event.FinWait2, event.Close}, {false, event.LastAck, event.Close},
	} {
		for i := range connections {
			if s.client {
				add(uint64(2*i+1), i, true, &since[i][0], s.from, s.to)
			} else {
				add(uint64(2*i+2), i, false, &since[i][1], s.from, s.to)
			}
		}
	}
	return lives
}

// TestNoAllocationsOnTheWay: between the source and the output there is none for an
// event, but for the memory of connections that there are more of.
func TestNoAllocationsOnTheWay(t *testing.T) {
	const events = 200_000
	for _, format := range output.Formats {
		sink := format.New(output.Options{Out: io.Discard, Notes: io.Discard, Width: func() int { return 0 }})
		show := show{format: format, subject: output.OfTransitions, keep: isNoConn, summary: true}
		way := (&app{}).newWay(&busy{left: events, lives: livesOf(500)}, nil, &viewFlags{maxConns: 1_000_000}, show, sink, true)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := pipeline.Run(way.source, way.stages, way.sink, 0); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if n := after.Mallocs - before.Mallocs; n > events/100 {
			t.Errorf("%s: %d allocations for %d events", format.Name, n, events)
		}
	}
}
