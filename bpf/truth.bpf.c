//go:build ignore

// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Counts the changes of TCP sockets' states in one network namespace, and does
 * nothing else: what tracers are measured against. It is no part of the command.
 */
#include "kernel.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Set before loading: the inode of the namespace. */
const volatile __u32 netns;

struct changes {
	__u64 all;
	__u64 of_listeners; /* of all, those into LISTEN, and from there to CLOSE */
};

struct changes *const unused_changes __attribute__((unused));

/*
 * Inserted and deleted by nobody (an array); the program adds, user space
 * reads. Bounded: one entry a CPU.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct changes);
} counted SEC(".maps");

/* Since Linux 6.1 a program is not run while it runs on the same CPU, so nobody else adds. */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(count, struct sock *sk, int oldstate, int newstate)
{
	struct changes *c;
	__u32 zero = 0;

	if (oldstate == newstate || sk->sk_protocol != IPPROTO_TCP ||
	    sk->__sk_common.skc_net.net->ns.inum != netns)
		return 0;
	c = bpf_map_lookup_elem(&counted, &zero);
	if (!c)
		return 0;
	c->all++;
	if (newstate == TCP_LISTEN || (oldstate == TCP_LISTEN && newstate == TCP_CLOSE))
		c->of_listeners++;
	return 0;
}
