package snapshot

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// named is where "ip netns add" keeps namespaces that need no process.
const named = "/run/netns"

// namespace is a network namespace that can be entered by a path; by none if
// it is the process's own.
type namespace struct {
	path  string
	inode uint64
}

// namespaces lists the network namespaces that processes are in, or that have
// a name; the first is the process's own. refused counts the processes whose
// namespace may not be looked at.
func namespaces() (all []namespace, refused int) {
	own, _ := inodeOf("/proc/self/ns/net") // zero is nobody's
	all = []namespace{{inode: own}}
	seen := map[uint64]bool{own: true}
	add := func(path string) {
		inode, err := inodeOf(path)
		if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
			refused++
		}
		if err != nil || seen[inode] {
			return
		}
		seen[inode] = true
		all = append(all, namespace{path: path, inode: inode})
	}
	for _, process := range entries("/proc") {
		if _, err := strconv.Atoi(process); err == nil {
			add("/proc/" + process + "/ns/net")
		}
	}
	for _, name := range entries(named) {
		add(named + "/" + name)
	}
	return all, refused
}

// entries are the names in a directory; none if it is not there.
func entries(dir string) []string {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	names, _ := f.Readdirnames(-1) // what was read serves
	return names
}

func inodeOf(path string) (uint64, error) {
	var st unix.Stat_t
	err := unix.Stat(path, &st)
	return st.Ino, err
}
