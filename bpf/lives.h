/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Where what is remembered of sockets is kept. */
#ifndef TCPSTATES_LIVES_H
#define TCPSTATES_LIVES_H

#include "storage.h"

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

#endif
