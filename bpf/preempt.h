/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Since Linux 7.0 a task can be preempted in a program on a tracepoint, and as long as
 * it waits for its CPU the kernel runs the program for nobody else there: with a
 * hundred tasks on a CPU thousands of events would go unseen by it. Therefore the
 * programs are not preempted, but right after they have ended.
 *
 * User space takes the calls out of the programs where the kernel needs them not, or
 * has them not.
 */
#ifndef TCPSTATES_PREEMPT_H
#define TCPSTATES_PREEMPT_H

#include "kernel.h"

/* kernel/bpf/helpers.c */
extern void bpf_preempt_disable(void) __ksym;
extern void bpf_preempt_enable(void) __ksym;
extern void bpf_local_irq_save(unsigned long *flags) __ksym;
extern void bpf_local_irq_restore(unsigned long *flags) __ksym;

static __always_inline bool keep_cpu(void)
{
	bpf_preempt_disable();
	return 1;
}

/*
 * Who allows preemption is preempted there and then if that is due (preempt_enable):
 * here that would be in the program still. With interrupts off it is left out
 * (preempt_schedule), and made up for where the kernel has done with the program and
 * allows the task to leave its CPU (rcu_read_unlock_migrate). What remains is when an
 * interrupt comes right here, or before the program has come to its first line.
 */
static __always_inline void give_cpu(const bool *kept)
{
	unsigned long flags;

	(void)kept;
	bpf_local_irq_save(&flags);
	bpf_preempt_enable();
	bpf_local_irq_restore(&flags);
}

/* At the beginning of a program, holds until it ends, wherever it does. */
#define UNPREEMPTED __attribute__((cleanup(give_cpu), unused)) bool kept_ = keep_cpu()

#endif
