package record

import (
	"math"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tcpstates/internal/event"
)

func full() event.Event {
	return event.Event{
		Kind: event.KindTransition, Ktime: math.MaxUint64, Wall: -5, OldState: event.FinWait2, NewState: event.Close,
		Since: 7, Before: true, Cookie: 0x1f, SkAddr: 0xffff8881043ec0c0, Family: event.IPv6,
		Local: netip.MustParseAddrPort("[::ffff:127.0.0.1]:80"), Remote: netip.MustParseAddrPort("[2001:db8::7]:40000"),
		RawLocalPort: 81, Netns: math.MaxUint32, UID: 33, UIDUnknown: true,
		Owner: event.Owner{
			Process: event.Process{PID: 4711, Comm: event.CommOf("a b=\x1b\xff\"\\\n")}, Source: event.SourceIO, Cgroup: 4242,
		},
		Closes: true, Signal: 9, Current: event.Process{PID: 22, Comm: event.Comm([]byte("sixteen no zero!"))}, Accepted: 3,
		Facts: event.Facts{
			Err: 104, SoftErr: 113, Shutdown: 3, Flags: event.Dead | event.Child, Linger2: -1, SRTT: 100_700,
			MinRTT: event.NoRTT, Retransmits: 2, BytesAcked: 1 << 40, BytesReceived: 1 << 41,
			SegsIn: 11, SegsOut: 12, DataSegsIn: 7, Reset: "TCP_ABORT_ON_CLOSE", Unknown: true,
		},
		Fate: event.FateNoRoom, Lost: 6, Loss: event.LossQuota, OneIn: 8, Followed: true, RecvQ: 8, SendQ: 9, Left: time.Minute,
	}
}

var byText = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })

func TestRoundTrip(t *testing.T) {
	for _, kind := range kinds {
		want := full()
		want.Kind = kind
		line := string(Append(nil, &want))
		var got event.Event
		if err := Parse(strings.TrimSuffix(line, "\n"), &got); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if diff := cmp.Diff(want, got, byText); diff != "" {
			t.Errorf("%s -want +got:\n%s", line, diff)
		}
		for _, c := range line[:len(line)-1] {
			if c < ' ' || c > '~' {
				t.Errorf("the character %q in %s", c, line)
			}
		}
	}
}

// TestEveryFactIsRecorded looks for facts of an event that a record leaves out.
func TestEveryFactIsRecorded(t *testing.T) {
	e := full()
	facts := reflect.ValueOf(e.Facts)
	for i := range facts.NumField() {
		if facts.Field(i).IsZero() {
			t.Errorf("the test says nothing of %s", facts.Type().Field(i).Name)
		}
	}
}

func TestConclusionsAreNotRecorded(t *testing.T) {
	for _, kind := range []event.Kind{event.KindConn} {
		e := full()
		e.Kind = kind
		if line := Append(nil, &e); len(line) != 0 {
			t.Errorf("an event of kind %d is recorded: %s", kind, line)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"nonsense ktime=1":                       `line 1: "nonsense" is no kind`,
		"# fine\n\nlost ktime":                   "line 3: the field ktime",
		"lost what=1":                            `"what" is no field`,
		"lost ktime=-1":                          "-1 is out of range",
		"lost signal=256":                        "256 is out of range",
		"lost linger2=2147483648":                "2147483648 is out of range",
		"lost ktime=x":                           "invalid syntax",
		"lost before=perhaps":                    "invalid syntax",
		"lost old=OPEN":                          `"OPEN" is no state`,
		"lost local=127.0.0.1":                   "the field local",
		"lost local=[fe80::1%\x1b]:80":           "an address with a zone",
		"lost comm=plain":                        "is no quoted text",
		`lost comm="seventeen\x20bytes!!"`:       "a name of 17 bytes",
		`lost reset="` + strings.Repeat("\\", 3): "is no quoted text",
		"lost ktime=1  lost=1":                   `"" is no field`,
		"start {":                                "line 1: unexpected end",
		`{"type":"lost","lost":"3"}`:             "the field lost",
		`{"type":"lost","comm":3}`:               "the field comm",
		`{"lost":3}`:                             "the field type: it is missing",
		`{"type":"lost"`:                         "line 1: unexpected end",
		strings.Repeat("x", maxLine+1):           "line 1: it is longer than the 65536 bytes",
	} {
		if _, err := Read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error with %q", text, err, want)
		}
	}
}

func FuzzOpen(f *testing.F) {
	e := full()
	f.Add(Append(nil, &e))
	f.Add([]byte(`start {"wall":1}` + "\n" + `{"type":"lost","lost":3}` + "\n" + `stop {}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		_, _, _ = readAll(t, text) // no panic, and an end
	})
}

// FuzzParse looks for lines that make Parse panic, and for events that do not
// come back the same.
func FuzzParse(f *testing.F) {
	e := full()
	f.Add(strings.TrimSuffix(string(Append(nil, &e)), "\n"))
	f.Add("lost lost=3")
	f.Fuzz(func(t *testing.T, line string) {
		var first, second event.Event
		if Parse(line, &first) != nil {
			return
		}
		again := strings.TrimSuffix(string(Append(nil, &first)), "\n")
		if err := Parse(again, &second); err != nil {
			t.Fatalf("%v in %s", err, again)
		}
		if diff := cmp.Diff(first, second, byText); diff != "" {
			t.Errorf("%s -first +second:\n%s", line, diff)
		}
	})
}
