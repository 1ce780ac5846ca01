package snapshot

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"tcpstates/internal/wire"
)

// named is where "ip netns add" keeps namespaces that need no process.
const named = "/run/netns"

// namespace is a network namespace that can be entered by a path; by none if
// it is the process's own.
type namespace struct {
	path  string
	inode uint64
}

// spaces are the network namespaces that are known.
type spaces struct {
	all  []namespace
	seen map[uint64]bool
	fds  []int // that paths refer to
}

// namespaces lists the network namespaces that processes are in, or that have
// a name; the first is the process's own. refused counts the processes whose
// namespace may not be looked at.
func namespaces() (s *spaces, refused int) {
	own, _ := inodeOf("/proc/thread-self/ns/net") // zero is nobody's
	s = &spaces{all: []namespace{{inode: own}}, seen: map[uint64]bool{own: true}}
	for _, process := range entries("/proc") {
		if _, err := strconv.Atoi(process); err != nil {
			continue
		}
		err := s.add("/proc/" + process + "/ns/net")
		if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
			refused++
		}
	}
	for _, name := range entries(named) {
		_ = s.add(named + "/" + name) // what is no namespace is passed over
	}
	return s, refused
}

// add adds the namespace that the path leads to, if it is a new one.
func (s *spaces) add(path string) error {
	inode, err := inodeOf(path)
	if err != nil || s.seen[inode] {
		return err
	}
	s.seen[inode] = true
	s.all = append(s.all, namespace{path: path, inode: inode})
	return nil
}

// addOf adds the namespace of a socket: no process need be in it, as one that
// opened sockets there may have left.
func (s *spaces) addOf(f wire.Found) {
	if s.seen[uint64(f.Netns)] || f.FD < 0 || f.Owner.PID == 0 {
		return
	}
	fd, err := netnsOf(int(f.Owner.PID), int(f.FD))
	if err != nil {
		return
	}
	path := "/proc/self/fd/" + strconv.Itoa(fd)
	// The number may be another process's by now, or in another PID namespace.
	if inode, err := inodeOf(path); err != nil || inode != uint64(f.Netns) {
		unix.Close(fd)
		return
	}
	s.fds = append(s.fds, fd)
	_ = s.add(path)
}

// close gives back what the paths refer to.
func (s *spaces) close() {
	for _, fd := range s.fds {
		unix.Close(fd)
	}
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
