/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What the programs need to know of the kernel: integer names, the constants
 * of its binary interface, and of its structures only the fields that are
 * read. Field offsets are relocated at load (CO-RE), so nothing here depends
 * on one kernel version and no kernel headers are needed to compile.
 */
#ifndef TCPSTATES_KERNEL_H
#define TCPSTATES_KERNEL_H

typedef unsigned char __u8;
typedef signed short __s16;
typedef unsigned short __u16;
typedef signed int __s32;
typedef unsigned int __u32;
typedef signed long long __s64;
typedef unsigned long long __u64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef _Bool bool;

/* include/uapi/linux/bpf.h */
enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERF_EVENT_ARRAY = 4,
	BPF_MAP_TYPE_PERCPU_HASH = 5,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_LPM_TRIE = 11,
	BPF_MAP_TYPE_SK_STORAGE = 24,
	BPF_MAP_TYPE_RINGBUF = 27,

	BPF_NOEXIST = 1,

	BPF_F_NO_PREALLOC = 1 << 0,
	BPF_F_CLONE = 1 << 9,

	BPF_SK_STORAGE_GET_F_CREATE = 1 << 0,
};

#define BPF_F_CURRENT_CPU 0xffffffffULL

/* include/linux/socket.h */
enum {
	AF_INET = 2,
	AF_INET6 = 10,
};

/* include/uapi/linux/in.h */
enum {
	IPPROTO_TCP = 6,
	IPPROTO_UDP = 17,
	IPPROTO_MPTCP = 262,
};

/* include/uapi/asm-generic/errno.h and errno-base.h */
enum {
	EEXIST = 17,
	ECONNABORTED = 103,
};

/* include/net/tcp_states.h: those that a rule here speaks of */
enum {
	TCP_ESTABLISHED = 1,
	TCP_SYN_SENT = 2,
	TCP_SYN_RECV = 3,
	TCP_FIN_WAIT1 = 4,
	TCP_FIN_WAIT2 = 5,
	TCP_TIME_WAIT = 6,
	TCP_CLOSE = 7,
	TCP_CLOSE_WAIT = 8,
	TCP_LAST_ACK = 9,
	TCP_LISTEN = 10,
	TCP_NEW_SYN_RECV = 12,
};

/* include/net/sock.h: the numbers of bits of skc_flags (enum sock_flags) */
enum {
	SOCK_DEAD = 0,
	SOCK_DONE = 1,
	SOCK_LINGER = 4,
};

/* include/net/sock.h: what sk_shutdown is made of; close() leaves both */
enum {
	RCV_SHUTDOWN = 1,
	SEND_SHUTDOWN = 2,
};

/* include/linux/sched.h */
enum {
	PF_EXITING = 0x4,
};

/* include/linux/sched/signal.h */
enum {
	SIGNAL_GROUP_EXIT = 0x4,
};

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct in6_addr {
	union {
		__u8 u6_addr8[16];
	} in6_u;
};

struct ns_common {
	__u32 inum;
};

struct net {
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	__u16 skc_family;
	volatile __u8 skc_state;
	__u8 skc_reuse : 4, skc_reuseport : 1;
	int skc_bound_dev_if;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	unsigned long skc_flags;
};

typedef struct {
	__u32 val;
} kuid_t;

struct sock {
	struct sock_common __sk_common;
	int sk_err;
	int sk_err_soft;
	__u8 sk_shutdown;
	unsigned long sk_lingertime;
	struct socket *sk_socket;
	__u32 sk_max_ack_backlog;
	kuid_t sk_uid;
	__u16 sk_protocol;
};

struct mptcp_subflow_context {
	struct sock *conn; /* the multipath socket that the subflow belongs to */
};

struct socket {
	struct sock *sk;
};

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	__u32 fd;
	struct file *file;
};

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
};

struct inet_sock {
	struct sock sk;
	__be32 inet_saddr;
	__be16 inet_sport;
};

struct inet_connection_sock {
	struct inet_sock icsk_inet;
	__u32 icsk_user_timeout;
	void *icsk_ulp_data;
};

struct tcp_options_received {
	__u32 rcv_tsecr;
	__u16 saw_tstamp : 1, wscale_ok : 1, sack_ok : 3, snd_wscale : 4;
};

struct minmax_sample {
	__u32 v;
};

struct minmax {
	struct minmax_sample s[3];
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u64 bytes_acked;
	__u64 bytes_received;
	__u32 srtt_us;
	struct minmax rtt_min;
	__u32 total_retrans;
	__u32 segs_in;
	__u32 segs_out;
	__u32 data_segs_in;
	int linger2;
	__u32 snd_una;
	__u32 write_seq;
	__u32 rcv_nxt;
	__u32 copied_seq;
	__u8 syn_data_acked : 1, repair : 1;
	struct tcp_options_received rx_opt;
};

/* A half-open connection on the server's side. */
struct request_sock {
	struct sock_common __req_common;
	__u8 num_retrans;
};

struct tcp_request_sock {
	__u64 snt_synack;
};

/* What is left of a connection in TIME_WAIT, or in FIN_WAIT2 without a process. */
struct inet_timewait_sock {
	struct sock_common __tw_common;
	volatile unsigned char tw_substate;
};

struct tcp_timewait_sock {
	struct inet_timewait_sock tw_sk;
};

struct kernfs_node {
	__u64 id;
};

/* Before Linux 5.5. */
union kernfs_node_id {
	__u64 id;
};

struct kernfs_node___old {
	union kernfs_node_id id;
};

struct cgroup {
	struct kernfs_node *kn;
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

struct pid_namespace {
	struct ns_common ns;
};

/* A process's number in one of the nested namespaces that it is in. */
struct upid {
	int nr;
	struct pid_namespace *ns;
};

struct pid {
	unsigned int level;
	struct upid numbers[1]; /* level + 1 of them, the outermost first */
};

struct fdtable {
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct file {
	void *private_data;
};

typedef struct {
	int counter;
} atomic_t;

struct signal_struct {
	atomic_t live; /* how many threads have not ended */
	int group_exit_code;
	unsigned int flags;
};

struct task_struct {
	struct task_struct *group_leader;
	struct css_set *cgroups;
	struct files_struct *files;
	struct pid *thread_pid;
	struct signal_struct *signal;
	unsigned int flags;
	int exit_code;
	int pid;
	int tgid;
	__u64 start_time;
	char comm[16];
};

/* Registers at a system call, each as its architecture has them. */
struct pt_regs___x86 {
	unsigned long orig_ax;
};

struct pt_regs___arm64 {
	int syscallno;
};

struct pt_regs;

/*
 * What tracepoints tell as text shows what arguments they have: the fields
 * here came with the third one, in Linux 6.10 and 6.16.
 */
enum sk_rst_reason {
	SK_RST_REASON_NOT_SPECIFIED,
};

struct trace_event_raw_tcp_send_reset {
	enum sk_rst_reason reason;
};

struct trace_event_raw_tcp_retransmit_skb {
	int err;
};

#pragma clang attribute pop

/*
 * How a field is read. Where the verifier knows what the programs are given,
 * pointers to kernel structures among it, they load it themselves; else (PORTABLE)
 * each read is a call.
 *
 *   READ(p, a, b)        p->a->b
 *   READ_BITS(p, a)      p->a, a bit-field
 *   READ_NUMBER(p, a)    p->a, on other kernels a bit-field, or of another width
 *   READ_16(dst, p, a)   the 16 bytes of p->a into dst
 */
#ifdef PORTABLE
#define READ(p, ...) BPF_CORE_READ(p, __VA_ARGS__)
#define READ_BITS(p, a) BPF_CORE_READ_BITFIELD_PROBED(p, a)
#define READ_NUMBER(p, a) BPF_CORE_READ_BITFIELD_PROBED(p, a)
#define READ_16(dst, p, a) bpf_core_read(dst, 16, &(p)->a)
#else
#define READ_1(p, a) ((p)->a)
#define READ_2(p, a, b) ((p)->a->b)
#define READ_3(p, a, b, c) ((p)->a->b->c)
#define READ_AS(_1, _2, _3, as, ...) as
#define READ(p, ...) READ_AS(__VA_ARGS__, READ_3, READ_2, READ_1)(p, __VA_ARGS__)
#define READ_BITS(p, a) BPF_CORE_READ_BITFIELD(p, a)
#define READ_NUMBER(p, a) ((p)->a)
#define READ_16(dst, p, a) copy16(dst, &(p)->a)
#endif

static __always_inline const struct task_struct *current_task(void)
{
#ifdef PORTABLE
	return (void *)bpf_get_current_task();
#else
	return (void *)bpf_get_current_task_btf();
#endif
}

/*
 * Copies 16 bytes (an IPv6 address, a process name) in two loads, where the
 * compiler would copy bytes one by one. The verifier allows it because the
 * whole access stays within one array member.
 */
static __always_inline void copy16(void *dst, const void *src)
{
	((__u64 *)dst)[0] = ((const __u64 *)src)[0];
	((__u64 *)dst)[1] = ((const __u64 *)src)[1];
}

#endif
