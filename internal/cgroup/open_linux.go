package cgroup

import (
	"os"

	"golang.org/x/sys/unix"
)

// fileidKernfs is FILEID_KERNFS (include/linux/exportfs.h): a file handle that
// is the id of a cgroup.
const fileidKernfs = 0xfe

// openByID opens the cgroup with this id in the hierarchy that is mounted there.
func openByID(mount *os.File, id []byte) (fd int, err error) {
	return unix.OpenByHandleAt(int(mount.Fd()), unix.NewFileHandle(fileidKernfs, id), unix.O_RDONLY|unix.O_CLOEXEC)
}
