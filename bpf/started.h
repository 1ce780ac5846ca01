/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* When a trace begins. */
#ifndef TCPSTATES_STARTED_H
#define TCPSTATES_STARTED_H

#include "kernel.h"

/*
 * Inserted by user space as 0, and set to 1 when all programs are attached; read
 * by those that a trace begins with. The kernel attaches a program to the places
 * of a tracepoint one by one, and a socket's transitions happen at several: until
 * the last is done they would be seen in part.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} started SEC(".maps");

static __always_inline bool has_started(void)
{
	__u32 zero = 0;
	const volatile __u32 *is = bpf_map_lookup_elem(&started, &zero);

	return is && *is;
}

#endif
