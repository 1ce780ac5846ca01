package snapshot

import (
	"os"
	"strconv"
	"strings"

	"tcpstates/internal/event"
)

// processOwners finds in /proc who has which socket open, by the inodes of the
// sockets' files, as far as the caller may look (proc_pid_fd(5)).
func processOwners() map[uint32]event.Owner {
	owners := map[uint32]event.Owner{}
	for _, process := range entries("/proc") {
		pid, err := strconv.ParseUint(process, 10, 32)
		if err != nil {
			continue
		}
		for _, inode := range socketInodes("/proc/" + process + "/fd") {
			if _, known := owners[inode]; known {
				continue
			}
			name, err := os.ReadFile("/proc/" + process + "/comm")
			if err != nil {
				break // the process has ended
			}
			owners[inode] = event.Owner{
				Process: event.Process{PID: uint32(pid), Comm: event.CommOf(strings.TrimSuffix(string(name), "\n"))},
				Source:  event.SourceSeed,
			}
		}
	}
	return owners
}

// socketInodes reads the links of the form "socket:[12345]" in a directory.
func socketInodes(dir string) (inodes []uint32) {
	for _, fd := range entries(dir) {
		target, err := os.Readlink(dir + "/" + fd)
		if err != nil {
			continue
		}
		number, isSocket := strings.CutPrefix(target, "socket:[")
		inode, err := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 32)
		if isSocket && err == nil {
			inodes = append(inodes, uint32(inode))
		}
	}
	return inodes
}
