/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* How a transition becomes a record on its way to user space. */
#ifndef TCPSTATES_EMIT_H
#define TCPSTATES_EMIT_H

#include "facts.h"
#include "local_port.h"
#include "owner.h"
#include "transport.h"

/* saddr is the local address of IPv4, which sockets and what is less keep apart. */
static __always_inline void put_addresses(struct event *e, const struct sock_common *skc,
					  __be32 saddr)
{
	if (e->family == AF_INET6) {
		READ_16(e->laddr, skc, skc_v6_rcv_saddr);
		READ_16(e->raddr, skc, skc_v6_daddr);
		return;
	}
	__builtin_memset(e->laddr, 0, sizeof(e->laddr));
	__builtin_memset(e->raddr, 0, sizeof(e->raddr));
	*(__be32 *)e->laddr = saddr;
	*(__be32 *)e->raddr = READ(skc, skc_daddr);
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
	e->moment = hop->moment;
	e->kind = hop->kind;
	e->size = sizeof(*e);
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

/*
 * Sends one hop of a socket, with the addresses that the socket has now:
 * for a hop that was held, these are the ones that were missing. life may be
 * NULL.
 */
static __noinline void emit(void *ctx, const struct tcp_sock *tp, const struct life *life,
			    const struct hop *hop, __u16 lport)
{
	const struct inet_sock *inet = &tp->inet_conn.icsk_inet;
	NEW_RECORD(e);

	if (!e)
		return;
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
	put_addresses(e, &inet->sk.__sk_common, READ(inet, inet_saddr));
	if (hop->kind == EVENT_TRANSITION && !has_facts(hop->newstate))
		put_no_facts(e);
	else
		put_facts(e, tp, life);

	send(ctx, e);
}

/*
 * Sends what happens to something that is less than a socket, a request or a
 * minisock. life is its listener's, or NULL; value is how often a request's
 * SYN-ACK was sent again, or why a minisock sent a reset.
 */
static __noinline void emit_small(void *ctx, const struct sock_common *skc, const struct life *life,
				  const struct hop *hop, __s32 value)
{
	NEW_RECORD(e);

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
	e->flags |= EVENT_UID_UNKNOWN;
	e->family = READ(skc, skc_family);
	e->lport = READ(skc, skc_num);
	e->tp_lport = e->lport;
	e->rport = bpf_ntohs(READ(skc, skc_dport));
	put_addresses(e, skc, READ(skc, skc_rcv_saddr));
	e->retrans = hop->kind == EVENT_SYNACK_RETRANSMIT ? value : 0;
	e->reset_reason = hop->kind == EVENT_RESET_SENT ? value : -1;

	send(ctx, e);
}

#endif
