/* SPDX-License-Identifier: Apache-2.0
 * Join tokens: made, listed, revoked.
 *
 * The hard thing: the text is a secret that is shown once. So a write that is repeated, or whose outcome is not known,
 * is answered without it, and what it may have left is found in the list and revoked.
 */
#include <stdlib.h>

#include "daemon/base/clock.h"
#include "daemon/cluster/cluster_private.h"

enum { TTL_MAX_SEC = 7 * 24 * 3600 };

static size_t add_addresses(const struct members *t, const struct cluster_view *v, struct token *token)
{
	for (size_t pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < t->n && token->n < TOKEN_ADDRESSES_MAX; i++) {
			const struct members_node *m = &t->list[i];
			bool own = m->id == v->view.self;
			if (m->state == MEMBERS_MEMBER && m->listen.sa.sa_family != 0 && own == (pass == 0))
				token->addresses[token->n++] = m->listen;
		}
	}
	return token->n;
}

void forming_token_make(struct cluster_node *n, struct cluster_call *q)
{
	json_t *ttl = json_object_get(q->body, "ttl"), *replace = json_object_get(q->body, "replace");
	double seconds = ttl == NULL ? TOKEN_LIFETIME_SEC : json_number_value(ttl);
	struct members_token entry = { .voter_only = json_is_true(json_object_get(q->body, "voter_only")) };
	uint8_t authority[CA_FINGERPRINT_LEN];
	struct members_refusal why;
	struct cluster_view v;
	struct token token = { 0 };

	if (!(seconds >= 1 && seconds <= TTL_MAX_SEC) ||
	    (replace != NULL && json_string_length(replace) > MEMBERS_NAME_MAX)) {
		cluster_call_refuse(q, PROBLEM_INVALID, "\"ttl\" is 1 to %d seconds, \"replace\" the name of a node",
				    TTL_MAX_SEC);
		return;
	}
	cluster_look(n, &v);
	ca_fingerprint(n->trust.ca, authority);
	if (!token_make(&token, authority, (uint64_t)(clock_wall() + seconds)) ||
	    add_addresses(n->table, &v, &token) == 0) {
		cluster_call_refuse(q, PROBLEM_INTERNAL, "no token can be made");
		return;
	}
	memcpy(entry.id, token.id, sizeof(token.id));
	token_stored(&token, entry.stored);
	entry.expires = (double)(int64_t)(clock_wall() + seconds); /* whole ones are what the document keeps */
	snprintf(entry.replaces, sizeof(entry.replaces), "%s", replace == NULL ? "" : json_string_value(replace));
	forming_change(n, q, members_token_add(n->table, &entry, clock_wall(), &why), &why, "a join token", &token);
	token_wipe(&token);
}

void forming_token_list(struct cluster_node *n, struct cluster_call *q)
{
	const struct members *t = n->table;
	json_t *list = json_object();
	char text[32];

	for (size_t i = 0; t != NULL && i < t->n_tokens; i++) {
		const struct members_token *k = &t->tokens[i];
		if (k->used_by != 0 || k->expires <= clock_wall())
			continue;
		json_t *replaces = k->replaces[0] == '\0' ? json_null() : json_string(k->replaces);
		json_object_set_new(list, k->id,
				    json_pack("{s:s, s:b, s:o}", "expires", clock_rfc3339(k->expires, text),
					      "voter_only", k->voter_only, "replaces", replaces));
	}
	cluster_call_answer(q, 200, json_pack("{s:o}", "tokens", list));
}

void forming_token_revoke(struct cluster_node *n, struct cluster_call *q)
{
	const struct members_token *k = members_find_token(n->table, q->node);
	struct members_refusal why;

	if (k != NULL && k->used_by != 0) {
		/* Its node may be asking for its answer again by it. */
		cluster_call_refuse(q, PROBLEM_CONFLICT,
				    "The token was used by node %u: `postroad cluster remove` takes that out.",
				    k->used_by);
		return;
	}
	forming_change(n, q, members_token_revoke(n->table, q->node, &why), &why, "a join token is revoked", NULL);
}
