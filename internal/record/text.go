// Package record writes events as text and reads them back: a line an event,
// of what the kernel reported and nothing that was concluded from it. So what
// happened on one machine can be looked at again on another, without its
// kernel and without privileges.
package record

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"tcpstates/internal/event"
)

// Append appends the event as a line. Events that
// nothing but a conclusion are none.
func Append(dst []byte, e *event.Event) []byte {
	if !slices.Contains(kinds, e.Kind) {
		return dst
	}
	dst = append(dst, e.Kind.String()...)
	for _, f := range fields {
		before := len(dst)
		dst = append(append(append(dst, ' '), f.name...), '=')
		start := len(dst)
		if dst = f.add(dst, e); len(dst) == start {
			dst = dst[:before]
		}
	}
	return append(dst, '\n')
}

// Parse reads a line, without its end, into e.
func Parse(line string, e *event.Event) error {
	*e = event.Event{}
	words := strings.Split(line, " ")
	i := slices.IndexFunc(kinds, func(k event.Kind) bool { return k.String() == words[0] })
	if i < 0 {
		return fmt.Errorf("%q is no kind of event", words[0])
	}
	e.Kind = kinds[i]
	for _, word := range words[1:] {
		name, value, _ := strings.Cut(word, "=")
		f := find(name)
		if f == nil {
			return fmt.Errorf("%q is no field of an event", name)
		}
		if err := f.set(e, value); err != nil {
			return fmt.Errorf("the field %s: %w", name, err)
		}
	}
	return nil
}

// Read reads lines until the end; those that are empty or begin with # say
// nothing.
func Read(r io.Reader) (all []event.Event, err error) {
	lines := bufio.NewScanner(r)
	for number := 1; lines.Scan(); number++ {
		if line := lines.Text(); line != "" && line[0] != '#' {
			var e event.Event
			if err := Parse(line, &e); err != nil {
				return all, fmt.Errorf("line %d: %w", number, err)
			}
			all = append(all, e)
		}
	}
	return all, lines.Err()
}

// appendWord appends text in quotes, as Go writes them, and without spaces.
func appendWord(dst []byte, s string) []byte {
	quoted := strconv.QuoteToASCII(s)
	return append(dst, strings.ReplaceAll(quoted, " ", `\x20`)...)
}

func parseWord(value string) (string, error) {
	s, err := strconv.Unquote(value)
	if err != nil {
		return "", fmt.Errorf("%s is no quoted text", value)
	}
	return s, nil
}
