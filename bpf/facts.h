/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What a socket says of itself at the moment of an event. */
#ifndef TCPSTATES_FACTS_H
#define TCPSTATES_FACTS_H

#include "storage.h"

/* net/ipv4/syncookies.c: the low bits of a SYN cookie's timestamp that carry options. */
enum {
	COOKIE_WSCALE = 15, /* the window scale; all ones: none */
	COOKIE_SACK = 1 << 4,
	COOKIE_BITS = COOKIE_WSCALE | COOKIE_SACK,
};

/*
 * Whether the timestamp that the handshake's last ACK echoes is that of a SYN
 * cookie, which has the connection's options in its low bits. Of another one
 * that holds by chance, in one of 32.
 */
static __always_inline bool echoes_cookie(const struct tcp_sock *tp)
{
	const struct tcp_options_received *got = &tp->rx_opt;
	__u32 want = COOKIE_WSCALE;

	if (!READ_BITS(got, saw_tstamp))
		return 0;
	if (READ_BITS(got, wscale_ok))
		want = READ_BITS(got, snd_wscale);
	if (READ_BITS(got, sack_ok))
		want |= COOKIE_SACK;
	return (READ(got, rcv_tsecr) & COOKIE_BITS) == want;
}

static __always_inline __u16 facts_of(const struct tcp_sock *tp, const struct life *life,
				      __u8 oldstate)
{
	const struct sock *sk = &tp->inet_conn.icsk_inet.sk;
	unsigned long flags = READ(sk, __sk_common.skc_flags);
	__u16 facts = 0;

	if (flags & 1 << SOCK_DEAD)
		facts |= FACT_DEAD;
	if (flags & 1 << SOCK_DONE)
		facts |= FACT_DONE;
	if (flags & 1 << SOCK_LINGER && !READ(sk, sk_lingertime))
		facts |= FACT_LINGER0;
	if (!READ(sk, sk_socket))
		facts |= FACT_NO_FILE;
	if (READ(tp, inet_conn.icsk_user_timeout))
		facts |= FACT_USER_TIMEOUT;
	if (READ_BITS(tp, syn_data_acked))
		facts |= FACT_FAST_OPEN;
	if (oldstate == TCP_SYN_RECV && echoes_cookie(tp))
		facts |= FACT_COOKIE;
	if (READ_NUMBER(sk, sk_max_ack_backlog))
		facts |= FACT_CHILD;
	if (READ(tp, snd_una) == READ(tp, write_seq))
		facts |= FACT_ALL_ACKED;
	/* A FIN counts as one byte, and is never read. */
	if (READ(tp, rcv_nxt) - READ(tp, copied_seq) > !!(flags & 1 << SOCK_DONE))
		facts |= FACT_UNREAD;
	if (READ_BITS(tp, repair))
		facts |= FACT_REPAIR;
	if (life && life->got_reset)
		facts |= FACT_GOT_RESET;
	if (life && life->sent_reset)
		facts |= FACT_SENT_RESET;
	return facts;
}

/*
 * Whether what the socket says of itself at a transition is of use: when the
 * handshake is over, when the connection is closed, and when it has ended. When
 * one begins it may still say what was true of the last.
 */
static __always_inline bool has_facts(__u8 newstate)
{
	return newstate == TCP_ESTABLISHED || newstate == TCP_FIN_WAIT1 || newstate == TCP_CLOSE;
}

/* For what has nothing to say, in a record that has room for it. */
static __always_inline void put_no_facts(struct event *e)
{
	__builtin_memset(&e->moment, 0, RECORD_FACTS - RECORD_PLAIN);
}

static __always_inline void put_facts(struct event *e, const struct tcp_sock *tp,
				      const struct life *life)
{
	const struct sock *sk = &tp->inet_conn.icsk_inet.sk;

	e->bytes_acked = READ(tp, bytes_acked);
	e->bytes_received = READ(tp, bytes_received);
	e->srtt = READ(tp, srtt_us);
	e->rtt_min = READ(tp, rtt_min.s[0].v);
	e->retrans = READ(tp, total_retrans);
	e->segs_in = READ(tp, segs_in);
	e->segs_out = READ(tp, segs_out);
	e->data_segs_in = READ(tp, data_segs_in);
	e->linger2 = READ(tp, linger2);
	e->reset_reason = life && life->sent_reset ? life->reset_reason : -1;
	e->err = READ(sk, sk_err);
	e->err_soft = READ(sk, sk_err_soft);
	e->facts = facts_of(tp, life, e->oldstate);
	e->shutdown = READ_NUMBER(sk, sk_shutdown);
	__builtin_memset(e->pad, 0, sizeof(e->pad));
}

#endif
