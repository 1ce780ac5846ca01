package probe

import "golang.org/x/sys/unix"

func isTracefs(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.TRACEFS_MAGIC
}

// mountTracefs mounts it for the calling thread alone.
func mountTracefs() error {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return err
	}
	return unix.Mount("tracefs", tracefsDir, "tracefs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
}

// memory is how much the machine has, in bytes.
func memory() uint64 {
	var info unix.Sysinfo_t
	_ = unix.Sysinfo(&info) // fails for a bad pointer alone
	return info.Totalram * uint64(info.Unit)
}

// machinesPIDNamespace is the inode number of the machine's own PID namespace
// (include/linux/proc_ns.h, PROC_PID_INIT_INO).
const machinesPIDNamespace = 0xEFFFFFFC

// ownPIDNamespace is the inode number of this process's PID namespace; zero stands for
// the machine's.
func ownPIDNamespace() (uint32, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &st); err != nil {
		return 0, err
	}
	if st.Ino == machinesPIDNamespace {
		return 0, nil
	}
	return uint32(st.Ino), nil
}

// membarrierGlobal is MEMBARRIER_CMD_GLOBAL (include/uapi/linux/membarrier.h).
const membarrierGlobal = 1

// awaitPrograms waits for an RCU grace period: what has run before has come to
// its end.
func awaitPrograms() { _, _, _ = unix.Syscall(unix.SYS_MEMBARRIER, membarrierGlobal, 0, 0) }
