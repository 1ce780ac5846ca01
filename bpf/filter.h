/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Which connections are shown. The verdict is the connection's, not the
 * transition's: it falls once, when all that it needs is known, and holds to
 * the end, so that no connection is shown in part. It may let pass what is not
 * wanted, which user space leaves out, and drops nothing that is.
 */
#ifndef TCPSTATES_FILTER_H
#define TCPSTATES_FILTER_H

#include "settings.h"
#include "storage.h"

struct port_set {
	__u8 bits[65536 / 8];
};

/*
 * Inserted by user space before the programs are attached, constant from
 * then on; read by the programs. Bounded: three sets of 8 KiB, by enum end.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ENDS);
	__type(key, __u32);
	__type(value, struct port_set);
} ports SEC(".maps");

/* An address, or how those of a network begin, in the set of an end. */
struct prefix {
	__u32 length; /* of what follows, in bits */
	__u32 end;    /* enum end */
	__u8 addr[16] __attribute__((aligned(8))); /* IPv4 as mapped; for copy16 */
};

/*
 * Inserted by user space before the programs are attached, constant from then
 * on; read by the programs. Bounded: user space sets how many.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC); /* there is no other */
	__uint(max_entries, 1);
	__type(key, struct prefix);
	__type(value, __u8);
} prefixes SEC(".maps");

struct number {
	__u32 what; /* enum number_set */
	__u32 value;
};

/*
 * Inserted by user space before the programs are attached, constant from then
 * on; read by the programs. Bounded: user space sets how many.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct number);
	__type(value, __u8);
} numbers SEC(".maps");

/* What a connection is judged by. */
struct subject {
	struct prefix local, remote; /* their ends are for who looks them up */
	__u32 netns;		     /* 0: not known */
	__u32 pid;		     /* of who opened the socket; 0: not known, or it is a child */
	__u32 uid;		     /* of who opened the socket */
	bool has_uid;
	bool unfollowed; /* who opened the socket is not followed, and others are */
	bool last; /* a local port that is not known yet will never be */
	__u16 family;
	__u16 lport;
	__u16 rport;
};

static __always_inline void put_mapped(struct prefix *p, __be32 addr)
{
	p->addr[10] = 0xff;
	p->addr[11] = 0xff;
	*(__be32 *)&p->addr[12] = addr;
}

static __always_inline bool has_port(__u32 end, __u16 port)
{
	const struct port_set *set = bpf_map_lookup_elem(&ports, &end);
	__u32 index = port;

	/*
	 * Verifiers up to Linux 6.12 forget the range of a value whose bytes were
	 * swapped, and the compiler, which knows it, would drop the mask.
	 */
	barrier_var(index);
	index &= 65535;
	return set && set->bits[index >> 3] & (1 << (index & 7));
}

static __always_inline bool has_address(__u32 end, struct prefix *addr)
{
	addr->length = 8 * (sizeof(*addr) - __builtin_offsetof(struct prefix, end));
	addr->end = end;
	return bpf_map_lookup_elem(&prefixes, addr);
}

static __always_inline bool has_number(__u32 what, __u32 value)
{
	struct number number = { what, value };

	return bpf_map_lookup_elem(&numbers, &number);
}

/* Whether the rule allows what its set has, or has not; has is asked where there is a rule alone. */
#define ALLOWS(rule, has)                            \
	({                                           \
		__u8 r_ = (rule);                    \
		r_ == ANY || (has) == (r_ == ONLY);  \
	})

static __always_inline bool allows_numbers(const struct subject *s)
{
	return (!s->netns || ALLOWS(SETTING(numbers[NETNS]), has_number(NETNS, s->netns))) &&
	       (!s->pid || ALLOWS(SETTING(numbers[PID]), has_number(PID, s->pid))) &&
	       (!s->has_uid || ALLOWS(SETTING(numbers[UID]), has_number(UID, s->uid)));
}

static __always_inline bool allows_addresses(struct subject *s)
{
	return ALLOWS(SETTING(addrs[LOCAL]), has_address(LOCAL, &s->local)) &&
	       ALLOWS(SETTING(addrs[REMOTE]), has_address(REMOTE, &s->remote)) &&
	       ALLOWS(SETTING(addrs[EITHER]),
		      has_address(EITHER, &s->local) || has_address(EITHER, &s->remote));
}

/*
 * UNDECIDED when the local port matters, is not known yet and may still be. An
 * unknown port is in no set. The addresses of a client are both known when it
 * begins to connect (tcp_v4_connect, tcp_v6_connect).
 */
static __always_inline enum verdict judge_ports(const struct subject *s)
{
	__u8 local = SETTING(ports[LOCAL]), remote = SETTING(ports[REMOTE]);
	__u8 either = SETTING(ports[EITHER]);

	if (!ALLOWS(remote, has_port(REMOTE, s->rport)))
		return DROP;
	if (either && has_port(EITHER, s->rport)) {
		if (either == EXCEPT)
			return DROP;
		either = ANY;
	}
	if ((local || either) && !s->lport && !s->last)
		return UNDECIDED;
	if (!ALLOWS(local, has_port(LOCAL, s->lport)) || !ALLOWS(either, has_port(EITHER, s->lport)))
		return DROP;
	return PASS;
}

/* Only where a filter is set: see SETTING(filters). */
static __always_inline enum verdict judge(struct subject *s)
{
	__u16 only_family = SETTING(only_family);

	if (only_family && s->family != only_family)
		return DROP;
	if (s->unfollowed || !allows_numbers(s) || !allows_addresses(s))
		return DROP;
	return judge_ports(s);
}

#endif
