/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Who accepted a connection, and when: also on kernels that have no
 * tracepoints of a socket's input and output. It is learnt when accept()
 * returns, of which only a tracepoint of all system calls tells.
 */
#ifndef TCPSTATES_ACCEPT_H
#define TCPSTATES_ACCEPT_H

#include "owner.h"

struct acceptor {
	struct owner owner;
	__u64 time; /* ns, when it had accepted */
};

/*
 * Who accepted, by the address of the struct sock. Inserted by accepted, taken
 * out at the socket's next transition or first input or output, and at the birth
 * of another socket at the address. Bounded: the least recently used entry goes.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, struct acceptor);
} acceptors SEC(".maps");

/* arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h */
static __always_inline bool is_accept(const struct pt_regs *regs)
{
	if (bpf_core_field_exists(struct pt_regs___x86, orig_ax)) {
		unsigned long nr = BPF_CORE_READ((const struct pt_regs___x86 *)regs, orig_ax);

		return nr == 43 || nr == 288;
	}
	if (bpf_core_field_exists(struct pt_regs___arm64, syscallno)) {
		int nr = BPF_CORE_READ((const struct pt_regs___arm64 *)regs, syscallno);

		return nr == 202 || nr == 242;
	}
	return 0;
}

/* The address of the TCP socket that a new descriptor stands for, or 0. */
static __always_inline __u64 tcp_of_fd(const struct task_struct *task, long fd)
{
	struct file **files = BPF_CORE_READ(task, files, fdt, fd);
	struct file *file = 0;
	const struct socket *socket;
	const struct sock *sk;
	__u16 family;

	if (bpf_probe_read_kernel(&file, sizeof(file), files + fd))
		return 0;
	socket = BPF_CORE_READ(file, private_data);
	sk = BPF_CORE_READ(socket, sk);
	family = BPF_CORE_READ(sk, __sk_common.skc_family);
	if (family != AF_INET && family != AF_INET6)
		return 0;
	return BPF_CORE_READ_BITFIELD_PROBED(sk, sk_protocol) == IPPROTO_TCP ? (__u64)sk : 0;
}

static __always_inline void note_acceptor(long fd)
{
	const struct task_struct *task = current_task();
	__u64 address = tcp_of_fd(task, fd);
	struct acceptor acceptor = {};

	if (!address)
		return;
	current_owner(&acceptor.owner, OWNER_ACCEPT);
	acceptor.time = bpf_ktime_get_ns();
	bpf_map_update_elem(&acceptors, &address, &acceptor, 0);
}

/*
 * Makes who accepted the socket its owner, if that is new, and says when in
 * hop. Tells whether it is.
 */
static __always_inline bool bind_acceptor(const struct sock *sk, struct life *life,
					  struct hop *hop)
{
	__u64 address = (__u64)sk;
	const struct acceptor *acceptor;

	if (!SETTING(accept_probe))
		return 0;
	acceptor = bpf_map_lookup_elem(&acceptors, &address);
	if (!acceptor)
		return 0;
	set_owner(life, &acceptor->owner);
	life->bound = 1;
	hop->moment = acceptor->time;
	hop->flags |= EVENT_ACCEPTED;
	bpf_map_delete_elem(&acceptors, &address);
	return 1;
}

/* Forgets who accepted the socket that had the address before. */
static __always_inline void forget_acceptor(const struct sock *sk)
{
	__u64 address = (__u64)sk;

	if (SETTING(accept_probe))
		bpf_map_delete_elem(&acceptors, &address);
}

#endif
