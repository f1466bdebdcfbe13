/* SPDX-License-Identifier: Apache-2.0
 * What goes over /join, as values: who asks, with which proof, and what a new member is given. Pure.
 *
 * The question is JSON in JSON: the inner text, byte by byte, is what the proof is of (cluster/trust/token.h). The
 * answer is JSON and behind it the 128 bytes of corosync's key as they are, so that the one secret in it stands in no
 * other buffer than the body. Fields that are not known are passed over; those that are must be right.
 */
#ifndef POSTROAD_CLUSTER_JOIN_MESSAGE_H
#define POSTROAD_CLUSTER_JOIN_MESSAGE_H

#include <jansson.h>

#include "cluster/members/members.h"
#include "cluster/trust/corosync_key.h"
#include "cluster/trust/token.h"

enum {
	JOIN_FORMAT = 1,
	JOIN_QUESTION_MAX = 32 * 1024, /* bytes of the body */
	JOIN_VERSION_MAX = 32,
};

/* Of the node only name, instance, voter_only, links, listen and features are said. */
struct join_question {
	struct members_node node;
	char *certificate_request;          /* PEM, owned */
	char version[JOIN_VERSION_MAX + 1]; /* of the program, for people */
	bool force;                         /* although a member is absent: members_request.force */
	double clock;                       /* of the node when it asked, seconds since 1970; 0 = not said */
	unsigned mtu[MEMBERS_LINKS_MAX];    /* of the interface of each link; 0 = not known */
};
void join_question_fini(struct join_question *q);
/* Appends the inner text. */
void join_question_encode(const struct join_question *q, struct sbuf *out);
/* False: *ret_why is a static sentence, and nothing is to be freed. */
bool join_question_parse(struct str text, struct join_question *ret, const char **ret_why) MUST_CHECK;

struct join_envelope {
	char token[TOKEN_ID_LEN + 1];
	uint8_t proof[TOKEN_HASH_LEN];
	char *question; /* owned */
	size_t question_n;
};
void join_envelope_fini(struct join_envelope *e);
void join_envelope_encode(const char *token, const uint8_t proof[TOKEN_HASH_LEN], struct str question,
			  struct sbuf *out);
bool join_envelope_parse(struct str body, struct join_envelope *ret, const char **ret_why) MUST_CHECK;

struct join_answer {
	uint32_t id;
	char cluster[MEMBERS_CLUSTER_MAX + 1];
	uint64_t number;               /* of the cluster */
	char *certificate, *authority; /* PEM, owned */
	struct members *table;         /* owned; the node is in it */
	uint64_t generation, position; /* of the table in the log; a new generation begins when quorum is forced */
	uint8_t key[COROSYNC_KEY_LEN]; /* a secret: of the file the node is in */
	json_t *passed_over;           /* owned: sentences about what the member passed over by force; NULL = none */
};
/* Wipes. */
void join_answer_fini(struct join_answer *a);
/* Into an empty *out, which is a secret: wipe it. */
void join_answer_encode(const struct join_answer *a, struct sbuf *out);
/* The table is decoded and names the id; whether the certificates fit the token and the key, join_call() checks. */
bool join_answer_parse(struct str body, struct join_answer *ret, const char **ret_why) MUST_CHECK;

#endif
