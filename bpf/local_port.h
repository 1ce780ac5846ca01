/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Which local port a socket has. */
#ifndef TCPSTATES_LOCAL_PORT_H
#define TCPSTATES_LOCAL_PORT_H

#include <bpf/bpf_endian.h>

#include "kernel.h"

/*
 * The local port at this transition, or 0. What leaves CLOSE may carry the
 * stale inet_sport of the socket's last connection, and skc_num is the port
 * it is bound to, if it is; what enters CLOSE has lost skc_num, and
 * inet_sport is right.
 */
static __always_inline __u16 local_port(const struct inet_sock *inet, int oldstate)
{
	if (oldstate == TCP_CLOSE)
		return READ(inet, sk.__sk_common.skc_num);
	return bpf_ntohs(READ(inet, inet_sport));
}

#endif
