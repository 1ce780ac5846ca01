/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* How a transition becomes a record in the ring buffer. */
#ifndef TCPSTATES_EMIT_H
#define TCPSTATES_EMIT_H

#include <bpf/bpf_endian.h>

#include "count.h"
#include "storage.h"

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
	__uint(max_entries, 4 << 20);
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

static __always_inline void put_addresses(struct event *e, const struct inet_sock *inet)
{
	if (e->family == AF_INET6) {
		copy16(e->laddr, &inet->sk.__sk_common.skc_v6_rcv_saddr);
		copy16(e->raddr, &inet->sk.__sk_common.skc_v6_daddr);
		return;
	}
	__builtin_memset(e->laddr, 0, sizeof(e->laddr));
	__builtin_memset(e->raddr, 0, sizeof(e->raddr));
	*(__be32 *)e->laddr = inet->inet_saddr;
	*(__be32 *)e->raddr = inet->sk.__sk_common.skc_daddr;
}

/*
 * Sends one hop of a socket, with the addresses that the socket has now:
 * for a hop that was held, these are the ones that were missing. life may be
 * NULL: then the owner is not known.
 */
static __always_inline void emit(const struct sock *sk, const struct inet_sock *inet,
				 const struct life *life, __u8 kind,
				 const struct hop *hop, __u16 lport, __u16 tp_lport)
{
	struct event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);

	if (!e) {
		COUNT(lost);
		return;
	}
	e->kind = kind;
	e->size = sizeof(*e);
	__builtin_memset(e->pad, 0, sizeof(e->pad));

	e->time = hop->time;
	e->since = hop->since;
	e->oldstate = hop->oldstate;
	e->newstate = hop->newstate;
	e->flags = hop->flags;
	e->curpid = hop->current.pid;
	copy16(e->curcomm, hop->current.comm);

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

	e->cookie = bpf_get_socket_cookie((void *)sk);
	e->skaddr = (__u64)sk;
	e->netns = inet->sk.__sk_common.skc_net.net->ns.inum;
	e->uid = inet->sk.sk_uid.val;
	e->family = inet->sk.__sk_common.skc_family;
	e->lport = lport;
	e->tp_lport = tp_lport;
	e->rport = bpf_ntohs(inet->sk.__sk_common.skc_dport);
	put_addresses(e, inet);

	bpf_ringbuf_submit(e, 0);
	COUNT(emitted);
}

#endif
