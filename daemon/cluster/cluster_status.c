/* SPDX-License-Identifier: Apache-2.0
 * The cluster as this node sees it, for people and programs; and what it says of itself.
 */
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/clock.h"
#include "daemon/cluster/cluster_private.h"

enum { DIGEST_SHOWN = 16 };

static const char *const state_names[] = {
	[CORE_OFFLINE] = "OFFLINE", [CORE_SYNC] = "SYNC", [CORE_MINORITY] = "MINORITY", [CORE_ACTIVE] = "ACTIVE"
};
static const char *const member_names[] = {
	[MEMBERS_JOINING] = "joining", [MEMBERS_MEMBER] = "member", [MEMBERS_LEAVING] = "leaving"
};

/* ---- for the report ---- */

void cluster_node_fill(const struct cluster_node *n, struct node_report *r)
{
	struct corosync_status s = { 0 };

	CHECK_OBJ(n, CLUSTER_NODE_MAGIC);
	if (n->corosync == NULL)
		return;
	struct members_seen own = cluster_own(n);
	r->files = (struct report_files) { .instance = own.instance,
					   .staged = own.staged,
					   .installed = own.installed,
					   .active = own.active,
					   .synced = own.synced };
	memcpy(r->files.staged_hash, own.staged_hash, sizeof(own.staged_hash));
	r->features_low = (uint16_t)own.features_low;
	r->features_high = (uint16_t)own.features_high;
	r->view_changes = (uint16_t)recent_count(&n->views.recent, clock_mono_ms());
	corosync_status(n->corosync, &s);
	r->n_links = 0;
	for (size_t i = 0; i < s.totem.n_links && r->n_links < REPORT_LINKS_MAX; i++) {
		const struct corosync_link *l = &s.totem.links[i];
		r->links[r->n_links++] = (struct report_link) { .peer = l->node,
								.link = l->link,
								.up = l->connected,
								.latency_us = l->latency_us,
								.downs = (uint32_t)l->downs };
	}
}

/* ---- for people ---- */

static const char *name_of(const struct members *t, uint32_t id)
{
	const struct members_node *m = t == NULL ? NULL : members_find(t, id);

	return m == NULL ? NULL : m->name;
}

static json_t *text_or_null(const char *s)
{
	return s == NULL ? json_null() : json_string(s);
}

static json_t *node_json(const struct members *t, const struct members_node *m, const struct cluster_view *v)
{
	const struct members_seen *s = NULL;
	char text[ADDR_TEXT_MAX];
	json_t *links = json_array();

	for (size_t i = 0; i < v->view.n; i++)
		if (v->seen[i].id == m->id && v->seen[i].instance == m->instance)
			s = &v->seen[i];
	for (size_t i = 0; i < m->n_links; i++)
		json_array_append_new(links, json_string(addr_format_ip(&m->links[i], text)));
	json_t *o = json_pack("{s:I, s:s, s:i, s:b, s:b, s:o, s:s, s:b}", "id", (json_int_t)m->id, "state",
			      member_names[m->state], "votes", (int)m->votes, "voter_only", m->voter_only,
			      "tie_breaker", t->tie_breaker == m->id, "links", links, "listen",
			      addr_format(&m->listen, text), "present", s != NULL && s->present);
	if (s != NULL)
		json_object_update_new(o, json_pack("{s:b, s:I, s:I, s:I}", "synced", s->synced, "staged",
						    (json_int_t)s->staged, "installed", (json_int_t)s->installed,
						    "active", (json_int_t)s->active));
	return o;
}

static json_t *change_json(const struct cluster_node *n, const struct members *t)
{
	const struct members_change *c = &t->change;

	if (c->kind == MEMBERS_NONE)
		return json_null();
	return json_pack("{s:s, s:s, s:o, s:I, s:b, s:f, s:s}", "kind", members_kind_names[c->kind], "step",
			 c->step == MEMBERS_PREPARE ? "prepare" : "activate", "node", text_or_null(name_of(t, c->node)),
			 "generation", (json_int_t)c->generation, "forced", c->forced, "started", c->started, "doing",
			 n->action.text);
}

static json_t *corosync_json(const struct cluster_node *n)
{
	struct corosync_status s = { 0 };

	if (n->corosync == NULL)
		return json_null();
	corosync_status(n->corosync, &s);
	return json_pack("{s:b, s:s, s:I, s:I, s:I, s:b, s:b}", "connected", s.connected, "why", s.why, "ring",
			 (json_int_t)s.ring, "members", (json_int_t)s.n_members, "generation",
			 (json_int_t)s.totem.generation, "hung", s.hung_since_ms != 0, "nic_failure",
			 s.totem.nic_failure);
}

/* Of two voters one is here, and it alone has what is written now. */
static bool is_single_copy(const struct members *t, const struct cluster_view *v)
{
	size_t here = 0;

	for (size_t i = 0; i < t->n; i++)
		for (size_t k = 0; k < v->view.n && t->list[i].votes > 0; k++)
			here += v->seen[k].id == t->list[i].id;
	return members_voting(t) == 2 && here < 2;
}

/* To compare nodes by. Not the hash itself: who reads the state could try guesses of secrets by it. */
static json_t *digest_json(const struct store *store)
{
	const uint64_t cluster = store_identity(store).cluster; /* random, and shown to nobody */
	const uint8_t *hash = store_hash(store);
	uint8_t digest[EVP_MAX_MD_SIZE];
	char text[2 * DIGEST_SHOWN + 1];

	if (hash == NULL || cluster == 0)
		return json_null();
	ASSERT(HMAC(EVP_sha256(), &cluster, sizeof(cluster), hash, ENTRY_HASH_LEN, digest, NULL) != NULL);
	cluster_hex(digest, DIGEST_SHOWN, text);
	return json_string(text);
}

json_t *cluster_node_status(const struct cluster_node *n)
{
	const struct members *t = cluster_table(n);
	struct store *store = n->env.store;
	struct store_identity id = store_identity(store);
	struct cluster_view v;

	CHECK_OBJ(n, CLUSTER_NODE_MAGIC);
	json_t *o = json_pack("{s:s, s:b, s:I, s:o}", "state", state_names[store_state(store)], "quorum",
			      store_quorate(store), "position", (json_int_t)store_position(store), "digest",
			      digest_json(store));
	if (t == NULL || id.cluster == 0) {
		json_object_set_new(o, "cluster", json_null());
		return o;
	}
	cluster_look(n, &v);
	json_t *nodes = json_object();
	/* One that is replaced has its name until it is gone: the newer one stands for it. */
	for (size_t i = 0; i < t->n; i++)
		json_object_set_new(nodes, t->list[i].name, node_json(t, &t->list[i], &v));
	json_object_update_new(o, json_pack("{s:s, s:I, s:o, s:o, s:i, s:I, s:b, s:s, s:o, s:o, s:o}", "cluster",
					    t->cluster, "id", (json_int_t)id.id, "donor",
					    text_or_null(name_of(t, store_donor(store))), "coordinator",
					    text_or_null(name_of(t, members_coordinator(t, &v.view))), "level",
					    (int)t->level, "generation", (json_int_t)t->generation, "single_copy",
					    is_single_copy(t, &v), "doing", members_do_names[n->action.what], "change",
					    change_json(n, t), "corosync", corosync_json(n), "members", nodes));
	return o;
}
