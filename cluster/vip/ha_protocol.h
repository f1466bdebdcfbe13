/* SPDX-License-Identifier: Apache-2.0
 * What postroadd and postroad-ha say to each other, as bytes. Pure.
 *
 * postroad-ha is root, postroadd is not: what goes up is typed, bounded and checked here, so that no text made by the
 * unprivileged side reaches a file or a command line. The socket is SOCK_SEQPACKET: a packet is a message. There is one
 * encoding of each message, and one set of rules, which both sides apply: what cannot be read cannot be written.
 *
 *	0 version u8, 1 type u8, 2 zero u16, 4 length u32 of the whole, 8 body; numbers little-endian,
 *	texts and lists behind their length
 */
#ifndef POSTROAD_CLUSTER_VIP_HA_PROTOCOL_H
#define POSTROAD_CLUSTER_VIP_HA_PROTOCOL_H

#include "daemon/base/addr.h"
#include "daemon/base/str.h"

#define HA_SOCKET_NAME "ha.sock" /* in the daemon's run_dir */
enum { HA_VERSION = 1, HA_HEAD_LEN = 8, HA_MESSAGE_MAX = 60 * 1024 };
enum { HA_NAME_MAX = 63, HA_INTERFACE_MAX = 15, HA_TEXT_MAX = 255 };
enum { HA_VIPS_MAX = 64, HA_ADDRESSES_MAX = 8, HA_NODES_MAX = 32, HA_LINKS_MAX = 2 };
enum { HA_VIP_NODES_MAX = 16, HA_PEERS_MAX = HA_VIP_NODES_MAX - 1 }; /* nodes that share a VIP */
enum { HA_KEY_MIN = 128, HA_KEY_MAX = 1024, HA_FLOWS_MAX = 1000, HA_FLOW_SECONDS_MAX = 24 * 3600 };
enum { HA_ADVERT_MIN_MS = 50, HA_ADVERT_MAX_MS = 40000, HA_GARP_MAX_S = 3600, HA_PRIORITY_MAX = 254 };
/* postroadd is taken for hung after this silence, and all VIPs are faulted. It beats four times as often. */
enum { HA_SILENCE_MS = 1000, HA_BEAT_MS = 250 };

enum ha_type {
	/* from postroadd */
	HA_HELLO = 1,   /* the first message */
	HA_TABLE,       /* all VIPs of this node, replacing those before */
	HA_HEALTH,      /* which VIPs this node may hold; those not named are at fault */
	HA_BEAT,        /* postroadd lives; a second without one faults all VIPs */
	HA_COROSYNC,    /* a verb, and for HA_COROSYNC_STAGE the data of its file */
	HA_PROBE,       /* asks the network whether somebody has a VIP's addresses */
	HA_FLOWS_LIST,  /* asks for the established flows of a VIP */
	HA_FLOWS_KEEP,  /* a VIP is about to leave: its addresses stay on lo, for flows that go on here */
	HA_FLOWS_DROP,  /* ends that */
	HA_FLOWS_OPEN,  /* a VIP is about to come: what belongs to no connection of this node goes to the old owner */
	HA_FLOWS_TAKE,  /* these flows belong to the old owner, or to an older one */
	HA_FLOWS_LOST,  /* that node seems dead: if the network says so too, its flows are passed on to it no more */
	HA_REQUEST_END, /* types from postroadd are below */
	/* from postroad-ha */
	HA_WELCOME = 32, /* answers HA_HELLO */
	HA_REPORT,       /* each second, and when something in it changed */
	HA_ERROR,        /* what was asked was not done, and why */
	HA_DONE,         /* what was asked was done */
	HA_PROBED,       /* answers HA_PROBE */
	HA_FLOWS,        /* answers HA_FLOWS_LIST, in parts */
	HA_ANSWER_END
};

struct ha_hello {
	char node[HA_NAME_MAX + 1];
};

struct ha_welcome {
	char program[HA_TEXT_MAX + 1]; /* name and version */
};

struct ha_address {
	struct addr ip; /* without a port */
	uint8_t bits;
};

/* A VIP as this node takes part in it. */
struct ha_vip {
	char name[HA_NAME_MAX + 1];           /* [A-Za-z0-9][A-Za-z0-9_.-]* */
	char interface[HA_INTERFACE_MAX + 1]; /* [A-Za-z0-9_.-]+ */
	uint8_t vrid, priority;               /* priority: this node's, 1 to HA_PRIORITY_MAX */
	uint16_t advert_ms;                   /* in steps of 10 */
	uint16_t garp_s;                      /* gratuitous ARP is repeated so often; 0 = not */
	bool failback;                        /* a better node that returns takes the VIP back */
	struct addr source;                   /* this node's own address towards its peers */
	size_t n_peers;
	struct addr peers[HA_PEERS_MAX]; /* of source's family */
	size_t n_addresses;
	struct ha_address addresses[HA_ADDRESSES_MAX]; /* at least one of source's family */
};

struct ha_table {
	uint64_t generation; /* named in reports and errors */
	size_t n;
	struct ha_vip vips[HA_VIPS_MAX]; /* names unique; VRIDs unique on an interface; addresses unique */
};

struct ha_health_vip {
	char name[HA_NAME_MAX + 1];
	bool up;
	char reason[HA_TEXT_MAX + 1]; /* of a fault; for the log alone */
};

struct ha_health {
	size_t n;
	struct ha_health_vip vips[HA_VIPS_MAX];
};

struct ha_beat {
	uint64_t sequence;
};

enum ha_corosync_verb {
	HA_COROSYNC_STAGE =
		1,           /* write configuration and key beside those in place; DONE's text is the file's SHA-256 */
	HA_COROSYNC_INSTALL, /* put the staged ones of this generation in their place */
	HA_COROSYNC_START,
	HA_COROSYNC_RELOAD,
	HA_COROSYNC_RESTART,
	HA_COROSYNC_STOP,
	HA_COROSYNC_HUNG,  /* kill it by force, and start it again */
	HA_COROSYNC_PURGE, /* stop it, and forget configuration and keys */
	HA_COROSYNC_CHECK, /* whether it could be run here at all: the error says what is missing, and what to do */
	HA_COROSYNC_VERB_END
};

struct ha_corosync_node {
	uint32_t id; /* not 0 */
	char name[HA_NAME_MAX + 1];
	size_t n_links; /* the same for all nodes */
	struct addr links[HA_LINKS_MAX];
};

struct ha_corosync {
	uint32_t ticket;
	enum ha_corosync_verb verb;
	uint64_t generation; /* HA_COROSYNC_STAGE, HA_COROSYNC_INSTALL; 0 for the others */
	/* The rest for HA_COROSYNC_STAGE only. The key is a secret: wipe the struct and the bytes after use. */
	char cluster[HA_NAME_MAX + 1];
	size_t n;
	struct ha_corosync_node nodes[HA_NODES_MAX];
	size_t key_len;
	uint8_t key[HA_KEY_MAX];
};

/* HA_PROBE, HA_FLOWS_LIST, HA_FLOWS_KEEP, HA_FLOWS_DROP */
struct ha_about {
	uint32_t ticket;
	char vip[HA_NAME_MAX + 1];
	uint32_t seconds; /* HA_FLOWS_KEEP: for so long; otherwise 0 */
};

struct ha_flow {
	struct addr local, remote; /* with ports, of one family */
};

/* HA_FLOWS_OPEN (without flows), HA_FLOWS_TAKE and HA_FLOWS: a list too long for one message comes in parts under one
 * ticket. A VIP with addresses of both families has an owner's address in each, and so a message for each. */
struct ha_flows {
	uint32_t ticket;
	char vip[HA_NAME_MAX + 1];
	bool last;         /* no further part follows */
	struct addr owner; /* whose flows these are; HA_FLOWS: family 0 = those of this node itself */
	uint32_t seconds;  /* for so long; 0 where there is no owner */
	size_t n;
	struct ha_flow list[HA_FLOWS_MAX]; /* HA_FLOWS_TAKE: of the owner's family */
};

struct ha_lost {
	uint32_t ticket;
	struct addr owner;
};

/* What keepalived says; a hint, as it may be late or lost. */
enum ha_state { HA_STATE_UNKNOWN, HA_STATE_BACKUP, HA_STATE_MASTER, HA_STATE_FAULT, HA_STATE_STOP, HA_STATE_END };

struct ha_report_vip {
	char name[HA_NAME_MAX + 1];
	uint8_t addresses; /* how many it has */
	uint8_t present;   /* how many of them the kernel has on the interface: this is the truth about who holds it */
	bool up;           /* whether keepalived was told that it may hold it */
	enum ha_state state;
	uint8_t priority;  /* as keepalived says it; 0 = not yet */
	uint64_t since_ms; /* age of the last change of present or state */
};

struct ha_report {
	uint64_t generation;          /* of the table that is in force; 0 = none */
	bool keepalived;              /* its VRRP process runs and is not stopped */
	bool corosync;                /* runs, as far as this program started it or can see it */
	uint64_t corosync_generation; /* installed; 0 = none */
	size_t n;
	struct ha_report_vip vips[HA_VIPS_MAX];
};

/* HA_ERROR, HA_DONE */
struct ha_outcome {
	uint32_t ticket;            /* of the request; 0 = it had none */
	uint8_t about;              /* its type */
	uint64_t generation;        /* of the table it is about, or 0 */
	char text[HA_TEXT_MAX + 1]; /* HA_ERROR: a sentence; HA_DONE: what the request says of it */
};

struct ha_probed {
	uint32_t ticket;
	char vip[HA_NAME_MAX + 1];
	bool seen;      /* somebody else answered for one of the addresses */
	uint8_t mac[6]; /* who */
};

struct ha_message {
	enum ha_type type;
	union {
		struct ha_hello hello;
		struct ha_welcome welcome;
		struct ha_table table;
		struct ha_health health;
		struct ha_beat beat;
		struct ha_corosync corosync;
		struct ha_about about;
		struct ha_flows flows;
		struct ha_lost lost;
		struct ha_report report;
		struct ha_outcome outcome;
		struct ha_probed probed;
	};
};

/* Replaces *out. NULL, or a sentence (static) that says which rule the message breaks; *out is then empty. The message
 * is not changed. */
const char *ha_encode(struct ha_message *m, struct sbuf *out) MUST_CHECK;
/* NULL, or a sentence (static) that says why the bytes are no message; *ret is then undefined, and may hold a part of a
 * key. */
const char *ha_decode(struct str in, struct ha_message *ret) MUST_CHECK;
/* Whether the message is of another version than this one; its sender is then told so and left. */
bool ha_other_version(struct str in);

/* NULL, or why this is no table to act on. What only the machine knows (interfaces, own addresses) is not checked. */
const char *ha_table_check(const struct ha_table *t) MUST_CHECK;
/* "[A-Za-z0-9][A-Za-z0-9_.-]{0,62}" */
bool ha_name_ok(const char *name);
/* NULL when there is none. */
const struct ha_vip *ha_table_find(const struct ha_table *t, const char *name);
/* A text that may be sent: cut to HA_TEXT_MAX, and what is not printable ASCII becomes '?'. */
void ha_text(char out[HA_TEXT_MAX + 1], const char *text);

#endif
