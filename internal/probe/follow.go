package probe

import (
	"fmt"
	"os"

	"github.com/cilium/ebpf"

	"tcpstates/bpf"
)

// follow has the programs follow what this process forks, if the options want it and
// they can.
func follow(spec *ebpf.CollectionSpec, o *Options, settings *bpf.TcpstatesSettings) error {
	members := spec.Maps["followed"]
	switch {
	case members == nil: // they know of no forks
		return nil
	case !o.Follow:
		members.MaxEntries = 1 // else it takes megabytes for nothing
		return nil
	}
	namespace, err := ownPIDNamespace()
	if err != nil {
		return fmt.Errorf("find the PID namespace of the processes to follow: %w: is /proc mounted?", err)
	}
	settings.FollowPid, settings.FollowPidns = uint32(os.Getpid()), namespace
	settings.Filters = true
	return nil
}

// mayTellMore tells whether a program that runs when the trace ends can have something
// to tell that is wanted. Where what was followed has ended, there is nobody left to do
// anything, and the 15 ms that it takes to wait for programs would be the longest part
// of a short command.
func (t *Tracer) mayTellMore() bool {
	alive, _, err := t.Followed()
	return err != nil || alive > 0 || t.objects.Programs["exited"] == nil
}

// Followed is how many of the processes that are followed live, and how many may have
// gone unfollowed, or live no more, as the kernel had no room for them or did not run
// the programs: connections are missing then. Both are zero unless Options.Follow is
// set. A process counts from its fork to the end of its last thread, if that was seen; it
// closes its sockets after that. So many as may have ended unseen are not said to live:
// else nobody could await the end.
func (t *Tracer) Followed() (alive, failed uint64, err error) {
	if t.objects.Programs["exited"] == nil {
		return 0, 0, nil
	}
	var f bpf.TcpstatesFollowing
	if err := t.objects.Maps["following"].Lookup(uint32(0), &f); err != nil {
		return 0, 0, fmt.Errorf("count the processes that are followed: %w", err)
	}
	counts, err := t.counts()
	if err != nil {
		return 0, 0, err
	}
	unseen, err := t.unseen(t.first(), &counts)
	return beyond(f.Alive, unseen.exits), f.Failed + unseen.forks + unseen.exits, err
}
