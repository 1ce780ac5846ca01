package kerneltest

import (
	"errors"
	"runtime"
	"sync"
	"testing"

	"tcpstates/internal/traffic"
)

// Storm opens and closes connections in the namespace from a thread a CPU, as
// fast as it can, so many in all. One in four ends by a reset, the rest in
// order, closed by the client and the server in turn.
func Storm(t testing.TB, ns *Netns, connections int) {
	t.Helper()
	var threads sync.WaitGroup
	workers := runtime.NumCPU()
	for range workers {
		threads.Go(func() {
			ns.Do(t, func() {
				if err := storm(connections / workers); err != nil {
					t.Errorf("storm: %v", err)
				}
			})
		})
	}
	threads.Wait()
}

// storm runs the connections of one worker.
func storm(connections int) (err error) {
	source, err := traffic.NewSource(false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	for range connections {
		c, err := source.Open()
		if err != nil {
			return err
		}
		if _, err := c.Close(); err != nil {
			return err
		}
	}
	return nil
}
