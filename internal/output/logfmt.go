package output

import (
	"slices"

	"tcpstates/internal/pipeline"
)

// logfmtSyntax writes key=value with a space between, as brandur.org/logfmt has
// it and the readers in many languages understand it.
var logfmtSyntax = syntax{end: "\n", between: " ", key: logfmtKey, seal: sealLogfmt}

func newLogfmt(o Options) pipeline.Sink { return newRecords(o, &logfmtSyntax) }

func logfmtKey(dst []byte, name string, _ bool) []byte {
	return append(append(dst, name...), '=')
}

// sealLogfmt puts the value into quotes if it has what would end it without, or
// a quote: in quotes a backslash stands before a quote and a backslash, and
// without it is one of the characters.
func sealLogfmt(line []byte, start int, _ charset) []byte {
	if !slices.ContainsFunc(line[start:], endsBareValue) {
		return line
	}
	line = escapeQuotes(slices.Insert(line, start, '"'), start+1)
	return append(line, '"')
}

func endsBareValue(b byte) bool { return b <= ' ' || b == '=' || b == '"' }
