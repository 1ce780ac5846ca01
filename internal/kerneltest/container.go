package kerneltest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// containerRoot is where the root of a container is put together, in its own
// mount namespace.
const containerRoot = "/tmp"

// enterContainer makes the process, in mount and PID namespaces of its own, what
// Container promises of the program that it runs next, and gives the program's
// path in there.
func enterContainer(program string) (path string, err error) {
	path = "/" + filepath.Base(program)
	binary, err := os.ReadFile(program) // before containerRoot hides it
	if err != nil {
		return "", err
	}
	const noSetid = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	err = inOrder(
		// What is mounted from here on is not to reach the machine.
		func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") },
		func() error { return unix.Mount("tmpfs", containerRoot, "tmpfs", 0, "") },
		func() error { return os.Chdir(containerRoot) },
		func() error { return os.WriteFile("."+path, binary, 0o755) },
		func() error { return os.Mkdir("proc", 0o555) },
		func() error { return os.Mkdir("sys", 0o555) },
		func() error { return unix.Mount("proc", "proc", "proc", noSetid, "") },
		func() error { return unix.Mount("sysfs", "sys", "sysfs", noSetid|unix.MS_RDONLY, "") },
		// The old root comes to lie over the new one, and goes (pivot_root(2)).
		func() error { return unix.PivotRoot(".", ".") },
		func() error { return unix.Unmount(".", unix.MNT_DETACH) },
		func() error { return os.Chdir("/") },
		func() error { return boundCapabilities(unix.CAP_BPF, unix.CAP_PERFMON) },
	)
	return path, err
}

// inOrder runs the steps up to the first that fails.
func inOrder(steps ...func() error) error {
	for i, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	return nil
}

// boundCapabilities takes from the bounding set all capabilities but these. The
// program that root runs next has those alone (capabilities(7), "Capabilities
// and execution of programs by root").
func boundCapabilities(keep ...uintptr) error {
	kept := map[uintptr]bool{}
	for _, capability := range keep {
		kept[capability] = true
	}
	for capability := uintptr(0); ; capability++ {
		if kept[capability] {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) {
			return nil // there are no more
		}
		if err != nil {
			return fmt.Errorf("give up the capability %d: %w", capability, err)
		}
	}
}
