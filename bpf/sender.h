/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Who sends a reset. */
#ifndef TCPSTATES_SENDER_H
#define TCPSTATES_SENDER_H

#include "kernel.h"

/*
 * Whether a reset is a socket's own. Else it is in answer to a segment that belongs to no
 * connection, for which a listener or none stands, or something less than a socket sends it.
 */
static __always_inline bool is_of_socket(const struct sock *sk)
{
	__u8 state;

	if (!sk)
		return 0;
	state = READ(sk, __sk_common.skc_state);
	if (state == TCP_TIME_WAIT || state == TCP_NEW_SYN_RECV || state == TCP_LISTEN)
		return 0;
	return READ_NUMBER(sk, sk_protocol) == IPPROTO_TCP;
}

#endif
