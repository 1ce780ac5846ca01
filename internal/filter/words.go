package filter

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// split reads a list of words with commas between them: "or". A leading "!"
// excludes all of them, and may stand before each.
func split(value string) (words []string, exclude bool, err error) {
	_, exclude = strings.CutPrefix(value, "!")
	for word := range strings.SplitSeq(value, ",") {
		rest, bang := strings.CutPrefix(word, "!")
		switch {
		case bang && !exclude:
			return nil, false, fmt.Errorf("%q excludes, and what stands before it does not: give the flag twice", word)
		case rest == "":
			return nil, false, fmt.Errorf("a word is missing in %q", value)
		}
		words = append(words, rest)
	}
	return words, exclude, nil
}

// glob is a pattern of a shell (path.Match), or a word without any.
type glob struct {
	pattern string
	plain   bool
}

var errGlob = errors.New("is no pattern")

func parseGlob(word string) (glob, error) {
	if _, err := path.Match(word, ""); err != nil {
		return glob{}, fmt.Errorf("%q %w", word, errGlob)
	}
	return glob{word, !strings.ContainsAny(word, `*?[\`)}, nil
}

func (g glob) has(name string) bool {
	if g.plain {
		return g.pattern == name
	}
	matched, _ := path.Match(g.pattern, name) // the pattern is one
	return matched
}
