/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What the filters are told of a socket, and of what is less. */
#ifndef TCPSTATES_SUBJECT_H
#define TCPSTATES_SUBJECT_H

#include <bpf/bpf_endian.h>

#include "filter.h"
#include "sample.h"

/* saddr is the local address of IPv4, which sockets and what is less keep apart. */
static __always_inline void put_ends(struct subject *s, const struct sock_common *skc,
				     __be32 saddr)
{
	s->family = READ(skc, skc_family);
	s->rport = bpf_ntohs(READ(skc, skc_dport));
	s->netns = READ(skc, skc_net.net, ns.inum);
	if (s->family == AF_INET6) {
		READ_16(s->local.addr, skc, skc_v6_rcv_saddr);
		READ_16(s->remote.addr, skc, skc_v6_daddr);
	} else {
		put_mapped(&s->local, saddr);
		put_mapped(&s->remote, READ(skc, skc_daddr));
	}
}

/*
 * Who opened the socket by connect() or listen() owns it for good. A child has
 * its listener's owner until it is known who serves it, so user space judges that.
 */
static __always_inline void put_opener(struct subject *s, const struct sock *sk,
				       const struct life *life)
{
	const struct owner *owner = owner_of(life);

	if (owner->source != OWNER_CONNECT && owner->source != OWNER_LISTEN)
		return;
	s->pid = owner->process.pid;
	s->uid = READ(sk, sk_uid.val);
	s->has_uid = 1;
	s->unfollowed = SETTING(follow_pid) && !owner->followed;
}

static __noinline int judge_by_filters(const struct tcp_sock *tp, const struct life *life,
				       __u16 lport, bool last)
{
	const struct inet_sock *inet = &tp->inet_conn.icsk_inet;
	struct subject s = {};

	put_ends(&s, &inet->sk.__sk_common, READ(inet, inet_saddr));
	if (life)
		put_opener(&s, &inet->sk, life);
	s.lport = lport;
	s.last = last;
	return judge(&s);
}

/* life may be NULL: then nobody knows who opened the socket. */
static __always_inline enum verdict judge_socket(const struct tcp_sock *tp,
						 const struct life *life, __u16 lport, bool last)
{
	return draw(SETTING(filters) ? judge_by_filters(tp, life, lport, last) : PASS, tp);
}

static __noinline int judge_small_by_filters(const struct sock_common *skc)
{
	struct subject s = {};

	put_ends(&s, skc, READ(skc, skc_rcv_saddr));
	s.lport = READ(skc, skc_num);
	s.last = 1;
	return judge(&s);
}

/* Whether a request or a minisock is shown. */
static __always_inline bool is_shown_small(const struct sock_common *skc)
{
	return (!SETTING(filters) || judge_small_by_filters(skc) == PASS) && draws_small(skc);
}

#endif
