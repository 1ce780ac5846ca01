package expect

import (
	"errors"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReadFile(t *testing.T) {
	rules, err := ReadFile(strings.NewReader(`# what the smoke test expects
rules:
  - name: the database is near
    description: it is in the same zone
    expect: p99(conns, "connect_ms") < 20
  - expect: |
      none(conns, .failed) and
      len(conns) > 0
  - {name: always, expect: true}
`))
	if err != nil || len(rules) != 3 {
		t.Fatal(rules, err)
	}
	for i, want := range []struct{ name, description, expression string }{
		{"the database is near", "it is in the same zone", `p99(conns, "connect_ms") < 20`},
		{"none(conns, .failed) and len(conns) > 0", "", "none(conns, .failed) and\nlen(conns) > 0\n"},
		{"always", "", "true"},
	} {
		if r := rules[i]; r.Name != want.name || r.Description != want.description || r.Expression != want.expression {
			t.Errorf("%+v, want %+v", r, want)
		}
	}
}

func TestWhatIsNoFile(t *testing.T) {
	const expects = "rules:\n  - expect: "
	for text, want := range map[string]string{
		"":                                  `it has no rules: it begins with "rules:"`,
		"# nothing\n":                       `it has no rules: `,
		"---\n":                             `line 2: the file has no keys: they are rules`,
		"- expect: true\n":                  `line 1: the file has no keys: they are rules`,
		"rules:\n":                          `line 1: "rules" has no list: `,
		"rules: []\n":                       `line 1: "rules" has no list: `,
		"rules: {expect: true}\n":           `line 1: "rules" has no list: `,
		"{}\n":                              `it has no rules: `,
		"rule:\n  - expect: true\n":         `line 1: "rule" is no key of the file: they are rules`,
		expects + "true\nmore: 1\n":         `line 3: "more" is no key of the file: they are rules`,
		expects + "true\nrules: []\n":       `line 3: "rules" is there twice`,
		expects + "true\n    exepct: 1\n":   `line 3: "exepct" is no key of a rule: they are name, description, expect`,
		expects + "true\n    expect: 1\n":   `line 3: "expect" is there twice`,
		"rules:\n  - true\n":                `line 2: a rule has no keys: they are name, description, expect`,
		"rules:\n  - name: a\n":             `line 2: the rule expects nothing: it needs "expect: EXPRESSION"`,
		expects + "\n":                      `line 2: "expect" has no text`,
		expects + "[true]\n":                `line 2: "expect" has no text`,
		expects + "true\n    name: [a]\n":   `line 3: "name" has no text`,
		expects + "true\n    name: ~\n":     `line 3: "name" has no text`,
		expects + "con == 1\n":              `line 2: at character 1 of 8: "con" is not there: there are clients, conns`,
		expects + "\"any(con\\u001bns)\"\n": `line 2: '\x1b' is no character for a rule`,
		expects + "&a true\n    name: *a\n": `line 3: "name" has no text`,
		expects + "true\n  - *b\n":          `it is no YAML: unknown anchor 'b' referenced`,
		"<<: {rules: []}\n":                 `line 1: "<<" is no key of the file`,
		expects + "true\n---\nrules: []\n":  `it has more than one document`,
		expects + "true\n---\n]\n":          `it has more than one document`,
		"rules: [\n":                        `line 1: it is no YAML: did not find expected node content`,
		"rules:\n\t- a\n":                   `line 2: it is no YAML: found character that cannot start any token`,
		"a: \x00\n":                         `it is no YAML: control characters are not allowed`,
		strings.Repeat("[", 100_000):        `it is no YAML: exceeded max depth of 10000`,
		"#" + strings.Repeat(" ", maxFile):  `it is longer than the 1048576 bytes that a file of rules may have`,
		// A billion of laughs would take up more room than there is.
		"a: &a [1,1]\nb: &b [*a,*a]\nrules: [*b,*b]\n": `line 1: "a" is no key of the file`,
	} {
		if _, err := ReadFile(strings.NewReader(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.60q: got %v, want %s", text, err, want)
		}
	}
	broken := errors.New("the disk is broken")
	if _, err := ReadFile(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Error(err)
	}
}

// FuzzReadFile reads anything, and finds it wrong or makes rules of it.
func FuzzReadFile(f *testing.F) {
	f.Add("rules:\n  - name: a\n    description: b\n    expect: all(conns, .connect_ms < 5)\n")
	f.Add("rules: [{expect: &a true}, *a]\n---\n")
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := ReadFile(strings.NewReader(text))
		if (err == nil) != (len(rules) > 0) {
			t.Errorf("%d rules, %v", len(rules), err)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\x1b\x07") {
			t.Errorf("%q", err)
		}
	})
}
