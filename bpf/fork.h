/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* New processes, for who asks for the connections of a process and its descendants. */
#ifndef TCPSTATES_FORK_H
#define TCPSTATES_FORK_H

#include "owner.h"
#include "transport.h"

/*
 * The child has not run yet, so this precedes all that it does, and it still has
 * its parent's name. In a PID namespace that the parent is not in, its number is 0.
 */
static __noinline int emit_fork(void *ctx, const struct task_struct *parent,
				const struct task_struct *child, bool followed)
{
	/* As copy16 reads them. */
	struct process maker __attribute__((aligned(8)));
	struct process made __attribute__((aligned(8)));

	process_of(&made, child);
	if (!made.pid) /* it is not in the PID namespace asked for */
		return 0;
	process_of(&maker, parent);

	NEW_RECORD(e, RECORD_PLAIN);
	if (!e)
		return 0;
	__builtin_memset(e, 0, RECORD_PLAIN);
	e->kind = EVENT_FORK;
	e->time = bpf_ktime_get_ns();
	e->flags = followed ? EVENT_FOLLOWED : 0;
	e->pid = maker.pid;
	copy16(e->comm, maker.comm);
	e->curpid = made.pid;
	copy16(e->curcomm, made.comm);
	SEND(ctx, e, RECORD_PLAIN);
	return 0;
}

#endif
