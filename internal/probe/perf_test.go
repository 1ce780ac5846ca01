package probe

import "testing"

// TestPerCPUBuffersAnswerNudges: what was sent before a nudge may come into its buffer
// as late as settle allows.
func TestPerCPUBuffersAnswerNudges(t *testing.T) {
	p := &perCPU{}
	require := func(want bool) {
		t.Helper()
		if got := p.answersNudge(); got != want {
			t.Errorf("it answers: %v, want %v", got, want)
		}
	}
	require(false)
	_ = p.nudge()
	require(false) // it has not swept since
	p.swept = p.until + uint64(settle)
	require(false)
	_ = p.nudge()
	p.swept++
	require(true)
	require(false) // the second asked later
	p.swept = p.until + uint64(settle) + 1
	require(true)
	require(false)
}
