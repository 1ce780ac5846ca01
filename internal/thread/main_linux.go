package thread

import "golang.org/x/sys/unix"

// onMain tells whether this is the main thread.
func onMain() bool { return unix.Gettid() == unix.Getpid() }
