/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Resets and retransmissions: what happens to a connection without changing
 * its state, also while it is less than a socket.
 */
#ifndef TCPSTATES_SEGMENTS_H
#define TCPSTATES_SEGMENTS_H

#include "emit.h"
#include "lives.h"
#include "subject.h"

/*
 * The third argument of a tracepoint that may have two alone, else the other
 * value. The answer whether it has is put in before the verifier looks, which
 * then prunes the load: a setting would do for programs with constants alone.
 */
#define THIRD_ARGUMENT(ctx, tracepoint, field, otherwise)                                      \
	(bpf_core_field_exists(struct trace_event_raw_##tracepoint, field) ?                   \
		 (int)*(const volatile __u64 *)&(ctx)[2] : (otherwise))

/* The present state of a socket as a hop that leads nowhere. */
static __always_inline void put_present(struct hop *now, __u8 kind, const struct life *life)
{
	now->kind = kind;
	now->time = bpf_ktime_get_ns();
	now->since = life->since;
	if (life->seeded)
		now->flags |= EVENT_SINCE_SEED;
	now->oldstate = life->state;
	now->newstate = life->state;
}

/* A minisock sends a reset. */
static __always_inline void emit_minisock(void *ctx, const struct sock_common *skc,
					  __s32 reset_reason)
{
	struct hop now = {};

	if (!is_shown_small(skc))
		return;
	now.kind = EVENT_RESET_SENT;
	now.time = bpf_ktime_get_ns();
	now.oldstate = TCP_TIME_WAIT;
	now.newstate = TCP_TIME_WAIT;
	current_process(&now.current);
	emit_small(ctx, skc, 0, &now, reset_reason);
}

/* When a half-open connection sent its first SYN-ACK; 0: not known. */
static __always_inline __u64 first_synack(const struct request_sock *req)
{
#ifdef PORTABLE
	const struct tcp_request_sock *treq = (void *)req;
#else
	const struct tcp_request_sock *treq = bpf_skc_to_tcp_request_sock((void *)req);

	if (!treq)
		return 0;
#endif
	return READ(treq, snt_synack) * 1000; /* us */
}

/* A half-open connection sends its SYN-ACK once more. */
static __always_inline void emit_request(void *ctx, const struct sock *listener,
					 const struct request_sock *req)
{
	const struct sock_common *skc = &req->__req_common;
	struct hop now = {};

	if (!is_shown_small(skc))
		return;
	now.kind = EVENT_SYNACK_RETRANSMIT;
	now.time = bpf_ktime_get_ns();
	now.since = first_synack(req);
	now.oldstate = TCP_NEW_SYN_RECV;
	now.newstate = TCP_NEW_SYN_RECV;
	current_process(&now.current);
	emit_small(ctx, skc, known_life(listener), &now, READ_NUMBER(req, num_retrans) + 1);
}

#endif
