package main

import "strings"

// roff is a page that grows: text for the macros of man(7).
type roff struct{ strings.Builder }

// line adds a macro with its arguments, plain words.
func (p *roff) line(macro string, args ...string) {
	p.WriteString(macro)
	for _, arg := range args {
		if strings.Contains(arg, " ") {
			arg = `"` + arg + `"`
		}
		p.WriteString(" " + arg)
	}
	p.WriteByte('\n')
}

// section begins one.
func (p *roff) section(title string) { p.line(".SH", title) }

// lineWidth is how long the lines of text get, in bytes: mandoc complains of
// more than 80.
const lineWidth = 72

// text adds text that is escaped already. A dot at the beginning of a line is no
// control character then (groff(7), "Control characters").
func (p *roff) text(text string) {
	var line string
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+len(word) >= lineWidth {
			p.WriteString(line + "\n")
			line = ""
		}
		switch {
		case line != "":
			line += " "
		case word[0] == '.':
			line = `\&`
		}
		line += word
	}
	p.WriteString(line + "\n")
}

// item adds a head with what belongs to it, both escaped.
func (p *roff) item(head, body string) {
	p.line(".TP")
	p.WriteString(head + "\n") // which is one line
	if body != "" {
		p.text(body)
	}
}

// paragraphs adds text that has empty lines between its paragraphs.
func (p *roff) paragraphs(text string) {
	for i, paragraph := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if i > 0 {
			p.line(".PP")
		}
		p.text(escape(paragraph))
	}
}

// bold sets text in bold type, escaped.
func bold(text string) string { return `\fB` + escape(text) + `\fR` }

// escaper writes what groff_char(7) has a name for: a "-" is that of the keyboard.
var escaper = strings.NewReplacer(`\`, `\(rs`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`)

// escape has roff show text as it is.
func escape(text string) string { return escaper.Replace(text) }
