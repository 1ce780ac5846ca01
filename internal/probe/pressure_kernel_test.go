package probe

import (
	"fmt"
	"slices"
	"testing"

	"tcpstates/internal/event"
	"tcpstates/internal/filter"
	"tcpstates/internal/kerneltest"
)

// TestALossIsToldAtItsPlace fills the buffer, reads a part of it, and has more come
// behind the hole.
func TestALossIsToldAtItsPlace(t *testing.T) {
	kerneltest.Require(t)
	ns := kerneltest.NewNetns(t)
	tracer, err := Open(Options{BufferSize: 128 << 10, Clock: kerneltest.SteadyClock{}})
	if err != nil {
		t.Fatal(err)
	}
	defer tracer.Close()
	if _, is := tracer.transport.(*ring); !is {
		t.Skip("here each CPU has its own buffer")
	}
	connect := func() (port uint16) {
		ns.Do(t, func() {
			l := kerneltest.Listen(t, "tcp4", "127.0.0.1:0")
			defer l.Close()
			port = portOf(l)
			client, server := kerneltest.Connect(t, l)
			client.CloseWrite()
			server.Close()
			client.Close()
		})
		ns.Settle(t)
		return port
	}
	read := func() (e event.Event) {
		if err := tracer.Read(&e); err != nil {
			t.Fatal(err)
		}
		return e
	}
	connect()
	read() // and nothing was lost until now
	kerneltest.Storm(t, ns, 200)
	ns.Settle(t)
	for range 100 {
		if e := read(); e.Kind == event.KindLost {
			t.Fatalf("%d events are said to be lost before there was a hole", e.Lost)
		}
	}
	behind := connect() // for which there is room now
	lost := uint64(0)
	for tracer.Pending() {
		e := read()
		if e.Kind == event.KindLost {
			lost += e.Lost
		} else if e.Remote.Port() == behind && lost == 0 {
			t.Fatal("what came behind the hole is told before it")
		}
	}
	if lost == 0 {
		t.Error("nothing was lost")
	}
}

// TestASampledConnectionIsShownWhole has a storm of more than is wanted, on every way
// to trace: what is shown is whole, and what is not is counted.
func TestASampledConnectionIsShownWhole(t *testing.T) {
	onEveryRung(t, func(t *testing.T, o Options) {
		const most = 2000 // of 45,000
		ns := kerneltest.NewNetns(t)
		own := filter.Lowered{Netns: &filter.NumberRule{Numbers: []uint32{ns.Inode}}}
		all := traceWithRoom(t, Options{BufferSize: 64 << 20, Filter: own}, 60_000)
		o.MaxEventsPerSecond, o.Filter = most, own
		c := traceWithRoom(t, o, 60_000)
		kerneltest.Storm(t, ns, 5000)
		ns.Settle(t)
		all.end(t)
		shown, happened := lifetimesOf(t, c.end(t)), lifetimesOf(t, all.events)
		totals, err := c.Totals()
		if err != nil {
			t.Fatal(err)
		}
		if requireTotals(t, all); totals.Lost > 0 {
			t.Fatalf("it is not known of what %d events were lost", totals.Lost)
		}
		requireRates(t, c.rates)
		if len(c.rates) == 0 || len(c.events) == 0 || totals.Unsampled == 0 {
			t.Errorf("%d transitions are shown at rates %v; %+v", len(c.events), c.rates, totals)
		}
		if totals.Missed+totals.Gaps > 0 {
			t.Skipf("this way misses some: %+v", totals)
		}
		t.Logf("%d of %d transitions are shown at rates %v; %+v", len(c.events), len(all.events), c.rates, totals)
		n := requireWhole(t, shown, happened)
		if !c.Knows().Facts { // it knows of other namespaces' connections, and of no resets
			return
		}
		everything := uint64(len(all.events) + len(all.owners) + len(all.others))
		if totals.Emitted+totals.Unsampled != everything {
			t.Errorf("%d events are shown and %d are not, of %d", totals.Emitted, totals.Unsampled, everything)
		}
		if want := count(happened) - n; totals.UnsampledConns != uint64(want) {
			t.Errorf("%d connections are said not to be shown, which are %d", totals.UnsampledConns, want)
		}
	})
}

// requireRates checks that each is a power of two, and another than the one before.
func requireRates(t *testing.T, rates []uint64) {
	t.Helper()
	last := uint64(1)
	for _, rate := range rates {
		if rate == last || rate&(rate-1) != 0 {
			t.Errorf("one in so many connections is shown: %v", rates)
		}
		last = rate
	}
}

// lifetimesOf are, for each address of a socket, its connections and listeners in
// their order, each as its ends and transitions say.
func lifetimesOf(t *testing.T, transitions []event.Event) map[uint64][]string {
	t.Helper()
	all := map[uint64][]string{}
	for _, e := range transitions {
		of := all[e.SkAddr]
		if e.Begins() {
			of = append(of, "")
		}
		if len(of) == 0 {
			t.Errorf("%v: its beginning is not shown", kerneltest.TransitionOf(&e))
			continue
		}
		last := &of[len(of)-1]
		*last += fmt.Sprintf(" %v>%v", e.OldState, e.NewState)
		if e.NewState == event.Close {
			*last += fmt.Sprintf(" %v %v", e.Local, e.Remote)
		}
		all[e.SkAddr] = of
	}
	return all
}

// requireWhole checks that each connection that is shown has happened so, to its end,
// and counts them.
func requireWhole(t *testing.T, shown, happened map[uint64][]string) (n int) {
	t.Helper()
	for address, conns := range shown {
		rest := happened[address]
		for _, conn := range conns {
			at := slices.Index(rest, conn)
			if at < 0 {
				t.Errorf("shown is%s, and that has not happened so", conn)
				break
			}
			rest = rest[at+1:]
			n++
		}
	}
	return n
}

func count(conns map[uint64][]string) (n int) {
	for _, of := range conns {
		n += len(of)
	}
	return n
}
