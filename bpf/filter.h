/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Which connections are shown. The verdict is the connection's, not the
 * transition's: it falls once, when all that it needs is known, and holds to
 * the end, so that no connection is shown in part.
 */
#ifndef TCPSTATES_FILTER_H
#define TCPSTATES_FILTER_H

#include "settings.h"
#include "storage.h"

enum {
	LPORTS,
	RPORTS,
	PORT_SETS,
};

struct port_set {
	__u8 bits[65536 / 8];
};

/*
 * Inserted by user space before the programs are attached, constant from
 * then on; read by the programs. Bounded: two sets of 8 KiB.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PORT_SETS);
	__type(key, __u32);
	__type(value, struct port_set);
} ports SEC(".maps");

static __always_inline bool in_set(__u32 which, __u16 port)
{
	const struct port_set *set = bpf_map_lookup_elem(&ports, &which);
	__u32 index = port;

	/*
	 * Verifiers up to Linux 6.12 forget the range of a value whose bytes were
	 * swapped, and the compiler, which knows it, would drop the mask.
	 */
	barrier_var(index);
	index &= 65535;
	return set && set->bits[index >> 3] & (1 << (index & 7));
}

/*
 * Judges a connection by what is known of it; UNDECIDED when a port that
 * matters is not known yet and may still be (last says that it will not).
 */
static __always_inline enum verdict judge(__u16 family, __u16 lport, __u16 rport, bool last)
{
	__u16 only_family = SETTING(only_family);

	if (only_family && family != only_family)
		return DROP;
	if (SETTING(only_rports) && !in_set(RPORTS, rport))
		return DROP;
	if (SETTING(only_lports)) {
		if (!lport && !last)
			return UNDECIDED;
		if (!in_set(LPORTS, lport))
			return DROP;
	}
	return PASS;
}

#endif
