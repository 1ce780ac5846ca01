package column

import "slices"

// All are the columns that have a name, in the order in which data has them.
var All = slices.Concat(
	[]*Column{
		&Type, &Time, &Elapsed, &Proto, &Now, &RecvQ, &SendQ, &Left,
		&Sock, &SkAddr, &Netns, &UID, &PID, &Comm, &Source,
		&CgroupID, &Cgroup, &Container, &Unit, &Pod,
		&CurPID, &CurComm, &CloserPID, &CloserComm,
		&Family, &LAddr, &LPort, &LService, &RAddr, &RName, &RPort, &RService,
		&OldState, &NewState, &MS, &MSMin, &Derived,
		&Role, &Connect, &Took, &RTT, &RTTEstimate, &SynRetransmits, &Way, &AcceptWait, &AcceptWaitMax,
		&Reason, &Cause, &First, &Errno, &SoftErrno, &Reset, &Signal,
		&Out, &In, &SegsOut, &SegsIn, &Retransmits, &Why,
	},
	InStates,
	[]*Column{&Lost, &OneIn},
)

// Places are the columns of where an owner runs.
var Places = []*Column{&Cgroup, &Container, &Unit, &Pod}

// Find looks a column up by its name; -1 if it is not among them.
func Find(columns []*Column, name string) int {
	return slices.IndexFunc(columns, func(c *Column) bool { return c.Name == name })
}

// Has tells whether a column of the name is among them.
func Has(columns []*Column, name string) bool { return Find(columns, name) >= 0 }
