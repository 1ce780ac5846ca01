/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Which connections are shown where all would be too many: one in so many, each
 * from its beginning to its end, as the verdict on it holds.
 */
#ifndef TCPSTATES_SAMPLE_H
#define TCPSTATES_SAMPLE_H

#include "count.h"
#include "settings.h"
#include "storage.h"

/*
 * Inserted by user space as 0, and changed while the programs run; read by them.
 * Of connections that begin now one in 2^n is shown.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} sample SEC(".maps");

/*
 * What a socket, or what is less, is chosen by: the cookie, which stays the same, or
 * chance where the programs are not told it. Then the verdict alone stays.
 */
static __always_inline __u64 lot_of(const void *sk)
{
#ifdef PORTABLE
	return bpf_get_prandom_u32();
#else
	return bpf_get_socket_cookie((void *)sk);
#endif
}

/*
 * The upper bits of the product depend on all bits of the lot (multiplicative
 * hashing). Who is among one in 8 is so among one in 4.
 */
static __always_inline bool is_in_sample(__u64 lot)
{
	__u32 zero = 0;
	const volatile __u32 *map = bpf_map_lookup_elem(&sample, &zero);
	__u32 bits = map ? *map & 31 : 0;

	return !bits || !(lot * 0x9e3779b97f4a7c15ULL >> (64 - bits));
}

/* What becomes of a connection that the filters have judged so. */
static __always_inline enum verdict draw(enum verdict verdict, const void *sk)
{
	if (verdict != PASS || !SETTING(sampling) || is_in_sample(lot_of(sk)))
		return verdict;
	COUNT(unsampled_conns);
	return UNSAMPLED;
}

/*
 * Notes that so many events of a connection are not shown, if that is because it is not
 * in the sample.
 */
static __always_inline void note_unsampled(__u8 verdict, __u32 events)
{
#ifndef PORTABLE
	if (!SETTING(sampling)) /* the verifier prunes the rest */
		return;
#endif
	if (verdict == UNSAMPLED)
		ADD(unsampled, events);
}

/*
 * Whether a request or a minisock is in the sample. What was decided of its
 * connection, or will be, is not known: it is chosen by the present number.
 */
static __always_inline bool draws_small(const void *sk)
{
	if (!SETTING(sampling) || is_in_sample(lot_of(sk)))
		return 1;
	COUNT(unsampled);
	return 0;
}

#endif
