package probe

import (
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"tcpstates/internal/thread"
)

// tracefsDir is where the kernel has made a place for tracefs; before, it was in
// debugfs.
const (
	tracefsDir   = "/sys/kernel/tracing"
	inDebugfsDir = "/sys/kernel/debug/tracing"
)

// withTracefs runs f where tracefs is mounted, and tells it where. Where it is
// not, it is mounted for f alone, in a mount namespace that ends with it: nobody
// else sees it, and nothing stays.
func withTracefs(f func(dir string) error) error {
	for _, dir := range []string{tracefsDir, inDebugfsDir} {
		if isTracefs(dir) {
			return f(dir)
		}
	}
	return thread.Run(func() error {
		if err := mountTracefs(); err != nil {
			return fmt.Errorf("mount tracefs for a moment: %w", err)
		}
		return f(tracefsDir)
	})
}

// openTracefs gives the root of tracefs, mounted or not. It stays open to the
// end of the process.
func openTracefs() (root fs.FS, err error) {
	err = withTracefs(func(dir string) error {
		fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open %s: %w", dir, err)
		}
		root = os.DirFS("/proc/self/fd/" + strconv.Itoa(fd))
		return nil
	})
	return root, err
}
