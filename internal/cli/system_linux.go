package cli

import (
	"os"

	"golang.org/x/sys/unix"
)

// getTermios is the request that terminals alone answer (ioctl_tty(2)).
const getTermios = unix.TCGETS

// isNetns tells whether a file is a network namespace (ioctl_nsfs(2)).
func isNetns(f *os.File) bool {
	kind, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_NSTYPE)
	return err == nil && kind == unix.CLONE_NEWNET
}
