package event

import (
	"testing"
	"time"
)

func TestStateNames(t *testing.T) {
	// The kernel's numbers and names, from the tracepoint's own format.
	want := map[State]string{
		1: "ESTABLISHED", 2: "SYN_SENT", 3: "SYN_RECV", 4: "FIN_WAIT1", 5: "FIN_WAIT2", 6: "TIME_WAIT",
		7: "CLOSE", 8: "CLOSE_WAIT", 9: "LAST_ACK", 10: "LISTEN", 11: "CLOSING", 12: "NEW_SYN_RECV",
		0: "0", 13: "13", 255: "255",
	}
	for state, name := range want {
		if got := state.String(); got != name {
			t.Errorf("state %d is %s, want %s", state, got, name)
		}
	}
}

func TestPhaseOf(t *testing.T) {
	for _, test := range []struct {
		oldState, newState State
		want               Phase
	}{
		{Close, SynSent, PhaseOpening},
		{Close, Listen, PhaseOpening},
		{Listen, SynRecv, PhaseOpening},
		{SynSent, Established, PhaseOpen},
		{Established, FinWait1, PhaseClosing},
		{FinWait1, FinWait2, PhaseClosing},
		{FinWait1, Closing, PhaseClosing},
		{Established, CloseWait, PhaseClosing},
		{CloseWait, LastAck, PhaseClosing},
		{FinWait2, Close, PhaseClosed},
		{Closing, Close, PhaseClosed},
		{LastAck, Close, PhaseClosed},
		{Listen, Close, PhaseClosed},
		{SynSent, Close, PhaseFailed},
		{SynRecv, Close, PhaseFailed},
		{Established, Close, PhaseFailed},
		{FinWait1, Close, PhaseFailed},
		{CloseWait, Close, PhaseFailed},
	} {
		if got := PhaseOf(test.oldState, test.newState); got != test.want {
			t.Errorf("%v>%v is phase %d, want %d", test.oldState, test.newState, got, test.want)
		}
	}
}

func TestDuration(t *testing.T) {
	for _, test := range []struct {
		since, ktime uint64
		want         time.Duration
		known        bool
	}{
		{0, 5, 0, false},
		{3, 5, 2, true},
		{5, 5, 0, true},
		{6, 5, 0, false}, // no time runs backwards
	} {
		e := Event{Since: test.since, Ktime: test.ktime}
		if d, known := e.Duration(); d != test.want || known != test.known {
			t.Errorf("from %d to %d: %v %v, want %v %v", test.since, test.ktime, d, known, test.want, test.known)
		}
	}
}

func TestCommIsPrintable(t *testing.T) {
	for name, want := range map[string]string{
		"":                 "",
		"nginx":            "nginx",
		"nginx: worker":    "nginx: worker",
		"größe":            "größe",
		"日本":               "日本",
		`C:\wine`:          `C:\\wine`,
		"\x1b[31mred":      `\x1b[31mred`,
		"a\nb\tc\rd":       `a\x0ab\x09c\x0dd`,
		"\xff\xfe":         `\xff\xfe`,
		"half \xe6\x97":    `half \xe6\x97`,
		"\u009b31m":        `\xc2\x9b31m`,      // a C1 control character
		"\u202eltr":        `\xe2\x80\xaeltr`,  // turns the writing direction
		"\u200bzero":       `\xe2\x80\x8bzero`, // no width
		"a name too long":  "a name too long",  // 15 bytes, the kernel's limit
		"16 bytes long !!": "16 bytes long !",
	} {
		c := CommOf(name)
		if got := c.String(); got != want {
			t.Errorf("%q is shown as %q, want %q", name, got, want)
		}
	}
	full := Comm([]byte("sixteen no zero!"))
	if got := full.String(); got != "sixteen no zero!" {
		t.Errorf("a name without a final zero is shown as %q", got)
	}
}
