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
	/* Was handled, and the copy has not seen that yet: see marks.h. */
	bool handled_reset_received;
	bool handled_reset_sent;
	bool handled_retransmit;
	__s32 reset_reason;
	__u32 pad2;
	struct hop held;
};

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
	life->handled_reset_received = 0;
	life->handled_reset_sent = 0;
	life->handled_retransmit = 0;
	set_owner(life, &nobody);
}
#endif

#endif
