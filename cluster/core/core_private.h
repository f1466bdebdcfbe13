/* SPDX-License-Identifier: Apache-2.0
 * The inside of the core: its parts and what they call of each other.
 *
 * core.c takes inputs apart; view.c finds the donor of a view, quorum.c knows who counts in it; adopt.c brings members
 * to the donor's log; order.c gives proposals their places; commit.c counts acknowledgements and applies; writes.c has
 * one write under way at a time; ledger.c is the log as it is in memory; lanes.c cuts messages into multicasts and puts
 * them together again.
 */
#ifndef POSTROAD_CLUSTER_CORE_CORE_PRIVATE_H
#define POSTROAD_CLUSTER_CORE_CORE_PRIVATE_H

#include "cluster/core/ops.h"
#include "cluster/core/planted.h"
#include "cluster/core/voters.h"
#include "cluster/core/wire.h"

/* ---- ledger.c: disk and memory as one log ---- */

struct tail_entry {
	struct entry entry; /* points into bytes */
	struct sbuf bytes;
};

struct ledger {
	struct tail_entry *tail; /* entries that are not durable or not applied, by position */
	size_t n_tail, cap_tail, tail_bytes;
	uint64_t last; /* position of the newest entry */
	uint8_t last_hash[ENTRY_HASH_LEN];
	uint64_t stable_to; /* up to here the disk holds this log */
	uint64_t disk_last; /* the disk's newest entry; beyond stable_to it is not of this log */
	bool whole;         /* the disk must be replaced whole */
	uint64_t agreed;    /* where whole: up to here the disk has nothing else */
	uint64_t revision, last_of_kind[ENTRY_KIND_COUNT];
	struct voters newest, previous; /* the two newest tables of voters */
	uint64_t newest_at, previous_at;
	struct ops ops;
};

void ledger_fini(struct core *c);
/* Makes the log what the disk holds; what was in memory alone is forgotten. */
void ledger_load(struct core *c);
/* Valid until the next call of anything here. */
const struct entry *ledger_entry(const struct core *c, uint64_t position);
bool ledger_hash(const struct core *c, uint64_t position, uint8_t ret[ENTRY_HASH_LEN]);
uint64_t ledger_next(const struct core *c, uint64_t position); /* kept at or behind; 0 = none */
/* Copies the entry's bytes to the end. */
void ledger_append(struct core *c, struct str bytes);
void ledger_cut(struct core *c, uint64_t after);
/* Everything: a whole log follows. agreed: up to here it will be the one there was. */
void ledger_clear(struct core *c, uint64_t agreed);
/* Forgets from memory what is durable and applied. */
void ledger_trim(struct core *c);
bool ledger_full(const struct core *c);

/* ---- lanes.c ---- */

struct out_message {
	struct list link;
	enum wire_kind kind;
	uint64_t epoch;
	struct sbuf body;
	size_t sent;
};

struct lanes {
	struct list control, bulk; /* out_message */
	struct sbuf frame;         /* the frame that is next; n = 0: none is made */
	uint32_t sequence;
	unsigned in_flight;
};

void lanes_init(struct lanes *l);
void lanes_reset(struct lanes *l);
void lanes_fini(struct lanes *l);
/* Takes over the body. */
void lanes_send(struct core *c, enum wire_kind kind, uint64_t epoch, struct sbuf *body);
void lanes_flush(struct core *c);

struct joining { /* a message of one sender that is not whole yet */
	enum wire_kind kind;
	uint64_t epoch;
	uint32_t total;
	struct sbuf body;
};
enum joined { JOINED_MORE, JOINED_WHOLE, JOINED_BAD };
/* Adds a part; JOINED_WHOLE: *ret is the body, valid until the next part or joining_fini(). */
enum joined joining_add(struct joining *j, const struct wire_head *h, struct str part, struct str *ret);
void joining_fini(struct joining *j);

/* ---- the view ---- */

struct member {
	uint32_t id;
	uint32_t sequence; /* of its newest message */
	bool has_state, promised, covered;
	bool forgot;  /* had more on stable storage once, and has not adopted since */
	bool foreign; /* speaks another version */
	/* covered: a suffix was sent since its state */
	struct wire_state state;
	uint64_t ack_epoch, ack;
	struct joining joining;
	struct sbuf soft;
};

struct proposal { /* somebody's, waiting for the donor's word */
	struct list link;
	uint32_t proposer;
	struct sbuf bytes;
	struct entry entry; /* revision is the ticket, position the expected one */
};

struct view {
	bool open; /* there is one */
	struct core_view_id id;
	struct member members[CORE_MEMBERS_MAX];
	size_t n;
	uint64_t since_ms, started_ms;
	bool state_sent, minority, lost; /* lost: a message is missing, nothing counts until the next view */
	uint64_t pending_start;          /* came before this node had said its state */
	uint32_t pending_from;
	unsigned starts;      /* how often this node asked */
	uint64_t start_epoch; /* asked by this node, not decided */
	struct sbuf forced;   /* the table of a new generation, while it is asked for */
	uint64_t promise_to_epoch;
	uint32_t promise_to;
	/* the epoch that is followed */
	uint64_t epoch, base;
	uint32_t donor;
	bool following, active;
	struct list proposals;
	size_t n_proposals;
	uint64_t own_taken, own_epoch; /* the donor's own proposals, up to this ticket: taken when they were sent */
};

struct own { /* a proposal of this node */
	struct list link;
	uint64_t ticket, deadline_ms;
	char *operation;
	struct sbuf bytes;
	bool sent, sent_ever;
	bool only_here; /* nobody else was in any view that it was sent in */
	uint64_t duplicate_of;
};

struct writes {
	bool busy, failing;
	uint64_t token, retry_ms;
	uint64_t target;   /* last position of the write under way */
	uint64_t valid_to; /* of it, what the log in memory still holds */
	uint64_t promised, adopted;
	enum core_write_kind kind;
	uint64_t committed, committed_written; /* as the write under way says it, and the last one did */
	uint8_t target_hash[ENTRY_HASH_LEN];
	uint8_t disk_hash[ENTRY_HASH_LEN]; /* of the disk's newest entry */
};

struct core {
	uint32_t magic;
	struct core_env env;
	struct core_config config; /* meta and answers are not kept */
	enum core_state state;
	uint64_t now_ms, soft_ms, resync_ms;
	bool soft_new; /* not sent yet */
	/* durable */
	uint64_t promised, adopted;
	bool trusted, distrust_written; /* trusted: nothing that was durable is missing */
	struct wire_witness witness[CORE_MEMBERS_MAX];
	size_t n_witness;
	/* wanted on disk */
	uint64_t promising, adopting;
	uint64_t committed, applied;
	uint64_t applied_generation;
	bool behind;
	bool unjoined; /* what is committed here is not in the donor's log, though of one generation: a disk was turned
			* back unheard. Says that nothing is committed, until a log was taken */
	struct ledger ledger;
	struct writes writes;
	struct lanes lanes;
	struct view view;
	struct list own;
	size_t n_own, own_bytes;
	uint64_t ticket;
	struct sbuf soft;
};

#define CORE_MAGIC 0x434f5245u /* "CORE" */

/* ---- core.c ---- */
void core_set_state(struct core *c);
void core_event_text(struct core *c, enum core_event event, const char *fmt, ...) PRINTF_LIKE(3, 4);
void core_lose_view(struct core *c, const char *why);
struct member *core_member(struct core *c, uint32_t id);

/* ---- view.c ---- */
void view_begin(struct core *c);
void view_close(struct core *c);
void view_say_state(struct core *c);
void view_tick(struct core *c);
void view_on_state(struct core *c, struct member *m, struct str body);
void view_on_start(struct core *c, struct member *m, uint64_t epoch);
void view_on_promised(struct core *c, struct member *m, uint64_t epoch, struct str body);
void view_say_promised(struct core *c);

/* ---- quorum.c ---- */
/* Whether this node's disk works and it keeps up. */
bool quorum_able(const struct core *c);
/* Whether the first log is older than the second: adopted epoch, then length. */
bool quorum_older(uint64_t adopted, uint64_t last, uint64_t than_adopted, uint64_t than_last);
/* Whether what a member says is meant for this node at all: its cluster, its levels. */
bool quorum_speaks(const struct core *c, const struct wire_state *s);
/* Whether somebody here knows that the member had more on stable storage than it says. */
bool quorum_forgot(const struct core *c, const struct member *m);
/* Notes what a member reported as durable; quorum_witness_of(): by its state. */
void quorum_witness(struct core *c, const struct wire_witness *w);
void quorum_witness_of(struct core *c, const struct member *m);
bool quorum_is_voter(const struct core *c);
struct member *quorum_best(struct core *c);
/* Whether the members that `done` says yes of are a quorum: of a table; of all tables that count for this log. */
typedef bool quorum_fn(const struct core *c, const struct member *m, uint64_t arg);
bool quorum_of(const struct core *c, const struct voters *v, quorum_fn *done, uint64_t arg);
bool quorum_has(const struct core *c, quorum_fn *done, uint64_t arg);
/* Such a function: whether a member's promise counts. */
bool quorum_counts(const struct core *c, const struct member *m, uint64_t arg);

/* ---- adopt.c ---- */
void adopt_elected(struct core *c);
void adopt_cover(struct core *c, struct member *m);
void adopt_on_suffix(struct core *c, struct member *m, uint64_t epoch, struct str body);

/* ---- order.c ---- */
void order_on_propose(struct core *c, struct member *m, struct str body);
void order_on_order(struct core *c, struct member *m, uint64_t epoch, struct str body);
void order_on_answer(struct core *c, struct member *m, uint64_t epoch, struct str body);
/* This node has just sent it: as a donor it need not hear it before it gives it a place. */
void order_own(struct core *c, uint64_t ticket, struct str body);
void order_pending(struct core *c);
void order_clear(struct core *c);

/* ---- own.c ---- */
void own_active(struct core *c);
void own_view_gone(struct core *c);
void own_tick(struct core *c);
void own_answered(struct core *c, const struct wire_order *o);
void own_applied(struct core *c, const struct entry *e);
/* Entries behind this position are cut off, and nobody else has them: the proposals that they are end like this. */
void own_withdraw(struct core *c, uint64_t after, enum core_result result);
void own_fini(struct core *c);

/* ---- commit.c ---- */
void commit_on_ack(struct core *c, struct member *m, uint64_t epoch, struct str body);
void commit_advance(struct core *c);
void commit_say_ack(struct core *c);
void commit_apply(struct core *c);

/* ---- writes.c ---- */
void writes_kick(struct core *c);
void writes_tick(struct core *c);
/* Tries a disk that failed before again now. */
void writes_probe(struct core *c);
bool writes_meta_decode(struct core *c, struct str meta);

#endif
