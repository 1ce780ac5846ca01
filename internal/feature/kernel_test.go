package feature

import (
	"io/fs"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"tcpstates/internal/kerneltest"
)

// version is a kernel's, without its last number.
type version struct{ major, minor int }

// since are the kernels in which features came that are not in all which can
// trace; those of the distributions that backport are not for this test.
var since = map[ID]version{
	TpBTF:          {5, 5},
	SocketStorage:  {5, 11},
	SocketCookie:   {5, 12},
	RingBuffer:     {5, 8},
	GlobalData:     {5, 2},
	IterTaskFile:   {5, 8},
	IterTCP:        {5, 9},
	SockRecvLength: {6, 3},
	SockSendLength: {6, 3},
}

// TestThisKernel asks for everything: root on a kernel with all its parts has
// what its version has, and nothing stays behind of the trials.
func TestThisKernel(t *testing.T) {
	kerneltest.Require(t)
	l := NewList(Options{Tracefs: mountTracefs(t)})
	for range 2 { // the first trials make what the library keeps
		l = newList(l.system, l.options)
		before := kerneltest.OpenFiles(t)
		for id := range Rows() {
			l.Ask(ID(id))
		}
		if after := kerneltest.OpenFiles(t); after > before {
			t.Errorf("%d files open, and %d before", after, before)
		}
	}
	for id, row := range Rows() {
		if id := ID(id); id == Tracefs || id == Cgroup || id == PIDNamespace || id == HiddenProc {
			continue // these are the machine's own business
		}
		want := Yes
		if first, known := since[ID(id)]; known && l.olderThan(first.major, first.minor) {
			want = No
		}
		if r := l.Ask(ID(id)); r.Answer != want {
			t.Errorf("%s: %v (%s, %v), want %v", row.Name, r.Answer, r.Sentence(), r.Err, want)
		}
	}
}

func mountTracefs(t *testing.T) func() (fs.FS, error) {
	return func() (fs.FS, error) {
		dir := t.TempDir()
		if err := unix.Mount("tracefs", dir, "tracefs", 0, ""); err != nil {
			return nil, err
		}
		t.Cleanup(func() { _ = unix.Unmount(dir, 0) })
		return os.DirFS(dir), nil
	}
}
