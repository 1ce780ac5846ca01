/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Which processes are followed: what the tracer has made since the trace began, and
 * all that descend from it. Neither of them can be too short-lived: a process is
 * followed before it has run.
 */
#ifndef TCPSTATES_FOLLOW_H
#define TCPSTATES_FOLLOW_H

#include "owner.h"

/*
 * The followed processes that live, by their number on the machine. Inserted by
 * forked, deleted by exited; read by the programs. Bounded: a process that finds no
 * room is counted and not followed. Its memory is taken at once, see listeners.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, __u8);
} followed SEC(".maps");

struct following {
	__u64 alive;  /* processes in followed */
	__u64 failed; /* processes that could not be inserted */
};

/*
 * Inserted and deleted by nobody (an array); the programs add, user space reads.
 * Bounded: one entry.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct following);
} following SEC(".maps");

#define ADD_FOLLOWING(what, n)                                                \
	do {                                                                  \
		__u32 zero_ = 0;                                              \
		struct following *f_ = bpf_map_lookup_elem(&following, &zero_); \
		if (f_)                                                       \
			__sync_fetch_and_add(&f_->what, n);                   \
	} while (0)

static __always_inline bool is_followed(const struct task_struct *task)
{
	__u32 tgid = READ(task, tgid);

	return bpf_map_lookup_elem(&followed, &tgid);
}

/* Whether what the process makes is followed. The tracer itself is not. */
static __always_inline bool has_followed_children(const struct task_struct *parent)
{
	return is_followed(parent) ||
	       number_in(parent, SETTING(follow_pidns)) == SETTING(follow_pid);
}

/* Follows the new process if its parent's are, and tells whether it does. */
static __always_inline bool follow(const struct task_struct *parent,
				   const struct task_struct *child)
{
	__u32 tgid = READ(child, tgid);
	__u8 one = 1;
	long err;

	if (!has_followed_children(parent))
		return 0;
	err = bpf_map_update_elem(&followed, &tgid, &one, BPF_NOEXIST);
	if (err == -EEXIST) /* the end of another of this number went unseen */
		return 1;
	if (err) {
		ADD_FOLLOWING(failed, 1);
		return 0;
	}
	ADD_FOLLOWING(alive, 1);
	return 1;
}

/*
 * A thread of the process ends. Of the last two that end at once both find no other
 * alive: one of them deletes it.
 */
static __always_inline void unfollow(const struct task_struct *task)
{
	__u32 tgid = READ(task, tgid);

	if (READ(task, signal, live.counter) == 0 && !bpf_map_delete_elem(&followed, &tgid))
		ADD_FOLLOWING(alive, -1);
}

#endif
