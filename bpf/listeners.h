/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Whose child a new socket is. With socket storage the kernel clones what is
 * remembered of the listener; without, the port tells, where it belongs to one
 * listener alone.
 */
#ifndef TCPSTATES_LISTENERS_H
#define TCPSTATES_LISTENERS_H

#include "owner.h"

#ifdef PORTABLE

struct place {
	__u8 addr[16]; /* IPv4 in the first four bytes */
	__u32 netns;
	__u16 port;
	__u16 family;
};

struct listener {
	struct owner owner; /* nobody, where two claim to be there */
	__u64 address;      /* of its struct sock */
};

/*
 * Inserted by note_listener, deleted by forget_listener; read by the programs.
 * Bounded: when it is full, children have no owner. Its memory is taken at
 * once: before Linux 6.1 raw tracepoints may not take any.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, struct place);
	__type(value, struct listener);
} listeners SEC(".maps");

/* Whether others may be where the socket is: several listeners have one port then. */
static __always_inline bool shares_port(const struct inet_sock *inet)
{
	const struct sock_common *skc = &inet->sk.__sk_common;

	return READ_BITS(skc, skc_reuseport) || READ(skc, skc_bound_dev_if);
}

/* Where the socket is, at its port in host order. */
static __always_inline void place_of(struct place *p, const struct inet_sock *inet, __u16 port)
{
	const struct sock_common *skc = &inet->sk.__sk_common;

	__builtin_memset(p, 0, sizeof(*p));
	p->port = port;
	p->netns = READ(skc, skc_net.net, ns.inum);
	p->family = READ(skc, skc_family);
	if (p->family == AF_INET6)
		READ_16(p->addr, skc, skc_v6_rcv_saddr);
	else
		*(__be32 *)p->addr = READ(inet, inet_saddr);
}

/*
 * A socket that was not bound has no port yet, and what inet_sport says may be
 * that of its last connection. Where there is a listener already, one of the two
 * will not be: a port that is taken is found to be so after this.
 */
static __always_inline void note_listener(const struct inet_sock *inet, const struct owner *owner)
{
	__u16 port = READ(inet, sk.__sk_common.skc_num);
	struct listener listener = {};
	struct place place;

	if (!port || shares_port(inet))
		return;
	place_of(&place, inet, port);
	listener.address = (__u64)inet;
	listener.owner = *owner;
	if (!bpf_map_update_elem(&listeners, &place, &listener, BPF_NOEXIST))
		return;
	__builtin_memset(&listener.owner, 0, sizeof(listener.owner));
	bpf_map_update_elem(&listeners, &place, &listener, 0);
}

static __always_inline void forget_listener(const struct inet_sock *inet)
{
	const struct listener *listener;
	struct place place;

	place_of(&place, inet, bpf_ntohs(READ(inet, inet_sport)));
	listener = bpf_map_lookup_elem(&listeners, &place);
	if (listener && listener->address == (__u64)inet)
		bpf_map_delete_elem(&listeners, &place);
}

/* The owner of the listener at the port of a new socket, or NULL. */
static __always_inline const struct owner *owner_at(const struct inet_sock *inet)
{
	const struct listener *listener;
	struct place place;

	if (shares_port(inet))
		return 0;
	place_of(&place, inet, bpf_ntohs(READ(inet, inet_sport)));
	listener = bpf_map_lookup_elem(&listeners, &place);
	if (!listener) {
		__builtin_memset(place.addr, 0, sizeof(place.addr));
		listener = bpf_map_lookup_elem(&listeners, &place);
	}
	return listener && listener->owner.source ? &listener->owner : 0;
}

#endif

/* A child is its listener's until it is known who serves it. */
static __always_inline void inherit(struct life *life, const struct inet_sock *inet)
{
#ifdef PORTABLE
	const struct owner *listeners_owner = owner_at(inet);
	const struct owner nobody = {};

	life->bound = 0;
	set_owner(life, listeners_owner ?: &nobody);
	if (listeners_owner)
		life->owners[life->turn & 1].source = OWNER_PORT;
#else
	struct owner owner = *owner_of(life);

	life->bound = 0;
	if (!owner.source)
		return;
	owner.source = OWNER_INHERITED;
	set_owner(life, &owner);
#endif
}

#endif
