/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What is remembered of a socket between its transitions. */
#ifndef TCPSTATES_STORAGE_H
#define TCPSTATES_STORAGE_H

#include "event.h"

/* Whether a connection is shown, see filter.h. */
enum verdict {
	UNDECIDED,
	PASS,
	DROP,
	UNSAMPLED, /* the filters let it pass, and it is not in the sample: see sample.h */
};

/* A transition that waits for the ports which decide whether it is shown. */
struct hop {
	__u64 time;
	__u64 since;
	__u64 moment; /* see struct event */
	struct process current;
	__u8 oldstate;
	__u8 newstate;
	__u8 flags;  /* enum event_flags */
	__u8 signal; /* see struct event */
	__u8 kind;   /* enum event_kind */
	__u8 pad[7];
};

struct life {
	__u64 since;	      /* ns, when state began; 0: not known */
	/*
	 * The owner, in one of two places: it changes by filling the other and
	 * turning to it, so that who reads it meanwhile reads a whole one.
	 */
	struct owner owners[2];
	__u32 bound;	      /* 1: the owner is final, or about to be: I/O tells nothing new */
	__u16 mark;	      /* the transition that was handled and that the twin has not seen yet */
	__u8 state;	      /* to which the last transition led; 0: none was seen */
	__u8 verdict;	      /* enum verdict, of the connection that the socket now carries */
	bool holds;	      /* whether held is one */
	__u8 turn;	      /* which of owners is the owner */
	bool seeded;	      /* since is when tracing began: state began before */
	bool got_reset;	      /* a reset came since the last transition */
	bool sent_reset;      /* one was sent since then, for reset_reason */
	__u8 pad[3];
	__s32 reset_reason;
	__u32 pad2;
	struct hop held;
};

#ifndef PORTABLE

/*
 * Inserted by life_of at a socket's first transition or reset, and by the kernel when
 * it clones a listener into a child, which so inherits its owner
 * (BPF_F_CLONE); read and changed by the programs alone; deleted by the
 * kernel with the socket. Bounded by the number of sockets.
 */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct life);
} lives SEC(".maps");

/* NULL when the kernel has no memory for it. */
static __always_inline struct life *life_of(const struct sock *sk)
{
	return bpf_sk_storage_get(&lives, (void *)sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
}

/* NULL for a socket of which nothing is remembered. */
static __always_inline struct life *known_life(const struct sock *sk)
{
	return bpf_sk_storage_get(&lives, (void *)sk, 0, 0);
}

#else

/*
 * By the address of the struct sock, for kernels whose tracing programs have no
 * socket storage. Inserted by life_of, deleted by nobody: an address is used
 * again, so a life begins anew where a socket's may. Bounded: user space sets how
 * many; the least recently used entry goes.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, struct life);
} lives SEC(".maps");

static __always_inline struct life *known_life(const struct sock *sk)
{
	__u64 address = (__u64)sk;

	return bpf_map_lookup_elem(&lives, &address);
}

/* Not inlined, to have the blank one off the stack while an event is made. */
static __noinline int begin_life(__u64 address)
{
	struct life blank = {};

	return bpf_map_update_elem(&lives, &address, &blank, BPF_NOEXIST);
}

/* NULL when the map is busy. */
static __always_inline struct life *life_of(const struct sock *sk)
{
	struct life *life = known_life(sk);

	if (life)
		return life;
	begin_life((__u64)sk);
	return known_life(sk);
}

#endif

/*
 * What was known of the connection holds no more: the socket begins another,
 * or a transition went unseen.
 */
static __always_inline void forget_connection(struct life *life)
{
	life->verdict = UNDECIDED;
	life->holds = 0;
}

static __always_inline const struct owner *owner_of(const struct life *life)
{
	return &life->owners[life->turn & 1];
}

static __always_inline void set_owner(struct life *life, const struct owner *owner)
{
	__u8 other = (life->turn & 1) ^ 1;

	life->owners[other] = *owner;
	barrier();
	life->turn = other;
}

#ifdef PORTABLE
/* Another socket may have had the address. The mark is the present one's. */
static __always_inline void forget_socket(struct life *life)
{
	const struct owner nobody = {};

	forget_connection(life);
	life->since = 0;
	life->seeded = 0;
	life->state = 0;
	life->bound = 0;
	life->got_reset = 0;
	life->sent_reset = 0;
	set_owner(life, &nobody);
}
#endif

#endif
