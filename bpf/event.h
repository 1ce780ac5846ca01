/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The record that crosses to user space: what it holds and how it is laid
 * out. bpf2go makes the Go type from it; a test compares the two by BTF.
 */
#ifndef TCPSTATES_EVENT_H
#define TCPSTATES_EVENT_H

#include "kernel.h"

enum event_kind {
	EVENT_TRANSITION = 1,
	EVENT_OWNER = 2, /* the socket has another owner; both states are the present one */
};

/* How the owner is known. */
enum owner_source {
	OWNER_UNKNOWN,
	OWNER_CONNECT,	 /* it called connect() */
	OWNER_LISTEN,	 /* it called listen() */
	OWNER_INHERITED, /* it owns the listener */
	OWNER_ACCEPT,	 /* it accepted the connection */
	OWNER_IO,	 /* it was the first to receive or send on the connection */
	OWNER_SEED,	 /* it had the socket open when tracing began */
};

enum event_flags {
	EVENT_CLOSER = 1 << 0,	   /* the process on the CPU closes the socket */
	EVENT_SINCE_SEED = 1 << 1, /* oldstate began before since, when tracing began */
};

/* A process: its id (thread group id) and its name, the group leader's. */
struct process {
	char comm[16];
	__u32 pid; /* 0: unknown, or the idle task */
};

struct owner {
	struct process process;
	__u8 source; /* enum owner_source */
	__u8 pad[3];
	__u64 cgroup; /* id in the version 2 hierarchy: its directory's inode */
};

/*
 * One change of state. Integers are in host order, ports too; addresses are
 * in network order, IPv4 in the first four bytes.
 */
struct event {
	__u64 time;	  /* ns, CLOCK_MONOTONIC */
	__u64 since;	  /* ns, when oldstate began; 0: not known */
	__u64 cookie;	  /* the socket's cookie, as sock_diag tells it */
	__u64 skaddr;	  /* address of struct sock: no identity, it is reused */
	__u8 laddr[16];
	__u8 raddr[16];
	char curcomm[16]; /* on the CPU at the transition, whoever that was */
	char comm[16];	  /* the owner's */
	__u64 cgroup;	  /* the owner's; 0: not known */
	__u32 curpid;
	__u32 pid;	  /* the owner's; 0: not known */
	__u32 uid;	  /* the socket's; a child has its listener's until accept */
	__u32 netns;	  /* inode number of the network namespace */
	__u16 lport;	  /* 0: not known yet */
	__u16 rport;
	__u16 tp_lport;	  /* what the tracepoint says, stale port of a reused socket included */
	__u8 family;	  /* AF_INET or AF_INET6 */
	__u8 oldstate;
	__u8 newstate;
	__u8 kind;	  /* enum event_kind */
	__u16 size;	  /* of this record in bytes */
	__u8 source;	  /* enum owner_source */
	__u8 flags;	  /* enum event_flags */
	__u8 pad[2];
};

_Static_assert(sizeof(struct event) == 136, "the reader knows the size");

/* Keeps the type in BTF, where bpf2go finds it. */
struct event *const unused_event __attribute__((unused));

#endif
