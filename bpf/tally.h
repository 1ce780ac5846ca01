/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* How often, and how long: the numbers of the summary that is made in the kernel. */
#ifndef TCPSTATES_TALLY_H
#define TCPSTATES_TALLY_H

#include "kernel.h"

/* The rows of times: those in a state have its number. */
enum tally_row {
	ROW_CONNECT = 13, /* a client's connect() */
	ROW_RTT = 14,	  /* a server's handshake */
	ROWS = 16,
};

/*
 * A bucket has the times below 2^(FIRST_BOUND + its number) ns that the one
 * before has not; the last has the longer ones, too: from two years on.
 */
enum tally_buckets {
	FIRST_BOUND = 10,
	BUCKETS = 48,
};

enum program {
	FIRST,
	BETWEEN,
	BETWEEN_2ND,
	TWIN,
	RESET_RECEIVED,
	RESET_RECEIVED_2ND,
	RESET_SENT,
	RESET_SENT_2ND,
	PROGRAMS,
};

#define STATES 16 /* a power of two, for masks */

struct tally {
	__u64 transitions[STATES][STATES]; /* by the old state and the new */
	__u64 times[ROWS][BUCKETS];
	__u64 sockets[PROGRAMS]; /* see as_number */
	__u64 hop;		 /* what FIRST has counted last, of its socket */
};

/*
 * Whose numbers they are. Since Linux 6.1 the kernel does not run a program while it is
 * running on the same CPU (prog->active in __bpf_trace_run), so that no other run changes a number between the first's load and
 * store of it: it adds without a lock, and has numbers of its own for that. The
 * later programs can interrupt each other. They seldom have anything to add, and
 * do it atomically.
 */
enum tally_of {
	FIRSTS,
	LATERS,
	TALLIES,
};

/*
 * Inserted and deleted by nobody (an array); the programs add, user space reads.
 * Bounded: two entries of 8 KiB a CPU.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, TALLIES);
	__type(key, __u32);
	__type(value, struct tally);
} tallies SEC(".maps");

static __always_inline struct tally *tally_of(__u32 whose)
{
	return bpf_map_lookup_elem(&tallies, &whose);
}

/*
 * The address of a socket as a number, which it is for the verifier when it comes
 * from a map. A program has a place of its own for it, as it does not run twice at a
 * time on one CPU.
 */
static __always_inline __u64 as_number(struct tally *tally, enum program program, const struct sock *sk)
{
	tally->sockets[program] = (__u64)sk;
	return *(volatile __u64 *)&tally->sockets[program];
}

static __always_inline void add_one(__u64 *n, enum tally_of whose)
{
	if (whose == FIRSTS)
		++*n;
	else
		__sync_fetch_and_add(n, 1);
}

static __always_inline void add_transition(struct tally *tally, enum tally_of whose, __u8 oldstate,
					   __u8 newstate)
{
	add_one(&tally->transitions[oldstate & (STATES - 1)][newstate & (STATES - 1)], whose);
}

/* The number of bits that n takes. */
static __always_inline __u32 bit_length(__u64 n)
{
	__u32 bits = 0;

	if (n >> 32) {
		bits += 32;
		n >>= 32;
	}
	if (n >> 16) {
		bits += 16;
		n >>= 16;
	}
	if (n >> 8) {
		bits += 8;
		n >>= 8;
	}
	if (n >> 4) {
		bits += 4;
		n >>= 4;
	}
	if (n >> 2) {
		bits += 2;
		n >>= 2;
	}
	return bits + (n < 2 ? n : 2);
}

static __always_inline void add_time(struct tally *tally, enum tally_of whose, __u32 row, __u64 ns)
{
	__u32 bucket = bit_length(ns >> FIRST_BOUND);

	barrier_var(bucket); /* else the compiler, which knows its range, drops the check */
	if (bucket >= BUCKETS)
		bucket = BUCKETS - 1;
	add_one(&tally->times[row & (ROWS - 1)][bucket], whose);
}

#endif
