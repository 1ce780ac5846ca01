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
	/* From here on both states are the present one. */
	EVENT_OWNER = 2, /* the socket has another owner */
	EVENT_RESET_SENT = 3,
	EVENT_RESET_RECEIVED = 4,
	EVENT_RETRANSMIT = 5,	     /* of a SYN, or of data */
	EVENT_SYNACK_RETRANSMIT = 6, /* of a half-open connection, which is no socket yet */
	/* No socket's: of the record only time, flags, curpid and curcomm, pid and comm are set. */
	EVENT_FORK = 7, /* the owner has made a new process */
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
	OWNER_PORT,	 /* it owns the listener of the connection's port */
};

enum event_flags {
	EVENT_CLOSER = 1 << 0,	   /* the process on the CPU closes the socket */
	EVENT_SINCE_SEED = 1 << 1, /* oldstate began before since, when tracing began */
	EVENT_UID_UNKNOWN = 1 << 2,
	EVENT_ACCEPTED = 1 << 3,   /* the owner accepted the connection at moment */
	EVENT_NO_FACTS = 1 << 4,   /* what the socket says of itself is not known */
	EVENT_FOLLOWED = 1 << 5,   /* the new process is followed */
};

/* What the socket says of itself, and what was seen of it. */
enum event_facts {
	FACT_DEAD = 1 << 0,	    /* SOCK_DEAD: no process has it any more */
	FACT_DONE = 1 << 1,	    /* SOCK_DONE: the peer's FIN has come */
	FACT_LINGER0 = 1 << 2,	    /* SO_LINGER with no time to linger */
	FACT_NO_FILE = 1 << 3,	    /* no file refers to it: not accepted yet, or not any more */
	FACT_USER_TIMEOUT = 1 << 4, /* TCP_USER_TIMEOUT is set */
	FACT_FAST_OPEN = 1 << 5,    /* the SYN carried data that was acknowledged */
	FACT_COOKIE = 1 << 6,	    /* the handshake's last ACK echoes the timestamp of a SYN cookie */
	FACT_GOT_RESET = 1 << 7,    /* tcp_reset was called for it */
	FACT_SENT_RESET = 1 << 8,   /* it sent a reset, for reset_reason */
	FACT_CHILD = 1 << 9,	    /* it has a listener's limit of waiting connections: it was one, or its child */
	FACT_ALL_ACKED = 1 << 10,   /* the peer has acknowledged all that was sent, a FIN included */
	FACT_REPAIR = 1 << 11,	    /* TCP_REPAIR is on: it does not speak to the peer */
	FACT_UNREAD = 1 << 12,	    /* data has come that nobody has read */
};

/* A process: its id (thread group id) and its name, the group leader's. */
struct process {
	char comm[16];
	__u32 pid; /* 0: unknown, or the idle task */
};

struct owner {
	struct process process;
	__u8 source;   /* enum owner_source */
	bool followed; /* it was followed when it called connect() or listen() */
	__u8 pad[2];
	__u64 cgroup; /* id in the version 2 hierarchy: its directory's inode */
};

/*
 * One change of state. Integers are in host order, ports too; addresses are
 * in network order. What says nothing at the end of a record is left out: see
 * RECORD_PLAIN.
 */
struct event {
	__u64 time;	  /* ns, CLOCK_MONOTONIC */
	__u64 since;	  /* ns, when oldstate began; 0: not known */
	__u64 cookie;	  /* the socket's cookie, as sock_diag tells it; 0: not known */
	__u64 skaddr;	  /* address of struct sock: no identity, it is reused */
	char curcomm[16]; /* on the CPU at the transition, whoever that was */
	char comm[16];	  /* the owner's */
	__u64 cgroup;	  /* the owner's; 0: not known */
	__u32 curpid;
	__u32 pid;	  /* the owner's; 0: not known */
	__u32 uid;	  /* the socket's; a child has its listener's until accept */
	__u32 netns;	  /* inode number of the network namespace; 0: not known */
	__u16 lport;	  /* 0: not known yet */
	__u16 rport;
	__u16 tp_lport;	  /* what the tracepoint says, stale port of a reused socket included */
	__u16 size;	  /* of this record in bytes: how much of it there is */
	__u8 family;	  /* AF_INET or AF_INET6 */
	__u8 oldstate;
	__u8 newstate;
	__u8 kind;	  /* enum event_kind */
	__u8 source;	  /* enum owner_source */
	__u8 flags;	  /* enum event_flags */
	__u8 signal;	  /* that ends the process which closes the socket; 0: none does */
	__u8 shutdown;	  /* sk_shutdown: 1 receiving, 2 sending; 0 where has_facts says no */
	__u8 laddr4[4];	  /* IPv4's */
	__u8 raddr4[4];

	/* From here on all is 0 where it is of no use: see has_facts. */
	__u64 moment;	      /* ns; see EVENT_ACCEPTED */
	__u64 bytes_acked;    /* SYN and FIN included */
	__u64 bytes_received; /* FIN included */
	__u32 srtt;	  /* smoothed round trip time in us, times 8; 0: not known */
	__u32 rtt_min;	  /* us; all ones: not known */
	__u32 retrans;	  /* segments retransmitted in all, SYN and SYN-ACK included */
	__u32 segs_in;
	__u32 segs_out;
	__u32 data_segs_in; /* segments that carried data */
	__s32 linger2;	  /* time in FIN_WAIT2 in jiffies; 0: the system's; below 0: none */
	__s32 reset_reason; /* enum sk_rst_reason; -1: not known */
	__u16 err;	  /* sk_err */
	__u16 err_soft;	  /* sk_err_soft */
	__u16 facts;	  /* enum event_facts */
	__u8 pad[2];

	__u8 laddr[16]; /* IPv6's */
	__u8 raddr[16];
};

/* The lengths that a record can have, beside all of it. */
#define RECORD_PLAIN __builtin_offsetof(struct event, moment)
#define RECORD_FACTS __builtin_offsetof(struct event, laddr)

_Static_assert(sizeof(struct event) == 208, "the reader knows the size");
_Static_assert(RECORD_PLAIN == 112 && RECORD_FACTS == 176, "the reader knows the lengths");

#ifndef PORTABLE /* where a constant needs what kernels before Linux 5.2 lack */
/* Keep the types in BTF, where bpf2go finds them. */
struct event *const unused_event __attribute__((unused));
enum event_kind *const unused_kind __attribute__((unused));
enum event_flags *const unused_flags __attribute__((unused));
enum event_facts *const unused_facts __attribute__((unused));
#endif

#endif
