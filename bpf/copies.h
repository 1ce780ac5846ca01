/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Since Linux 7.0 the programs on a tracepoint may have copies there, for what they are
 * not run for (see preempt.h): each does what none before it has done.
 */
#ifndef TCPSTATES_COPIES_H
#define TCPSTATES_COPIES_H

#include "count.h"

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

/* What a program with one copy tells of. */
enum segment {
	RESET_RECEIVED,
	RESET_SENT,
	RETRANSMIT,
	SYNACK_RETRANSMIT,
	SEGMENTS,
};

struct what {
	__u64 socket;
	__u64 other; /* the second argument */
};

/*
 * What the programs have handled last and their copies have not seen yet, each at the
 * number of the task on the CPU modulo DONE_EACH. Inserted and deleted by nobody (an
 * array), read and set by the programs. Bounded as done is.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SEGMENTS *DONE_EACH);
	__type(key, __u32);
	__type(value, struct what);
} segments SEC(".maps");

static __always_inline struct what *segment_of(enum segment kind)
{
	__u32 at = kind * DONE_EACH + (__u32)bpf_get_current_pid_tgid() % DONE_EACH;

	return bpf_map_lookup_elem(&segments, &at);
}

static __always_inline void mark_segment(enum segment kind, __u64 socket, __u64 other)
{
	struct what *last = segment_of(kind);

	if (!last)
		return;
	last->socket = socket;
	last->other = other;
}

/* For the copy: whether the first has handled it. The mark goes. */
static __always_inline bool is_marked(enum segment kind, __u64 socket, __u64 other)
{
	struct what *last = segment_of(kind);

	if (last && last->socket == socket && last->other == other) {
		last->socket = 0;
		last->other = 0;
		return 1;
	}
	COUNT(recovered_segments);
	return 0;
}

#endif
