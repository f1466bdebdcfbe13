/* SPDX-License-Identifier: Apache-2.0
 * The first node of a cluster: authority, keys, the first table; then corosync.
 *
 * The hard thing: a node that serves mail becomes a member while it does, and a crash in between must leave either a
 * node alone or a member that can go on. The store's identity is the border: what is written before it is of no use to
 * a node alone, and all that comes after it follows from table and files. Between the two there is a number and no
 * table: a node alone still, on which init goes on with that number.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/clock.h"
#include "daemon/base/hash.h"
#include "daemon/base/log.h"
#include "daemon/cluster/cluster_private.h"

enum { FOUND_TRIES = 40, FOUND_AGAIN_MS = 250 };

struct founding {
	struct cluster_node *n;
	struct cluster_call *q;
	struct timer again;
	unsigned tries;
	uint64_t number;
	struct sbuf document;
	json_t *passed_over;
	enum problem problem; /* what kind it is, where there is no first table */
};

/* Keys that are in no table are of no use to a node that is in no cluster, and in the way of those of another one. Once
 * it has a number, the table may come late and name them. */
static void forget_keys(struct cluster_node *n)
{
	if (store_identity(n->env.store).cluster == 0)
		trust_files_forget(&n->trust);
}

static void end(struct founding *f)
{
	forget_keys(f->n);
	timer_stop(&f->again);
	sbuf_fini(&f->document);
	json_decref(f->passed_over);
	f->n->forming = false;
	free(f);
}

static void refuse(struct founding *f, enum problem p, char *stolen)
{
	cluster_call_refuse(f->q, p, "%s", stolen);
	free(stolen);
	end(f);
}

/* ---- keys ---- */

enum { AUTHORITY, AUTHORITY_KEY, NODE_KEY, REQUEST, CERTIFICATE, PEMS };

/* 0 or -errno. */
static int write_keys(const struct trust_files *t, const struct sbuf pem[PEMS], const uint8_t key[COROSYNC_KEY_LEN])
{
	int err = trust_files_write(t, "ca.pem", cluster_str(&pem[AUTHORITY]));

	if (err == 0)
		err = trust_files_write(t, "ca.key", cluster_str(&pem[AUTHORITY_KEY]));
	if (err == 0)
		err = trust_files_write(t, "node.key", cluster_str(&pem[NODE_KEY]));
	if (err == 0)
		err = trust_files_write(t, "node.pem", cluster_str(&pem[CERTIFICATE]));
	return err == 0 ? trust_files_write_key(t, key) : err;
}

/* Writes them all; the fingerprints come out. NULL = done, or what failed (the caller frees). */
static char *make_keys(struct cluster_node *n, const char *cluster, struct members_node *me,
		       uint8_t corosync_hash[MEMBERS_HASH_LEN], enum problem *ret_problem)
{
	struct ca_identity who = { .id = 1 };
	struct sbuf pem[PEMS] = { 0 };
	uint8_t key[COROSYNC_KEY_LEN];
	char *why = NULL;
	struct ca *ca = ca_make(cluster, clock_wall(), &why);

	for (size_t i = 0; i < ARRAY_LEN(pem); i++)
		sbuf_reserve(&pem[i], CA_PEM_MAX);
	snprintf(who.cluster, sizeof(who.cluster), "%s", cluster);
	snprintf(who.name, sizeof(who.name), "%s", n->env.config->node);
	bool ok = ca != NULL && ca_request_make(&pem[NODE_KEY], &pem[REQUEST]) && corosync_key_make(key) &&
		  ca_issue(ca, cluster_str(&pem[REQUEST]), &who, clock_wall(), &pem[CERTIFICATE], &why);
	if (ok) {
		ca_certificate_pem(ca, &pem[AUTHORITY]);
		ca_key_pem(ca, &pem[AUTHORITY_KEY]);
		corosync_key_hash(key, corosync_hash);
		memcpy(me->certificate, who.fingerprint, sizeof(me->certificate));
		int err = write_keys(&n->trust, pem, key);
		why = err == 0 ? NULL : forming_disk(err);
	} else if (why == NULL) {
		why = xstrdup("Keys cannot be made.");
	} else {
		*ret_problem = PROBLEM_INVALID; /* a name */
	}
	explicit_bzero(key, sizeof(key));
	for (size_t i = 0; i < ARRAY_LEN(pem); i++)
		trust_wipe(&pem[i]);
	ca_free(ca);
	return why;
}

/* ---- the first table ---- */

static void begin(struct founding *f)
{
	struct cluster_node *n = f->n;
	char *why = NULL;

	if (cluster_begin(n, &why)) {
		log_msg(LOG_LEVEL_NOTICE, "cluster_founded", "this node is the first of the cluster %s",
			cluster_table(n)->cluster);
		n->env.event("cluster", json_pack("{s:s}", "what", "founded"), n->env.arg);
		cluster_call_answer(f->q, 200, forming_answer_forced(n, f->passed_over));
	} else {
		cluster_call_refuse(f->q, PROBLEM_INTERNAL, "%s", why);
		cluster_cannot(n, why);
	}
	end(f);
}

static void on_found(const struct store_result *r, void *arg)
{
	struct founding *f = arg;

	CHECK_OBJ(f->n, CLUSTER_NODE_MAGIC);
	if (r->result == CORE_COMMITTED && !f->n->stopped) {
		begin(f);
		return;
	}
	refuse(f, PROBLEM_INTERNAL,
	       forming_unwritten(
		       r, "The first table could not be written down in time: `postroad cluster init` goes on."));
}

static void found(void *arg)
{
	struct founding *f = arg;
	struct cluster_node *n = f->n;

	CHECK_OBJ(n, CLUSTER_NODE_MAGIC);
	if (n->stopped) {
		cluster_call_refuse(f->q, PROBLEM_INTERNAL, "This node is stopping.");
		end(f);
		return;
	}
	int err = store_found(n->env.store, f->number, cluster_str(&f->document), on_found, f);
	if (err == -EBUSY && ++f->tries < FOUND_TRIES) {
		timer_set_in(n->env.loop, &f->again, FOUND_AGAIN_MS);
	} else if (err != 0) {
		refuse(f, PROBLEM_CONFLICT, forming_unbecome(err, store_disk_error(n->env.store)));
	}
}

static struct members *first_table(struct cluster_node *n, const char *name, const struct forming_where *w,
				   struct founding *f, char **ret_why)
{
	struct members_node me = { .instance = store_identity(n->env.store).instance,
				   .n_links = w->n_links,
				   .listen = w->listen,
				   .features_low = MEMBERS_FEATURES_LOW,
				   .features_high = MEMBERS_FEATURES_HIGH };
	uint8_t key_hash[MEMBERS_HASH_LEN];
	struct members_refusal why;

	snprintf(me.name, sizeof(me.name), "%s", n->env.config->node);
	memcpy(me.links, w->links, sizeof(me.links));
	f->number = store_identity(n->env.store).cluster;
	if (f->number == 0) {
		random_bytes(&f->number, sizeof(f->number));
		f->number = f->number >> 1 | 1;
	}
	trust_files_forget(&n->trust); /* of a join that came to nothing, or of an init */
	f->problem = PROBLEM_INTERNAL;
	*ret_why = make_keys(n, name, &me, key_hash, &f->problem);
	if (*ret_why != NULL)
		return NULL;
	f->problem = PROBLEM_INVALID;
	struct members *t = members_init(name, f->number, &me, key_hash, clock_wall(), &why);
	if (t == NULL)
		*ret_why = xstrdup(why.text);
	return t;
}

void forming_init(struct cluster_node *n, struct cluster_call *q)
{
	const char *name = json_string_value(json_object_get(q->body, "name"));
	struct forming_where w;
	json_t *passed_over;
	char *why = NULL;

	if (store_identity(n->env.store).cluster != 0 && !cluster_half_founded(n)) {
		cluster_call_refuse(q, PROBLEM_CONFLICT, "This node is in a cluster already.");
		return;
	}
	/* A first table that is under way yet names keys that must stay. */
	if (cluster_half_founded(n) && !store_wait(n->env.store, 0)) {
		cluster_call_refuse(q, PROBLEM_CONFLICT, "A write is under way on this node: try again.");
		return;
	}
	if (!forming_where(n, q, &w) || !forming_preflight(q, &w, &passed_over))
		return;
	if (!forming_clean(n, q)) {
		json_decref(passed_over);
		return;
	}
	struct founding *f = xcalloc(1, sizeof(*f));
	*f = (struct founding) { .n = n, .q = q, .passed_over = passed_over };
	timer_init(&f->again, found, f);
	struct members *t = first_table(n, name != NULL ? name : "postroad", &w, f, &why);
	if (t == NULL) {
		refuse(f, f->problem, why);
		return;
	}
	members_encode(t, &f->document);
	members_free(t);
	n->forming = true;
	found(f);
}
