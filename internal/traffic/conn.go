package traffic

import (
	"errors"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// How many transitions a connection has at both its ends, from CLOSE to CLOSE.
const (
	// InOrder: CLOSE, SYN_SENT, ESTABLISHED, then by either of two ways through
	// three states; and LISTEN, SYN_RECV, ESTABLISHED, and through two.
	InOrder = 10
	// ByReset: to ESTABLISHED, and from there to CLOSE.
	ByReset = 6
	// OfListener: to LISTEN and back.
	OfListener = 2
)

// resetEvery is how many connections there are to one that ends by a reset.
const resetEvery = 4

// MeanTransitions is what a connection has on average.
const MeanTransitions = float64((resetEvery-1)*InOrder+ByReset) / resetEvery

// resetLimit is how long a reset may take from one end of the loopback to the
// other, in milliseconds.
const resetLimit = 5000

// Conn is a connection, open at both ends.
type Conn struct {
	client, server        int // descriptors
	number                int // among those of its source
	local, remote         netip.AddrPort
	connecting, connected time.Time
}

// Transitions is how many transitions the connection has until it is closed.
func (c *Conn) Transitions() int {
	if c.isReset() {
		return ByReset
	}
	return InOrder
}

// Opened is when connect() returned.
func (c *Conn) Opened() time.Time { return c.connected }

func (c *Conn) isReset() bool { return c.number%resetEvery == 0 }

// Close closes both ends: one connection in four by the client's reset, the rest
// in order, closed by the server or the client first in turn. It gives the
// bounds of the time that the client was ESTABLISHED.
func (c *Conn) Close() (Bounds, error) {
	first, second := c.client, c.server
	var err error
	if c.isReset() {
		linger := unix.Linger{Onoff: 1}
		err = unix.SetsockoptLinger(c.client, unix.SOL_SOCKET, unix.SO_LINGER, &linger)
	} else if c.number%2 == 1 {
		first, second = c.server, c.client
	}
	closing := time.Now()
	err = errors.Join(err, unix.Close(first))
	if c.isReset() && err == nil {
		err = awaitReset(second)
	}
	err = errors.Join(err, unix.Close(second))
	return Bounds{
		Local: c.local, Remote: c.remote,
		Min: closing.Sub(c.connected), Max: time.Since(c.connecting),
	}, err
}

// awaitReset waits until the other end's reset has come: an end that closes
// before has a transition more.
func awaitReset(fd int) error {
	poll := []unix.PollFd{{Fd: int32(fd)}} // POLLHUP is always asked for
	for {
		n, err := unix.Poll(poll, resetLimit)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil && n == 0 {
			err = errors.New("a reset does not come")
		}
		return err
	}
}
