/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* How a transition becomes a record on its way to user space. */
#ifndef TCPSTATES_EMIT_H
#define TCPSTATES_EMIT_H

#include "facts.h"
#include "local_port.h"
#include "owner.h"
#include "transport.h"

/*
 * In a record of all lengths. saddr is the local address of IPv4, which sockets and
 * what is less keep apart.
 */
static __always_inline void put_ipv4(struct event *e, const struct sock_common *skc, __be32 saddr)
{
	*(__be32 *)e->laddr4 = saddr;
	*(__be32 *)e->raddr4 = READ(skc, skc_daddr);
}

/* In a whole record. */
static __always_inline void put_addresses(struct event *e, const struct sock_common *skc,
					  __be32 saddr)
{
	if (e->family == AF_INET6) {
		__builtin_memset(e->laddr4, 0, 8);
		READ_16(e->laddr, skc, skc_v6_rcv_saddr);
		READ_16(e->raddr, skc, skc_v6_daddr);
		return;
	}
	put_ipv4(e, skc, saddr);
	__builtin_memset(e->laddr, 0, 32);
}

/* life may be NULL: then the owner is not known. */
static __always_inline void put_owner(struct event *e, const struct life *life)
{
	if (life) {
		const struct owner *owner = owner_of(life);

		e->pid = owner->process.pid;
		copy16(e->comm, owner->process.comm);
		e->cgroup = owner->cgroup;
		e->source = owner->source;
	} else {
		e->pid = 0;
		__builtin_memset(e->comm, 0, sizeof(e->comm));
		e->cgroup = 0;
		e->source = OWNER_UNKNOWN;
	}
}

static __always_inline void put_hop(struct event *e, const struct hop *hop)
{
	e->time = hop->time;
	e->since = hop->since;
	e->kind = hop->kind;
	e->oldstate = hop->oldstate;
	e->newstate = hop->newstate;
	e->flags = hop->flags;
	e->signal = hop->signal;
	e->curpid = hop->current.pid;
	copy16(e->curcomm, hop->current.comm);
}

/* The cookie of a socket, or of what is less; 0 where the programs are not told it. */
static __always_inline __u64 cookie_of(const void *sk)
{
#ifdef PORTABLE
	return 0;
#else
	return bpf_get_socket_cookie((void *)sk);
#endif
}

/* Fills what all records of a socket have but the addresses. */
static __always_inline void put_socket(struct event *e, const struct tcp_sock *tp,
				       const struct life *life, const struct hop *hop, __u16 lport)
{
	const struct inet_sock *inet = &tp->inet_conn.icsk_inet;

	put_hop(e, hop);
	put_owner(e, life);
	e->cookie = cookie_of(tp);
	e->skaddr = (__u64)tp;
	e->netns = READ(inet, sk.__sk_common.skc_net.net, ns.inum);
	e->uid = READ(inet, sk.sk_uid.val);
	e->family = READ(inet, sk.__sk_common.skc_family);
	e->lport = lport;
	e->tp_lport = bpf_ntohs(READ(inet, inet_sport));
	e->rport = bpf_ntohs(READ(inet, sk.__sk_common.skc_dport));
	e->shutdown = 0;
}

/* Whether a record says more than addresses and states. */
static __always_inline bool says_more(const struct hop *hop)
{
	return hop->kind != EVENT_TRANSITION || has_facts(hop->newstate) ||
	       hop->flags & EVENT_ACCEPTED;
}

/* Fills what follows in a record that has room for it. */
static __always_inline void put_more(struct event *e, const struct tcp_sock *tp,
				     const struct life *life, const struct hop *hop)
{
	if (hop->kind == EVENT_TRANSITION && !has_facts(hop->newstate))
		put_no_facts(e);
	else
		put_facts(e, tp, life);
	e->moment = hop->moment;
}

/*
 * Sends one hop of a socket, with the addresses that the socket has now:
 * for a hop that was held, these are the ones that were missing. life may be
 * NULL. The length of a record must be a constant, so each has lines of its own;
 * portable programs, which must be short, send whole ones.
 */
static __noinline void emit(void *ctx, const struct tcp_sock *tp, const struct life *life,
			    const struct hop *hop, __u16 lport)
{
	const struct inet_sock *inet = &tp->inet_conn.icsk_inet;
	const struct sock_common *skc = &inet->sk.__sk_common;

#ifndef PORTABLE
	if (READ(skc, skc_family) != AF_INET6 && !says_more(hop)) {
		NEW_RECORD(e, RECORD_PLAIN);

		if (!e)
			return;
		put_socket(e, tp, life, hop, lport);
		put_ipv4(e, skc, READ(inet, inet_saddr));
		SEND(ctx, e, RECORD_PLAIN);
		return;
	}
	if (READ(skc, skc_family) != AF_INET6) {
		NEW_RECORD(e, RECORD_FACTS);

		if (!e)
			return;
		put_socket(e, tp, life, hop, lport);
		put_ipv4(e, skc, READ(inet, inet_saddr));
		put_more(e, tp, life, hop);
		SEND(ctx, e, RECORD_FACTS);
		return;
	}
#endif
	NEW_RECORD(e, sizeof(*e));

	if (!e)
		return;
	put_socket(e, tp, life, hop, lport);
	put_addresses(e, skc, READ(inet, inet_saddr));
	put_more(e, tp, life, hop);
	SEND(ctx, e, sizeof(*e));
}

/*
 * Sends what happens to something that is less than a socket, a request or a
 * minisock. life is its listener's, or NULL; value is how often a request's
 * SYN-ACK was sent again, or why a minisock sent a reset.
 */
static __noinline void emit_small(void *ctx, const struct sock_common *skc, const struct life *life,
				  const struct hop *hop, __s32 value)
{
	NEW_RECORD(e, sizeof(*e));

	if (!e)
		return;
	put_no_facts(e);
	put_hop(e, hop);
	put_owner(e, life);
	if (e->source)
		e->source = OWNER_INHERITED;

	e->cookie = cookie_of(skc);
	e->skaddr = (__u64)skc;
	e->netns = READ(skc, skc_net.net, ns.inum);
	e->uid = 0;
	e->shutdown = 0;
	e->flags |= EVENT_UID_UNKNOWN;
	e->family = READ(skc, skc_family);
	e->lport = READ(skc, skc_num);
	e->tp_lport = e->lport;
	e->rport = bpf_ntohs(READ(skc, skc_dport));
	put_addresses(e, skc, READ(skc, skc_rcv_saddr));
	e->retrans = hop->kind == EVENT_SYNACK_RETRANSMIT ? value : 0;
	e->reset_reason = hop->kind == EVENT_RESET_SENT ? value : -1;

	SEND(ctx, e, sizeof(*e));
}

#endif
