/* SPDX-License-Identifier: Apache-2.0
 * The table of nodes as this node knows it: by the log, by what others told, by what was kept.
 *
 * The hard thing: this node may be unable to hear the log, and those that it asks may be no members any more. So there
 * are two tables, the log's as it is applied and a newer one. The newer one says which of corosync's files to take and
 * whether this node is a member at all; only the log's is ever built on.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>

#include "cluster/core/le.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/cluster/cluster_private.h"

#define TABLE_FILE "table" /* generation and position of the log (8 bytes each), then the document */

enum { TABLE_HEAD = 16 };

static struct cluster_stamp log_stamp(const struct cluster_node *n)
{
	return (struct cluster_stamp) { .generation = n->generation, .position = n->position };
}

const struct members *cluster_table(const struct cluster_node *n)
{
	if (n->heard != NULL && (n->table == NULL || cluster_newer(n->heard_at, log_stamp(n))))
		return n->heard;
	return n->table;
}

int cluster_remember(const struct cluster_node *n, struct cluster_stamp at, struct str document)
{
	struct sbuf bytes = { 0 };
	uint8_t head[TABLE_HEAD];

	le_put(head, at.generation, 8);
	le_put(head + 8, at.position, 8);
	sbuf_add(&bytes, head, sizeof(head));
	sbuf_add(&bytes, document.p, document.n);
	int err = trust_files_write(&n->trust, TABLE_FILE, cluster_str(&bytes));
	if (err != 0)
		log_msg(LOG_LEVEL_WARNING, "cluster", "the table of nodes cannot be kept: %s", strerror(-err));
	sbuf_fini(&bytes);
	return err;
}

/* So that a start knows it without the others, and addresses outlive a forced quorum. */
void cluster_keep(struct cluster_node *n)
{
	const struct members *t = cluster_table(n);
	struct cluster_stamp at = t == n->table ? log_stamp(n) : n->heard_at;
	struct sbuf document = { 0 };

	if (!n->unkept || t == NULL || (t == n->heard && n->heard_alone) || clock_mono_ms() < n->keep_again_ms)
		return;
	members_encode(t, &document);
	int err = cluster_remember(n, at, cluster_str(&document));
	sbuf_fini(&document);
	n->unkept = err != 0;
	if (err != 0)
		cluster_warn(n, "cluster_keep", "the table of nodes cannot be kept for the next start: %s",
			     strerror(-err));
	else if (n->keep_again_ms != 0)
		cluster_warn_over(n, "cluster_keep");
	n->keep_again_ms = err == 0 ? 0 : clock_mono_ms() + CLUSTER_AGAIN_MS;
}

void cluster_recall(struct cluster_node *n)
{
	struct sbuf bytes = { 0 };
	char *why = NULL;

	if (trust_files_read(&n->trust, TABLE_FILE, MEMBERS_DOCUMENT_MAX + TABLE_HEAD, &bytes) == 0 &&
	    bytes.n > TABLE_HEAD) {
		n->heard = members_decode((struct str) { bytes.p + TABLE_HEAD, bytes.n - TABLE_HEAD }, &why);
		n->heard_at.generation = le_get((const uint8_t *)bytes.p, 8);
		n->heard_at.position = le_get((const uint8_t *)bytes.p + 8, 8);
	}
	if (why != NULL)
		log_msg(LOG_LEVEL_WARNING, "cluster", "the table of nodes that was kept is no use: %s", why);
	free(why);
	sbuf_fini(&bytes);
}

/* One node alone may not say that this one is no member, or shall not be. */
static bool keeps_this_node(const struct cluster_node *n, const struct members *t)
{
	struct store_identity id = store_identity(n->env.store);
	const struct members_node *me = members_find(t, id.id);

	return me != NULL && me->instance == id.instance && me->until == 0 && me->state != MEMBERS_LEAVING;
}

static bool take(struct cluster_node *n, struct cluster_stamp at, struct str document, bool alone)
{
	const struct members *known = cluster_table(n);
	char *why = NULL;

	/* One alone does not keep out what a majority says. */
	bool counts = n->heard != NULL && (alone || !n->heard_alone);
	if (!cluster_newer(at, log_stamp(n)) || (counts && !cluster_newer(at, n->heard_at)))
		return false;
	struct members *t = members_follow(known, document, &why);
	if (t == NULL || (known != NULL && t->number != known->number) || (alone && !keeps_this_node(n, t))) {
		log_msg(LOG_LEVEL_WARNING, "cluster", "a table of nodes that came by a call is no use: %s",
			why != NULL ? why : "it is another cluster's, or one node alone takes this one out of it");
		free(why);
		members_free(t);
		return false;
	}
	members_free(n->heard);
	n->heard = t;
	n->heard_at = at;
	n->heard_alone = alone;
	n->unkept = true;
	cluster_keep(n);
	return true;
}

void cluster_heard(struct cluster_node *n, struct cluster_stamp at, struct str document)
{
	(void)!take(n, at, document, false);
}

/* By whose voters is judged what others say. */
static const struct members *judge_table(const struct cluster_node *n)
{
	return n->heard_alone && n->table != NULL ? n->table : cluster_table(n);
}

static void doubt(struct cluster_node *n, uint32_t id, int64_t now)
{
	n->doubted_ms = now;
	cluster_warn(
		n, "cluster_table",
		"node %u has a newer table of nodes, which is not believed of it alone: another node with a quorum "
		"says otherwise, or it is too far ahead of the clock here. Set the clock, or bring other members "
		"back. Else, if it is right: `postroad cluster remove` this node there, `postroad cluster leave` "
		"here, and join again",
		id);
}

void cluster_told(struct cluster_node *n, const struct cluster_word *w)
{
	const struct members *t = cluster_table(n);
	struct words_known known = { .at = t == n->table || n->heard_alone ? log_stamp(n) : n->heard_at,
				     .wall = clock_wall() };
	int64_t now = clock_mono_ms();

	words_table(&n->words, w->id, w->at, w->document, w->quorate, now);
	if (!cluster_newer(w->at, known.at)) {
		n->asked = true;
		return;
	}
	enum words_verdict v =
		words_judge(&n->words, judge_table(n), store_identity(n->env.store).id, w->id, &known, now);
	if (v == WORDS_NOT_YET) {
		if (words_insists(&n->words, w->id, now))
			doubt(n, w->id, now);
		return;
	}
	n->asked = true;
	if (take(n, w->at, w->document, v == WORDS_ONE) && v == WORDS_ONE)
		log_msg(LOG_LEVEL_WARNING, "cluster",
			"the table of nodes was taken from node %u alone, as no other one says anything", w->id);
}

void cluster_told_removed(struct cluster_node *n, uint32_t id, bool removed)
{
	int64_t now = clock_mono_ms();

	words_removed(&n->words, id, removed, now);
	if (!removed || n->purging)
		return;
	if (!words_is_removed(&n->words, judge_table(n), store_identity(n->env.store).id, now)) {
		cluster_warn(n, "cluster_removed",
			     "node %u says that this node was taken out of the cluster; too few others are heard to "
			     "believe it. If it is so, here: `postroad cluster leave`",
			     id);
		return;
	}
	log_msg(LOG_LEVEL_WARNING, "cluster_removed", "this node was taken out of the cluster; it forgets its keys");
	n->purging = true;
}

bool cluster_said_removed(const struct cluster_node *n)
{
	const struct members *t = judge_table(n);

	return t != NULL && words_count_removed(&n->words, t, store_identity(n->env.store).id, clock_mono_ms()) > 0;
}

/* An answer that is late does not end it. */
void cluster_doubt_over(struct cluster_node *n)
{
	if (n->doubted_ms == 0 || clock_mono_ms() - n->doubted_ms < CLUSTER_DOUBTED_MS)
		return;
	n->doubted_ms = 0;
	cluster_warn_over(n, "cluster_table");
}

static void forget_heard(struct cluster_node *n)
{
	members_free(n->heard);
	n->heard = NULL;
	n->heard_alone = false;
}

void cluster_settle(struct cluster_node *n)
{
	if (n->heard == NULL || n->table == NULL || n->heard_at.generation != n->generation ||
	    !store_quorate(n->env.store) || !cluster_own(n).synced)
		return;
	/* Of a node that joins, the log is told from its beginning. */
	if (members_find(n->table, store_identity(n->env.store).id) == NULL)
		return;
	forget_heard(n);
	n->unkept = true;
}

/* A change keeps its age when it gets another key, and with each step. The id of who joins is given once. */
static void note_change(struct cluster_node *n)
{
	uint32_t node = n->table->change.kind == MEMBERS_NONE ? 0 : n->table->change.node;

	if (node != n->changes)
		n->changes_since_ms = clock_mono_ms();
	n->changes = node;
}

void cluster_node_applied(struct cluster_node *n, const struct entry *e)
{
	char *why = NULL;

	CHECK_OBJ(n, CLUSTER_NODE_MAGIC);
	lost_note(n, e);
	if (e->kind != ENTRY_MEMBERSHIP)
		return;
	/* A bare one is of this log: what was heard may be of one that was made void. */
	const struct members *before = n->table != NULL ? n->table : n->heard;
	struct members *t = members_follow(before, e->document, &why);
	if (t == NULL) {
		cluster_warn(n, "members", "the table of nodes cannot be read: %s", why);
		/* Its voters decide all the same, and the next table has to name its position. */
		t = members_follow_head(before, e->document);
	} else {
		cluster_warn_over(n, "members");
	}
	free(why);
	if (t == NULL)
		return;
	members_free(n->table);
	n->table = t;
	n->position = e->position;
	n->generation = e->epoch >> 32;
	note_change(n);
	if (n->heard != NULL && !cluster_newer(n->heard_at, log_stamp(n)))
		forget_heard(n);
	/* With the next tick: many are told at once when this node comes back, and each costs two syncs. */
	n->unkept |= n->heard == NULL;
	if (n->corosync != NULL && !n->stopped)
		timer_set_in(n->env.loop, &n->tick, 1);
}

void cluster_node_reset(struct cluster_node *n)
{
	CHECK_OBJ(n, CLUSTER_NODE_MAGIC);
	/* The newest there was is kept until the log has one again: it says how to reach the others. */
	if (n->table != NULL && n->heard_alone)
		forget_heard(n);
	if (n->heard == NULL) {
		n->heard = n->table;
		n->heard_at = log_stamp(n);
	} else {
		members_free(n->table);
	}
	n->table = NULL;
	n->position = n->generation = n->alone_from = 0;
}

void cluster_forget_tables(struct cluster_node *n)
{
	members_free(n->table);
	members_free(n->heard);
	n->table = n->heard = NULL;
	n->position = n->generation = n->alone_from = 0;
	n->heard_at = (struct cluster_stamp) { 0 };
	n->heard_alone = n->unkept = false;
	n->keep_again_ms = 0;
	n->words = (struct words) { 0 };
	n->doubted_ms = 0;
	n->files = (struct cluster_files) { 0 };
	OPENSSL_cleanse(&n->tags, sizeof(n->tags));
	n->n_told = 0;
	memset(n->callers, 0, sizeof(n->callers));
}
