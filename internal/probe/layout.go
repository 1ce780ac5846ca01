package probe

import (
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// place is where a field is in a tracepoint's record, in bytes: struct
// field_place of bpf/tracepoint.bpf.c.
type place struct{ Offset, Width uint16 }

// layoutFields are those that the program reads, in the order of enum field of
// bpf/tracepoint.bpf.c, and how wide each may be.
var layoutFields = []struct {
	name   string
	widths []uint16
}{
	{"skaddr", []uint16{4, 8}},
	{"oldstate", numberWidths},
	{"newstate", numberWidths},
	{"sport", numberWidths},
	{"dport", numberWidths},
	{"family", numberWidths},
	{"protocol", numberWidths}, // one byte before Linux 5.6, two since
	{"saddr", []uint16{4}},
	{"daddr", []uint16{4}},
	{"saddr_v6", []uint16{16}},
	{"daddr_v6", []uint16{16}},
}

var numberWidths = []uint16{1, 2, 4}

// maxRecord is more than any kernel gives a tracepoint's record
// (include/linux/trace_events.h, PERF_MAX_TRACE_SIZE).
const maxRecord = 8192

// readLayout reads from tracefs what the records of the tracepoint of
// transitions look like.
func readLayout(root fs.FS) ([]place, error) {
	text, err := fs.ReadFile(root, "events/sock/"+transitions+"/format")
	if err != nil {
		return nil, fmt.Errorf("read the format of the tracepoint's records: %w", err)
	}
	return parseLayout(string(text))
}

// parseLayout reads a tracepoint's format file, which has lines such as
// "field:__u16 sport;	offset:24;	size:2;	signed:0;" (Documentation/trace/events.rst).
// The order of the places is that of layoutFields.
func parseLayout(format string) ([]place, error) {
	found := map[string]place{}
	for line := range strings.Lines(format) {
		name, p, err := parseField(line)
		if err != nil {
			return nil, err
		}
		found[name] = p
	}
	places := make([]place, len(layoutFields))
	for i, field := range layoutFields {
		p, known := found[field.name]
		if !known {
			return nil, fmt.Errorf("the tracepoint's records have no field %s", field.name)
		}
		if !slices.Contains(field.widths, p.Width) {
			return nil, fmt.Errorf("the field %s of the tracepoint's records has %d bytes, which this version cannot read", field.name, p.Width)
		}
		places[i] = p
	}
	return places, nil
}

// parseField reads one line; what is no field has no name.
func parseField(line string) (name string, p place, err error) {
	declaration, rest, _ := strings.Cut(strings.TrimSpace(line), ";")
	declaration, isField := strings.CutPrefix(declaration, "field:")
	if !isField {
		return "", place{}, nil
	}
	words := strings.Fields(declaration)
	if len(words) == 0 {
		return "", place{}, fmt.Errorf("a field without a name: %q", line)
	}
	name, _, _ = strings.Cut(words[len(words)-1], "[") // an array's length
	offset, size := uint64(maxRecord), uint64(0)       // nowhere, unless the line says where
	for part := range strings.SplitSeq(rest, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), ":")
		switch key {
		case "offset":
			offset, err = strconv.ParseUint(value, 10, 16)
		case "size":
			size, err = strconv.ParseUint(value, 10, 16)
		}
		if err != nil {
			return "", place{}, fmt.Errorf("the %s of the field %q: %w", key, name, err)
		}
	}
	if offset+size > maxRecord {
		return "", place{}, fmt.Errorf("the field %q ends at %d, beyond what a record can have", name, offset+size)
	}
	return name, place{uint16(offset), uint16(size)}, nil
}
