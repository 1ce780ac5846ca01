//go:build !linux

package cli

import (
	"os"

	"golang.org/x/sys/unix"
)

// getTermios is the request that terminals alone answer (tty(4)).
const getTermios = unix.TIOCGETA

// isNetns is false: there are no network namespaces here.
func isNetns(*os.File) bool { return false }
