package report

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// line is text of anybody's making as one line that is printed: what is no printable
// character, and each byte that is no UTF-8, stands as \xNN, as in event.AppendText,
// and white space as a space. A backslash stays one: there are many in expressions,
// and what comes from events was escaped before.
func line(text string) string { return printable(text, true) }

// lines is text of anybody's making that keeps its line breaks and tabs.
func lines(text string) string { return printable(text, false) }

// printable leaves nothing that XML 1.0 forbids (its production 2, Char): no control
// character but the three of white space, no surrogate, and not U+FFFE and U+FFFF.
func printable(text string, inLine bool) string {
	var b strings.Builder
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		switch isSpace := r == '\n' || r == '\t' || r == '\r'; {
		case isSpace && inLine:
			b.WriteByte(' ')
		case r == utf8.RuneError && size == 1, !unicode.IsPrint(r) && r != '\n' && r != '\t':
			for _, c := range []byte(text[i : i+size]) {
				fmt.Fprintf(&b, `\x%02x`, c)
			}
		default:
			b.WriteString(text[i : i+size])
		}
		i += size
	}
	return b.String()
}

// cut shortens text to so many characters.
func cut(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most-1]) + "…"
}

// text tells all there is to say of the finding, in lines.
func (f *finding) text() string {
	if f.rule == nil {
		return line(f.why) + "\n"
	}
	b := f.head()
	for i := range f.rule.Conns {
		f.rule.Conns[i].appendTo(b)
	}
	if f.rule.More > 0 {
		fmt.Fprintf(b, "\nand %s\n", counted(f.rule.More, "more connection"))
	}
	return b.String()
}

// head tells why a rule has not passed, and what it is.
func (f *finding) head() *strings.Builder {
	b := new(strings.Builder)
	b.WriteString(line(f.why) + "\n")
	for _, why := range f.rule.Why {
		if why != f.why {
			b.WriteString(line(why) + "\n")
		}
	}
	if f.rule.Description != "" {
		b.WriteString(line(f.rule.Description) + "\n")
	}
	b.WriteString("rule: " + line(f.rule.Expression) + "\n")
	return b
}

// appendTo appends a line that says what the connection is, and those of its timeline.
func (c *Conn) appendTo(b *strings.Builder) {
	owner := "-"
	if c.PID != 0 {
		owner = strings.TrimSpace(strconv.FormatUint(uint64(c.PID), 10) + " " + line(c.Comm))
	}
	parts := []string{"sock " + known(c.Sock), owner, "local " + known(c.Local), "remote " + known(c.Remote)}
	for _, word := range []string{c.Role, c.Reason} {
		if word != "" {
			parts = append(parts, line(word))
		}
	}
	b.WriteString("\n" + strings.Join(parts, ", ") + "\n")
	for _, transition := range c.Timeline {
		b.WriteString("  " + line(transition) + "\n")
	}
}

// known is the text, or what stands for one that is not known.
func known(text string) string {
	if text == "" {
		return "-"
	}
	return line(text)
}

// summary is a sentence that says what was traced, and one of how long it took until
// that could begin.
func (r *Report) summary() string {
	text := counted(r.Conns, "connection")
	for i, count := range r.Reasons {
		separator := ", "
		if i == 0 {
			separator = ": "
		}
		text += fmt.Sprintf("%s%d %s", separator, count.Conns, line(count.Reason))
	}
	if r.Setup > 0 {
		text += fmt.Sprintf("\nloading and attaching took %.1f ms", millis(r.Setup))
	}
	return text + "\n"
}

// counted is the number with the noun in the plural where it needs that.
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// millis are milliseconds, to the microsecond.
func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
