//go:build ignore

// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Counts the changes of TCP sockets' states, how long they have lasted and how
 * connections have ended, and tells of none: for machines where a record for each
 * would be too much. It follows the rules of the trace (tcpstates.bpf.c), and of
 * what user space makes of that (package conn).
 */
#include "count.h"
#include "facts.h"
#include "local_port.h"
#include "marks.h"
#include "owner.h"
#include "preempt.h"
#include "sender.h"
#include "started.h"
#include "subject.h"
#include "tally.h"
#include "trail.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Keep the types in BTF, where bpf2go finds them. */
enum tally_row *const unused_row __attribute__((unused));
enum tally_buckets *const unused_buckets __attribute__((unused));
enum tally_of *const unused_of __attribute__((unused));
enum ending_signs *const unused_signs __attribute__((unused));

/* Of whom nobody knows who it is: none of those asked for, and it passes every "not". */
#define NOBODY (~0u)

static __noinline int judge_trail_by_filters(const struct tcp_sock *tp, const struct trail *trail,
					     __u16 lport, bool last)
{
	const struct inet_sock *inet = &tp->inet_conn.icsk_inet;
	struct subject s = {};

	put_ends(&s, &inet->sk.__sk_common, READ(inet, inet_saddr));
	s.pid = trail->opener ?: NOBODY;
	s.uid = READ(inet, sk.sk_uid.val);
	s.has_uid = 1;
	s.lport = lport;
	s.last = last;
	return judge(&s);
}

/*
 * Whether the connection is counted; UNDECIDED as for the trace, also before a child
 * has its remote port (see filter_and_emit there).
 */
static __always_inline enum verdict judge_trail(const struct sock *sk, const struct trail *trail,
						__u8 oldstate, __u8 newstate, bool last)
{
	const struct tcp_sock *tp;

	if (!SETTING(filters))
		return PASS;
	if (is_born(oldstate, newstate) && !READ(sk, __sk_common.skc_dport))
		return UNDECIDED;
	tp = bpf_skc_to_tcp_sock((void *)sk);
	if (!tp)
		return DROP;
	return judge_trail_by_filters(tp, trail, local_port(&tp->inet_conn.icsk_inet, oldstate),
				      last || newstate == TCP_CLOSE);
}

static __always_inline __u32 current_pid(void)
{
	return number_in(current_task(), SETTING(pidns));
}

/*
 * The transition does not begin where the last one ended: one between them went
 * unseen. A socket that begins another connection has ended one unseen.
 */
static __always_inline void note_gap(struct trail *trail, bool begins)
{
	struct ending unseen = {};

	COUNT(gaps);
	trail->since = 0;
	if (begins && trail->verdict == PASS && trail->state != TCP_LISTEN) {
		unseen.oldstate = trail->state;
		unseen.signs = ENDING_UNSEEN;
		add_ending(&unseen, 1);
	}
	if (trail->state == TCP_CLOSE) {
		trail->opener = 0;
		begin_trail(trail);
	}
}

/* Notes where the transition leads, and gives when the old state began. */
static __always_inline __u64 follow(struct trail *trail, __u8 oldstate, __u8 newstate, __u64 now)
{
	bool opening = opens(oldstate, newstate), born = is_born(oldstate, newstate);
	__u64 since;

	if (trail->state && trail->state != oldstate && !born)
		note_gap(trail, opening);
	if (opening || born)
		begin_trail(trail);
	if (opening && SETTING(numbers[PID]))
		trail->opener = current_pid();
	if (newstate == TCP_SYN_SENT) {
		trail->flags |= TRAIL_CLIENT;
		trail->opened = now;
	}
	since = oldstate == TCP_LISTEN || oldstate == TCP_CLOSE ? 0 : trail->since;
	trail->since = now;
	trail->state = newstate;
	return since;
}

/* Notes who closes the connection, as far as its end goes by that (conn's noteClose). */
static __always_inline void note_close(const struct sock *sk, const struct tcp_sock *tp,
				       struct trail *trail, __u8 oldstate, __u8 newstate)
{
	if (closes(sk, oldstate, newstate) && ending_signal())
		trail->flags |= TRAIL_KILLED;
	if (tp && newstate == TCP_FIN_WAIT1 && READ_NUMBER(sk, sk_shutdown) == (RCV_SHUTDOWN | SEND_SHUTDOWN)) {
		trail->data_at_close = READ(tp, data_segs_in);
		trail->flags |= TRAIL_CLOSED;
	}
}

/*
 * Counts the handshake that is over, by the rules of conn's handshakeOf: no round
 * trip time after a retransmission, none by timestamps, which count milliseconds,
 * and so none of a SYN cookie's, which is measured by nothing else.
 */
static __always_inline void count_handshake(struct tally *tally, enum tally_of whose,
					    const struct tcp_sock *tp, const struct trail *trail,
					    __u8 oldstate, __u64 now)
{
	__u32 rtt;

	if (trail->flags & TRAIL_CLIENT) {
		if (trail->opened)
			add_time(tally, whose, ROW_CONNECT, now - trail->opened);
		return;
	}
	rtt = READ(tp, srtt_us) >> 3;
	if (oldstate == TCP_SYN_RECV && rtt && !READ(tp, total_retrans) &&
	    READ(tp, rtt_min.s[0].v) % 1000)
		add_time(tally, whose, ROW_RTT, (__u64)rtt * 1000);
}

/*
 * Whether the time in the old state says something. A server's socket passes
 * through SYN_RECV when the handshake is over, unless it was born by a SYN with
 * data (Fast Open). tp is NULL where newstate has no facts.
 */
static __always_inline bool has_time(const struct tcp_sock *tp, const struct trail *trail, __u8 oldstate,
				     __u8 newstate)
{
	if (oldstate != TCP_SYN_RECV || trail->flags & TRAIL_CLIENT)
		return 1;
	return tp && newstate == TCP_ESTABLISHED && READ_BITS(tp, syn_data_acked);
}

/* What the reason of an end goes by. */
static __always_inline void put_ending(struct ending *ending, const struct tcp_sock *tp,
				       const struct trail *trail, __u8 oldstate)
{
	const struct sock *sk = &tp->inet_conn.icsk_inet.sk;

	ending->oldstate = oldstate;
	if (oldstate == TCP_LISTEN)
		return;
	ending->err = READ(sk, sk_err);
	ending->shutdown = READ_NUMBER(sk, sk_shutdown);
	ending->facts = facts_of(tp, 0, oldstate) & ENDING_FACTS;
	if (trail->flags & TRAIL_GOT_RESET)
		ending->facts |= FACT_GOT_RESET;
	if (trail->flags & TRAIL_SENT_RESET)
		ending->facts |= FACT_SENT_RESET;
	if (trail->flags & TRAIL_KILLED)
		ending->signs |= ENDING_KILLED;
	if (!READ(tp, segs_out))
		ending->signs |= ENDING_SILENT;
	if (READ(tp, linger2) < 0)
		ending->signs |= ENDING_NO_LINGER2;
	if (!READ(tp, inet_conn.icsk_inet.inet_sport))
		ending->signs |= ENDING_NO_PORT;
	if ((oldstate == TCP_FIN_WAIT1 || oldstate == TCP_FIN_WAIT2) && ending->err &&
	    (!(trail->flags & TRAIL_CLOSED) || READ(tp, data_segs_in) > trail->data_at_close))
		ending->signs |= ENDING_LATE_DATA;
}

/*
 * Whether the socket leaves a minisock in FIN_WAIT2, by the rule of conn.Minisock:
 * then how long it was there itself says nothing.
 */
static __always_inline bool leaves_orphan(const struct ending *ending)
{
	return ending->oldstate == TCP_FIN_WAIT2 && !ending->err &&
	       (ending->facts & (FACT_DEAD | FACT_DONE | FACT_SENT_RESET)) == FACT_DEAD &&
	       !(ending->signs & ENDING_NO_LINGER2);
}

/* Counts an end, and tells whether the time in the old state says something. */
static __always_inline bool count_end(const struct tcp_sock *tp, struct trail *trail, __u8 oldstate)
{
	struct ending ending = {};

	put_ending(&ending, tp, trail, oldstate);
	add_ending(&ending, 1);
	trail->ended = ending;
	return !leaves_orphan(&ending);
}

/* last tells that nothing will be known later that is not known now. */
static __always_inline void on_transition(struct tally *tally, enum tally_of whose,
					  const struct sock *sk, struct trail *trail, __u8 oldstate,
					  __u8 newstate, __u64 now, bool last)
{
	__u64 since = follow(trail, oldstate, newstate, now);
	const struct tcp_sock *tp = 0;

	if (trail->verdict == UNDECIDED)
		trail->verdict = judge_trail(sk, trail, oldstate, newstate, last);
	if (trail->verdict == UNDECIDED)
		trail->held = packed(oldstate, newstate);
	if (trail->verdict != PASS)
		return;
	if (trail->held) {
		add_transition(tally, whose, trail->held >> 4, trail->held);
		trail->held = 0;
	}
	add_transition(tally, whose, oldstate, newstate);

	if (has_facts(newstate)) {
		tp = bpf_skc_to_tcp_sock((void *)sk);
		if (!tp)
			return;
	}
	note_close(sk, tp, trail, oldstate, newstate);
	if (tp && newstate == TCP_ESTABLISHED)
		count_handshake(tally, whose, tp, trail, oldstate, now);
	if (tp && newstate == TCP_CLOSE && !count_end(tp, trail, oldstate))
		since = 0;
	if (since && has_time(tp, trail, oldstate, newstate))
		add_time(tally, whose, oldstate, now - since);
	trail->flags &= ~TRAIL_RESETS;
}

static __always_inline bool is_counted(const struct sock *sk, int oldstate, int newstate)
{
	return oldstate != newstate && READ_NUMBER(sk, sk_protocol) == IPPROTO_TCP;
}

static __always_inline __u64 hop_of(int oldstate, int newstate)
{
	return oldstate << 8 | newstate;
}

/* The socket's trail for one of the later programs. */
static __always_inline struct trail *trail_for(enum program program, const struct sock *sk, __u64 now)
{
	struct tally *tally = tally_of(LATERS);

	return tally ? trail_of(sk, as_number(tally, program, sk), now) : 0;
}

/*
 * Several programs sit on the tracepoint, as those of the trace do and for the
 * reasons told there. What the first has done is seen by what the socket's trail
 * says: it is in the new state already. Not to look there as a rule, the first
 * leaves a mark for its CPU. Who comes in between and leaves another, or moves the
 * task to another CPU, but makes the later ones look.
 */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(first, const struct sock *sk, int oldstate, int newstate)
{
	UNPREEMPTED;
	struct tally *tally;
	struct trail *trail;
	__u64 address, now;

	if (!has_started())
		return 0;
	if (!is_counted(sk, oldstate, newstate)) {
		leave_mark(MARK_UNCOUNTED, (__u64)sk, hop_of(oldstate, newstate));
		return 0;
	}
	tally = tally_of(FIRSTS);
	if (!tally)
		return 0;
	address = as_number(tally, FIRST, sk);
	tally->hop = hop_of(oldstate, newstate);
	now = bpf_ktime_get_ns();
	trail = trail_of(sk, address, now);
	if (!trail) { /* nothing to see by that it was counted */
		tally->sockets[FIRST] = 0;
		COUNT(deferred);
		return 0;
	}
	on_transition(tally, FIRSTS, sk, trail, oldstate, newstate, now, 0);
	leave_trail(trail);
	return 0;
}

/* Whether the first has left its mark; the last to look takes it away. */
static __always_inline bool is_marked(const struct sock *sk, int oldstate, int newstate, bool last)
{
	struct tally *tally = tally_of(FIRSTS);

	if (!tally || tally->sockets[FIRST] != (__u64)sk || tally->hop != hop_of(oldstate, newstate))
		return 0;
	if (last)
		tally->sockets[FIRST] = 0;
	return 1;
}

static __always_inline int count_if_nobody_has(enum program program, const struct sock *sk, int oldstate,
					       int newstate)
{
	struct trail none = {}, *trail;
	bool last = program == TWIN;
	struct tally *tally;
	__u64 now;

	if (!has_started())
		return 0;
	if (!is_counted(sk, oldstate, newstate)) {
		/* Nothing is missed where the first was not run for it. */
		if (last && !take_mark(MARK_UNCOUNTED, (__u64)sk, hop_of(oldstate, newstate)))
			COUNT(recovered);
		return 0;
	}
	if (is_marked(sk, oldstate, newstate, last))
		return 0;
	now = bpf_ktime_get_ns();
	trail = trail_for(program, sk, now);
	tally = tally_of(LATERS);
	if (!tally || (!trail && !last))
		return 0;
	if (!trail || trail->state != newstate) {
		COUNT(recovered);
		on_transition(tally, LATERS, sk, trail ?: &none, oldstate, newstate, now, !trail);
	}
	if (trail)
		leave_trail(trail);
	return 0;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(between, const struct sock *sk, int oldstate, int newstate)
{
	UNPREEMPTED;
	return count_if_nobody_has(BETWEEN, sk, oldstate, newstate);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(between_2nd, const struct sock *sk, int oldstate, int newstate)
{
	UNPREEMPTED;
	return count_if_nobody_has(BETWEEN_2ND, sk, oldstate, newstate);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(twin, const struct sock *sk, int oldstate, int newstate)
{
	UNPREEMPTED;
	return count_if_nobody_has(TWIN, sk, oldstate, newstate);
}

static __always_inline void on_reset_received(enum program program, const struct sock *sk)
{
	bool is_copy = program == RESET_RECEIVED_2ND;
	struct trail *trail = 0;

	if (READ_NUMBER(sk, sk_protocol) == IPPROTO_TCP)
		trail = trail_for(program, sk, bpf_ktime_get_ns());
	if (!trail) {
		is_mine(MARK_RESET_RECEIVED, (__u64)sk, 0, is_copy);
		return;
	}
	if (is_mine_at(&trail->handled_reset_received, is_copy))
		trail->flags |= TRAIL_GOT_RESET;
	leave_trail(trail);
}

/*
 * As a rule the report of a reset comes after the end that it belongs to, and more
 * than one may say the same.
 */
static __always_inline void note_reset_sent(struct trail *trail)
{
	trail->flags |= TRAIL_SENT_RESET;
	if (trail->state == TCP_CLOSE && trail->ended.oldstate) {
		struct ending ended = trail->ended;

		move_ending(&ended);
		trail->ended.oldstate = 0;
	}
}

static __always_inline void on_reset_sent(enum program program, const struct sock *sk, const void *skb)
{
	bool is_copy = program == RESET_SENT_2ND;
	struct trail *trail = is_of_socket(sk) ? trail_for(program, sk, bpf_ktime_get_ns()) : 0;

	if (!trail) {
		is_mine(MARK_RESET_SENT, (__u64)sk, (__u64)skb, is_copy);
		return;
	}
	if (is_mine_at(&trail->handled_reset_sent, is_copy))
		note_reset_sent(trail);
	leave_trail(trail);
}

SEC("tp_btf/tcp_receive_reset")
int BPF_PROG(reset_received, const struct sock *sk)
{
	UNPREEMPTED;
	if (has_started())
		on_reset_received(RESET_RECEIVED, sk);
	return 0;
}

SEC("tp_btf/tcp_receive_reset")
int BPF_PROG(reset_received_2nd, const struct sock *sk)
{
	UNPREEMPTED;
	if (has_started())
		on_reset_received(RESET_RECEIVED_2ND, sk);
	return 0;
}

SEC("tp_btf/tcp_send_reset")
int BPF_PROG(reset_sent, const struct sock *sk, const void *skb)
{
	UNPREEMPTED;
	if (has_started())
		on_reset_sent(RESET_SENT, sk, skb);
	return 0;
}

SEC("tp_btf/tcp_send_reset")
int BPF_PROG(reset_sent_2nd, const struct sock *sk, const void *skb)
{
	UNPREEMPTED;
	if (has_started())
		on_reset_sent(RESET_SENT_2ND, sk, skb);
	return 0;
}
