package report

import (
	"encoding/json"
	"testing"
	"time"
)

// FuzzWrite puts any bytes wherever a report has text: each format keeps its form, and
// has as much in it as with other texts.
func FuzzWrite(f *testing.F) {
	f.Add("curl", "it was refused", uint8(RuleFailed), -1)
	f.Add("]]>\x00\x1b\xff\ufffe", "::error::%0A\r\n", uint8(CommandFailed), 3)
	f.Add("", " \n", uint8(Inconclusive), 0)
	f.Fuzz(func(t *testing.T, one, other string, outcome uint8, exit int) {
		rule := Rule{
			Name: one, Description: other, Expression: one, Outcome: RuleFailed, Why: []string{other, one}, More: 1,
			Conns: []Conn{{one, 1, other, one, other, one, other, []string{one, other}}},
		}
		r := &Report{
			Name: one, Host: other, Began: time.Unix(0, 0), Took: time.Second, Outcome: Outcome(int(outcome) % len(outcomeNames)), Why: one,
			Command: &Command{[]string{one, other}, exit, other}, Rules: []Rule{rule, rule}, Reasons: []Count{{one, 1}},
		}
		text := render(t, JUnit, r)
		printed(t, text)
		if suite := parse(t, text); suite.Name == "" || len(suite.Cases) != len(r.findings()) || suite.Failures+suite.Errors < 2 {
			t.Errorf("got %+v", suite)
		}
		text = render(t, GitHub, r)
		printed(t, text)
		if all := read(t, text); len(all) == 0 || len(all) > len(r.findings()) {
			t.Errorf("%d annotations: %s", len(all), text)
		}
		text = render(t, JSON, r)
		printed(t, text)
		var back jsonReport
		if err := json.Unmarshal([]byte(text), &back); err != nil || back.Name != lines(one) || len(back.Rules) != 2 {
			t.Errorf("%v: got %+v", err, back)
		}
	})
}
