package kerneltest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// mountTracefs mounts tracefs for as long as the test runs.
func mountTracefs(t testing.TB) (root string) {
	t.Helper()
	root = t.TempDir()
	if err := unix.Mount("tracefs", root, "tracefs", 0, ""); err != nil {
		t.Fatalf("mount tracefs: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(root, 0) })
	return root
}

// TracepointFields are the names of the fields of one of the kernel's
// tracepoints, such as "tcp/tcp_send_reset", in their alphabetical order. They
// are nil if the kernel has no such tracepoint.
func TracepointFields(t testing.TB, name string) []string {
	t.Helper()
	layout, err := readFormat(filepath.Join(mountTracefs(t), "events", name, "format"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("read the format of %s: %v", name, err)
	}
	return slices.Sorted(maps.Keys(layout))
}

// format is where a tracepoint's fields lie in its records, by their names.
type format map[string]struct{ offset, size int }

// readFormat reads a format file of tracefs, whose lines of fields are like
// "field:__u16 sport;	offset:24;	size:2;	signed:0;".
func readFormat(file string) (format, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	layout := format{}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		parts := bytes.Split(bytes.TrimSpace(lines.Bytes()), []byte(";"))
		declaration, isField := bytes.CutPrefix(parts[0], []byte("field:"))
		if !isField {
			continue
		}
		name := string(declaration[bytes.LastIndexByte(declaration, ' ')+1:])
		field := layout[name]
		_, err := fmt.Sscanf(string(bytes.Join(parts[1:3], nil)), "\toffset:%d\tsize:%d", &field.offset, &field.size)
		if err != nil {
			return nil, fmt.Errorf("the field %s: %w", name, err)
		}
		layout[name] = field
	}
	return layout, nil
}

// values are the numbers among a record's fields.
func (f format) values(record []byte) (map[string]uint64, error) {
	values := map[string]uint64{}
	for name, field := range f {
		if field.offset+field.size > len(record) {
			return nil, fmt.Errorf("the field %s: %w", name, io.ErrUnexpectedEOF)
		}
		at := record[field.offset:]
		switch field.size {
		case 1:
			values[name] = uint64(at[0])
		case 2:
			values[name] = uint64(binary.NativeEndian.Uint16(at))
		case 4:
			values[name] = uint64(binary.NativeEndian.Uint32(at))
		case 8:
			values[name] = binary.NativeEndian.Uint64(at)
		}
	}
	return values, nil
}
