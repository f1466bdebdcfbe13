/* SPDX-License-Identifier: Apache-2.0
 * Changes of the table of nodes: each request makes a new table or is refused with a sentence; each step of a change
 * follows from the table and from who is here, so that any coordinator goes on where another one stopped.
 *
 * Pure. A new table is proposed with the position of the table it was made from, so of two that were made at once one
 * is stale and is made again.
 */
#ifndef POSTROAD_CLUSTER_MEMBERS_CHANGE_H
#define POSTROAD_CLUSTER_MEMBERS_CHANGE_H

#include "cluster/members/members.h"

enum { MEMBERS_JOIN_SEC = 120 }; /* by the coordinator's clock until a join that gets nowhere is given up */

/* What is known of a node now, from the view and from what it says of itself. */
struct members_seen {
	uint32_t id;
	uint64_t instance;
	bool present; /* in the view and heard; for one that joins: it calls */
	bool synced;  /* has the log: core_propose() of its vote would not be refused */
	/* Generations of corosync.conf, 0 = none: written beside the one in its place, in its place, and the one its
	 * corosync has read (totem.config_version in cmap). */
	uint64_t staged, installed, active;
	uint8_t staged_hash[MEMBERS_HASH_LEN]; /* members_file_hash() of what it wrote */
	unsigned features_low, features_high;  /* 0 = as the table says */
};

struct members_view {
	uint32_t self;
	bool quorate; /* the store takes writes */
	double now;   /* log time: of the entry about to be proposed */
	/* Seconds since self first saw the change that is under way, by a clock that is never set: clocks of two nodes
	 * may be apart by more than a join may last. */
	double change_age;
	size_t n;
	const struct members_seen *seen;
};

enum members_refusal_code {
	MEMBERS_INVALID,  /* the request itself */
	MEMBERS_UNKNOWN,  /* no such node or token */
	MEMBERS_DENIED,   /* the token is used, expired or for something else */
	MEMBERS_CONFLICT, /* a change is under way, or the name or address is taken */
	MEMBERS_ABSENT,   /* somebody is not here */
	MEMBERS_LAST,     /* too few would be left */
	MEMBERS_VERSION   /* no feature level in common */
};
struct members_refusal {
	enum members_refusal_code code;
	char text[400]; /* what was found and what to do */
};

/* Each gives a table that the caller frees, or NULL and *why. */

/* The first node: a member with a vote. `node`: name, instance, voter_only = false, links, listen, certificate,
 * features; its id is 1. */
struct members *members_init(const char *cluster, uint64_t number, const struct members_node *node,
			     const uint8_t key[MEMBERS_HASH_LEN], double now, struct members_refusal *why);

/* Expired and used tokens make room. */
struct members *members_token_add(const struct members *t, const struct members_token *token, double now,
				  struct members_refusal *why);
struct members *members_token_revoke(const struct members *t, const char *id, struct members_refusal *why);

/* A new node. Its id will be t->next_id: its certificate is made for that. Which token, and with it whether it replaces
 * one: the caller has checked the proof (cluster/trust/channel.h). A node that replaces has its name from the token,
 * takes the old one's vote away at once, and needs `key`, the hash of a new corosync key. */
struct members_request {
	const char *token;
	const struct members_node *node; /* name, instance, links, listen, certificate, features */
	const uint8_t *key;              /* [MEMBERS_HASH_LEN]; NULL = the key stays */
	bool force;                      /* although a member is absent, which is known to be switched off */
};
struct members *members_join(const struct members *t, const struct members_view *view, const struct members_request *r,
			     struct members_refusal *why);
/* A node that is here goes, or one that may be absent is taken out. With `key` it cannot listen any more. A second one
 * may be removed while the first removal, or a rotation, waits for it. A join ends by the removal of who joins; with
 * `key`, one that was not in force is followed by a rotation, as who joined has the present key. */
struct members *members_leave(const struct members *t, const struct members_view *view, uint32_t id, const uint8_t *key,
			      struct members_refusal *why);
struct members *members_remove(const struct members *t, const struct members_view *view, uint32_t id,
			       const struct members_request *r, struct members_refusal *why);
/* A new corosync key for everybody. */
struct members *members_rotate(const struct members *t, const struct members_view *view,
			       const uint8_t key[MEMBERS_HASH_LEN], struct members_refusal *why);
/* Another next key: the one announced was lost with the node that made it. Only in MEMBERS_PREPARE. */
struct members *members_rekey(const struct members *t, const struct members_view *view,
			      const uint8_t key[MEMBERS_HASH_LEN], struct members_refusal *why);
/* Gives a join or, before it is in force, a rotation up. A removal cannot be: the vote is gone. */
struct members *members_cancel(const struct members *t, const struct members_view *view, struct members_refusal *why);

/* Of two voters the other one shall be able to write alone: before this one stops. */
struct members *members_hand_over(const struct members *t, const struct members_view *view, uint32_t to,
				  struct members_refusal *why);
/* A renewed certificate. */
struct members *members_certificate(const struct members *t, uint32_t id, const uint8_t fingerprint[MEMBERS_HASH_LEN],
				    struct members_refusal *why);

/* ---- what is to be done next ---- */

/* WAIT: for the nodes in text; longer than MEMBERS_JOIN_SEC: an alarm.
 * PURGE: this node is no member any more; it stops corosync and forgets keys and certificates.
 * ASK: those that are away, over cluster.listen, for a newer generation, and take it. Without quorum, and while
 * somebody is away (quorum may have been forced there); also to be done at each start, before corosync. STAGE: write
 * the file of change.generation beside the present one; fetch the key with that hash where it changes. INSTALL: put the
 * file of t->generation in its place; corosync starts where it does not run. RELOAD: corosync-cfgtool -R here, for all:
 * all that are here have the file in its place; without quorum a node does that for itself, as with the key of before
 * it may be alone in its ring while who coordinates has the next one. The coordinator proposes the others,
 * members_take() makes the table. COMPLETE: the document of before a forced quorum with the votes of now. REPORT: who
 * has the file. ACTIVATE: all have it. FINISH: in force everywhere, and who joined has a vote. ABORT: MEMBERS_JOIN_SEC
 * are over. VOTE: a member without a vote is in sync again. TIE_BREAKER: away from a node that only votes. FEATURES:
 * what a node says of its version, and the level rises when all can. */
enum members_do {
	MEMBERS_DO_NOTHING,
	MEMBERS_DO_WAIT,
	MEMBERS_DO_PURGE,
	MEMBERS_DO_ASK,
	MEMBERS_DO_STAGE,
	MEMBERS_DO_INSTALL,
	MEMBERS_DO_RELOAD,
	MEMBERS_DO_COMPLETE, /* from here on: proposals */
	MEMBERS_DO_REPORT,
	MEMBERS_DO_ACTIVATE,
	MEMBERS_DO_FINISH,
	MEMBERS_DO_ABORT,
	MEMBERS_DO_VOTE,
	MEMBERS_DO_TIE_BREAKER,
	MEMBERS_DO_FEATURES,
	MEMBERS_DO_COUNT
};
struct members_action {
	enum members_do what;
	uint32_t node; /* whom it is about; 0 = nobody in particular */
	char text[256];
};
extern const char *const members_do_names[MEMBERS_DO_COUNT];

/* The lowest live voter, 0 = none. */
uint32_t members_coordinator(const struct members *t, const struct members_view *view);
/* Nobody is away of those that neither join nor leave. */
bool members_all_here(const struct members *t, const struct members_view *view);
/* What view->self is to do, given the table as it stands and whom it sees. Called at each new table, each second, and
 * after each action. Nothing is remembered in between. */
void members_next(const struct members *t, const struct members_view *view, struct members_action *ret);
/* The table that a MEMBERS_DO_COMPLETE … MEMBERS_DO_FEATURES action proposes. NULL: no longer right. */
struct members *members_take(const struct members *t, const struct members_view *view, const struct members_action *a,
			     struct members_refusal *why);

#endif
