/* SPDX-License-Identifier: Apache-2.0
 * What the files that make this node a member share. Private to the room.
 */
#ifndef POSTROAD_DAEMON_CLUSTER_CLUSTER_PRIVATE_H
#define POSTROAD_DAEMON_CLUSTER_CLUSTER_PRIVATE_H

#include "cluster/corosync/corosync.h"
#include "cluster/members/change.h"
#include "cluster/report/recent.h"
#include "cluster/trust/token.h"
#include "daemon/base/metrics.h"
#include "daemon/cluster/cluster_node.h"
#include "daemon/cluster/trust_files.h"
#include "daemon/cluster/words.h"

#define CLUSTER_NODE_MAGIC 0x434c4e44u

enum {
	CLUSTER_TICK_MS = 1000,
	CLUSTER_LISTEN_PORT = 8426,
	CLUSTER_CALL_MS = 3000,
	CLUSTER_HEARD_MS = 5000,     /* what was said by a call counts for so long */
	CLUSTER_ASK_FIRST_MS = 3000, /* at a start corosync waits for a peer's word for so long */
	CLUSTER_ASK_MS = 1000,       /* without quorum; with it, while somebody is away, … */
	CLUSTER_ASK_SELDOM_MS = 5000,
	CLUSTER_DOUBTED_MS = 10000, /* nobody has told again since */
	CLUSTER_AGAIN_MS = 5000,    /* a request to postroad-ha that had no effect is made again */
	/* An alarm: a ring that forms anew without a node (token and consensus of 8 nodes) is silent for 5 s. */
	CLUSTER_HUNG_TOLD_MS = 8000,
	CLUSTER_HUNG_MS = 30000,     /* corosync is killed then */
	CLUSTER_KEY_LOST_MS = 30000, /* a next key that nobody has is another one then */
	CLUSTER_FORMS_MS = 15000,    /* after a start, a view or two are no trouble */
	CLUSTER_HAND_OVER_MS = 3000,
	CLUSTER_BODY_MAX = 512 * 1024 /* bytes of a call between nodes */
};

/* A request of a member that is not in the view yet. */
struct cluster_caller {
	struct members_seen seen; /* id 0 = free */
	int64_t at_ms;
};

/* Where corosync's files are, as far as this process knows. */
struct cluster_files {
	uint64_t staged, installed;
	uint8_t staged_hash[MEMBERS_HASH_LEN];
	uint64_t install_tried; /* of a generation that is not staged by this process: postroad-ha may have it */
	int64_t started_ms;     /* when corosync was last told to start; 0 = not yet */
	int64_t reloaded_ms, hung_ms, key_asked_ms;
	int64_t keys_due_ms; /* keys that no table names are forgotten then; 0 = there are none */
	int64_t key_lost_ms; /* since when this node coordinates a change and lacks its key; 0 = it does not */
	bool hangs;          /* corosync, as was told */
};

/* The key of entity tags, and of which of corosync's keys it was made. */
struct cluster_tags {
	bool known;
	uint8_t of[MEMBERS_HASH_LEN], key[CLUSTER_ETAG_KEY_LEN];
};

/* Of this node's certificate, own_certificate.c. */
struct cluster_renewal {
	struct ca_identity self; /* by the certificate in use; id 0 = none */
	bool busy;               /* a next one is asked for */
	unsigned tries;
	int64_t due_ms; /* of the next try, 0 = none yet */
	bool shown;
	series_id m_own, m_authority;
};

struct cluster_word {
	uint32_t id;
	struct cluster_stamp at;
	struct str document;
	bool quorate;
};

struct cluster_join;

struct cluster_node {
	uint32_t magic;
	struct cluster_node_env env;
	struct trust_files trust;
	struct corosync *corosync;
	bool attached;       /* the store's group is not this node by itself */
	struct event *event; /* of corosync's descriptor */
	struct timer tick;
	bool stopped;

	struct words words;
	int64_t doubted_ms;    /* when a newer table was told last that is not believed, and warned of; 0 = none */
	struct members *table; /* of the log, as applied; NULL = none yet */
	uint64_t position;
	uint64_t generation; /* of that log */
	uint32_t changes;    /* the node that the change in that table is of, and since when this process knows */
	int64_t changes_since_ms;
	uint64_t alone_from;   /* the first entry since nobody else was in the view, 0 = none */
	uint64_t alone_kept;   /* as it is on disk */
	struct members *heard; /* newer, by a call; NULL = none */
	struct cluster_stamp heard_at;
	bool heard_alone;      /* of one node, where more could have said it (WORDS_ONE): not kept, and not judged by */
	bool unkept;           /* the newest is not on disk yet */
	int64_t keep_again_ms; /* it could not be kept: not before; 0 = it could */

	struct cluster_files files;
	struct cluster_tags tags;
	bool ha_busy, proposing, purging;
	bool quorate; /* at the last look */
	struct recent_views views;
	bool lost_unkept;      /* what was lost may not be on disk yet */
	int64_t lost_again_ms; /* as keep_again_ms */
	bool start_told;       /* what was found at the start */
	bool lacks_table;      /* as was told */
	bool unlistened;       /* an address for calls could not be had; tried again at … */
	int64_t listen_ms;
	char *cannot;     /* why this node cannot take part in its cluster; NULL = it can */
	bool asked;       /* a peer has answered since the start */
	int64_t begun_ms; /* when this node began to be a member in this process */
	int64_t asked_ms;
	struct members_action action; /* what is to be done, as of the last look */
	int64_t waits_since_ms;
	struct cluster_caller callers[MEMBERS_MAX];
	struct members_seen told[MEMBERS_MAX]; /* whom a peer sees, for a node that is in no view */
	size_t n_told;
	int64_t told_ms;

	struct cluster_renewal renewal;
	struct cluster_join *join;     /* under way, forming_join.c */
	bool forming;                  /* an init is under way, or what comes before it and a join: */
	struct cluster_call *cleaning; /* postroad-ha is asked about it, forming.c; NULL = none */
	struct list admissions;        /* of others, forming_admit.c */
	struct list waiting;           /* requests that are tried again in a moment, forming.c */
};

static inline struct str cluster_str(const struct sbuf *b)
{
	return (struct str) { b->p, b->n };
}

/* ---- cluster_table.c ---- */

/* The newest table this node knows of, NULL = none. */
const struct members *cluster_table(const struct cluster_node *n);
/* A table that is enough to act on; taken where it is newer. `document` is copied. */
void cluster_heard(struct cluster_node *n, struct cluster_stamp at, struct str document);
/* What a member told of its table, and of whether this node was removed: acted on when it is enough (words.h), warned
 * of when it is not. */
void cluster_told(struct cluster_node *n, const struct cluster_word *w);
void cluster_told_removed(struct cluster_node *n, uint32_t id, bool removed);
/* Each second: nobody tells any more what is not believed. */
void cluster_doubt_over(struct cluster_node *n);
/* A member says so, though that may not be enough to act on it without a person. */
bool cluster_said_removed(const struct cluster_node *n);
/* Of another life: nothing is known any more. */
void cluster_forget_tables(struct cluster_node *n);
/* The table last kept on disk, where the log's is not newer: before the log's is told. */
void cluster_recall(struct cluster_node *n);
/* Puts the newest table on disk, where it is not. Blocks for two syncs. Where that fails it is a warning, and tried
 * again after CLUSTER_AGAIN_MS. */
void cluster_keep(struct cluster_node *n);
/* In sync with a quorum, the log's table is the newest there is: a heard one that says to be newer was made void. */
void cluster_settle(struct cluster_node *n);

/* Writes a table down for the next start. 0, or -errno, which is logged. */
int cluster_remember(const struct cluster_node *n, struct cluster_stamp at, struct str document);

/* ---- cluster_node.c ---- */

/* This node has the number of a cluster and no table: an init or a join ended in between. Half founded: an init it was,
 * so nobody else can be in that cluster. */
bool cluster_lacks_table(const struct cluster_node *n);
bool cluster_half_founded(const struct cluster_node *n);
/* This node has an identity in a cluster and its files: listens, and corosync becomes the store's transport. False:
 * *ret_why, the caller frees. */
bool cluster_begin(struct cluster_node *n, char **ret_why) MUST_CHECK;
/* It could not begin: `why` (stolen) is the warning `cluster` from now on. */
void cluster_cannot(struct cluster_node *n, char *why);
/* Who is believed, and where this node is called, by the files as they were loaded. False: *ret_why, as above. */
bool cluster_listen(struct cluster_node *n, char **ret_why) MUST_CHECK;
/* The reverse, for one that is no member any more: forgets keys, certificates and log. False: not yet, try again. */
bool cluster_end(struct cluster_node *n) MUST_CHECK;
void cluster_warn(struct cluster_node *n, const char *key, const char *fmt, ...) PRINTF_LIKE(3, 4);
void cluster_warn_over(struct cluster_node *n, const char *key);
/* Proposes a table (stolen) that was made from the one of the log. fn may be NULL. 0 or as store_propose(). */
struct cluster_proposal {
	const char *comment, *author;
	store_done_fn *fn;
	void *arg;
	/* As in struct store_write; NULL = none. */
	const char *operation, *idempotency_key;
	const uint8_t *request_hash;
};
int cluster_propose(struct cluster_node *n, struct members *to, const struct cluster_proposal *p) MUST_CHECK;

/* ---- cluster_seen.c: who is here ---- */

struct cluster_view {
	struct members_view view;
	struct members_seen seen[MEMBERS_MAX];
};
void cluster_look(const struct cluster_node *n, struct cluster_view *ret);
struct members_seen cluster_own(const struct cluster_node *n);
/* A member that is not in the view has called. */
void cluster_called(struct cluster_node *n, const struct members_seen *s);

/* ---- cluster_json.c: what goes over calls ---- */

void cluster_hex(const uint8_t *p, size_t n, char *out);
bool cluster_unhex(const char *text, uint8_t *out, size_t n) MUST_CHECK;
json_t *cluster_json_seen(const struct members_seen *s);
bool cluster_json_take_seen(json_t *j, struct members_seen *ret) MUST_CHECK;
json_t *cluster_json_base64(struct str bytes);
/* Appends; false: not such a text. */
bool cluster_json_take_base64(json_t *j, size_t max, struct sbuf *out) MUST_CHECK;
/* NULL = no object. */
json_t *cluster_json_read(struct str body) MUST_CHECK;
/* Dumps into *out, which held nothing. */
void cluster_json_write(json_t *stolen, struct sbuf *out);
/* One of links or listen: an IP address, with a port where port is not 0 and none is given. */
bool cluster_json_addr(json_t *j, uint16_t port, struct addr *ret) MUST_CHECK;

/* ---- cluster_calls.c: from node to node ---- */

void cluster_serve(struct cluster_node *n);
/* Asks all other members for their table, and says where this node is. */
void cluster_ask(struct cluster_node *n);
/* Fetches corosync's key with this hash. */
void cluster_fetch_key(struct cluster_node *n, const uint8_t hash[MEMBERS_HASH_LEN]);
void cluster_fetch_authority(struct cluster_node *n);

/* ---- own_certificate.c ---- */

/* The files were loaded. */
void own_certificate_loaded(struct cluster_node *n);
/* Each second, of a member with a table. */
void own_certificate_tend(struct cluster_node *n, int64_t now);
void own_certificate_forget(struct cluster_node *n);
/* Serves /renew. */
void own_certificate_serve(struct cluster_node *n);

/* ---- cluster_drive.c ---- */

/* Does what is next, if anything. */
void cluster_drive(struct cluster_node *n);
/* Whatever ran of corosync here is stopped, its files forgotten. fn as ha_answer_fn. False: postroad-ha is not there.
 */
bool cluster_ha_verb(struct cluster_node *n, enum ha_corosync_verb verb, uint64_t generation,
		     ha_answer_fn *fn) MUST_CHECK;

/* ---- lost.c: what this node had written and the cluster's log lacks ---- */

/* An entry is in force: whether anybody else can have it is noted, also for the next start. Blocks for two syncs for
 * the first entry that nobody else can have. */
void lost_note(struct cluster_node *n, const struct entry *e);
/* This node is about to forget the log of a cluster that others go on with: what nobody else was there to see is
 * kept as lost, configurations first, as far as the store has it. Once for each entry. Blocks for two syncs.
 */
void lost_alone(struct cluster_node *n);
/* Tells of it, or that there is nothing. */
void lost_look(struct cluster_node *n);
/* What came since the last call is put on disk, where it is not: blocks for two syncs, or four. Where that fails it is
 * tried again after CLUSTER_AGAIN_MS. */
void lost_keep(struct cluster_node *n);
/* Since when this node had written alone, as it was kept: at a start, before anything is applied. */
void lost_recall(struct cluster_node *n);
/* The oldest, without their documents; *ret_all: how many there are in what was read of the file. *ret_whole: that was
 * all of it. The caller frees. */
json_t *lost_entries(const struct cluster_node *n, size_t *ret_all, bool *ret_whole);
void lost_list(struct cluster_node *n, struct cluster_call *q);
void lost_forget(struct cluster_node *n, struct cluster_call *q);

/* ---- forming*.c: requests ---- */

void forming_init(struct cluster_node *n, struct cluster_call *q);
void forming_join(struct cluster_node *n, struct cluster_call *q);
/* The server's side. */
void forming_serve_join(struct cluster_node *n);
/* What a call's body says of links and listen. False: answered. */
struct forming_where {
	size_t n_links;
	struct addr links[MEMBERS_LINKS_MAX];
	struct addr listen;
};
bool forming_where(struct cluster_node *n, struct cluster_call *q, struct forming_where *ret) MUST_CHECK;
/* Looks at this machine. False: answered. Else *ret_passed_over (the caller's) has sentences about what is wrong and
 * was passed over by force, which was logged. */
bool forming_preflight(struct cluster_call *q, const struct forming_where *w, json_t **ret_passed_over) MUST_CHECK;
/* postroad-ha can run corosync, and nothing of another life is left there. False: answered, or the call is made again
 * when that is known. */
bool forming_clean(struct cluster_node *n, struct cluster_call *q) MUST_CHECK;
/* forming_words.c: sentences about an error of the disk (errno or -errno), a write that was not committed, and
 * store_found() or store_join(). The caller frees. */
char *forming_disk(int err);
char *forming_unwritten(const struct store_result *r, const char *otherwise);
char *forming_unbecome(int err, int disk_error);
/* What the caller is to know of this node. */
json_t *forming_answer(const struct cluster_node *n);
/* … and of what was passed over. */
json_t *forming_answer_forced(const struct cluster_node *n, json_t *passed_over);
/* Proposes a table (stolen; NULL: refused for *why, or tried again in a moment), and answers. The token is answered as
 * a text; NULL = none. */
void forming_change(struct cluster_node *n, struct cluster_call *q, struct members *to,
		    const struct members_refusal *why, const char *comment, const struct token *token);
/* forming_tokens.c; the first and the last of a node that is able to write. */
void forming_token_make(struct cluster_node *n, struct cluster_call *q);
void forming_token_list(struct cluster_node *n, struct cluster_call *q);
void forming_token_revoke(struct cluster_node *n, struct cluster_call *q);
void forming_admit_stop(struct cluster_node *n);
void forming_wait_stop(struct cluster_node *n);
void forming_force_quorum(struct cluster_node *n, struct cluster_call *q);
/* Cancels a join on the way. */
void forming_stop(struct cluster_node *n);
enum problem forming_problem(const struct members_refusal *why);

#endif
