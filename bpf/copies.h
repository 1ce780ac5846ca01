/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Since Linux 7.0 a process can begin, and a task end, while another program on the same
 * CPU tells of such (see preempt.h). Then those programs have copies on their tracepoints,
 * each of which does what none before it has done.
 */
#ifndef TCPSTATES_COPIES_H
#define TCPSTATES_COPIES_H

#include "kernel.h"

enum done {
	FORK,
	EXIT,
	DONE,
};

#define DONE_EACH 1024

/*
 * A task. Its address may be another's later, and a thread that becomes another program
 * takes over when the first of its process began, with that one's number (de_thread).
 */
struct who {
	__u64 address;
	__u64 start; /* ns, of CLOCK_MONOTONIC */
};

/*
 * The tasks whose forks and ends were handled last, each at its number modulo DONE_EACH.
 * Inserted and deleted by nobody (an array), read and set by the programs. Bounded:
 * where one comes to the place of another while that one's programs run, that is
 * handled twice.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DONE *DONE_EACH);
	__type(key, __u32);
	__type(value, struct who);
} done SEC(".maps");

/* Whether that was handled; if not, the caller is who does it. */
static __always_inline bool is_done(enum done what, const struct task_struct *task)
{
	__u32 at = what * DONE_EACH + (__u32)READ(task, pid) % DONE_EACH;
	struct who who = {(__u64)task, READ(task, start_time)};
	struct who *last = bpf_map_lookup_elem(&done, &at);

	if (!last)
		return 0;
	if (last->address == who.address && last->start == who.start)
		return 1;
	*last = who;
	return 0;
}

#endif
