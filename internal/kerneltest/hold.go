package kerneltest

import (
	"testing"

	"tcpstates/internal/traffic"
)

// Held are connections that stay open.
type Held struct {
	source *traffic.Source
	conns  []traffic.Conn
}

// Hold opens so many connections in the namespace, and keeps both ends and the
// listener.
func Hold(t testing.TB, ns *Netns, connections int) *Held {
	t.Helper()
	h := &Held{}
	t.Cleanup(func() { h.Close(t) })
	ns.Do(t, func() {
		if err := h.open(connections); err != nil {
			t.Errorf("hold %d connections: %v", connections, err)
		}
	})
	return h
}

func (h *Held) open(connections int) (err error) {
	if h.source, err = traffic.NewSource(false); err != nil {
		return err
	}
	for range connections {
		c, err := h.source.Open()
		if err != nil {
			return err
		}
		h.conns = append(h.conns, c)
	}
	return nil
}

// Close closes all, as a storm does. It may be called more than once.
func (h *Held) Close(t testing.TB) {
	t.Helper()
	for _, c := range h.conns {
		if _, err := c.Close(); err != nil {
			t.Errorf("close a connection that was held: %v", err)
		}
	}
	h.conns = nil
	if h.source != nil {
		_ = h.source.Close()
	}
}
