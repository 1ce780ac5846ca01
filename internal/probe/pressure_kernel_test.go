package probe

import (
	"testing"

	"tcpstates/internal/event"
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
