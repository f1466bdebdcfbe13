/* SPDX-License-Identifier: Apache-2.0
 * What members ask each other outside the log: the table of nodes, keys.
 *
 * The hard thing: a node that was away may have a corosync.conf that lets nobody else's ring rest, and can hear of a
 * newer one only here. And one that was removed is believed by nobody; it is told so without a certificate.
 */
#include <errno.h>
#include <stdlib.h>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/cluster/cluster_private.h"

static void reply_json(struct peers_request *r, json_t *stolen)
{
	struct sbuf body = { 0 };

	cluster_json_write(stolen, &body);
	peers_reply(r, 200, cluster_str(&body));
	trust_wipe(&body);
}

static void add_table(json_t *o, const struct cluster_node *n)
{
	struct sbuf document = { 0 };

	members_encode(n->table, &document);
	json_object_set_new(o, "generation", json_integer((json_int_t)n->generation));
	json_object_set_new(o, "position", json_integer((json_int_t)n->position));
	json_object_set_new(o, "table", cluster_json_base64(cluster_str(&document)));
	sbuf_fini(&document);
}

/* ---- being asked ---- */

static void serve_generation(struct peers_request *r, void *arg)
{
	struct cluster_node *n = arg;
	struct members_seen seen;
	struct cluster_view v;

	CHECK_OBJ(n, CLUSTER_NODE_MAGIC);
	const struct ca_identity *from = peers_request_from(r);
	json_t *j = cluster_json_read(peers_request_body(r));
	bool ok = j != NULL && cluster_json_take_seen(json_object_get(j, "seen"), &seen) && seen.id == from->id;
	json_decref(j);
	if (!ok || n->table == NULL) {
		peers_reply(r, ok ? 503 : 422, STR("No table of nodes here, or none that is understood."));
		return;
	}
	cluster_called(n, &seen);
	cluster_look(n, &v);
	json_t *o = json_pack("{s:b}", "quorate", v.view.quorate), *list = json_array();
	add_table(o, n);
	for (size_t i = 0; i < v.view.n; i++)
		json_array_append_new(list, cluster_json_seen(&v.seen[i]));
	json_object_set_new(o, "seen", list);
	reply_json(r, o);
}

/* Not to one that is leaving: the next key is there to keep it out. */
static void serve_key(struct peers_request *r, void *arg)
{
	struct cluster_node *n = arg;
	uint8_t hash[MEMBERS_HASH_LEN], key[COROSYNC_KEY_LEN];

	CHECK_OBJ(n, CLUSTER_NODE_MAGIC);
	const struct members *t = cluster_table(n);
	const struct members_node *m = t == NULL ? NULL : members_find(t, peers_request_from(r)->id);
	json_t *j = cluster_json_read(peers_request_body(r));
	bool ok = j != NULL && cluster_unhex(json_string_value(json_object_get(j, "hash")), hash, sizeof(hash));
	json_decref(j);
	if (!ok || m == NULL || m->state == MEMBERS_LEAVING || !trust_files_read_key(&n->trust, hash, key)) {
		peers_reply(r, 404, STR("No such key is here."));
		return;
	}
	reply_json(r, json_pack("{s:o}", "key", cluster_json_base64((struct str) { (char *)key, sizeof(key) })));
	explicit_bzero(key, sizeof(key));
}

/* Only a member with a vote that carries mail may have it. */
static void serve_authority(struct peers_request *r, void *arg)
{
	struct cluster_node *n = arg;
	struct sbuf pem = { 0 };

	CHECK_OBJ(n, CLUSTER_NODE_MAGIC);
	const struct members_node *m = n->table == NULL ? NULL : members_find(n->table, peers_request_from(r)->id);
	if (m == NULL || m->voter_only || m->votes == 0 || n->trust.ca == NULL || !ca_can_issue(n->trust.ca)) {
		peers_reply(r, 403, STR("The authority's key is not for this node, or not here."));
		return;
	}
	sbuf_reserve(&pem, CA_PEM_MAX);
	ca_key_pem(n->trust.ca, &pem);
	reply_json(r, json_pack("{s:o}", "key", cluster_json_base64(cluster_str(&pem))));
	trust_wipe(&pem);
}

/* To anybody who asks: it tells no more than whether a random number is known. */
static void serve_removed(struct peers_request *r, void *arg)
{
	struct cluster_node *n = arg;
	struct members_seen s = { 0 };

	CHECK_OBJ(n, CLUSTER_NODE_MAGIC);
	json_t *j = cluster_json_read(peers_request_body(r));
	bool ok = j != NULL && cluster_json_take_seen(json_object_get(j, "seen"), &s);
	json_decref(j);
	if (!ok || n->table == NULL || !store_quorate(n->env.store)) {
		peers_reply(r, 503, STR("It cannot be said here now."));
		return;
	}
	bool removed = members_find_removed(n->table, s.id, s.instance) != NULL;
	reply_json(r, json_pack("{s:b}", "removed", removed));
}

void cluster_serve(struct cluster_node *n)
{
	peers_serve(n->env.peers, "/generation", false, 4096, serve_generation, n);
	peers_serve(n->env.peers, "/key", false, 4096, serve_key, n);
	peers_serve(n->env.peers, "/authority", false, 4096, serve_authority, n);
	peers_serve(n->env.peers, "/removed", true, 4096, serve_removed, n);
	forming_serve_join(n);
	own_certificate_serve(n);
}

/* ---- asking ---- */

struct question {
	struct cluster_node *n;
	uint32_t id; /* who is asked */
	void (*fn)(struct cluster_node *n, uint32_t id, json_t *answer);
};

/* What is no answer is passed over: it is asked again. */
static void on_answer(int status, struct str body, void *arg)
{
	struct question *q = arg;

	CHECK_OBJ(q->n, CLUSTER_NODE_MAGIC);
	json_t *j = status == 200 && !q->n->stopped ? cluster_json_read(body) : NULL;
	if (j != NULL)
		q->fn(q->n, q->id, j);
	json_decref(j);
	free(q);
}

static bool ask_one(const struct question *question, const struct peers_call_options *o)
{
	struct question *q = xmalloc(sizeof(*q));

	*q = *question;
	bool asked = peers_call(q->n->env.peers, o, on_answer, q) == 0;
	if (!asked)
		free(q);
	return asked;
}

/* Of a view that writes, all have one log: it is not there that this node was removed. */
static bool has_this_log(const struct cluster_node *n, uint32_t id)
{
	uint32_t ids[CORE_MEMBERS_MAX];
	size_t count = store_quorate(n->env.store) ? store_members(n->env.store, ids) : 0;

	for (size_t i = 0; i < count; i++)
		if (ids[i] == id)
			return true;
	return false;
}

/* Calls `path` of each other node of the table; /removed of those that can know of it. */
static void ask_all(struct cluster_node *n, const char *path, json_t *stolen,
		    void (*fn)(struct cluster_node *n, uint32_t id, json_t *answer))
{
	const struct members *t = cluster_table(n);
	uint32_t own = store_identity(n->env.store).id;
	/* Its own certificate may be no good any more; who answers is judged as ever: a former member could tell it to
	 * forget everything. */
	bool anonymous = strcmp(path, "/removed") == 0;
	struct sbuf body = { 0 };

	cluster_json_write(stolen, &body);
	for (size_t i = 0; i < t->n; i++) {
		const struct members_node *m = &t->list[i];
		if (m->id == own || m->listen.sa.sa_family == 0 || (anonymous && has_this_log(n, m->id)))
			continue;
		struct peers_call_options o = { .to = m->listen,
						.id = m->id,
						.anonymous = anonymous,
						.path = path,
						.body = cluster_str(&body),
						.deadline_ms = CLUSTER_CALL_MS };
		if (!ask_one(&(struct question) { .n = n, .id = m->id, .fn = fn }, &o))
			log_msg(LOG_LEVEL_DEBUG, "cluster", "%s is not asked: too many calls", m->name);
	}
	sbuf_fini(&body);
}

static void take_seen(struct cluster_node *n, json_t *list)
{
	size_t i;
	json_t *j;

	n->n_told = 0;
	json_array_foreach(list, i, j)
		if (n->n_told < MEMBERS_MAX && cluster_json_take_seen(j, &n->told[n->n_told]))
			n->n_told++;
	n->told_ms = clock_mono_ms();
}

static void on_removed(struct cluster_node *n, uint32_t id, json_t *j)
{
	if (cluster_table(n) != NULL)
		cluster_told_removed(n, id, json_is_true(json_object_get(j, "removed")));
}

static void on_generation(struct cluster_node *n, uint32_t id, json_t *j)
{
	json_int_t generation = json_integer_value(json_object_get(j, "generation"));
	json_int_t position = json_integer_value(json_object_get(j, "position"));
	struct cluster_word w = { .id = id,
				  .at = { .generation = (uint64_t)generation, .position = (uint64_t)position },
				  .quorate = json_is_true(json_object_get(j, "quorate")) };
	struct sbuf document = { 0 };

	if (n->trust.ca == NULL || cluster_table(n) == NULL)
		return;
	if (generation >= 0 && position > 0 &&
	    cluster_json_take_base64(json_object_get(j, "table"), MEMBERS_DOCUMENT_MAX, &document)) {
		w.document = cluster_str(&document);
		cluster_told(n, &w);
		if (w.quorate)
			take_seen(n, json_object_get(j, "seen"));
	}
	sbuf_fini(&document);
}

void cluster_ask(struct cluster_node *n)
{
	struct members_seen own = cluster_own(n);

	n->asked_ms = clock_mono_ms();
	ask_all(n, "/generation", json_pack("{s:o}", "seen", cluster_json_seen(&own)), on_generation);
	/* Also while this node may write: of two, the tie-breaker writes alone, and a quorum may have been forced
	 * without it. Who then removed it does not answer the question above. */
	ask_all(n, "/removed", json_pack("{s:o}", "seen", cluster_json_seen(&own)), on_removed);
}

static void on_key(struct cluster_node *n, uint32_t id, json_t *j)
{
	struct sbuf key = { 0 };

	UNUSED(id);
	if (cluster_json_take_base64(json_object_get(j, "key"), COROSYNC_KEY_LEN, &key) && key.n == COROSYNC_KEY_LEN) {
		/* Under its own hash: another one than was asked for is never used. */
		int err = trust_files_write_key(&n->trust, (const uint8_t *)key.p);
		if (err != 0)
			log_msg(LOG_LEVEL_ERROR, "cluster", "corosync's key cannot be kept: %s", strerror(-err));
	}
	trust_wipe(&key);
}

void cluster_fetch_key(struct cluster_node *n, const uint8_t hash[MEMBERS_HASH_LEN])
{
	char text[2 * MEMBERS_HASH_LEN + 1];

	cluster_hex(hash, MEMBERS_HASH_LEN, text);
	ask_all(n, "/key", json_pack("{s:s}", "hash", text), on_key);
}

static void on_authority(struct cluster_node *n, uint32_t id, json_t *j)
{
	struct sbuf key = { 0 }, certificate = { 0 };
	char *why = NULL;

	UNUSED(id);
	if (n->trust.ca != NULL && cluster_json_take_base64(json_object_get(j, "key"), CA_PEM_MAX, &key)) {
		ca_certificate_pem(n->trust.ca, &certificate);
		struct ca *whole = ca_load(cluster_str(&certificate), cluster_str(&key), &why);
		if (whole != NULL && ca_can_issue(whole) &&
		    trust_files_write(&n->trust, "ca.key", cluster_str(&key)) == 0 && trust_files_load(&n->trust, &why))
			log_msg(LOG_LEVEL_NOTICE, "cluster", "this node has the authority's key now");
		ca_free(whole);
	}
	free(why);
	sbuf_fini(&certificate);
	trust_wipe(&key);
}

void cluster_fetch_authority(struct cluster_node *n)
{
	ask_all(n, "/authority", json_object(), on_authority);
}
