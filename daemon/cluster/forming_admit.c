/* SPDX-License-Identifier: Apache-2.0
 * The member that lets another node in: its token was proved, the table decides, the log makes it so.
 */
#include <errno.h>
#include <stdlib.h>

#include "daemon/base/log.h"
#include "daemon/cluster/cluster_private.h"
#include "daemon/cluster/join.h"

enum { ADMIT_TRIES = 5 };

struct admission {
	struct cluster_node *n;
	struct join_asked *asked;
	uint8_t key[MEMBERS_HASH_LEN]; /* of a new one */
	bool has_key;
	unsigned tries;
};

static const struct members *table(void *arg)
{
	const struct cluster_node *n = arg;

	return store_quorate(n->env.store) ? n->table : NULL;
}

static const struct ca *authority(void *arg)
{
	return ((const struct cluster_node *)arg)->trust.ca;
}

static bool corosync_key(void *arg, const uint8_t hash[COROSYNC_KEY_HASH_LEN], uint8_t ret[COROSYNC_KEY_LEN])
{
	return trust_files_read_key(&((const struct cluster_node *)arg)->trust, hash, ret);
}

static void propose(struct admission *a);

static void on_committed(const struct store_result *r, void *arg)
{
	struct admission *a = arg;
	struct cluster_node *n = a->n;

	CHECK_OBJ(n, CLUSTER_NODE_MAGIC);
	if (r->result == CORE_STALE && ++a->tries < ADMIT_TRIES && !n->stopped) {
		propose(a);
		return;
	}
	if (r->result == CORE_COMMITTED && n->table != NULL) {
		log_msg(LOG_LEVEL_NOTICE, "cluster_admitted", "node %s joins",
			join_asked_question(a->asked)->node.name);
		join_accept(a->asked, n->table, n->position);
	} else {
		join_defer(a->asked, "It could not be written down in time.");
	}
	free(a);
}

static void propose(struct admission *a)
{
	struct cluster_node *n = a->n;
	struct members_refusal why;
	struct cluster_view v;

	if (n->table == NULL || !store_quorate(n->env.store)) {
		join_defer(a->asked, "The cluster has no quorum here.");
		free(a);
		return;
	}
	cluster_look(n, &v);
	struct members *to = join_decide(a->asked, n->table, &v.view, a->has_key ? a->key : NULL, &why);
	if (to == NULL) {
		join_refuse(a->asked, &why);
		free(a);
		return;
	}
	struct cluster_proposal p = { .comment = "a node joins", .fn = on_committed, .arg = a };
	int err = cluster_propose(n, to, &p);
	if (err == 0)
		return;
	join_defer(a->asked, strerror(-err));
	free(a);
}

static void decide(struct join_asked *asked, void *arg)
{
	struct cluster_node *n = arg;
	struct admission *a = xcalloc(1, sizeof(*a));
	uint8_t key[COROSYNC_KEY_LEN];

	CHECK_OBJ(n, CLUSTER_NODE_MAGIC);
	*a = (struct admission) { .n = n, .asked = asked };
	if (n->table != NULL && join_asked_replaces(asked, n->table)) {
		a->has_key = corosync_key_make(key) && trust_files_write_key(&n->trust, key) == 0;
		corosync_key_hash(key, a->key);
		explicit_bzero(key, sizeof(key));
	}
	propose(a);
}

void forming_serve_join(struct cluster_node *n)
{
	struct join_env env = { .arg = n,
				.table = table,
				.authority = authority,
				.corosync_key = corosync_key,
				.decide = decide };

	join_serve(n->env.peers, &env);
}
