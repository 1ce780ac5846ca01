package report

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// There is no one standard of JUnit's XML. What is written keeps to what two schemas
// have in common, Ant's, which wants much and lets little be, and Jenkins', and puts
// things where readers look for them: GitLab shows a case's classname as its suite,
// and the text of a failure, not its message; of cases with one name it takes the first
// (its documentation of unit test reports).
type (
	junitSuites struct {
		XMLName xml.Name   `xml:"testsuites"`
		Suite   junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		ID         int             `xml:"id,attr"`
		Name       string          `xml:"name,attr"`
		Package    string          `xml:"package,attr"`
		Host       string          `xml:"hostname,attr"`
		Timestamp  string          `xml:"timestamp,attr"`
		Time       string          `xml:"time,attr"`
		Tests      int             `xml:"tests,attr"`
		Failures   int             `xml:"failures,attr"`
		Errors     int             `xml:"errors,attr"`
		Properties []junitProperty `xml:"properties>property"`
		Cases      []junitCase     `xml:"testcase"`
		Out        junitText       `xml:"system-out"`
		Err        junitText       `xml:"system-err"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Class   string       `xml:"classname,attr"`
		Name    string       `xml:"name,attr"`
		Time    string       `xml:"time,attr"`
		Failure *junitReason `xml:"failure"`
		Error   *junitReason `xml:"error"`
	}
	junitReason struct {
		Type    string `xml:"type,attr"`
		Message string `xml:"message,attr"`
		Text    string `xml:",cdata"`
	}
	junitText struct {
		Text string `xml:",cdata"`
	}
)

// JUnit writes the report as an XML file with a test suite that has a case for the
// command, if one was run, and for each rule. A rule that does not hold and a command
// that failed are failures; what cannot be judged and what timed out are errors, and
// none is ever skipped: CI systems take that for no harm. An error is the writer's.
func JUnit(w io.Writer, r *Report) error {
	text, err := xml.MarshalIndent(junitSuites{Suite: newJUnitSuite(r)}, "", "  ")
	if err == nil {
		_, err = w.Write(append([]byte(xml.Header), append(text, '\n')...))
	}
	if err != nil {
		return fmt.Errorf("write the JUnit report: %w", err)
	}
	return nil
}

// newJUnitSuite makes the suite. Its time stamp is UTC, as it may not name a zone.
func newJUnitSuite(r *Report) junitSuite {
	name := junitName(r.Name)
	s := junitSuite{
		Name: name, Package: name, Host: junitName(cmp.Or(r.Host, "localhost")),
		Timestamp: r.Began.UTC().Format("2006-01-02T15:04:05"), Time: seconds(r.Took),
		Properties: []junitProperty{
			{"outcome", r.Outcome.String()}, {"connections", strconv.Itoa(r.Conns)},
		},
		Out: junitText{r.summary()},
	}
	taken := map[string]bool{}
	for i, f := range r.findings() {
		c := junitCase{Class: name, Name: unique(taken, junitName(f.name)), Time: seconds(0)}
		// The time of the run is its case's: rules are judged when it is over, and
		// readers add up what the cases took.
		if i == 0 && f.rule == nil {
			c.Time = seconds(r.Took)
		}
		s.add(c, &f)
	}
	return s
}

// add adds the case of a finding, and counts it.
func (s *junitSuite) add(c junitCase, f *finding) {
	s.Tests++
	reason := &junitReason{Type: f.outcome.String(), Message: line(f.why), Text: f.text()}
	switch f.outcome {
	case Passed:
	case RuleFailed, CommandFailed:
		s.Failures++
		c.Failure = reason
	default:
		s.Errors++
		c.Error = reason
	}
	s.Cases = append(s.Cases, c)
}

// junitName makes a name of text, which must not be empty nor begin or end with a space
// (xs:token of XML Schema).
func junitName(text string) string {
	return cmp.Or(strings.Join(strings.Fields(line(text)), " "), "-")
}

// unique numbers a name that is taken already, and takes it.
func unique(taken map[string]bool, name string) string {
	free := name
	for i := 2; taken[free]; i++ {
		free = fmt.Sprintf("%s (%d)", name, i)
	}
	taken[free] = true
	return free
}

// seconds are seconds to the millisecond, the finest that Jenkins' schemas take.
func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }
