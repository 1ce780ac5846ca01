package output

import (
	"bytes"

	"tcpstates/internal/pipeline"
)

// jsonSyntax makes an object of each record (RFC 8259).
var jsonSyntax = syntax{begin: "{", end: "}\n", between: ",", key: jsonKey, seal: sealJSON}

func newJSON(o Options) pipeline.Sink { return newRecords(o, &jsonSyntax) }

func jsonKey(dst []byte, name string, quoted bool) []byte {
	dst = append(append(append(dst, '"'), name...), `":`...)
	if quoted {
		dst = append(dst, '"')
	}
	return dst
}

func sealJSON(line []byte, start int, chars charset) []byte {
	if chars == anything {
		line = escapeQuotes(line, start)
	}
	return append(line, '"')
}

// escapeQuotes escapes the string that line has from start on. Values have no
// control characters: columns escape them.
func escapeQuotes(line []byte, start int) []byte {
	if value := line[start:]; bytes.IndexByte(value, '"') < 0 && bytes.IndexByte(value, '\\') < 0 {
		return line
	}
	for i := start; i < len(line); i++ {
		if b := line[i]; b == '"' || b == '\\' {
			line = append(line, 0)
			copy(line[i+1:], line[i:])
			line[i] = '\\'
			i++
		}
	}
	return line
}
