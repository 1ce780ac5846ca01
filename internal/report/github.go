package report

import (
	"fmt"
	"io"
	"strings"
)

// GitHub shows ten errors of a step (actions/toolkit, docs/problem-matchers.md). How much
// it shows of each nobody has written down: reports of users tell of 4096 characters, and
// of 255 of a title; what is longer helps nobody anyway.
const (
	maxAnnotations  = 10
	maxMessageChars = 4096
	maxTitleChars   = 255
)

// In a workflow command a percent sign begins an escape; a message may not hold line
// breaks, and a property neither what ends it (ActionCommand of actions/runner).
var (
	escapeMessage  = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	escapeProperty = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

// GitHub writes a workflow command of GitHub Actions for everything that has not
// passed, which makes an annotation of it, and nothing if everything has. Where the
// run has no outcome, that of its rules is not told one by one. An error is the
// writer's.
func GitHub(w io.Writer, r *Report) error {
	var failed []finding
	for _, f := range r.findings() {
		if f.outcome != Passed && !(f.rule != nil && f.outcome == Inconclusive && r.tells()) {
			failed = append(failed, f)
		}
	}
	var text strings.Builder
	shown := failed
	if len(failed) > maxAnnotations {
		shown = failed[:maxAnnotations-1]
	}
	for i := range shown {
		writeAnnotation(&text, r.title(&shown[i]), shown[i].brief())
	}
	if left := failed[len(shown):]; len(left) > 0 {
		writeAnnotation(&text, fmt.Sprintf("%d more have not passed", len(left)), names(left))
	}
	if _, err := io.WriteString(w, text.String()); err != nil {
		return fmt.Errorf("write the annotations for GitHub: %w", err)
	}
	return nil
}

// tells tells whether a finding of the run's own says why rules were not judged.
func (r *Report) tells() bool { return r.Outcome == Inconclusive || r.Outcome == TimedOut }

func writeAnnotation(b *strings.Builder, title, message string) {
	title, message = cut(line(title), maxTitleChars), cut(strings.TrimSpace(message), maxMessageChars)
	b.WriteString("::error title=" + escapeProperty.Replace(title) + "::" + escapeMessage.Replace(message) + "\n")
}

// title says what has not passed.
func (r *Report) title(f *finding) string {
	if f.rule == nil {
		return f.outcome.String() + ": " + r.Name
	}
	return f.outcome.String() + ": " + f.name
}

// brief says why, and shows one connection.
func (f *finding) brief() string {
	if f.rule == nil {
		return f.text()
	}
	b := f.head()
	if shown := f.rule.Conns; len(shown) > 0 {
		shown[0].appendTo(b)
		if left := len(shown) - 1 + f.rule.More; left > 0 {
			fmt.Fprintf(b, "\nand %s\n", counted(left, "more connection"))
		}
	}
	return b.String()
}

// names are those of findings, a line each.
func names(findings []finding) string {
	var b strings.Builder
	for _, f := range findings {
		b.WriteString(line(f.name) + "\n")
	}
	return b.String()
}
