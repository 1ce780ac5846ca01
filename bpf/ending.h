/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * How often connections have ended in which way. Why that was is judged in user
 * space, where the ends of a trace are (package conn): here they are counted by what
 * that goes by.
 */
#ifndef TCPSTATES_ENDING_H
#define TCPSTATES_ENDING_H

#include "event.h"

enum ending_signs {
	ENDING_SILENT = 1 << 0,	    /* no segment was ever sent */
	ENDING_NO_LINGER2 = 1 << 1, /* TCP_LINGER2 is below 0 */
	ENDING_NO_PORT = 1 << 2,    /* it has no local port */
	ENDING_LATE_DATA = 1 << 3,  /* data may have come after close() */
	ENDING_KILLED = 1 << 4,	    /* a signal has ended the process that closed it */
	ENDING_REPORTED = 1 << 5,   /* it has sent a reset after that */
	ENDING_UNSEEN = 1 << 6,	    /* the socket has begun another connection, and nothing else is known */
};

struct ending {
	__u16 err;	/* sk_err */
	__u16 facts;	/* enum event_facts, those of ENDING_FACTS */
	__u8 oldstate;	/* from which it went to CLOSE */
	__u8 shutdown;	/* sk_shutdown */
	__u8 signs;	/* enum ending_signs */
	__u8 pad;
};

/* What tells nothing of an end would but multiply the ways. */
#define ENDING_FACTS                                                                         \
	(FACT_DEAD | FACT_DONE | FACT_LINGER0 | FACT_NO_FILE | FACT_USER_TIMEOUT |           \
	 FACT_FAST_OPEN | FACT_GOT_RESET | FACT_SENT_RESET | FACT_ALL_ACKED | FACT_REPAIR |  \
	 FACT_UNREAD)

/*
 * Inserted by add_ending, read by user space, deleted by nobody. Bounded: more ways
 * than this to end, of which some dozens were ever seen, are counted as unsorted.
 * What a CPU takes back (see move_ending) may be what another has counted: only the
 * sum over all of them says something, and theirs may be below 0.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct ending);
	__type(value, __s64);
} endings SEC(".maps");

/* Inserted and deleted by nobody (an array); as endings. Bounded: one entry a CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __s64);
} unsorted SEC(".maps");

/* Atomic, because one program can interrupt another between load and store. */
static __always_inline void add_ending(const struct ending *ending, __s64 n)
{
	__s64 *count = bpf_map_lookup_elem(&endings, ending);
	__u32 zero = 0;

	if (!count && !bpf_map_update_elem(&endings, ending, &n, BPF_NOEXIST))
		return;
	if (!count) /* inserted meanwhile, by another CPU or in an interrupt; or there is no room */
		count = bpf_map_lookup_elem(&endings, ending);
	if (!count)
		count = bpf_map_lookup_elem(&unsorted, &zero);
	if (count)
		__sync_fetch_and_add(count, n);
}

/* An end that was counted has sent a reset after all: it is another one. */
static __always_inline void move_ending(struct ending *ending)
{
	add_ending(ending, -1);
	ending->signs |= ENDING_REPORTED;
	add_ending(ending, 1);
}

#endif
