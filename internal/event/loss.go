package event

// Loss says why events are missing.
type Loss uint8

// The reasons for a loss.
const (
	// LossBuffer is a buffer between kernel and user space that was full. It goes
	// without saying.
	LossBuffer Loss = iota
	// LossDisk and LossQuota are a disk without room, for anyone and for this user:
	// what was known could not be written.
	LossDisk
	LossQuota
	// LossCounted are events that the kernel has counted in place of telling them.
	LossCounted
)

var lossNames = [...]string{LossDisk: "no space left on device", LossQuota: "disk quota exceeded", LossCounted: "counted in the kernel"}

// String is the reason, of a disk in the kernel's words (ENOSPC, EDQUOT); empty for a
// buffer.
func (l Loss) String() string { return nameOf(lossNames[:], l) }
