package cli

import (
	"fmt"
	"strings"
	"unicode"
)

// reportLayout writes a report for a person.
type reportLayout struct {
	width int // in characters
	color bool
}

// The columns of a report: the answer, and the name of what was asked for.
const (
	answerWidth = 8
	nameWidth   = 22
	indent      = answerWidth + nameWidth
)

// colorOfAnswer are the colours as terminals understand them (ECMA-48, SGR).
var colorOfAnswer = map[answer]string{
	answerOK:      "\x1b[32m", // green
	answerLess:    "\x1b[33m", // yellow
	answerNo:      "\x1b[31m", // red
	answerUnknown: "\x1b[2m",  // dim
}

func (l reportLayout) text(r *diagnosis) []byte {
	var b strings.Builder
	on := "Linux " + r.Kernel + " " + r.Arch
	if r.Distribution != "" {
		on += ", " + strings.Map(printable, r.Distribution)
	}
	fmt.Fprintf(&b, "tcpstates %s on %s\n\n", r.Version, on)
	for _, c := range r.Checks {
		l.put(&b, c)
	}
	l.put(&b, r.SelfTest.check(r.Works))
	fmt.Fprintf(&b, "\n%s\n", strings.Join(wrap(r.Verdict, l.width), "\n"))
	return []byte(b.String())
}

// put writes a check: its reason and what is lost beside its name, and the
// remedy below.
func (l reportLayout) put(b *strings.Builder, c check) {
	reason := c.Reason
	if reason == "" {
		reason = "for " + c.For
	}
	if c.Without != "" {
		reason += "; " + c.Without
	}
	lines := wrap(reason, l.width-indent)
	if c.Remedy != "" {
		lines = append(lines, wrap("remedy: "+c.Remedy, l.width-indent)...)
	}
	word := fmt.Sprintf("%-*s", answerWidth, c.Answer)
	if l.color {
		word = colorOfAnswer[c.Answer] + word + "\x1b[0m"
	}
	fmt.Fprintf(b, "%s%-*s%s\n", word, nameWidth, c.Name, lines[0])
	for _, line := range lines[1:] {
		fmt.Fprintf(b, "%*s%s\n", indent, "", line)
	}
}

// wrap breaks each line of the text at spaces, so that none is longer than
// width characters, but where a word is. Lines that are indented stay whole:
// they are the kernel's.
func wrap(text string, width int) (lines []string) {
	for paragraph := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(paragraph, " ") {
			lines = append(lines, paragraph)
			continue
		}
		line := ""
		for word := range strings.FieldsSeq(paragraph) {
			switch {
			case line == "":
				line = word
			case len([]rune(line))+1+len([]rune(word)) > width:
				lines, line = append(lines, line), word
			default:
				line += " " + word
			}
		}
		lines = append(lines, line)
	}
	return lines
}

// printable replaces what would act on a terminal.
func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return '?'
}
