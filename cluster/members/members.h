/* SPDX-License-Identifier: Apache-2.0
 * The table of nodes: who belongs to the cluster, where each is reached, which change of it is under way. A document of
 * the log, whose head is the core's table of voters (cluster/core/voters.h) and whose rest is JSON.
 *
 * Pure: no file, no socket, no clock. A table is a value: what changes it (change.h) makes a new one.
 */
#ifndef POSTROAD_CLUSTER_MEMBERS_MEMBERS_H
#define POSTROAD_CLUSTER_MEMBERS_MEMBERS_H

#include "cluster/core/voters.h"
#include "cluster/members/corosync_conf.h"
#include "daemon/base/addr.h"

enum {
	MEMBERS_MAX = CORE_MEMBERS_MAX,
	MEMBERS_LINKS_MAX = 2,
	MEMBERS_TOKENS_MAX = 16,  /* that are neither used nor expired */
	MEMBERS_REMOVED_MAX = 64, /* remembered, so that one that returns can be told */
	MEMBERS_NAME_MAX = VOTERS_NAME_MAX,
	MEMBERS_HASH_LEN = 32,                    /* SHA-256 */
	MEMBERS_TOKEN_ID_MAX = 16,                /* hexadecimal digits */
	MEMBERS_DOCUMENT_MAX = 256 * 1024,        /* bytes of an encoded table */
	MEMBERS_CLUSTER_MAX = 63,                 /* bytes of a cluster's name */
	MEMBERS_FORMAT = 1,                       /* of the JSON; a document that needs more is refused */
	MEMBERS_FEATURES_LOW = CORE_FEATURES_LOW, /* what this version can speak with others */
	MEMBERS_FEATURES_HIGH = CORE_FEATURES_HIGH,
};

enum members_state {
	MEMBERS_JOINING, /* has an id and, once activated, a place in corosync.conf; no vote yet */
	MEMBERS_MEMBER,
	MEMBERS_LEAVING /* has no vote any more, and no place in the next corosync.conf */
};

struct members_node {
	uint32_t id;       /* never given again */
	uint64_t instance; /* of its store */
	uint16_t votes;    /* 1; 0 = joining, leaving, or left behind when quorum was forced and not in sync yet */
	bool voter_only;   /* carries no mail and no VIP */
	bool prepared;     /* has reported the file of the change under way */
	char name[MEMBERS_NAME_MAX + 1];
	enum members_state state;
	size_t n_links;
	struct addr links[MEMBERS_LINKS_MAX]; /* corosync's, without port */
	struct addr listen;                   /* cluster.listen: node-to-node calls */
	uint8_t certificate[MEMBERS_HASH_LEN], certificate_before[MEMBERS_HASH_LEN]; /* fingerprints; zero = none */
	unsigned features_low, features_high;
	uint64_t from, until; /* generations of corosync.conf: the first with it, the first without it (0 = none yet) */
	double joined;        /* log time, seconds since 1970 */
	char *extra;          /* fields of newer versions, kept as they came: a JSON object; NULL = none */
};

enum members_kind {
	MEMBERS_NONE,
	MEMBERS_JOIN,
	MEMBERS_LEAVE,
	MEMBERS_REMOVE,
	MEMBERS_REPLACE,
	MEMBERS_ROTATE,
	MEMBERS_KIND_COUNT
};
enum members_step {
	MEMBERS_PREPARE, /* the next file (and key) is written beside the one in force; each node reports its hash */
	MEMBERS_ACTIVATE /* it is in force; nodes put it in place */
};

struct members_change {
	enum members_kind kind;
	enum members_step step;
	uint32_t node;       /* who joins or goes; 0 = everybody */
	uint64_t generation; /* of the corosync.conf it makes */
	bool rotates;        /* a new corosync key comes with it: */
	uint8_t key[MEMBERS_HASH_LEN];
	bool forced;    /* does not wait for members that are absent */
	double started; /* log time */
	char token[MEMBERS_TOKEN_ID_MAX + 1];
	char *extra;
};

/* A join token as the log knows it: nothing that would let somebody join. */
struct members_token {
	char id[MEMBERS_TOKEN_ID_MAX + 1];
	uint8_t stored[MEMBERS_HASH_LEN]; /* verifier of the secret: cluster/trust/token.h */
	double expires;                   /* log time */
	uint32_t used_by;                 /* 0 = not used */
	bool voter_only;
	char replaces[MEMBERS_NAME_MAX + 1]; /* "" = a further node */
};

struct members_removed {
	uint32_t id;
	uint64_t instance;
	double when;
	char name[MEMBERS_NAME_MAX + 1];
};

struct members {
	char cluster[MEMBERS_CLUSTER_MAX + 1];
	uint64_t number;          /* random: core_config.cluster */
	unsigned level;           /* feature level in force */
	uint64_t generation;      /* of the corosync.conf in force; its config_version */
	uint64_t last_generation; /* ever used, also by a change that was given up: two files never share one */
	uint32_t next_id;
	uint32_t tie_breaker;
	bool bare; /* the document was a head alone, as forcing a quorum makes it: MEMBERS_DO_COMPLETE */
	uint8_t key[MEMBERS_HASH_LEN]; /* SHA-256 of the corosync key in force */
	size_t n, n_tokens, n_removed;
	struct members_node list[MEMBERS_MAX]; /* by id, ascending */
	struct members_change change;
	struct members_token tokens[MEMBERS_TOKENS_MAX];
	struct members_removed removed[MEMBERS_REMOVED_MAX]; /* oldest first */
	char *extra;
};

extern const char *const members_kind_names[MEMBERS_KIND_COUNT];

/* An empty table; never NULL. members_free() accepts NULL. */
struct members *members_new(void);
void members_free(struct members *t);
struct members *members_copy(const struct members *t);

/* The head that the core reads. */
void members_voters(const struct members *t, struct voters *ret);
/* Appends the document: equal tables give equal bytes. */
void members_encode(const struct members *t, struct sbuf *out);
/* NULL: not such a document, one of a newer format, or a table that cannot be; *ret_why is a sentence the caller frees.
 * Fields that are not known are kept; fields that are must be right. */
struct members *members_decode(struct str document, char **ret_why) MUST_CHECK;
/* The table after a membership entry was applied to `before` (NULL = none). Differs from members_decode() only where
 * quorum was forced: then the document is a head alone, and addresses, tokens and the rest are those of before. Who is
 * not in the head stays a member without a vote until it is back and in sync. */
struct members *members_follow(const struct members *before, struct str document, char **ret_why) MUST_CHECK;
/* As if the document were its head alone: for one that is in force and that members_follow() refuses, so that a whole
 * one can come behind it. NULL: there is nothing before it, its head is none, or it is of a newer format, which is not
 * for this version to replace. */
struct members *members_follow_head(const struct members *before, struct str document) MUST_CHECK;
/* NULL = a version that speaks these feature levels may take part; else why not: a sentence the caller frees. The level
 * of a table never falls, so this is met by a node whose version was taken back. */
char *members_too_far(const struct members *t, unsigned low, unsigned high);
/* NULL = fine, or what is wrong with the table. */
const char *members_check(const struct members *t);

/* NULL = no such. */
const struct members_node *members_find(const struct members *t, uint32_t id);
/* By name: the one that holds it, not one that is leaving for another under the same name. */
const struct members_node *members_named(const struct members *t, const char *name);
const struct members_removed *members_find_removed(const struct members *t, uint32_t id, uint64_t instance);
const struct members_token *members_find_token(const struct members *t, const char *id);
size_t members_voting(const struct members *t);
/* 1 to MEMBERS_NAME_MAX of a-z A-Z 0-9 . _ -, the first a letter or digit. */
bool members_name_valid(const char *name);

/* Whether a caller with this node certificate may speak now: it is in the table and the fingerprint is its newest, or
 * the one before while that is being renewed. */
bool members_certified(const struct members *t, uint32_t id, const uint8_t fingerprint[MEMBERS_HASH_LEN]);

/* Whether a node has a place in the corosync.conf of a generation: the one in force, or that of the change under way.
 */
bool members_in_file(const struct members_node *n, uint64_t generation);
/* What that file consists of, as a SHA-256: cluster, generation, nodes, addresses, the key's hash. The same on every
 * node whatever its paths are. */
void members_file_hash(const struct members *t, uint64_t generation, uint8_t ret[MEMBERS_HASH_LEN]);
/* The same as values for corosync.conf: cluster, generation and nodes. The rest of *ret (paths, user) is left alone. */
void members_corosync_conf(const struct members *t, uint64_t generation, struct corosync_conf *ret);

#endif
