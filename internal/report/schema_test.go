package report

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// schemas are where make deps-junit puts them.
const schemas = "../../testdata/junit"

// need skips the test where what make deps-junit installs is missing; in CI it fails.
func need(t *testing.T, have bool, what string) {
	t.Helper()
	if have {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("this test needs %s, and CI runs them all", what)
	}
	t.Skipf("this test needs %s: run make deps-junit", what)
}

// TestJUnitSchemas has xmllint hold each report to the schemas of CI systems: Ant's and
// Jenkins'. They are no part of the project.
func TestJUnitSchemas(t *testing.T) {
	_, err := exec.LookPath("xmllint")
	need(t, err == nil, "xmllint")
	all, err := filepath.Glob(schemas + "/*.xsd")
	if err != nil {
		t.Fatal(err)
	}
	need(t, len(all) == 2, "Ant's schema and Jenkins' in "+schemas)
	for name, r := range scenes() {
		file := filepath.Join(t.TempDir(), name+".xml")
		if err := os.WriteFile(file, []byte(render(t, JUnit, r)), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, schema := range all {
			if out, err := exec.Command("xmllint", "--noout", "--nonet", "--schema", schema, file).CombinedOutput(); err != nil {
				t.Errorf("%s against %s: %v\n%s", name, filepath.Base(schema), err, out)
			}
		}
	}
}

// TestJUnitParser has a reader of another make, python3-junitparser, count.
func TestJUnitParser(t *testing.T) {
	// The distribution's Python has the distribution's module.
	const python = "/usr/bin/python3"
	need(t, exec.Command(python, "-c", "import junitparser").Run() == nil, "python3-junitparser")
	const program = `import sys
from junitparser import JUnitXml, Failure, Error
for suite in JUnitXml.fromfile(sys.argv[1]):
    results = [type(result) for case in suite for result in case.result]
    print(suite.tests, suite.failures, suite.errors, suite.time, len(list(suite)),
        results.count(Failure), results.count(Error), sum(case.time for case in suite))`
	for name, r := range scenes() {
		file := filepath.Join(t.TempDir(), name+".xml")
		if err := os.WriteFile(file, []byte(render(t, JUnit, r)), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(python, "-c", program, file).CombinedOutput()
		suite := parse(t, render(t, JUnit, r))
		sum := 0.0
		if suite.Cases[0].Name != "fast handshakes" { // of a rule
			sum = r.Took.Seconds()
		}
		want := fmt.Sprintf("%d %d %d %.3f %[1]d %[2]d %[3]d %.3[5]f", suite.Tests, suite.Failures, suite.Errors, r.Took.Seconds(), sum)
		if got := milliseconds(string(out)); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
		}
	}
}

// milliseconds are the numbers with all three digits of their fractions.
func milliseconds(text string) string {
	return regexp.MustCompile(`[0-9]+\.[0-9]+`).ReplaceAllStringFunc(strings.TrimSpace(text), func(number string) string {
		return (number + "000")[:strings.IndexByte(number, '.')+4]
	})
}
