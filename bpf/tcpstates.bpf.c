//go:build ignore

// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Reports every change of a TCP socket's state, from the tracepoint
 * sock:inet_sock_set_state. The tracepoint fires in inet_sk_state_store with
 * the socket locked or not yet public, so the transitions of one socket never
 * run side by side.
 *
 * It is compiled four times: for kernels whose tracing programs have socket
 * storage and for others (PORTABLE), to send by ring buffer and by perf event
 * array (BY_PERF).
 */
#include "accept.h"
#include "copies.h"
#include "count.h"
#include "emit.h"
#include "follow.h"
#include "fork.h"
#include "listeners.h"
#include "marks.h"
#include "owner.h"
#include "preempt.h"
#include "segments.h"
#include "sender.h"
#include "started.h"
#include "subject.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* User space may change the one into the other: their arguments are the same. */
#ifdef PORTABLE
#define PROGRAM(tracepoint) SEC("raw_tp/" #tracepoint)
#else
#define PROGRAM(tracepoint) SEC("tp_btf/" #tracepoint)
#endif

/* NULL for SCTP, and for MPTCP, whose subflows are TCP sockets of their own. */
static __always_inline const struct tcp_sock *tcp_of(const struct sock *sk)
{
#ifdef PORTABLE
	return READ_NUMBER(sk, sk_protocol) == IPPROTO_TCP ? (const void *)sk : 0;
#else
	return bpf_skc_to_tcp_sock((void *)sk);
#endif
}

/*
 * Judges the connection, if that was not done and can be now, and sends what
 * waited for it. Tells whether it is shown.
 */
static __always_inline bool is_shown(void *ctx, const struct tcp_sock *tp, struct life *life,
				     __u16 lport, bool last)
{
	if (life->verdict == UNDECIDED)
		life->verdict = judge_socket(tp, life, lport, last);
	if (life->verdict == UNDECIDED)
		return 0;
	if (life->verdict != PASS) {
		note_unsampled(life->verdict, 1 + life->holds);
		life->holds = 0;
		return 0;
	}
	if (life->holds)
		emit(ctx, tp, life, &life->held, lport);
	life->holds = 0;
	return 1;
}

/*
 * Sends the hop, held or not as the filters say. life is not NULL.
 */
static __always_inline void filter_and_emit(void *ctx, const struct tcp_sock *tp,
					    struct life *life, const struct hop *hop)
{
	const struct inet_sock *inet = &tp->inet_conn.icsk_inet;
	__u16 lport = local_port(inet, hop->oldstate);
	__u16 rport = bpf_ntohs(READ(inet, sk.__sk_common.skc_dport));

	/*
	 * Before Linux 6.15 a child is announced before it has its remote port
	 * and its own cookie: both are there at its next transition.
	 */
	bool unborn = is_born(hop->oldstate, hop->newstate) && !rport;

	if (!unborn && is_shown(ctx, tp, life, lport, hop->newstate == TCP_CLOSE)) {
		emit(ctx, tp, life, hop, lport);
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

static __always_inline void open_socket(const struct inet_sock *inet, struct life *life, int newstate)
{
	struct owner owner;

	forget_connection(life);
	current_owner(&owner, newstate == TCP_LISTEN ? OWNER_LISTEN : OWNER_CONNECT);
	owner.followed = SETTING(follow_pid) && is_followed(current_task());
	set_owner(life, &owner);
	life->bound = 1;
#ifdef PORTABLE
	if (newstate == TCP_LISTEN)
		note_listener(inet, &owner);
#endif
}

static __always_inline void bear_child(const struct inet_sock *inet, struct life *life)
{
	forget_connection(life);
	inherit(life, inet);
	life->since = 0;
	life->seeded = 0;
	forget_acceptor(&inet->sk);
}

/* Whether what is remembered is of a socket that is closed, and had the address of a child. */
static __always_inline bool is_reused(const struct life *life, const struct hop *hop)
{
#ifdef PORTABLE
	return life->state == TCP_CLOSE && is_born(hop->oldstate, hop->newstate);
#else
	return 0;
#endif
}

/*
 * What is remembered of the socket learns of the transition, and hop what was
 * remembered.
 */
static __always_inline void remember(const struct inet_sock *inet, struct life *life, struct hop *hop)
{
	if (life->state && life->state != hop->oldstate && !is_reused(life, hop))
		note_gap(life);
#ifdef PORTABLE
	if (hop->oldstate == TCP_CLOSE || is_born(hop->oldstate, hop->newstate))
		forget_socket(life);
	if (hop->oldstate == TCP_LISTEN && hop->newstate == TCP_CLOSE)
		forget_listener(inet);
#endif
	if (opens(hop->oldstate, hop->newstate))
		open_socket(inet, life, hop->newstate);
	else if (is_born(hop->oldstate, hop->newstate))
		bear_child(inet, life);
	if (!life->bound)
		bind_acceptor(&inet->sk, life, hop);
	hop->since = life->since;
	if (life->seeded)
		hop->flags |= EVENT_SINCE_SEED;
	life->since = hop->time;
	life->seeded = 0;
	life->state = hop->newstate;
}

static __always_inline void on_transition(void *ctx, const struct sock *sk, struct life *life,
					  int oldstate, int newstate)
{
	const struct tcp_sock *tp = tcp_of(sk);
	const struct inet_sock *inet;
	struct hop hop = {};

	if (!tp)
		return;
	if (oldstate == newstate && !SETTING(self_transitions))
		return;
	inet = &tp->inet_conn.icsk_inet;

	hop.kind = EVENT_TRANSITION;
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
		enum verdict verdict = judge_socket(tp, life, lport, 1);

		if (verdict == PASS)
			emit(ctx, tp, life, &hop, lport);
		else
			note_unsampled(verdict, 1);
		return;
	}

	remember(inet, life, &hop);
	filter_and_emit(ctx, tp, life, &hop);
	life->got_reset = 0;
	life->sent_reset = 0;
}

/*
 * The kernel does not run a program for an event while it has it interrupted on
 * the same CPU: such runs are missed. Therefore several programs sit on the
 * tracepoint. The first handles the transition and leaves a mark; the twin,
 * attached after it and run right after it, clears the mark, or handles the
 * transition itself where there is none.
 *
 * That is enough where only a softirq interrupts a program. Since Linux 7.0 a
 * task can be preempted in one as well, and another task in the twin: then there
 * are more between the two, which do as the first unless they find its mark, and
 * what is told in preempt.h makes it rare.
 */
static __always_inline __u16 mark_of(int oldstate, int newstate)
{
	return oldstate << 8 | newstate;
}

PROGRAM(inet_sock_set_state)
int BPF_PROG(first, const struct sock *sk, int oldstate, int newstate)
{
	UNPREEMPTED;
	struct life *life;

	if (!has_started())
		return 0;
	life = life_of(sk);
	if (!life) { /* nowhere to leave the mark */
		COUNT(deferred);
		return 0;
	}
	life->mark = mark_of(oldstate, newstate);
	on_transition(ctx, sk, life, oldstate, newstate);
	return 0;
}

static __always_inline int handle_unmarked(void *ctx, const struct sock *sk, int oldstate, int newstate)
{
	__u16 mark = mark_of(oldstate, newstate);
	struct life *life;

	if (!has_started())
		return 0;
	life = life_of(sk);
	if (!life || life->mark == mark)
		return 0;
	life->mark = mark;
	COUNT(recovered);
	on_transition(ctx, sk, life, oldstate, newstate);
	return 0;
}

PROGRAM(inet_sock_set_state)
int BPF_PROG(between, const struct sock *sk, int oldstate, int newstate)
{
	UNPREEMPTED;
	return handle_unmarked(ctx, sk, oldstate, newstate);
}

PROGRAM(inet_sock_set_state)
int BPF_PROG(between_2nd, const struct sock *sk, int oldstate, int newstate)
{
	UNPREEMPTED;
	return handle_unmarked(ctx, sk, oldstate, newstate);
}

PROGRAM(inet_sock_set_state)
int BPF_PROG(twin, const struct sock *sk, int oldstate, int newstate)
{
	UNPREEMPTED;
	struct life *life;
	__u16 mark = 0;

	if (!has_started())
		return 0;
	life = life_of(sk);
	if (life) {
		mark = life->mark;
		life->mark = 0;
	}
	if (mark != mark_of(oldstate, newstate)) {
		COUNT(recovered);
		on_transition(ctx, sk, life, oldstate, newstate);
	}
	return 0;
}

/* Whether the caller is who gives the socket its final owner. */
static __always_inline bool bind_once(struct life *life)
{
#ifdef PORTABLE
	/* Two threads at once say the same: the same process. */
	life->bound = 1;
	return 1;
#else
	return !__sync_val_compare_and_swap(&life->bound, 0, 1);
#endif
}

/*
 * The first to receive or send on a child that is still its listener's, or
 * nobody's, is who serves it: in a pre-fork server the worker, where the
 * listener was opened by the parent. For every other socket this ends at a
 * flag.
 */
static __always_inline int on_io(void *ctx, const struct sock *sk)
{
	const struct tcp_sock *tp;
	struct hop now = {};
	struct life *life;

	if (READ_NUMBER(sk, sk_protocol) != IPPROTO_TCP)
		return 0;
	life = known_life(sk);
	if (!life || life->bound || life->state == TCP_CLOSE)
		return 0;
	tp = tcp_of(sk);
	if (!tp || !bind_once(life))
		return 0;

	if (!bind_acceptor(sk, life, &now)) {
		struct owner owner;

		current_owner(&owner, OWNER_IO);
		set_owner(life, &owner);
	}
	if (life->verdict != PASS) {
		note_unsampled(life->verdict, 1);
		return 0;
	}
	put_present(&now, EVENT_OWNER, life);
	current_process(&now.current);
	emit(ctx, tp, life, &now, bpf_ntohs(READ(tp, inet_conn.icsk_inet.inet_sport)));
	return 0;
}

PROGRAM(sock_recv_length)
int BPF_PROG(received, const struct sock *sk)
{
	UNPREEMPTED;
	return on_io(ctx, sk);
}

PROGRAM(sock_send_length)
int BPF_PROG(sent, const struct sock *sk)
{
	UNPREEMPTED;
	return on_io(ctx, sk);
}

PROGRAM(sys_exit)
int BPF_PROG(accepted, const struct pt_regs *regs, long ret)
{
	UNPREEMPTED;
	if (ret >= 0 && is_accept(regs))
		note_acceptor(ret);
	return 0;
}

/*
 * What happens to a connection without changing its state: it is shown with
 * the state that it is in, and since when.
 */
static __always_inline void emit_happening(void *ctx, const struct tcp_sock *tp, struct life *life,
					   __u8 kind)
{
	const struct inet_sock *inet = &tp->inet_conn.icsk_inet;
	__u16 lport = bpf_ntohs(READ(inet, inet_sport));
	struct hop now = {};

	if (!is_shown(ctx, tp, life, lport, 1))
		return;
	put_present(&now, kind, life);
	if (!now.newstate) { /* no transition of it was seen */
		now.oldstate = READ(inet, sk.__sk_common.skc_state);
		now.newstate = now.oldstate;
	}
	current_process(&now.current);
	emit(ctx, tp, life, &now, lport);
}

static __always_inline void on_reset_received(void *ctx, const struct sock *sk, bool is_copy)
{
	const struct tcp_sock *tp = tcp_of(sk);
	struct life *life = tp ? life_of(sk) : 0; /* also of a socket without: the flag must be kept */

	if (!life) {
		is_mine(MARK_RESET_RECEIVED, (__u64)sk, 0, is_copy);
		return;
	}
	if (!is_mine_at(&life->handled_reset_received, is_copy))
		return;
	life->got_reset = 1;
	emit_happening(ctx, tp, life, EVENT_RESET_RECEIVED);
}

static __always_inline void on_reset_sent(__u64 *ctx, const struct sock *sk, bool is_copy)
{
	__s32 reason = THIRD_ARGUMENT(ctx, tcp_send_reset, reason, -1);
	bool is_minisock = sk && READ(sk, __sk_common.skc_state) == TCP_TIME_WAIT;
	const struct tcp_sock *tp = is_of_socket(sk) ? tcp_of(sk) : 0;
	struct life *life = tp ? life_of(sk) : 0;

	if (!life) {
		if (is_mine(MARK_RESET_SENT, (__u64)sk, ctx[1], is_copy) && is_minisock)
			emit_minisock(ctx, &sk->__sk_common, reason);
		return;
	}
	if (!is_mine_at(&life->handled_reset_sent, is_copy))
		return;
	life->sent_reset = 1;
	life->reset_reason = reason;
	emit_happening(ctx, tp, life, EVENT_RESET_SENT);
}

static __always_inline void on_retransmit(__u64 *ctx, const struct sock *sk, bool is_copy)
{
	const struct tcp_sock *tp = tcp_of(sk);
	struct life *life = tp ? known_life(sk) : 0;

	if (!life) {
		is_mine(MARK_RETRANSMIT, (__u64)sk, ctx[1], is_copy);
		return;
	}
	if (is_mine_at(&life->handled_retransmit, is_copy) && !THIRD_ARGUMENT(ctx, tcp_retransmit_skb, err, 0))
		emit_happening(ctx, tp, life, EVENT_RETRANSMIT);
}

static __always_inline void on_synack_retransmit(__u64 *ctx, const struct sock *listener,
						 const struct request_sock *req, bool is_copy)
{
	if (is_mine(MARK_SYNACK_RETRANSMIT, (__u64)listener, (__u64)req, is_copy))
		emit_request(ctx, listener, req);
}

/* A program on segments, or its copy. */
#define ON_SEGMENT(tracepoint, name, handle)    \
	PROGRAM(tracepoint)                     \
	int name(__u64 *ctx)                    \
	{                                       \
		UNPREEMPTED;                    \
		if (has_started())              \
			handle;                 \
		return 0;                       \
	}

ON_SEGMENT(tcp_receive_reset, reset_received, on_reset_received(ctx, (void *)ctx[0], 0))
ON_SEGMENT(tcp_receive_reset, reset_received_2nd, on_reset_received(ctx, (void *)ctx[0], 1))
ON_SEGMENT(tcp_send_reset, reset_sent, on_reset_sent(ctx, (void *)ctx[0], 0))
ON_SEGMENT(tcp_send_reset, reset_sent_2nd, on_reset_sent(ctx, (void *)ctx[0], 1))
ON_SEGMENT(tcp_retransmit_skb, retransmitted, on_retransmit(ctx, (void *)ctx[0], 0))
ON_SEGMENT(tcp_retransmit_skb, retransmitted_2nd, on_retransmit(ctx, (void *)ctx[0], 1))
ON_SEGMENT(tcp_retransmit_synack, synack_retransmitted,
	   on_synack_retransmit(ctx, (void *)ctx[0], (void *)ctx[1], 0))
ON_SEGMENT(tcp_retransmit_synack, synack_retransmitted_2nd,
	   on_synack_retransmit(ctx, (void *)ctx[0], (void *)ctx[1], 1))

static __always_inline void on_fork(void *ctx, const struct task_struct *parent,
				    const struct task_struct *child, bool is_copy)
{
	bool followed;

	if (!has_started() || is_done(FORK, child))
		return;
	if (is_copy)
		COUNT(recovered_forks);
	if (READ(child, pid) != READ(child, tgid)) /* that is a thread */
		return;
	followed = SETTING(follow_pid) && follow(parent, child);
	emit_fork(ctx, parent, child, followed);
}

static __always_inline void on_exit(const struct task_struct *task, bool is_copy)
{
	if (!has_started() || is_done(EXIT, task))
		return;
	if (is_copy)
		COUNT(recovered_exits);
	unfollow(task);
}

#define FORKED(name, is_copy)                                                            \
	PROGRAM(sched_process_fork)                                                      \
	int BPF_PROG(name, const struct task_struct *parent, const struct task_struct *child) \
	{                                                                                \
		UNPREEMPTED;                                                             \
		on_fork(ctx, parent, child, is_copy);                                    \
		return 0;                                                                \
	}

#define EXITED(name, is_copy)                                                            \
	PROGRAM(sched_process_exit)                                                      \
	int BPF_PROG(name, const struct task_struct *task)                               \
	{                                                                                \
		UNPREEMPTED;                                                             \
		on_exit(task, is_copy);                                                  \
		return 0;                                                                \
	}

FORKED(forked, 0)
FORKED(forked_2nd, 1)
FORKED(forked_3rd, 1)
FORKED(forked_4th, 1)

EXITED(exited, 0)
EXITED(exited_2nd, 1)
EXITED(exited_3rd, 1)
EXITED(exited_4th, 1)
