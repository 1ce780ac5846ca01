/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Which process is on the CPU, when that is the socket's owner, and when it is
 * the one that closes it.
 */
#ifndef TCPSTATES_OWNER_H
#define TCPSTATES_OWNER_H

#include "settings.h"
#include "storage.h"

/* include/linux/pid_namespace.h: MAX_PID_NS_LEVEL */
#define MAX_PIDNS_LEVEL 32

/* The number of a process in a nested namespace of the level, if it is the one asked for; else 0. */
static __always_inline __u32 number_at(const struct pid *pid, unsigned int level, __u32 pidns)
{
	const void *at = (const void *)&pid->numbers + level * bpf_core_type_size(struct upid);
	const struct upid *number = at;

	return BPF_CORE_READ(number, ns, ns.inum) == pidns ? BPF_CORE_READ(number, nr) : 0;
}

/* The number of a process in the namespace; 0 if it is not in there. */
static __noinline __u32 pid_in(const struct task_struct *task, __u32 pidns)
{
	const struct pid *pid;
	unsigned int level;
	__u32 nr = 0;

	if (!bpf_core_field_exists(task->thread_pid)) /* before Linux 4.19 */
		return 0;
	pid = READ(task, group_leader, thread_pid);
	level = READ(pid, level);
#ifdef PORTABLE
	/* Without a loop, which programs may have since Linux 5.3: containers in containers. */
	nr = number_at(pid, 0, pidns);
	if (!nr && level >= 1)
		nr = number_at(pid, 1, pidns);
	if (!nr && level >= 2)
		nr = number_at(pid, 2, pidns);
	if (!nr && level >= 3)
		nr = number_at(pid, 3, pidns);
#else
	for (unsigned int i = 0; !nr && i <= MAX_PIDNS_LEVEL; i++) {
		/*
		 * The compiler would join the two bounds into one that is no
		 * constant, and verifiers of Linux 6.1 see no end in that.
		 */
		barrier_var(i);
		if (i > level)
			break;
		nr = number_at(pid, i, pidns);
	}
#endif
	return nr;
}

/* The number of a process in the namespace, 0 standing for the machine's. */
static __always_inline __u32 number_in(const struct task_struct *task, __u32 pidns)
{
	return pidns ? pid_in(task, pidns) : READ(task, tgid);
}

static __always_inline void process_of(struct process *p, const struct task_struct *task)
{
	const struct task_struct *leader = READ(task, group_leader);

	p->pid = number_in(task, SETTING(pidns));
	READ_16(p->comm, leader, comm);
}

static __always_inline void current_process(struct process *p)
{
	process_of(p, current_task());
}

static __always_inline __u64 cgroup_of(const struct task_struct *task)
{
	const struct kernfs_node *kn = READ(task, cgroups, dfl_cgrp, kn);

#ifdef PORTABLE
	if (bpf_core_type_exists(union kernfs_node_id))
		return BPF_CORE_READ((const struct kernfs_node___old *)kn, id.id);
#endif
	return READ(kn, id);
}

static __always_inline void owner_from(struct owner *owner, const struct task_struct *task,
				       enum owner_source source)
{
	__builtin_memset(owner, 0, sizeof(*owner));
	process_of(&owner->process, task);
	owner->cgroup = cgroup_of(task);
	owner->source = source;
}

static __always_inline void current_owner(struct owner *owner, enum owner_source source)
{
	owner_from(owner, current_task(), source);
}

/*
 * connect() and listen() change the state in the calling process itself. At
 * every other transition the task on the CPU can be anyone's.
 */
static __always_inline bool opens(int oldstate, int newstate)
{
	return oldstate == TCP_CLOSE && (newstate == TCP_SYN_SENT || newstate == TCP_LISTEN);
}

/*
 * A child is born of its listener as LISTEN>SYN_RECV (inet_csk_clone_lock):
 * it was never in LISTEN itself, and nothing that its cloned storage says of
 * the listener's past holds for it, but for the owner.
 */
static __always_inline bool is_born(int oldstate, int newstate)
{
	return oldstate == TCP_LISTEN && newstate == TCP_SYN_RECV;
}

/*
 * Whether the process on the CPU closes the socket with this transition, or
 * shuts its sending side. Into FIN_WAIT1 and LAST_ACK that is always so
 * (tcp_close_state). Into CLOSE it is so for a listener, and for a connection
 * that had sent no FIN yet if no error from outside ended it: a reset, a
 * time-out and an ICMP message leave theirs in sk_err before. ECONNABORTED is
 * left by who closes a socket of somebody else (tcp_abort, "ss -K").
 */
static __always_inline bool closes(const struct sock *sk, int oldstate, int newstate)
{
	int err = READ(sk, sk_err);

	if (newstate == TCP_FIN_WAIT1 || newstate == TCP_LAST_ACK)
		return 1;
	if (newstate != TCP_CLOSE)
		return 0;
	switch (oldstate) {
	case TCP_LISTEN:
		return 1;
	case TCP_SYN_RECV:
		/* Else a child that another was faster than (inet_ehash_nolisten). */
		if (!READ(sk, sk_socket) && !err)
			return 0;
		/* fallthrough */
	case TCP_SYN_SENT:
	case TCP_ESTABLISHED:
	case TCP_CLOSE_WAIT:
		return err == 0 || err == ECONNABORTED;
	}
	return 0;
}

/*
 * The signal that ends the process on the CPU, which is closing what it has
 * open; 0 if it is not ending, or by itself (kernel/exit.c: do_exit; wait(2)
 * has the signal in the low seven bits). The thread that closes may be one that
 * was about to end anyway.
 */
static __always_inline __u8 ending_signal(void)
{
	const struct task_struct *task = current_task();
	int code;

	if (!(READ(task, flags) & PF_EXITING))
		return 0;
	code = READ(task, exit_code);
	if (READ(task, signal, flags) & SIGNAL_GROUP_EXIT)
		code = READ(task, signal, group_exit_code);
	return code & 0x7f;
}

#endif
