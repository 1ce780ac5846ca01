package expect

import (
	"strings"
	"testing"
)

// FuzzCompile judges scenes by anything that compiles: that there is a verdict, and a
// reason where a rule does not hold, is all that can be said of it.
func FuzzCompile(f *testing.F) {
	for _, text := range append(explained, ofNothing...) {
		f.Add(text)
	}
	some, none := judge(f, 100, mixed()), judge(f, 100, nil)
	f.Fuzz(func(t *testing.T, text string) {
		rule, err := Compile("", "", text)
		if err != nil {
			if strings.TrimSpace(err.Error()) == "" {
				t.Error("an error without words")
			}
			return
		}
		for _, j := range []*Judge{some, none} {
			j.rules = []*Rule{rule}
			v := j.Verdicts("")[0]
			if v.Held == (len(v.Why) > 0) || v.Held && len(v.Conns) > 0 || len(v.Conns) > maxShown {
				t.Errorf("%+v", v)
			}
			if text := strings.Join(v.Why, ""); strings.ContainsAny(text, "\x1b\x07") {
				t.Errorf("%q", text)
			}
		}
	})
}
