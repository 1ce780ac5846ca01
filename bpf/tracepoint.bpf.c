//go:build ignore

// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Reports every change of a TCP socket's state by what the tracepoint
 * sock:inet_sock_set_state itself says, for kernels without type information.
 * What a record of it looks like differs from kernel to kernel: user space
 * finds out and tells.
 *
 * The kernel runs no such program while it interrupts another tracing program
 * on the same CPU, all of them together, so a twin would be of no use.
 */
#define PORTABLE
#include "filter.h"
#include "lives.h"
#include "sample.h"
#include "started.h"
#include "storage.h"
#include "transport.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The fields of the tracepoint's record, in the order in which layout has them. */
enum field {
	FIELD_SKADDR,
	FIELD_OLDSTATE,
	FIELD_NEWSTATE,
	FIELD_SPORT, /* in host order, as dport is */
	FIELD_DPORT,
	FIELD_FAMILY,
	FIELD_PROTOCOL,
	FIELD_SADDR,
	FIELD_DADDR,
	FIELD_SADDR_V6,
	FIELD_DADDR_V6,
	FIELDS,
};

/* Where a field is, in bytes. */
struct field_place {
	__u16 offset;
	__u16 width;
};

/*
 * Inserted by user space before the program is attached, constant from then
 * on; read by the program. Bounded: a place for each field.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FIELDS);
	__type(key, __u32);
	__type(value, struct field_place);
} layout SEC(".maps");

/* Reads a number of up to eight bytes; 0 if the record has none. */
static __noinline __u64 number(const void *record, __u32 which)
{
	const struct field_place *place = bpf_map_lookup_elem(&layout, &which);
	const void *at;
	__u64 value = 0;

	if (!place)
		return 0;
	at = record + place->offset;
	/* Constant sizes, of which verifiers of every age see the bounds. */
	switch (place->width) {
	case 1:
		bpf_probe_read(&value, 1, at);
		break;
	case 2:
		bpf_probe_read(&value, 2, at);
		break;
	case 4:
		bpf_probe_read(&value, 4, at);
		break;
	case 8:
		bpf_probe_read(&value, 8, at);
		break;
	}
	return value;
}

/* Reads an address; it stays 0 if the record has none. */
static __always_inline void read_address(__u8 *to, const void *record, __u32 which, __u32 width)
{
	const struct field_place *place = bpf_map_lookup_elem(&layout, &which);

	if (place && place->width == width)
		bpf_probe_read(to, width, record + place->offset);
}

/*
 * The process on the CPU. Its name is the thread's here: nothing tells where
 * the group's leader has its own, nor what number another PID namespace gives it.
 */
static __always_inline void current_process(struct process *p)
{
	p->pid = SETTING(pidns) ? 0 : bpf_get_current_pid_tgid() >> 32;
	bpf_get_current_comm(p->comm, sizeof(p->comm));
}

static __always_inline bool opens(__u8 oldstate, __u8 newstate)
{
	return oldstate == TCP_CLOSE && (newstate == TCP_SYN_SENT || newstate == TCP_LISTEN);
}

static __always_inline bool is_born(__u8 oldstate, __u8 newstate)
{
	return oldstate == TCP_LISTEN && newstate == TCP_SYN_RECV;
}

/* As far as the states tell: see closes in owner.h. */
static __always_inline bool closes(__u8 oldstate, __u8 newstate)
{
	return newstate == TCP_FIN_WAIT1 || newstate == TCP_LAST_ACK ||
	       (oldstate == TCP_LISTEN && newstate == TCP_CLOSE);
}

/*
 * The local port, or 0: what begins to connect may carry the port of the
 * socket's last connection.
 */
static __always_inline __u16 local_port(const void *record, const struct hop *hop)
{
	if (hop->oldstate == TCP_CLOSE && hop->newstate == TCP_SYN_SENT)
		return 0;
	return number(record, FIELD_SPORT);
}

static __noinline int emit(void *ctx, const struct life *life, const struct hop *hop, __u64 skaddr)
{
	NEW_RECORD(e, sizeof(*e));

	if (!e)
		return 0;
	__builtin_memset(e, 0, sizeof(*e));
	e->kind = hop->kind;
	e->time = hop->time;
	e->since = hop->since;
	e->oldstate = hop->oldstate;
	e->newstate = hop->newstate;
	e->flags = hop->flags | EVENT_NO_FACTS | EVENT_UID_UNKNOWN;
	e->curpid = hop->current.pid;
	copy16(e->curcomm, hop->current.comm);
	if (life) {
		const struct owner *owner = owner_of(life);

		e->pid = owner->process.pid;
		copy16(e->comm, owner->process.comm);
		e->source = owner->source;
	}
	e->skaddr = skaddr;
	e->family = number(ctx, FIELD_FAMILY);
	e->tp_lport = number(ctx, FIELD_SPORT);
	e->lport = local_port(ctx, hop);
	/* A held hop is sent with the ports of the one that follows. */
	if (hop->oldstate == TCP_CLOSE && number(ctx, FIELD_OLDSTATE) != TCP_CLOSE)
		e->lport = e->tp_lport;
	e->rport = number(ctx, FIELD_DPORT);
	if (e->family == AF_INET6) {
		read_address(e->laddr, ctx, FIELD_SADDR_V6, 16);
		read_address(e->raddr, ctx, FIELD_DADDR_V6, 16);
	} else {
		read_address(e->laddr4, ctx, FIELD_SADDR, 4);
		read_address(e->raddr4, ctx, FIELD_DADDR, 4);
	}
	e->reset_reason = -1;
	SEND(ctx, e, sizeof(*e));
	return 0;
}

/* A connection begins: what is remembered at the address is another socket's. */
static __always_inline void begin_anew(struct life *life, const struct hop *hop)
{
	struct owner owner = {};

	forget_socket(life);
	if (opens(hop->oldstate, hop->newstate)) {
		owner.process = hop->current;
		owner.source = hop->newstate == TCP_LISTEN ? OWNER_LISTEN : OWNER_CONNECT;
	}
	set_owner(life, &owner);
}

static __noinline int judge_by_filters(const void *record, const struct life *life,
				       const struct hop *hop, bool last)
{
	struct subject s = {};

	s.family = number(record, FIELD_FAMILY);
	s.lport = local_port(record, hop);
	s.rport = number(record, FIELD_DPORT);
	/* They have IPv4 as mapped (include/trace/events/sock.h). */
	read_address(s.local.addr, record, FIELD_SADDR_V6, 16);
	read_address(s.remote.addr, record, FIELD_DADDR_V6, 16);
	s.last = last;
	if (life) {
		const struct owner *owner = owner_of(life);

		if (owner->source) /* else it is a child, or was there before */
			s.pid = owner->process.pid;
	}
	return judge(&s);
}

/* life may be NULL: then nobody knows who opened the socket. */
static __always_inline enum verdict judge_transition(const void *record, const struct life *life,
						     const struct hop *hop, bool last)
{
	return draw(SETTING(filters) ? judge_by_filters(record, life, hop, last) : PASS, 0);
}

static __always_inline void filter_and_emit(void *ctx, struct life *life, const struct hop *hop,
					    __u64 skaddr)
{
	/* A child is announced before it has its remote port, before Linux 6.15. */
	bool unborn = is_born(hop->oldstate, hop->newstate) && !number(ctx, FIELD_DPORT);

	if (!unborn && life->verdict == UNDECIDED)
		life->verdict = judge_transition(ctx, life, hop, hop->newstate == TCP_CLOSE);
	if (unborn || life->verdict == UNDECIDED) {
		life->held = *hop;
		life->holds = 1;
		return;
	}
	if (life->verdict == PASS) {
		if (life->holds)
			emit(ctx, life, &life->held, skaddr);
		emit(ctx, life, hop, skaddr);
	} else {
		note_unsampled(life->verdict, 1 + life->holds);
	}
	life->holds = 0;
}

SEC("tracepoint/sock/inet_sock_set_state")
int single(void *ctx)
{
	__u64 skaddr = number(ctx, FIELD_SKADDR);
	const struct sock *sk = (void *)skaddr;
	struct hop hop = {};
	struct life *life;

	if (!has_started() || number(ctx, FIELD_PROTOCOL) != IPPROTO_TCP)
		return 0;
	hop.kind = EVENT_TRANSITION;
	hop.oldstate = number(ctx, FIELD_OLDSTATE);
	hop.newstate = number(ctx, FIELD_NEWSTATE);
	if (hop.oldstate == hop.newstate && !SETTING(self_transitions))
		return 0;
	hop.time = bpf_ktime_get_ns();
	current_process(&hop.current);
	if (closes(hop.oldstate, hop.newstate))
		hop.flags |= EVENT_CLOSER;

	life = life_of(sk);
	if (!life) {
		enum verdict verdict = judge_transition(ctx, life, &hop, 1);

		if (verdict == PASS)
			emit(ctx, life, &hop, skaddr);
		else
			note_unsampled(verdict, 1);
		return 0;
	}
	if (life->state && life->state != hop.oldstate &&
	    !(life->state == TCP_CLOSE && is_born(hop.oldstate, hop.newstate))) {
		COUNT(gaps);
		life->since = 0;
		forget_connection(life);
	}
	if (hop.oldstate == TCP_CLOSE || is_born(hop.oldstate, hop.newstate))
		begin_anew(life, &hop);
	hop.since = life->since;
	life->since = hop.time;
	life->state = hop.newstate;
	filter_and_emit(ctx, life, &hop, skaddr);
	return 0;
}
