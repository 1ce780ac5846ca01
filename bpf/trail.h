/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What the summary that is made in the kernel remembers of a socket between its
 * transitions: less than a trace does, as nobody is told of a single one.
 */
#ifndef TCPSTATES_TRAIL_H
#define TCPSTATES_TRAIL_H

#include "ending.h"
#include "settings.h"
#include "storage.h"

enum trail_flags {
	TRAIL_CLIENT = 1 << 0,	   /* connect() was called */
	TRAIL_KILLED = 1 << 1,	   /* a signal ends the process that closes it */
	TRAIL_CLOSED = 1 << 2,	   /* close() was called, and data_at_close is known */
	TRAIL_GOT_RESET = 1 << 3,  /* a reset came since the last transition */
	TRAIL_SENT_RESET = 1 << 4, /* one was sent since then */
};

#define TRAIL_RESETS (TRAIL_GOT_RESET | TRAIL_SENT_RESET)

struct trail {
	__u64 sk;	      /* of a slot: the address of whose it is, see LEFT; 0: nobody's */
	__u64 since;	      /* ns, when state began; 0: not known */
	__u64 opened;	      /* ns, when connect() was called; 0: not known */
	struct ending ended;  /* as what its end was counted; of no state: it was not */
	__u32 opener;	      /* the process that called connect() or listen(); 0: not known, or nobody asks */
	__u32 data_at_close;  /* segments with data that had come when it was closed */
	__u8 state;	      /* to which the last transition led; 0: none was seen */
	__u8 verdict;	      /* enum verdict, of the connection that the socket now carries */
	__u8 flags;	      /* enum trail_flags */
	__u8 held;	      /* a transition that waits for the verdict, as packed; 0: none does */
	/* Was handled, and the copy has not seen that yet: see marks.h. */
	bool handled_reset_received;
	bool handled_reset_sent;
	__u8 pad[18];
};

_Static_assert(sizeof(struct trail) == 64, "it is one line of the cache");

#define SLOT_BITS 16

/*
 * Where trails are as a rule: each socket has one place at which its trail can be, by
 * its address, so that no memory is asked for when it begins and none given back when
 * it ends, which takes longer than all else here. Inserted and deleted by nobody (an
 * array); the programs take a slot and leave it. Bounded: 4 MiB.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << SLOT_BITS);
	__type(key, __u32);
	__type(value, struct trail);
} slots SEC(".maps");

/*
 * Where trails are of sockets whose slot is another's, and of all where children must
 * inherit who opened their listener (BPF_F_CLONE; else user space takes that flag
 * away). Inserted by the programs, and by the kernel when it clones a listener;
 * deleted by the kernel with the socket. Bounded by the number of sockets.
 */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct trail);
} trails SEC(".maps");

/*
 * Beside the address in a slot: its socket is in CLOSE. Then anybody may take it, but
 * for others than that socket only when no report of a reset comes any more that
 * belongs to its end (conn's settling). It may have been left after now.
 */
#define LEFT 1ULL
#define SETTLING_NS 50000000ULL

static __always_inline bool is_free(const struct trail *slot, __u64 taken, __u64 address, __u64 now)
{
	return !taken || taken == (address | LEFT) || (taken & LEFT && (__s64)(now - slot->since) > (__s64)SETTLING_NS);
}

/* Makes a free slot the socket's. It is false if somebody else was faster. */
static __always_inline bool take_slot(struct trail *slot, __u64 taken, __u64 address)
{
	if (__sync_val_compare_and_swap(&slot->sk, taken, address) != taken)
		return 0;
	if (taken != (address | LEFT))
		__builtin_memset(&slot->since, 0, sizeof(*slot) - __builtin_offsetof(struct trail, since));
	return 1;
}

/*
 * The trail of a socket, of which address is the address as a number; it is to be given
 * back by leave_trail. Transitions of a socket never run side by side, and so nobody else
 * uses its trail meanwhile. NULL when the kernel has no memory for it.
 */
static __always_inline struct trail *trail_of(const struct sock *sk, __u64 address, __u64 now)
{
	/* Fibonacci hashing: by the golden ratio of 2^64. */
	__u32 index = address * 0x9e3779b97f4a7c15ULL >> (64 - SLOT_BITS);
	struct trail *slot, *trail;
	__u64 taken;

	slot = SETTING(numbers[PID]) ? 0 : bpf_map_lookup_elem(&slots, &index);
	if (slot && slot->sk == address)
		return slot;
	if (slot) {
		trail = bpf_sk_storage_get(&trails, (void *)sk, 0, 0);
		if (trail)
			return trail;
		taken = slot->sk;
		if (is_free(slot, taken, address, now) && take_slot(slot, taken, address))
			return slot;
	}
	return bpf_sk_storage_get(&trails, (void *)sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
}

/* Gives the socket's slot to who wants it, if it has one and is in CLOSE. */
static __always_inline void leave_trail(struct trail *trail)
{
	if (trail->sk && trail->state == TCP_CLOSE)
		__sync_lock_test_and_set(&trail->sk, trail->sk | LEFT); /* after all that was written */
}

/* The socket begins another connection. */
static __always_inline void begin_trail(struct trail *trail)
{
	trail->opened = 0;
	trail->ended.oldstate = 0;
	trail->verdict = UNDECIDED;
	trail->flags = 0;
	trail->held = 0;
}

/* States are below 16. */
static __always_inline __u8 packed(__u8 oldstate, __u8 newstate)
{
	return oldstate << 4 | newstate;
}

#endif
