/* SPDX-License-Identifier: Apache-2.0
 * What the files of vips.h share.
 */
#ifndef POSTROAD_CLUSTER_VIPS_PRIVATE_H
#define POSTROAD_CLUSTER_VIPS_PRIVATE_H

#include "daemon/api/vip_view.h"
#include "daemon/cluster/vips.h"

#define VIPS_MAGIC 0x56495053u

enum {
	VIPS_REQUESTS_MAX = 512,
	VIPS_PROBE_MS = 2000,   /* somebody who has the address is asked for again so often */
	VIPS_PROBED_MS = 15000, /* nobody having it counts for so long */
	VIPS_TARGET_MS = 5000,  /* for so long the target of a move by hand may not be able yet */
	VIPS_PIN_MS = 15000,    /* a move by hand is under way for so long at most */
	VIPS_GONE_MS = 5000,    /* an address that was let go of is gone by then, or never */
	VIPS_BETTER_MS = 5000,  /* a better node must be able for so long before it gets the VIP back */
	VIPS_AGAIN_MS = 60000,  /* a failback that could not be prepared is tried again after that */
	VIPS_SETTLE_MS = 1000,  /* routers have learned so long after that */
	VIPS_LISTEN_MS =
		6000, /* the new owner has announced itself a second time so long after that (keepalived: 5 s) */
	VIPS_OPEN_LATE_MS = 10000, /* an opening that is older when the address could leave is asked for again */
	VIPS_OPENINGS_MAX = 3,     /* so often in all */
	VIPS_FOLLOW_MS = 1000,     /* how often flows are listed while the network learns */
	VIPS_SERVE_MS = 5000,      /* how often it is looked for the last flow */
	VIPS_GARP_S = 60,
	VIPS_LAST_WORD_S = 15,           /* an address is kept on lo for so long where flows cannot be handed over */
	VIPS_REPORT_OLD_MS = 3000,       /* postroad-ha reports each second */
	VIPS_ELSEWHERE_FIRST_MS = 3000,  /* after a VIP came: the one before has let go of it by then */
	VIPS_ELSEWHERE_MS = 30000,       /* how often a holder asks whether it is the only one */
	VIPS_ELSEWHERE_AGAIN_MS = 10000, /* when it was not */
	VIPS_OWNERS_MAX = 64,            /* nodes, by address */
	VIPS_LOST_MS = 5000,             /* how often it is asked whether one that has left is dead */
	VIPS_PARTS_MAX = 600,            /* lists of flows of one address */
	VIPS_TARGETS_MAX = HA_VIP_NODES_MAX
};

/* ---- a planned move, on the node that gives ---- */

enum move_step {
	MOVE_NONE,
	MOVE_OPENING,   /* the targets are asked to pass on what they do not know */
	MOVE_KEEPING,   /* the addresses are put on lo */
	MOVE_LISTING,   /* flows are listed and handed over, before the address goes */
	MOVE_WAITING,   /* they could not be: sessions end first */
	MOVE_LETTING,   /* the address is let go of */
	MOVE_FOLLOWING, /* it is gone: flows that began meanwhile are handed over */
	MOVE_SERVING,   /* until the last flow has ended */
	MOVE_STEP_COUNT
};

enum move_cause {
	MOVE_DRAIN, /* of the node: to whoever will have it */
	MOVE_HAND,
	MOVE_FAILBACK /* a better node is there again */
};

struct move_part { /* flows of one owner, for one message */
	struct move_part *next;
	struct addr owner;
	uint32_t seconds;
	json_t *flows;
};

struct move {
	enum move_step step;
	enum move_cause cause;
	bool alone;        /* nobody else could have it */
	uint32_t to;       /* by hand and failback: where to; a drain: the likeliest, once that is known */
	uint32_t number;   /* answers to an earlier one are not for this one */
	unsigned openings; /* begun so far */
	size_t n_targets, at;
	uint32_t targets[VIPS_TARGETS_MAX];
	uint64_t position;                    /* of the log, which targets must know */
	unsigned seconds;                     /* sessions here may live on for so long */
	int64_t since_ms, opened_ms, list_ms; /* of this step; of the opening; of the next list */
	bool listing, kept;
	size_t n_own, n_parts;           /* of the list under way */
	struct move_part *parts, **last; /* that wait to be handed over */
	struct move_part *sending;
	char why[HA_TEXT_MAX + 1]; /* it could not be prepared */
};

/* ---- a VIP ---- */

struct vips_item {
	struct vips *vips;
	char name[HA_NAME_MAX + 1];
	bool seen;     /* in this configuration, with this node */
	bool complete; /* every node of it has been heard, now or before */
	struct vip vip;
	struct vip_nodes nodes;
	struct vip_memory memory;
	struct vip_verdict verdict;
	struct addr source4, source6;
	/* A planned move from one node to another, neither of which is this one: it stands back. 0 = none. */
	uint32_t aside_from, aside_to;
	int64_t aside_ms, aside_seen_ms; /* since when; the old one had it last */
	bool failback;                   /* as configured: keepalived is never told, as it would cut what is open */
	int64_t better_ms;               /* since when a better node could have it; 0 = none */
	int64_t failback_ms;             /* not before then */
	uint32_t pin;
	char *pin_word; /* as it stands in the log; NULL = nothing */
	int64_t pin_ms; /* when it came to be; 0 = before this process, or over */
	enum vip_probe probe;
	int64_t probed_ms;
	bool probing;
	int64_t elsewhere_ms; /* when the network is asked whether another one has it too */
	bool elsewhere;       /* one has */
	bool holds;           /* the kernel has an address of it */
	bool cut;             /* what keepalived was told before is not so any more */
	enum ha_state said;
	uint64_t since_ms;
	uint8_t priority;
	uint64_t peers, told_peers;    /* report_peer_bit(): of the table in force, of the one told last */
	char told[HA_TEXT_MAX + 1];    /* the reason that was told of last */
	char refused[HA_TEXT_MAX + 1]; /* why it is not in the table that was told last; "" = it is */
	series_id m_owner, m_to[HA_STATE_END];
	struct move move;
};

struct vips_request {
	uint32_t ticket; /* 0 = free */
	enum ha_type type;
	int64_t until_ms;
	vips_ha_answer_fn *fn;
	void *arg;
};

/* A node to whom flows are passed on from here. */
struct vips_owner {
	uint32_t id; /* 0 = free */
	struct addr address;
	int64_t until_ms, ask_ms;
};

/* A taker's answer that waits for its table. */
struct opening;

struct vips {
	uint32_t magic;
	struct loop *loop;
	const struct node_config *node;
	struct vips_env env;
	bool started;
	struct ha_client *client;
	struct event *event; /* of the client's descriptor */
	int fd;
	struct timer timer;
	int64_t started_ms, client_due_ms;
	bool connected;
	size_t n_items;
	struct vips_item *items[VIPS_MAX];
	struct sbuf table_bytes; /* as it was told last, but for the generation */
	struct ha_table *table;  /* the next one to tell */
	uint64_t generation;     /* told last */
	uint64_t table_position; /* of the log, when that was made */
	bool table_refused;      /* by postroad-ha, for this reason: */
	char refusal[HA_TEXT_MAX + 1];
	uint32_t ticket;
	struct vips_request requests[VIPS_REQUESTS_MAX];
	struct vips_net net;
	bool has_net;
	struct opening *openings;
	struct vips_owner owners[VIPS_OWNERS_MAX];
	bool elsewhere_asked; /* an answer is awaited */
	uint32_t numbers;     /* of moves and openings */
	json_t *sources;      /* {VIP: {node: [address]}}, of other nodes */
	bool sources_changed;
	uint64_t runtime_position; /* of the run-time state that pins were read from */
	bool drain, engine_drained;
	int64_t drain_ms, settle_ms;
	bool leaving;
	int64_t leave_ms;
	loop_fn *left;
	void *left_arg;
};

/* ---- vips.c ---- */

int64_t vips_now(const struct vips *v);
struct vips_item *vips_find(const struct vips *v, const char *name);
/* The nodes' report is not awaited: the others should know at once. */
void vips_say(struct vips *v);

/* ---- vips_decide.c ---- */

/* Looks at everything anew and tells postroad-ha. */
void vips_look(struct vips *v);
/* The table that was told last is in force, and was made from the log up to this position. */
bool vips_table_holds(const struct vips *v, uint64_t position);
void vips_item_free(struct vips_item *i);
/* This node is not to get VIPs: it is drained, or ends. */
bool vips_is_draining(const struct vips *v);
const char *vips_state_name(enum ha_state s);

/* ---- vips_own_address.c ---- */

struct ifaddrs;
/* The one that it was, as long as it is there; else the first in the VIP's network; else the first. */
void vips_choose_source(const struct ifaddrs *all, const struct conf *conf, const struct vip_config *c,
			struct addr *source, sa_family_t family);

/* ---- vips_pin.c: moves by hand ---- */

/* The word in the run-time state. At a start it is no new one: that move is long over. */
void pin_take(struct vips_item *i, json_t *runtime, bool at_start);
/* Which node it names, and whether that one has the VIP now. */
void pin_look(struct vips_item *i);
/* A move that is under way, as far as this node can tell: until the target has it, or it has had its time. */
bool pin_is_moving(const struct vips_item *i);
/* What moves mean for who may hold the VIP. */
void pin_apply(struct vips_item *i);
/* Begins what a new word asks for. */
void pin_follow(struct vips_item *i);

/* ---- vips_tell.c: what is heard from postroad-ha, and what it is told ---- */

/* r NULL: nothing is. True: the state or the holder is another one. */
bool ha_hear(struct vips_item *i, const struct ha_report *r);
/* If it is another one. */
void ha_tell_table(struct vips *v);
void ha_tell_health(struct vips *v);
/* What keeps this node from holding the VIP, beside its own verdict: it is not in the table, or nobody sees to the
 * table; NULL = nothing. Valid until the next turn. */
const char *ha_hinders(const struct vips_item *i);
/* Asks the network whether somebody has an address of the VIP, unless that was just done. */
void ha_probe(struct vips_item *i);

/* ---- vips_move.c: the node that gives ---- */

/* Begins to hand a VIP over that this node holds. A drain: to is 0. */
void move_begin(struct vips_item *i, enum move_cause cause, uint32_t to, unsigned seconds);
/* Nobody else could have it: it leaves when the last session has ended. */
void move_begin_alone(struct vips_item *i);
void move_tick(struct vips_item *i);
/* Forgets it; what is kept is let go of. */
void move_end(struct vips_item *i);
/* There is no time left to prepare: the address leaves with what is prepared. */
void move_hurry(struct vips_item *i);
/* Planned reasons wait. */
bool move_prepares(const struct move *m);

/* What answers carry, as the item may be gone by then. The caller frees it. */
struct move_call *move_call_new(const struct vips_item *i);
/* NULL: that move is over. */
struct vips_item *move_item_of(const struct move_call *c);
void move_enter(struct vips_item *i, enum move_step step);
/* Nothing has moved yet. A drain then ends sessions first; any other move is given up. */
void move_cannot_prepare(struct vips_item *i, const char *why);
/* Asks postroad-ha something about the VIP. False: it cannot be asked, fn is not called. */
bool move_ask(struct vips_item *i, enum ha_type type, unsigned seconds, vips_ha_answer_fn *fn, void *arg);
/* Why not, where that was no yes. */
const char *move_said(const struct ha_message *m);
/* Calls the node that is next. Not 0: it cannot be called, fn is not. */
int move_call_target(struct vips_item *i, const char *path, const char *body, vips_answer_fn *fn);
/* All is prepared: the address may leave. */
void move_let_go(struct vips_item *i);

/* ---- vips_move_flows.c ---- */

/* Flows are listed, and handed over to each target: move_let_go() after the first time. */
void flows_list(struct vips_item *i);
/* Forgets those that wait. */
void flows_drop(struct move *m);

/* ---- vips_take.c: the node that takes ---- */

void take_tick(struct vips *v);
void take_end_all(struct vips *v);

/* ---- vips_lost.c ---- */

/* For so long, flows of the VIP are passed on to the node that has this address. Accepts NULL. */
void lost_remember(const struct vips_item *i, const struct addr *owner, unsigned seconds);
void lost_tick(struct vips *v);

/* ---- vips_elsewhere.c ---- */

void elsewhere_tick(struct vips *v);
/* The VIP is held here no more, or is none of this node's. */
void elsewhere_forget(struct vips_item *i);

/* ---- vips_sources.c: addresses of other nodes, for a start that hears nobody ---- */

/* What an earlier process knew. */
void sources_read(struct vips *v);
/* Remembers what the item's nodes say, and adds those of the VIP's nodes that have said nothing about it and are
 * remembered: with their addresses, and nothing else. */
void sources_use(struct vips_item *i, const struct vip_config *c);
/* When there is something new. */
void sources_write(struct vips *v);

/* ---- vips_drain.c ---- */

void drain_tick(struct vips *v);

#endif
