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

/*
 * Inserted by note_listener, deleted by forget_listener; read by the programs.
 * Bounded: when it is full, children have no owner.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct place);
	__type(value, struct owner);
} listeners SEC(".maps");

/*
 * Where the socket is, or false if others may be there, too: with SO_REUSEPORT
 * and SO_BINDTODEVICE several listeners have one port. port is its own, in host
 * order.
 */
static __always_inline bool place_of(struct place *p, const struct inet_sock *inet)
{
	const struct sock_common *skc = &inet->sk.__sk_common;

	__builtin_memset(p, 0, sizeof(*p));
	if (READ_BITS(skc, skc_reuseport) || READ(skc, skc_bound_dev_if))
		return 0;
	p->netns = READ(skc, skc_net.net, ns.inum);
	p->port = bpf_ntohs(READ(inet, inet_sport));
	p->family = READ(skc, skc_family);
	if (p->family == AF_INET6)
		READ_16(p->addr, skc, skc_v6_rcv_saddr);
	else
		*(__be32 *)p->addr = READ(inet, inet_saddr);
	return p->port != 0;
}

static __always_inline void note_listener(const struct inet_sock *inet, const struct owner *owner)
{
	struct place place;

	if (place_of(&place, inet))
		bpf_map_update_elem(&listeners, &place, owner, 0);
}

static __always_inline void forget_listener(const struct inet_sock *inet)
{
	struct place place;

	if (place_of(&place, inet))
		bpf_map_delete_elem(&listeners, &place);
}

/* The owner of the listener at the port of a new socket, or NULL. */
static __always_inline const struct owner *owner_at(const struct inet_sock *inet)
{
	const struct owner *owner;
	struct place place;

	if (!place_of(&place, inet))
		return 0;
	owner = bpf_map_lookup_elem(&listeners, &place);
	if (owner)
		return owner;
	__builtin_memset(place.addr, 0, sizeof(place.addr));
	return bpf_map_lookup_elem(&listeners, &place);
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
