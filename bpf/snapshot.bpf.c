//go:build ignore

// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Walks the sockets that exist already, to tell who has them open, and to
 * remember of them what a trace wants to know later. What a live transition
 * has put into a socket's storage meanwhile stays: a seed only fills an empty
 * place, in one step with making it.
 */
#include <bpf/bpf_endian.h>

#include "lives.h"
#include "owner.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Set before loading: whether a trace runs that wants to be told. */
const volatile bool seeding;

/* Set before loading: whether UDP sockets are told of, too. */
const volatile bool with_udp;

/* A socket that a process has open, as the walk writes it out. */
struct found {
	__u64 cookie;
	struct owner owner;
	__u32 netns;
	__u32 fd; /* the process's descriptor of it */
	__u8 state;
	__u8 pad[7];
};

_Static_assert(sizeof(struct found) == 56, "the reader knows the size");

/* Of a socket that is known by another one's descriptor. */
#define NO_FD (~0u)

struct found *const unused_found __attribute__((unused));

static __always_inline void seed(const struct sock *sk, const struct owner *owner)
{
	struct life life = {};

	if (bpf_sk_storage_get(&lives, (void *)sk, 0, 0))
		return;
	life.since = bpf_ktime_get_ns();
	life.seeded = 1;
	life.state = sk->__sk_common.skc_state;
	if (owner) {
		life.owners[0] = *owner;
		life.bound = 1;
	}
	bpf_sk_storage_get(&lives, (void *)sk, &life, BPF_SK_STORAGE_GET_F_CREATE);
}

/*
 * The owners of multipath sockets, by the address of their struct sock: what a
 * process has open is the multipath socket, and what carries its connections,
 * and as a listener clones its children, are TCP sockets without a file.
 * Inserted by files, read by sockets, freed when both have run. Bounded; when
 * it is full, subflows have no owner.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, struct owner);
} multipath SEC(".maps");

static __always_inline void write_found(struct seq_file *seq, const struct sock *sk,
					const struct owner *owner, __u32 fd)
{
	struct found found = {};

	found.owner = *owner;
	found.fd = fd;
	found.cookie = bpf_get_socket_cookie((void *)sk);
	found.netns = sk->__sk_common.skc_net.net->ns.inum;
	found.state = sk->__sk_common.skc_state;
	bpf_seq_write(seq, &found, sizeof(found));
}

static __always_inline bool is_wanted(const struct sock *sk)
{
	__u16 family = sk->__sk_common.skc_family;

	if (family != AF_INET && family != AF_INET6) /* protocols mean other things elsewhere */
		return 0;
	switch (sk->sk_protocol) {
	case IPPROTO_TCP:
	case IPPROTO_MPTCP:
		return 1;
	case IPPROTO_UDP:
		return with_udp;
	}
	return 0;
}

SEC("iter/task_file")
int files(struct bpf_iter__task_file *ctx)
{
	const struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	const struct socket *socket;
	const struct sock *sk;
	struct owner owner;

	if (!task || !file)
		return 0;
	socket = (void *)bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	if (!sk || !is_wanted(sk))
		return 0;

	owner_from(&owner, task, OWNER_SEED);
	if (sk->sk_protocol == IPPROTO_MPTCP) {
		__u64 address = (__u64)sk;

		bpf_map_update_elem(&multipath, &address, &owner, BPF_NOEXIST);
		return 0;
	}
	if (sk->sk_protocol == IPPROTO_TCP) {
		if (!bpf_skc_to_tcp_sock((void *)sk)) /* a raw socket of that protocol */
			return 0;
		if (seeding)
			seed(sk, &owner);
	}
	write_found(ctx->meta->seq, sk, &owner, ctx->fd);
	return 0;
}

/* The owner of the multipath socket that a socket is a subflow of, or NULL. */
static __always_inline const struct owner *multipath_owner(const struct tcp_sock *tp)
{
	const struct mptcp_subflow_context *context = tp->inet_conn.icsk_ulp_data;
	__u64 address = 0;

	/* Of another protocol's context this reads nonsense, which no key is. */
	if (!context || !bpf_core_type_exists(struct mptcp_subflow_context))
		return 0;
	bpf_core_read(&address, sizeof(address), &context->conn);
	return bpf_map_lookup_elem(&multipath, &address);
}

/*
 * What has no file: subflows, children that were not accepted yet, and sockets
 * that go on without their process. It runs in one network namespace, after
 * files.
 */
SEC("iter/tcp")
int sockets(struct bpf_iter__tcp *ctx)
{
	struct sock_common *skc = ctx->sk_common;
	const struct owner *owner;
	struct tcp_sock *tp;

	if (!skc)
		return 0;
	tp = bpf_skc_to_tcp_sock(skc);
	if (!tp)
		return 0;
	owner = multipath_owner(tp);
	if (seeding)
		seed((void *)tp, owner);
	if (owner)
		write_found(ctx->meta->seq, (void *)tp, owner, NO_FD);
	return 0;
}

/* A minisock, as the walk over them writes it out. */
struct minisock {
	__u64 cookie; /* that of the socket that it is left of */
	__u16 lport;  /* one socket can leave several, one after the other */
	__u16 rport;
	__u8 state;   /* TCP_TIME_WAIT or TCP_FIN_WAIT2 */
	__u8 pad[3];
};

_Static_assert(sizeof(struct minisock) == 16, "the reader knows the size");

struct minisock *const unused_minisock __attribute__((unused));

/* It runs in one network namespace. */
SEC("iter/tcp")
int minisocks(struct bpf_iter__tcp *ctx)
{
	struct sock_common *skc = ctx->sk_common;
	const struct tcp_timewait_sock *tw;
	struct minisock left = {};

	if (!skc || skc->skc_state != TCP_TIME_WAIT)
		return 0;
	tw = bpf_skc_to_tcp_timewait_sock(skc);
	if (!tw)
		return 0;
	left.cookie = bpf_get_socket_cookie((void *)tw);
	left.lport = skc->skc_num;
	left.rport = bpf_ntohs(skc->skc_dport);
	left.state = tw->tw_sk.tw_substate;
	bpf_seq_write(ctx->meta->seq, &left, sizeof(left));
	return 0;
}
