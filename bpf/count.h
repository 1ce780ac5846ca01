/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* How many: the numbers with which user space accounts for every transition. */
#ifndef TCPSTATES_COUNT_H
#define TCPSTATES_COUNT_H

#include "kernel.h"

struct counts {
	__u64 emitted;	 /* records put into the ring buffer */
	__u64 lost;	 /* records for which the ring buffer had no room */
	__u64 recovered; /* runs of a later program that found no mark of one before */
	__u64 deferred;	 /* runs of the first that left the event to the twin */
	__u64 recovered_forks;	  /* forks that a copy has handled, see copies.h */
	__u64 recovered_exits;	  /* ends of tasks that one has */
	__u64 recovered_segments; /* resets and retransmissions that one has, see marks.h */
	__u64 gaps;	 /* transitions before which another must have gone unseen */
	/* See sample.h. */
	__u64 unsampled_conns; /* connections that are not in the sample */
	__u64 unsampled;       /* events of such */
};

/*
 * Inserted and deleted by nobody (an array); the programs add, user space
 * reads. Bounded: one entry a CPU.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counts);
} counters SEC(".maps");

/* Atomic, because a softirq can interrupt the program between load and store. */
#define ADD(what, n)                                                     \
	do {                                                             \
		__u32 zero = 0;                                          \
		struct counts *c = bpf_map_lookup_elem(&counters, &zero);  \
		if (c)                                                   \
			__sync_fetch_and_add(&c->what, n);               \
	} while (0)

#define COUNT(what) ADD(what, 1)

#endif
