package probe

import "time"

// maxNap is how long an event may wait in the buffer before it is read,
// well below the 50 ms that a person notices.
const maxNap = 20 * time.Millisecond

// napFor is how long the reader may sleep between sweeps of a buffer of
// so many bytes. The default one then fills by a sixth at the highest rate
// that two CPUs were seen to reach, 430,000 transitions/s; smaller ones get
// proportionally less.
func napFor(bufferSize int) time.Duration {
	return min(maxNap, maxNap*time.Duration(bufferSize)/DefaultBufferSize)
}

// Nudge makes Read give a tick (event.KindTick) when it has given all that the programs
// had sent before the call: at once if it waits. Of several nudges that
// it has not answered yet it may answer those before the last together.
func (t *Tracer) Nudge() error {
	t.owes.Store(true)
	err := t.transport.nudge()
	t.rouse()
	return err
}

// sleep waits for a nap's time, or until somebody has something to ask.
func (t *Tracer) sleep() {
	t.alarm.Reset(t.nap)
	select {
	case <-t.alarm.C:
	case <-t.roused:
		t.alarm.Stop()
	}
}

// rouse ends the nap of a reader that takes one, or the next one.
func (t *Tracer) rouse() {
	select {
	case t.roused <- struct{}{}:
	default:
	}
}
