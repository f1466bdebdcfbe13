/* SPDX-License-Identifier: Apache-2.0
 * What a node says of itself each second, as a struct and as bytes. Pure.
 *
 * The bytes come from other nodes and are checked like any input. They hold ticket keys: whoever has them wipes them
 * after use (report_wipe()).
 */
#ifndef POSTROAD_CLUSTER_REPORT_REPORT_H
#define POSTROAD_CLUSTER_REPORT_REPORT_H

#include "cluster/core/core.h"
#include "cluster/report/keys.h"
#include "daemon/base/addr.h"

enum { REPORT_NAME_MAX = 63, REPORT_VERSION_MAX = 31, REPORT_TEXT_MAX = 120 };
enum { REPORT_REASONS_MAX = 4, REPORT_VIPS_MAX = 64, REPORT_LINKS_MAX = 64, REPORT_WEIGHT_MAX = 4095 };
/* A report is at most CORE_SOFT_MAX bytes; so many verdicts always fit, and all else is made to fit beside them. */
enum { REPORT_VERDICT_LEN = 8, REPORT_VERDICTS_FIT = 900, REPORT_VERDICTS_GIVEN_MAX = 65536 };
enum { REPORT_OTHERS_MAX = CORE_SOFT_MAX - REPORT_VERDICTS_FIT * REPORT_VERDICT_LEN };

/* What a node says of itself; the last two are what others say of it. */
enum report_state {
	REPORT_STARTING,
	REPORT_READY,
	REPORT_DRAIN,
	REPORT_STOPPING,
	REPORT_SAID, /* states below are sent */
	REPORT_STALE = REPORT_SAID,
	REPORT_GONE,
	REPORT_STATE_COUNT
};
extern const char *const report_state_names[REPORT_STATE_COUNT];

/* A server's state as one node sees it. The numbers are those of the wire. */
enum report_verdict_state {
	REPORT_UNKNOWN, /* not checked by that node itself; also a state that this version does not know */
	REPORT_UP,
	REPORT_WARMING, /* slow start */
	REPORT_BUSY,
	REPORT_EJECTED,
	REPORT_DOWN,
	REPORT_DRAINED,
	REPORT_MAINT,
	REPORT_VERDICT_COUNT
};

/* What keepalived says of a VIP. The numbers are those of the wire. */
enum report_vip_state { REPORT_VIP_UNKNOWN, REPORT_VIP_BACKUP, REPORT_VIP_MASTER, REPORT_VIP_FAULT, REPORT_VIP_COUNT };
extern const char *const report_vip_state_names[REPORT_VIP_COUNT];

struct report_vip {
	char name[REPORT_NAME_MAX + 1];
	bool up;       /* this node may hold it */
	bool kernel;   /* the kernel has its addresses: this node holds it */
	uint8_t state; /* enum report_vip_state */
	uint8_t priority;
	uint32_t since_s;             /* age of the last change */
	struct addr source4, source6; /* this node's own addresses on its network, for VRRP; family 0 = none */
	uint64_t peers;               /* report_peer_bit() of the nodes in the table that keepalived runs with, this one
					 among them; 0 = it does not run, or not with this VIP */
	char reason[REPORT_TEXT_MAX + 1]; /* why it may not hold it; cut further where there are many VIPs */
};

/* One link of this node to a peer. */
struct report_link {
	uint32_t peer;
	uint8_t link;
	bool up;
	uint32_t latency_us;
	uint32_t downs; /* how often it went down since it is watched */
};

struct report_verdict {
	uint64_t key; /* report_server_key() */
	uint16_t state, weight;
};

struct node_report {
	uint32_t id;
	char node[REPORT_NAME_MAX + 1];
	char version[REPORT_VERSION_MAX + 1];
	uint16_t features_low, features_high;
	uint64_t started_ms; /* wall clock: another value is another process */
	uint64_t sequence;   /* 1, 2, 3 … of this process */

	uint64_t wall_ms;                /* at sending */
	uint8_t state;                   /* enum report_state */
	bool admin_drain;                /* what the administrator wants of the node; else ready */
	bool voter_only;                 /* carries no mail */
	bool ready;                      /* should receive mail */
	bool soft;                       /* not ready, but only for want of usable servers: better than nobody */
	bool overloaded;                 /* it has more to do than it can: another one is better, if it has not */
	bool safe_to_stop;               /* nothing is lost by it */
	uint64_t sessions, transactions; /* open */
	size_t n_reasons;                /* why it is not ready */
	char reasons[REPORT_REASONS_MAX][REPORT_TEXT_MAX + 1];

	uint64_t revision; /* of the configuration in force */
	bool has_hash;
	uint8_t hash[ENTRY_HASH_LEN];        /* of its entry; not to be shown, as it would confirm guesses of secrets */
	uint16_t n_unapplied;                /* parts that are not in force */
	char unapplied[REPORT_TEXT_MAX + 1]; /* the first of them, a sentence */

	size_t n_vips;
	struct report_vip vips[REPORT_VIPS_MAX];
	size_t n_links;
	struct report_link links[REPORT_LINKS_MAX];
	uint16_t view_changes; /* in the last 60 s */

	/* Where it is with corosync's file (cluster/members/change.h); instance 0 = nothing is said. */
	struct report_files {
		uint64_t instance;
		uint64_t staged, installed, active; /* generations */
		uint8_t staged_hash[ENTRY_HASH_LEN];
		bool synced; /* has the log */
	} files;

	struct ticket_keys keys; /* the newest TICKET_KEYS_SENT; secret */

	/* Read: sorted by key, each once. Given to report_encode(): in any order. */
	struct report_verdict *verdicts;
	size_t n_verdicts, cap_verdicts;
	bool partial; /* not all servers are in it */
};

/* Wipes what is secret and frees what report_add_verdict() or report_decode() made; the struct is then as zeroed. */
void report_fini(struct node_report *r);

/* A node's place in report_vip.peers. Two members have the same one only when more than 64 ids have been given out. */
static inline uint64_t report_peer_bit(uint32_t id)
{
	return 1ull << id % 64;
}

/* Names a server alike on all nodes: its pool's name and its own, run-time one. */
uint64_t report_server_key(const char *pool, const char *server);
/* One more server; beyond REPORT_VERDICTS_GIVEN_MAX the report is partial. */
void report_add_verdict(struct node_report *r, uint64_t key, enum report_verdict_state state, unsigned weight);
/* NULL = this report says nothing of it. Of a report that was read. */
const struct report_verdict *report_find_verdict(const struct node_report *r, uint64_t key);

/* Copies a text as a report may hold it: cut between characters, without control characters. cap includes the NUL. */
void report_text(char *out, size_t cap, const char *text);

/* Replaces *out (which must be empty or from here). Never more than CORE_SOFT_MAX bytes. */
void report_encode(const struct node_report *r, struct sbuf *out);
/* False: not a report, or of another major version; *ret is then as zeroed. Else report_fini() it. */
bool report_decode(struct str in, struct node_report *ret) MUST_CHECK;
/* Reads only id, started_ms, sequence and names; true where report_decode() would read these too. Nothing to free. */
bool report_peek(struct str in, struct node_report *ret) MUST_CHECK;
/* Wipes and frees the bytes of a report. */
void report_wipe(struct sbuf *bytes);

#endif
