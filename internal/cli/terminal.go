package cli

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// widthOf gives the width in characters of the terminal that w writes to, anew
// at each call: zero if w is no terminal or does not know its width.
func widthOf(w io.Writer) func() int {
	file, ok := w.(*os.File)
	if !ok || !isTerminal(file) {
		return func() int { return 0 }
	}
	fd := int(file.Fd())
	return func() int {
		size, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
		if err != nil {
			return 0
		}
		return int(size.Col)
	}
}

func isTerminal(file *os.File) bool {
	_, err := unix.IoctlGetTermios(int(file.Fd()), getTermios)
	return err == nil
}

// wantsColor tells whether w shows colours and the user wants them
// (no-color.org).
func wantsColor(w io.Writer, getenv func(string) string) bool {
	file, ok := w.(*os.File)
	return ok && isTerminal(file) && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
}

// isPipe tells whether somebody else reads what is written to w.
func isPipe(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&(os.ModeNamedPipe|os.ModeSocket) != 0
}

// onHangup calls f when nobody reads any more what is written to w, if w is a
// pipe: a program that waits for an event would else never learn of it.
func onHangup(w io.Writer, f func()) {
	if !isPipe(w) {
		return
	}
	file := w.(*os.File)
	go func() {
		fds := []unix.PollFd{{Fd: int32(file.Fd())}}
		for {
			if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
				return
			}
			if fds[0].Revents != 0 {
				f()
				return
			}
		}
	}()
}
