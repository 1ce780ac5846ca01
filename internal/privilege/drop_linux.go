package privilege

import (
	"fmt"
	"strings"

	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// capabilities are those that a trace with these needs uses to its end, by a
// process that has those of the set.
func (n Needs) capabilities(has *cap.Set) []cap.Value {
	// To read the programs' counters and statistics: where
	// kernel.unprivileged_bpf_disabled is set, bpf() needs it for everything
	// before Linux 5.19.
	all := []cap.Value{cap.BPF}
	if !permits(has, cap.BPF) {
		// It stands for CAP_BPF, which Linux has since 5.8.
		all = []cap.Value{cap.SYS_ADMIN}
	}
	if n.Cgroups {
		// To find a cgroup by its id (open_by_handle_at(2)).
		all = append(all, cap.DAC_READ_SEARCH)
	}
	if n.Signals {
		all = append(all, cap.KILL)
	}
	if n.Minisocks {
		all = append(all,
			// To load the walk over the minisocks, once there are some.
			cap.PERFMON,
			// To enter the network namespaces that they are in (setns(2)).
			cap.SYS_ADMIN,
			// To find these namespaces by the processes in them (namespaces(7)).
			cap.SYS_PTRACE)
	}
	return all
}

// Drop gives up the process's capabilities but those that are needed, and all
// ways to get them back: it sets no_new_privs, clears what an executed program
// would inherit, and shrinks the bounding set. That takes CAP_SETPCAP; without
// it the bounding set stays and means nothing, as there are no new privileges to
// bound. Threads may be at work, in namespaces of their own, too: what the kept
// capabilities allow is allowed all the time.
func Drop(needs Needs) (r Report, err error) {
	has, err := cap.GetPID(0)
	if err != nil {
		return r, fmt.Errorf("read the process's capabilities: %w", err)
	}
	rest := cap.NewSet()
	for _, value := range needs.capabilities(has) {
		if permits(has, value) {
			_ = rest.SetFlag(cap.Permitted, true, value) // fails for one that does not exist
		}
	}
	_ = rest.FillFlag(cap.Effective, rest, cap.Permitted) // fails for a set that was not made
	for value := range cap.MaxBits() {
		switch {
		case permits(rest, value):
			r.Kept = append(r.Kept, name(value))
		case permits(has, value):
			r.Dropped = append(r.Dropped, name(value))
		}
	}
	return r, limit(rest, permits(has, cap.SETPCAP))
}

// limit makes rest all that the process can do, and could get.
func limit(rest *cap.Set, mayUnbind bool) error {
	if _, err := cap.Prctlw(prSetNoNewPrivs, 1); err != nil {
		return fmt.Errorf("forbid new privileges: %w", err)
	}
	heritage := cap.NewIAB()
	if mayUnbind {
		_ = heritage.Fill(cap.Bound, rest, cap.Permitted) // fails for a set that was not made
	}
	if err := heritage.SetProc(); err != nil {
		return fmt.Errorf("limit what executed programs inherit: %w", err)
	}
	if err := rest.SetProc(); err != nil {
		return fmt.Errorf("give up capabilities: %w", err)
	}
	return nil
}

// prSetNoNewPrivs is PR_SET_NO_NEW_PRIVS (include/uapi/linux/prctl.h).
const prSetNoNewPrivs = 38

// permits tells whether the set has the capability; one that the kernel does
// not know, no set has.
func permits(set *cap.Set, value cap.Value) bool {
	has, err := set.GetFlag(cap.Permitted, value)
	return has && err == nil
}

func name(value cap.Value) string { return strings.ToUpper(value.String()) }

// Become makes the user that of the process, with no supplementary groups. The
// process keeps its capabilities. It needs CAP_SETUID and CAP_SETGID. For a
// moment no capability is in effect, so nothing else may be at work. After an
// error the process may be changed in part.
func (u User) Become() error {
	has, err := cap.GetPID(0)
	if err != nil {
		return fmt.Errorf("read the process's capabilities: %w", err)
	}
	if err := cap.SetGroups(u.GID); err != nil {
		return fmt.Errorf("change the group to %d: %w", u.GID, err)
	}
	if err := cap.SetUID(u.UID); err != nil {
		return fmt.Errorf("change the user to %d: %w", u.UID, err)
	}
	if err := has.SetProc(); err != nil {
		return fmt.Errorf("keep the capabilities of the user before: %w", err)
	}
	return nil
}
