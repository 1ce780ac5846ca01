package report

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"
)

// parse reads what JUnit wrote, strictly, and checks what schemas cannot: that the
// counts are right and the names differ.
func parse(t testing.TB, text string) junitSuite {
	t.Helper()
	wellFormed(t, text)
	var suites junitSuites
	if err := xml.Unmarshal([]byte(text), &suites); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	suite := suites.Suite
	failures, failed, names := 0, 0, map[string]bool{}
	for _, c := range suite.Cases {
		if names[c.Name] {
			t.Errorf("two cases are called %s", c.Name)
		}
		names[c.Name] = true
		if c.Failure != nil {
			failures++
		}
		if c.Error != nil {
			failed++
		}
	}
	if suite.Tests != len(suite.Cases) || suite.Failures != failures || suite.Errors != failed {
		t.Errorf("it counts %d tests, %d failures, %d errors; there are %d, %d, %d",
			suite.Tests, suite.Failures, suite.Errors, len(suite.Cases), failures, failed)
	}
	return suite
}

// wellFormed reads the text token by token, and knows each element of it.
func wellFormed(t testing.TB, text string) {
	t.Helper()
	known := "testsuites testsuite properties property testcase failure error system-out system-err"
	for decoder := xml.NewDecoder(strings.NewReader(text)); ; {
		token, err := decoder.Token()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		if start, is := token.(xml.StartElement); is && !strings.Contains(" "+known+" ", " "+start.Name.Local+" ") {
			t.Fatalf("the element %s in %s", start.Name.Local, text)
		}
	}
}

func TestJUnitHasACaseForEach(t *testing.T) {
	for name, want := range map[string]string{
		"passed":         "the command exits with 0: pass; fast handshakes: pass; nothing is refused: pass",
		"rule-failed":    "the command exits with 0: pass; fast handshakes: pass; nothing is refused: failure rule failed",
		"command-failed": "the command exits with 0: failure command failed; fast handshakes: pass; nothing is refused: failure rule failed",
		"signal":         "the command exits with 0: failure command failed; fast handshakes: pass; nothing is refused: pass",
		"timed-out":      "the command exits with 0: error timed out; fast handshakes: error inconclusive; nothing is refused: error inconclusive",
		"inconclusive": "the command exits with 0: pass; the run can be judged: error inconclusive; " +
			"fast handshakes: error inconclusive; nothing is refused: error inconclusive",
		"replayed": "fast handshakes: pass; nothing is refused: pass",
		"empty":    "the run can be judged: error inconclusive",
	} {
		var got []string
		for _, c := range parse(t, render(t, JUnit, scenes()[name])).Cases {
			how := "pass"
			if c.Failure != nil {
				how = "failure " + c.Failure.Type
			}
			if c.Error != nil {
				how = "error " + c.Error.Type
			}
			got = append(got, c.Name+": "+how)
		}
		if got := strings.Join(got, "; "); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
		}
	}
}

// TestJUnitTellsAll looks in the text of a failure, which is all that some readers show.
func TestJUnitTellsAll(t *testing.T) {
	text := parse(t, render(t, JUnit, broken())).Cases[2].Failure.Text
	for _, want := range append([]string{
		"14 of 20 connections break it\n", "the first was refused after 72.1 ms", `none(conns, .reason == "refused")`,
		"sock 1f", "17205 curl", "192.168.122.166:41538", "[2001:db8::1]:5432", "and 12 more connections",
	}, refused().Timeline...) {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}
