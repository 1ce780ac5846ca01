package probe

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"tcpstates/internal/event"
	"tcpstates/internal/kerneltest"
)

// patientClock has a trace give no ticks but those that it is nudged for.
type patientClock struct{ kerneltest.SteadyClock }

func (c patientClock) In(d time.Duration) time.Time {
	if d == tick {
		d = time.Hour
	}
	return c.SteadyClock.In(d)
}

// TestNudgeOnEveryRung makes connections and nudges as soon as each is there, and when
// its ends are closed: when the tick comes, all that was before must have come, and after
// a last one nothing is left to come.
func TestNudgeOnEveryRung(t *testing.T) {
	onEveryRung(t, func(t *testing.T, o Options) {
		ns := kerneltest.NewNetns(t)
		o.Clock = patientClock{}
		tracer, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { tracer.Close() })
		tracer.nap = time.Hour                         // which a nudge ends, and Stop
		const port, toOpen, inAll = 4711, 2 + 2, 5 + 5 // transitions of the client and of the server
		ticks, done := make(chan int), make(chan error, 1)
		go func() {
			hops, last := 0, uint64(0)
			var e event.Event
			for {
				if err := tracer.Read(&e); err != nil {
					done <- err
					return
				}
				switch {
				case e.Kind == event.KindTick:
					if e.Ktime < last {
						t.Errorf("a tick of %d after what happened at %d", e.Ktime, last)
					}
					ticks <- hops
				case e.Kind == event.KindTransition && (e.Local.Port() == port || e.Remote.Port() == port):
					hops++
					last = max(last, e.Ktime)
				}
			}
		}()
		nudge := func() int {
			t.Helper()
			if err := tracer.Nudge(); err != nil {
				t.Error(err)
			}
			return <-ticks
		}
		last := 0
		for range 5 {
			ns.Do(t, func() {
				l := kerneltest.Listen(t, "tcp4", fmt.Sprintf("127.0.0.1:%d", port))
				client, server := kerneltest.Connect(t, l)
				if hops := nudge(); hops < last+toOpen {
					t.Errorf("%d of %d transitions came before the tick", hops-last, toOpen)
				}
				client.Close()
				server.Close()
				l.Close()
			})
			ns.Settle(t)
			hops := nudge()
			if hops < last+inAll {
				t.Errorf("%d of %d transitions came before the tick", hops-last, inAll)
			}
			last = hops
		}
		if hops := nudge(); hops != last {
			t.Errorf("%d transitions came after the tick", hops-last)
		}
		tracer.Stop()
		if err := <-done; !errors.Is(err, io.EOF) {
			t.Errorf("it ends in %v", err)
		}
	})
}
