// Package logfile writes lines to a file that is opened anew when it is asked
// to, and that makes room for another when it has reached its size.
package logfile

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"sync"
)

// Options shape a File.
type Options struct {
	Path string
	// MaxSize is how many bytes a file may have before the next begins; zero
	// means no limit.
	MaxSize int64
	// Keep is how many full files are kept, PATH.1 being the newest.
	Keep int
}

// File is an io.Writer of whole lines. It may be used by several goroutines.
type File struct {
	options Options

	mu     sync.Mutex
	file   *os.File
	size   int64
	header []byte // each new file begins with it; nil: nothing was written yet
	bare   bool   // the file has no header yet, and must
	moved  bool   // the file has another name by now, and there is none in its place yet
}

// Open opens the file for appending and makes it if there is none, with mode
// 0644. Only a regular file can have a size.
func Open(o Options) (*File, error) {
	f := &File{options: o}
	if err := f.open(); err != nil {
		return nil, err
	}
	if info, err := f.file.Stat(); o.MaxSize > 0 && err == nil && !info.Mode().IsRegular() {
		f.file.Close()
		return nil, fmt.Errorf("%s is no regular file, and cannot make room for another", o.Path)
	}
	return f, nil
}

// open opens what Path names now.
func (f *File) open() error {
	file, err := os.OpenFile(f.options.Path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return err
	}
	f.file, f.size = file, info.Size()
	return nil
}

// Write writes lines, each with its line feed. Those of the first call are the
// header, which every later file begins with, too. A line never stands in two
// files; one that is longer than a file may be has one to itself. After an
// error less than all may be written, but no part of a line, as far as the file
// lets itself be cut.
func (f *File) Write(lines []byte) (written int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() {
		if f.header == nil && err == nil {
			f.header = bytes.Clone(lines)
		}
	}()
	if err := f.begin(); err != nil {
		return 0, err
	}
	for written < len(lines) {
		n := f.room(lines[written:])
		if n == 0 {
			if err := f.rotate(); err != nil {
				return written, err
			}
			continue
		}
		n, err := f.append(lines[written : written+n])
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// room is how many bytes of the lines have room in the file.
func (f *File) room(lines []byte) int {
	left := f.options.MaxSize - f.size
	if f.options.MaxSize == 0 || int64(len(lines)) <= left {
		return len(lines)
	}
	if n := bytes.LastIndexByte(lines[:max(0, left)], '\n') + 1; n > 0 {
		return n
	}
	if f.size > int64(len(f.header)) {
		return 0
	}
	return bytes.IndexByte(lines, '\n') + 1 // more room than here is nowhere
}

// append writes lines at the end of the file.
func (f *File) append(lines []byte) (n int, err error) {
	n, err = f.file.Write(lines)
	if whole := bytes.LastIndexByte(lines[:n], '\n') + 1; err != nil && whole < n {
		// A pipe cannot be cut, and the error is told anyway.
		if f.file.Truncate(f.size+int64(whole)) == nil {
			n = whole
		}
	}
	f.size += int64(n)
	return n, err
}

// rotate makes the file the newest of those that are full, and begins another. If
// that fails it can be done again.
func (f *File) rotate() error {
	for i := f.options.Keep; i > 0 && !f.moved; i-- {
		if err := os.Rename(f.nth(i-1), f.nth(i)); err != nil && (i == 1 || !os.IsNotExist(err)) {
			return err
		}
	}
	f.moved = true
	if err := f.replace(); err != nil {
		return err
	}
	return f.begin()
}

// nth is the path of the i-th newest full file; the 0th is the present one.
func (f *File) nth(i int) string {
	if i == 0 {
		return f.options.Path
	}
	return f.options.Path + "." + strconv.Itoa(i)
}

// replace goes on with the file that the path names now, which begins with the
// header if it is empty.
func (f *File) replace() error {
	old := f.file
	if err := f.open(); err != nil {
		return err
	}
	f.bare, f.moved = f.size == 0, false
	return old.Close()
}

// begin writes the header that the file needs. After an error nothing of it is
// there, and it is still needed.
func (f *File) begin() error {
	if !f.bare {
		return nil
	}
	if _, err := f.append(f.header); err != nil {
		if f.file.Truncate(0) == nil {
			f.size = 0
		}
		return err
	}
	f.bare = false
	return nil
}

// Reopen opens the file anew, as its name is another's now or nobody's. If it
// fails, the old one stays in use. That there is no room for the header is told by the
// next Write.
func (f *File) Reopen() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.replace(); err != nil {
		return err
	}
	_ = f.begin()
	return nil
}

// Close closes the file.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.file.Close()
}
