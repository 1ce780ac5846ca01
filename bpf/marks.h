/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A program is not run for what interrupts it. Where a copy of it comes next on the same
 * tracepoint, that does what the program was not run for: it finds no mark.
 *
 * A socket's own storage is the best place for a mark: here are the marks of what has none,
 * for the CPU. Since Linux 7.0 a task may move to another CPU between the two programs: then
 * its segment is told twice, and one more counts as recovered.
 *
 * A copy that was not run leaves the mark behind. If then the first is not run for the next
 * segment of the same kind and the same socket, nobody tells of it: in a storm one run in
 * some thousand is missed, so that is one such segment in a million.
 */
#ifndef TCPSTATES_MARKS_H
#define TCPSTATES_MARKS_H

#include "count.h"

/* Of what the mark is. */
enum mark_of {
	MARK_RESET_RECEIVED,
	MARK_RESET_SENT,
	MARK_RETRANSMIT,
	MARK_SYNACK_RETRANSMIT,
	MARK_UNCOUNTED, /* a transition that the summary does not count */
	MARKS,
};

/* An event, by two of its arguments, for as long as it is under way. */
struct mark {
	__u64 socket;
	__u64 other; /* 0: the socket is enough */
	__u64 left;  /* ns of CLOCK_MONOTONIC; 0: there is no mark */
};

/*
 * Of events of a kind on one CPU one can be under way, and another that has interrupted it;
 * since Linux 7.0, where tasks are preempted between two programs, some more. A mark that was
 * left behind is the oldest in the end, and gives way.
 */
#define MARKS_EACH 4

struct marks_of {
	struct mark of[MARKS_EACH];
};

/*
 * The marks that programs have left and their copies have not taken yet. Inserted and deleted
 * by nobody (an array), read and set by the programs. Bounded: MARKS_EACH of a kind and CPU.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MARKS);
	__type(key, __u32);
	__type(value, struct marks_of);
} marks SEC(".maps");

static __always_inline struct mark *marks_of(__u32 what)
{
	struct marks_of *marks_ = bpf_map_lookup_elem(&marks, &what);

	return marks_ ? marks_->of : 0;
}

static __always_inline void leave_mark(enum mark_of what, __u64 socket, __u64 other)
{
	struct mark *mark = marks_of(what), *oldest = mark;

	if (!mark)
		return;
	for (int i = 1; i < MARKS_EACH; i++) {
		if (mark[i].left < oldest->left)
			oldest = &mark[i];
	}
	oldest->socket = socket;
	oldest->other = other;
	oldest->left = bpf_ktime_get_ns();
}

/* Whether the mark was left. */
static __always_inline bool take_mark(enum mark_of what, __u64 socket, __u64 other)
{
	struct mark *mark = marks_of(what);

	for (int i = 0; mark && i < MARKS_EACH; i++) {
		if (mark[i].left && mark[i].socket == socket && mark[i].other == other) {
			mark[i].left = 0;
			return 1;
		}
	}
	return 0;
}

/* For a copy: whether it has to do what the first was not run for. */
static __always_inline bool is_left(bool marked)
{
	if (marked)
		return 0;
	COUNT(recovered_segments);
	return 1;
}

/* Whether the caller, a program or its copy, is the one that handles the segment. */
static __always_inline bool is_mine(enum mark_of what, __u64 socket, __u64 other, bool is_copy)
{
	if (is_copy)
		return is_left(take_mark(what, socket, other));
	leave_mark(what, socket, other);
	return 1;
}

/* The same where the mark is in the socket's storage. */
static __always_inline bool is_mine_at(bool *mark, bool is_copy)
{
	bool marked = *mark;

	*mark = !is_copy;
	return !is_copy || is_left(marked);
}

#endif
