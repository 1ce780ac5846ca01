/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* How a transition becomes a record in the ring buffer. */
#ifndef TCPSTATES_EMIT_H
#define TCPSTATES_EMIT_H

#include <bpf/bpf_endian.h>

#include "count.h"
#include "facts.h"
#include "owner.h"

/*
 * Inserted by emit, read and released by user space, which sets the size
 * (--buffer) before loading. When it is full, records are lost and counted.
 *
 * Submitting without flags wakes the reader only when it has read all there
 * is and waits. The reader naps for a few milliseconds after each sweep, so a
 * lone transition wakes it at once and a burst wakes it once a nap.
 */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} events SEC(".maps");

/*
 * The local port at this transition, or 0. What leaves CLOSE may carry the
 * stale inet_sport of the socket's last connection, and skc_num is the port
 * it is bound to, if it is; what enters CLOSE has lost skc_num, and
 * inet_sport is right.
 */
static __always_inline __u16 local_port(const struct inet_sock *inet, int oldstate)
{
	if (oldstate == TCP_CLOSE)
		return inet->sk.__sk_common.skc_num;
	return bpf_ntohs(inet->inet_sport);
}

/* saddr is the local address of IPv4, which sockets and what is less keep apart. */
static __always_inline void put_addresses(struct event *e, const struct sock_common *skc,
					  __be32 saddr)
{
	if (e->family == AF_INET6) {
		copy16(e->laddr, &skc->skc_v6_rcv_saddr);
		copy16(e->raddr, &skc->skc_v6_daddr);
		return;
	}
	__builtin_memset(e->laddr, 0, sizeof(e->laddr));
	__builtin_memset(e->raddr, 0, sizeof(e->raddr));
	*(__be32 *)e->laddr = saddr;
	*(__be32 *)e->raddr = skc->skc_daddr;
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

/* A record to fill; NULL, and counted, when there is no room. */
static __always_inline struct event *new_record(__u8 kind)
{
	struct event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);

	if (!e) {
		COUNT(lost);
		return 0;
	}
	e->kind = kind;
	e->size = sizeof(*e);
	return e;
}

static __always_inline void send(struct event *e)
{
	bpf_ringbuf_submit(e, 0);
	COUNT(emitted);
}

static __always_inline void put_hop(struct event *e, const struct hop *hop)
{
	e->time = hop->time;
	e->since = hop->since;
	e->moment = hop->moment;
	e->oldstate = hop->oldstate;
	e->newstate = hop->newstate;
	e->flags = hop->flags;
	e->signal = hop->signal;
	e->curpid = hop->current.pid;
	copy16(e->curcomm, hop->current.comm);
}

/*
 * Sends one hop of a socket, with the addresses that the socket has now:
 * for a hop that was held, these are the ones that were missing. life may be
 * NULL.
 */
static __noinline void emit(const struct tcp_sock *tp, const struct life *life, __u8 kind,
			    const struct hop *hop, __u16 lport)
{
	const struct inet_sock *inet = &tp->inet_conn.icsk_inet;
	struct event *e = new_record(kind);

	if (!e)
		return;
	put_hop(e, hop);
	put_owner(e, life);

	e->cookie = bpf_get_socket_cookie((void *)tp);
	e->skaddr = (__u64)tp;
	e->netns = inet->sk.__sk_common.skc_net.net->ns.inum;
	e->uid = inet->sk.sk_uid.val;
	e->family = inet->sk.__sk_common.skc_family;
	e->lport = lport;
	e->tp_lport = bpf_ntohs(inet->inet_sport);
	e->rport = bpf_ntohs(inet->sk.__sk_common.skc_dport);
	put_addresses(e, &inet->sk.__sk_common, inet->inet_saddr);
	if (kind == EVENT_TRANSITION && !has_facts(hop->newstate))
		put_no_facts(e);
	else
		put_facts(e, tp, life);

	send(e);
}

/*
 * Sends what happens to something that is less than a socket, a request or a
 * minisock. life is its listener's, or NULL; value is how often a request's
 * SYN-ACK was sent again, or why a minisock sent a reset.
 */
static __noinline void emit_small(const struct sock_common *skc, const struct life *life,
				  __u8 kind, const struct hop *hop, __s32 value)
{
	struct event *e = new_record(kind);

	if (!e)
		return;
	put_no_facts(e);
	put_hop(e, hop);
	put_owner(e, life);
	if (e->source)
		e->source = OWNER_INHERITED;

	e->cookie = bpf_get_socket_cookie((void *)skc);
	e->skaddr = (__u64)skc;
	e->netns = skc->skc_net.net->ns.inum;
	e->uid = 0;
	e->flags |= EVENT_UID_UNKNOWN;
	e->family = skc->skc_family;
	e->lport = skc->skc_num;
	e->tp_lport = skc->skc_num;
	e->rport = bpf_ntohs(skc->skc_dport);
	put_addresses(e, skc, skc->skc_rcv_saddr);
	e->retrans = kind == EVENT_SYNACK_RETRANSMIT ? value : 0;
	e->reset_reason = kind == EVENT_RESET_SENT ? value : -1;

	send(e);
}

#endif
