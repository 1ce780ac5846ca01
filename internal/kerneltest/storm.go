package kerneltest

import (
	"errors"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Storm opens and closes connections in the namespace from a thread a CPU, as
// fast as it can, so many in all. One in four ends by a reset, the rest in
// order, closed by the client and the server in turn.
func Storm(t testing.TB, ns *Netns, connections int) {
	t.Helper()
	var threads sync.WaitGroup
	workers := runtime.NumCPU()
	for w := range workers {
		threads.Go(func() {
			ns.Do(t, func() {
				if err := storm(w, connections/workers); err != nil {
					t.Errorf("storm: %v", err)
				}
			})
		})
	}
	threads.Wait()
}

// storm runs the connections of one worker.
func storm(worker, connections int) error {
	listener, to, err := listenAnywhere()
	if err != nil {
		return err
	}
	defer unix.Close(listener)
	for i := range connections {
		// A new destination now and then, because each has only as many
		// client ports, and TIME_WAIT keeps them.
		n := i >> 12
		to.Addr = [4]byte{127, byte(77 + worker), byte(n >> 8), byte(n)}
		if err := connectAndClose(listener, to, i); err != nil {
			return err
		}
	}
	return nil
}

// connectAndClose makes the i-th connection.
func connectAndClose(listener int, to *unix.SockaddrInet4, i int) error {
	client, server, err := connectTo(listener, to)
	if err != nil {
		return err
	}
	first, second := client, server
	switch i % 4 {
	case 0:
		reset := unix.Linger{Onoff: 1}
		err = unix.SetsockoptLinger(client, unix.SOL_SOCKET, unix.SO_LINGER, &reset)
	case 1, 3:
		first, second = server, client
	}
	return errors.Join(err, unix.Close(first), unix.Close(second))
}
