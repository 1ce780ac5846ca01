/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* How records travel to user space. */
#ifndef TCPSTATES_TRANSPORT_H
#define TCPSTATES_TRANSPORT_H

#include "count.h"
#include "event.h"

#ifndef BY_PERF

/*
 * Inserted by send, read and released by user space, which sets the size
 * (--buffer) before loading. When it is full, records are lost and counted.
 *
 * Submitting without flags wakes the reader only when it has read all there
 * is and waits. The reader naps for a few milliseconds after each sweep, so a
 * lone transition wakes it at once and a burst wakes it once a nap.
 */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} events SEC(".maps");

/*
 * Declares a pointer to a record of a constant length to fill; NULL, and counted,
 * when there is no room.
 */
#define NEW_RECORD(e, length) struct event *e = reserve_record(length)

static __always_inline struct event *reserve_record(const __u16 length)
{
	struct event *e = bpf_ringbuf_reserve(&events, length, 0);

	if (!e)
		COUNT(lost);
	return e;
}

#define SEND(ctx, e, length) send(e, length)

static __always_inline void send(struct event *e, const __u16 length)
{
	e->size = length;
	bpf_ringbuf_submit(e, 0);
	COUNT(emitted);
}

#else

/*
 * For kernels without the ring buffer, which is there since Linux 5.8. Inserted
 * by user space, a buffer for each CPU, of which it sets the size before
 * attaching; filled by send. When one is full, records are lost and counted.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
} events SEC(".maps");

/* Declares a pointer to a record to fill, which is on the stack, whatever its length. */
#define NEW_RECORD(e, length)     \
	struct event e##_ = {};   \
	struct event *e = &e##_

#define SEND(ctx, e, length) send(ctx, e, length)

static __always_inline void send(void *ctx, struct event *e, const __u16 length)
{
	e->size = length;
	if (bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, e, length))
		COUNT(lost);
	else
		COUNT(emitted);
}

#endif

#endif
