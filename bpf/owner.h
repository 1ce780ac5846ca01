/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Which process is on the CPU, and when that is the socket's owner. */
#ifndef TCPSTATES_OWNER_H
#define TCPSTATES_OWNER_H

#include "storage.h"

static __always_inline void current_process(struct process *p)
{
	const struct task_struct *task = (void *)bpf_get_current_task_btf();

	p->pid = bpf_get_current_pid_tgid() >> 32;
	copy16(p->comm, &task->group_leader->comm);
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

#endif
