/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What user space sets before the programs are attached. */
#ifndef TCPSTATES_SETTINGS_H
#define TCPSTATES_SETTINGS_H

#include "kernel.h"

/* How a filter asks its set of values. */
enum rule {
	ANY,	/* it does not ask */
	ONLY,	/* what is in the set is wanted */
	EXCEPT, /* what is not in it */
};

/* At which end of a connection a port or an address is asked for. */
enum end {
	LOCAL,
	REMOTE,
	EITHER,
	ENDS,
};

/* The sets of numbers. */
enum number_set {
	NETNS,
	PID,
	UID,
	NUMBER_SETS,
};

struct settings {
	__u32 pidns;		     /* the PID namespace whose numbers are told; 0: the machine's */
	__u32 follow_pid;	     /* whose children are followed, see follow.h; 0: nobody's */
	__u32 follow_pidns;	     /* the PID namespace of that number, as above */
	__u16 only_family;	     /* AF_INET, AF_INET6; 0: both */
	bool filters;		     /* whether any of this block is set */
	__u8 ports[ENDS];	     /* enum rule, as the others are */
	__u8 addrs[ENDS];
	__u8 numbers[NUMBER_SETS];
	bool self_transitions;	     /* whether X>X counts as a transition */
	bool accept_probe;	     /* whether the program that fills acceptors is attached */
	bool sampling;		     /* whether all connections may be too many, see sample.h */
};

#ifdef PORTABLE

/*
 * Inserted by user space before the programs are attached, constant from then
 * on; read by the programs. Before Linux 5.2 programs have no constants of
 * their own.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct settings);
} setting SEC(".maps");

static __always_inline const struct settings *find_settings(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&setting, &zero);
}

#define SETTING(name)                                          \
	({                                                     \
		const struct settings *s_ = find_settings();   \
		s_ ? s_->name : 0;                             \
	})

#else

/* The verifier prunes what is unset. */
const volatile struct settings setting;

#define SETTING(name) (setting.name)

#endif

#endif
