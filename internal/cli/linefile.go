package cli

import (
	"bytes"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// lineFile is a file that whole lines are written to, such as stdout. When there is no
// room for all, no part of a line stays, as far as the file lets itself be cut. It
// waits for who reads where somebody else has made it non-blocking.
type lineFile struct{ *os.File }

// asLines is the writer as a lineFile, if it is a file.
func asLines(w io.Writer) io.Writer {
	if file, ok := w.(*os.File); ok {
		return lineFile{file}
	}
	return w
}

// Write implements io.Writer.
func (f lineFile) Write(lines []byte) (n int, err error) {
	for {
		written, err := f.File.Write(lines[n:])
		n += written
		switch {
		case err == nil:
			return n, nil
		case !errors.Is(err, unix.EAGAIN):
			return n - f.cut(lines[:n]), err
		}
		if err := f.await(); err != nil {
			return n, err
		}
	}
}

// await waits until the file takes something.
func (f lineFile) await() error {
	fds := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLOUT}}
	for {
		if _, err := unix.Poll(fds, -1); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// cut takes back what is written of the last line, if that has no end, and tells how
// many bytes that were. Behind it nothing of another writer may stand.
func (f lineFile) cut(written []byte) int {
	part := int64(len(written) - bytes.LastIndexByte(written, '\n') - 1)
	info, err := f.Stat()
	if part == 0 || err != nil || !info.Mode().IsRegular() {
		return 0
	}
	end, err := f.Seek(0, io.SeekCurrent)
	if err != nil || end != info.Size() || f.Truncate(end-part) != nil {
		return 0
	}
	_, _ = f.Seek(end-part, io.SeekStart) // fails for no regular file
	return int(part)
}
