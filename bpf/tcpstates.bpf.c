//go:build ignore

// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Reports every change of a TCP socket's state, from the tracepoint
 * sock:inet_sock_set_state. The tracepoint fires in inet_sk_state_store with
 * the socket locked or not yet public, so the transitions of one socket never
 * run side by side.
 */
#include "accept.h"
#include "count.h"
#include "emit.h"
#include "filter.h"
#include "owner.h"
#include "segments.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/*
 * Judges the connection, if that was not done and can be now, and sends what
 * waited for it. Tells whether it is shown.
 */
static __always_inline bool is_shown(const struct tcp_sock *tp, struct life *life, __u16 lport,
				     bool last)
{
	const struct sock_common *skc = &tp->inet_conn.icsk_inet.sk.__sk_common;

	if (life->verdict == UNDECIDED)
		life->verdict = judge(skc->skc_family, lport, bpf_ntohs(skc->skc_dport), last);
	if (life->verdict == UNDECIDED)
		return 0;
	if (life->verdict == PASS && life->holds)
		emit(tp, life, EVENT_TRANSITION, &life->held, lport);
	life->holds = 0;
	return life->verdict == PASS;
}

/*
 * Sends the hop, held or not as the filters say. life is not NULL.
 */
static __always_inline void filter_and_emit(const struct tcp_sock *tp, struct life *life,
					    const struct hop *hop)
{
	const struct inet_sock *inet = &tp->inet_conn.icsk_inet;
	__u16 lport = local_port(inet, hop->oldstate);
	__u16 rport = bpf_ntohs(inet->sk.__sk_common.skc_dport);

	/*
	 * Before Linux 6.15 a child is announced before it has its remote port
	 * and its own cookie: both are there at its next transition.
	 */
	bool unborn = is_born(hop->oldstate, hop->newstate) && !rport;

	if (!unborn && is_shown(tp, life, lport, hop->newstate == TCP_CLOSE)) {
		emit(tp, life, EVENT_TRANSITION, hop, lport);
		return;
	}
	if (life->verdict == UNDECIDED) {
		life->held = *hop;
		life->holds = 1;
	}
}

/*
 * The transition at hand does not begin where the last one ended: one between
 * them went unseen, whatever the reason. Then nobody knows when the old state
 * began, nor who has opened the socket anew.
 */
static __always_inline void note_gap(struct life *life)
{
	COUNT(gaps);
	life->since = 0;
	life->seeded = 0;
	if (life->state == TCP_CLOSE) {
		const struct owner nobody = {};

		set_owner(life, &nobody);
		life->bound = 0;
	}
	forget_connection(life);
}

/* A child is its listener's until it is known who serves it. */
static __always_inline void inherit(struct life *life)
{
	struct owner owner = *owner_of(life);

	life->bound = 0;
	if (!owner.source)
		return;
	owner.source = OWNER_INHERITED;
	set_owner(life, &owner);
}

static __always_inline void on_transition(const struct sock *sk, struct life *life, int oldstate,
					  int newstate)
{
	const struct tcp_sock *tp = bpf_skc_to_tcp_sock((void *)sk);
	const struct inet_sock *inet;
	struct hop hop = {};

	if (!tp) /* SCTP, or MPTCP, whose subflows are TCP sockets of their own */
		return;
	if (oldstate == newstate && !self_transitions)
		return;
	inet = &tp->inet_conn.icsk_inet;

	hop.time = bpf_ktime_get_ns();
	hop.oldstate = oldstate;
	hop.newstate = newstate;
	current_process(&hop.current);
	if (closes(&inet->sk, oldstate, newstate)) {
		hop.flags = EVENT_CLOSER;
		hop.signal = ending_signal();
	}

	if (!life) {
		/* No memory: the filters cannot hold a hop, so they judge it as it is. */
		__u16 lport = local_port(inet, oldstate);

		if (judge(inet->sk.__sk_common.skc_family, lport,
			  bpf_ntohs(inet->sk.__sk_common.skc_dport), 1) == PASS)
			emit(tp, life, EVENT_TRANSITION, &hop, lport);
		return;
	}

	if (life->state && life->state != oldstate)
		note_gap(life);
	if (opens(oldstate, newstate)) {
		struct owner owner;

		current_owner(&owner, newstate == TCP_LISTEN ? OWNER_LISTEN : OWNER_CONNECT);
		set_owner(life, &owner);
		life->bound = 1;
		forget_connection(life);
	} else if (is_born(oldstate, newstate)) {
		inherit(life);
		life->since = 0;
		life->seeded = 0;
		forget_connection(life);
		forget_acceptor(sk);
	}
	if (!life->bound)
		bind_acceptor(sk, life, &hop);
	hop.since = life->since;
	if (life->seeded)
		hop.flags |= EVENT_SINCE_SEED;
	life->since = hop.time;
	life->seeded = 0;
	life->state = newstate;

	filter_and_emit(tp, life, &hop);
	life->got_reset = 0;
	life->sent_reset = 0;
}

/*
 * The kernel does not run a program that it interrupted, on the same CPU, for
 * an event of the interrupting softirq: such runs are missed. Therefore two
 * programs sit on the tracepoint. The first handles the transition and leaves
 * a mark; the twin, attached after it and run right after it, clears the
 * mark, or handles the transition itself where the first has left none. Only
 * one of the two can be the interrupted one.
 */
static __always_inline __u16 mark_of(int oldstate, int newstate)
{
	return oldstate << 8 | newstate;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(first, const struct sock *sk, int oldstate, int newstate)
{
	struct life *life = life_of(sk);

	if (!life) { /* nowhere to leave the mark */
		COUNT(deferred);
		return 0;
	}
	life->mark = mark_of(oldstate, newstate);
	on_transition(sk, life, oldstate, newstate);
	return 0;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(twin, const struct sock *sk, int oldstate, int newstate)
{
	struct life *life = life_of(sk);

	if (life && life->mark == mark_of(oldstate, newstate)) {
		life->mark = 0;
		return 0;
	}
	if (life)
		life->mark = 0;
	COUNT(recovered);
	on_transition(sk, life, oldstate, newstate);
	return 0;
}

/*
 * The first to receive or send on a child that is still its listener's, or
 * nobody's, is who serves it: in a pre-fork server the worker, where the
 * listener was opened by the parent. For every other socket this ends at a
 * flag.
 */
static __always_inline int on_io(const struct sock *sk)
{
	const struct tcp_sock *tp;
	struct hop now = {};
	struct life *life;

	if (sk->sk_protocol != IPPROTO_TCP)
		return 0;
	life = bpf_sk_storage_get(&lives, (void *)sk, 0, 0);
	if (!life || life->bound || life->state == TCP_CLOSE)
		return 0;
	tp = bpf_skc_to_tcp_sock((void *)sk);
	if (!tp || __sync_val_compare_and_swap(&life->bound, 0, 1))
		return 0;

	if (!bind_acceptor(sk, life, &now)) {
		struct owner owner;

		current_owner(&owner, OWNER_IO);
		set_owner(life, &owner);
	}
	if (life->verdict != PASS)
		return 0;
	put_present(&now, life);
	current_process(&now.current);
	emit(tp, life, EVENT_OWNER, &now, bpf_ntohs(tp->inet_conn.icsk_inet.inet_sport));
	return 0;
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(received, const struct sock *sk)
{
	return on_io(sk);
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(sent, const struct sock *sk)
{
	return on_io(sk);
}

SEC("tp_btf/sys_exit")
int BPF_PROG(accepted, const struct pt_regs *regs, long ret)
{
	if (ret >= 0 && is_accept(regs))
		note_acceptor(ret);
	return 0;
}

/*
 * What happens to a connection without changing its state: it is shown with
 * the state that it is in, and since when.
 */
static __always_inline void emit_happening(const struct tcp_sock *tp, struct life *life, __u8 kind)
{
	const struct inet_sock *inet = &tp->inet_conn.icsk_inet;
	__u16 lport = bpf_ntohs(inet->inet_sport);
	struct hop now = {};

	if (!is_shown(tp, life, lport, 1))
		return;
	put_present(&now, life);
	if (!now.newstate) { /* no transition of it was seen */
		now.oldstate = inet->sk.__sk_common.skc_state;
		now.newstate = now.oldstate;
	}
	current_process(&now.current);
	emit(tp, life, kind, &now, lport);
}

/* Set before loading: whether the tracepoints have their newer arguments. */
const volatile bool tells_reset_reason;	    /* since Linux 6.10 */
const volatile bool tells_retransmit_error; /* since Linux 6.16 */

SEC("tp_btf/tcp_receive_reset")
int BPF_PROG(reset_received, const struct sock *sk)
{
	const struct tcp_sock *tp = bpf_skc_to_tcp_sock((void *)sk);
	struct life *life = life_of(sk); /* also of a socket without: the mark must be kept */

	if (!tp || !life)
		return 0;
	life->got_reset = 1;
	emit_happening(tp, life, EVENT_RESET_RECEIVED);
	return 0;
}

SEC("tp_btf/tcp_send_reset")
int reset_sent(__u64 *ctx)
{
	const struct sock *sk = (void *)ctx[0];
	__s32 reason = -1;
	const struct tcp_sock *tp;
	struct life *life;

	if (tells_reset_reason)
		reason = third_argument(ctx);
	if (!sk) /* in answer to a segment that belongs to no connection */
		return 0;
	if (sk->__sk_common.skc_state == TCP_TIME_WAIT) {
		emit_minisock(&sk->__sk_common, reason);
		return 0;
	}
	tp = bpf_skc_to_tcp_sock((void *)sk);
	if (!tp || sk->__sk_common.skc_state == TCP_LISTEN)
		return 0;
	life = life_of(sk);
	if (!life)
		return 0;
	life->sent_reset = 1;
	life->reset_reason = reason;
	emit_happening(tp, life, EVENT_RESET_SENT);
	return 0;
}

SEC("tp_btf/tcp_retransmit_skb")
int retransmitted(__u64 *ctx)
{
	const struct sock *sk = (void *)ctx[0];
	const struct tcp_sock *tp;
	struct life *life;

	if (tells_retransmit_error && (int)third_argument(ctx))
		return 0;
	tp = bpf_skc_to_tcp_sock((void *)sk);
	life = bpf_sk_storage_get(&lives, (void *)sk, 0, 0);
	if (tp && life)
		emit_happening(tp, life, EVENT_RETRANSMIT);
	return 0;
}

SEC("tp_btf/tcp_retransmit_synack")
int BPF_PROG(synack_retransmitted, const struct sock *listener, const struct request_sock *req)
{
	emit_request(listener, req);
	return 0;
}
