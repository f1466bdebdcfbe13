/* SPDX-License-Identifier: Apache-2.0
 * Backup and restore: what the log of this node holds that a person cannot make again.
 *
 * The hard thing is what to leave out. A cluster's identity (its number, its table of nodes, the key of its authority,
 * corosync's key) is not in it: a machine that came to life with those beside a survivor would be two clusters under
 * one name, and a key that nobody needs again is one more to lose. So a restore makes a single node, from which a new
 * cluster begins; the manifest says who was in the old one.
 */
#include <stdlib.h>

#include "cluster/members/members.h"
#include "daemon/api/api_private.h"

#define BACKUP_FORMAT 1

/* Secrets are in it, and they are put in force unseen. */
static bool is_for_owner(struct call *c)
{
	if (c->who.is_owner)
		return true;
	call_problem(c, PROBLEM_FORBIDDEN, NULL, "this is for root on the local socket only");
	return false;
}

/* ---- backup ---- */

static json_t *node_json(const struct members_node *n)
{
	char text[ADDR_TEXT_MAX];
	json_t *links = json_array();

	for (size_t i = 0; i < n->n_links; i++)
		json_array_append_new(links, json_string(addr_format_ip(&n->links[i], text)));
	return json_pack("{s:s, s:I, s:b, s:o, s:s}", "node", n->name, "id", (json_int_t)n->id, "voter_only",
			 n->voter_only, "links", links, "listen",
			 n->listen.sa.sa_family == 0 ? "" : addr_format(&n->listen, text));
}

/* Who was in the cluster, for those who build it again. */
static void add_nodes(struct api *a, json_t *manifest)
{
	const struct entry *e = store_last(a->env.store, ENTRY_MEMBERSHIP);
	char *why = NULL;
	struct members *t = e == NULL ? NULL : members_decode(e->document, &why);
	json_t *nodes = json_array();

	free(why);
	for (size_t i = 0; t != NULL && i < t->n; i++)
		json_array_append_new(nodes, node_json(&t->list[i]));
	json_object_set_new(manifest, "cluster", t == NULL ? json_null() : json_string(t->cluster));
	json_object_set_new(manifest, "nodes", nodes);
	members_free(t);
}

void res_backup_get(struct call *c)
{
	struct api *a = c->api;

	if (!is_for_owner(c))
		return;
	json_t *manifest = json_pack("{s:i, s:s, s:s, s:I, s:o}", "format", BACKUP_FORMAT, "version", POSTROAD_VERSION,
				     "node", a->env.node->node, "revision", (json_int_t)a->conf->revision, "time",
				     json_time(clock_wall()));
	add_nodes(a, manifest);
	call_json(c, 200,
		  json_pack("{s:o, s:O, s:o}", "manifest", manifest, "configuration", a->conf->document, "runtime",
			    runtime_document(a)));
}

/* ---- restore ---- */

static bool is_state(json_t *state, bool with_weight)
{
	json_t *value;
	const char *key;

	if (!json_is_object(state))
		return false;
	json_object_foreach(state, key, value) {
		bool admin = strcmp(key, "admin") == 0 && json_is_string(value);
		bool weight = with_weight && strcmp(key, "weight") == 0 && json_is_integer(value);
		if (!admin && !weight)
			return false;
	}
	return true;
}

static bool are_states(json_t *states, bool with_weight)
{
	json_t *state;
	const char *name;

	if (states != NULL && !json_is_object(states))
		return false;
	json_object_foreach(states, name, state)
		if (!is_state(state, with_weight))
			return false;
	return true;
}

/* As runtime.c describes it. */
static bool is_runtime(json_t *runtime)
{
	json_t *pools = json_object_get(runtime, "pools"), *pool;
	const char *name;

	if (!json_is_object(runtime) || (pools != NULL && !json_is_object(pools)))
		return false;
	json_object_foreach(pools, name, pool)
		if (!json_is_object(pool) || !are_states(json_object_get(pool, "servers"), true))
			return false;
	return are_states(json_object_get(runtime, "nodes"), false);
}

#define RESTORE "restore" /* how comments of both entries begin that a restore makes */

static bool is_of_restore(const struct entry *e)
{
	return strncmp(e->comment, RESTORE, strlen(RESTORE)) == 0;
}

/* Nobody has set anything since the configuration came: the newest run-time entry is older, or a restore's own. */
static bool is_untouched(const struct entry *config, const struct entry *runtime)
{
	return runtime == NULL || is_of_restore(runtime) || (config != NULL && runtime->position < config->position);
}

/* A node that has nothing to lose: alone, and with the configuration it started with, or with what a restore of the
 * very one that comes has made; and in both cases with no run-time state of its own. */
static bool is_fresh(struct call *c, json_t *next)
{
	const struct api *a = c->api;
	json_t *is = a->conf->document, *first = a->env.node->initial_config;
	const struct entry *config = store_last(a->env.store, ENTRY_CONFIG);
	const struct entry *runtime = store_last(a->env.store, ENTRY_RUNTIME);

	if (store_identity(a->env.store).cluster != 0) {
		call_problem(c, PROBLEM_CONFLICT, NULL,
			     "this node is in a cluster: a backup is restored on a single, fresh node");
		return false;
	}
	bool again = config != NULL && is_of_restore(config) && json_equal(is, next);
	bool started = a->conf->revision == 0 || (first != NULL && json_equal(is, first));
	bool untouched = is_untouched(config, runtime);
	if ((again && untouched) || (started && (runtime == NULL || is_of_restore(runtime))))
		return true;
	if (again || started) {
		call_problem(c, PROBLEM_CONFLICT, NULL,
			     "this node has run-time state of its own (%s): a backup is restored on a fresh node",
			     runtime->comment);
		return false;
	}
	call_problem(
		c, PROBLEM_CONFLICT, NULL,
		"this node has a configuration of its own (revision %llu): a backup is restored on a fresh node; to "
		"go back on this one there is the rollback",
		(unsigned long long)a->conf->revision);
	return false;
}

static bool on_stored(struct api *a, struct call *c, const struct store_result *r, void *arg)
{
	UNUSED(r);
	UNUSED(arg);
	if (c != NULL)
		call_json(c, 200,
			  json_pack("{s:I, s:[], s:[]}", "revision", (json_int_t)a->conf->revision, "changes",
				    "warnings"));
	return false;
}

static void restore(struct call *c, json_t *next, json_t *runtime)
{
	/* Asked again, because the answer was lost or the second half failed. */
	if (json_equal(c->api->conf->document, next) && c->api->conf->revision > 0 && !call_flag(c, "dry_run")) {
		runtime_store(c, json_incref(runtime), RESTORE, &(struct write_then) { .committed = on_stored });
		return;
	}
	struct config_write w = {
		.next = json_incref(next), .operation = RESTORE, .status = 200, .runtime = json_incref(runtime)
	};
	config_commit(c, &w);
}

void res_backup_restore(struct call *c)
{
	if (!is_for_owner(c) || !write_turn(c))
		return;
	json_t *body = call_body_object(c, "manifest,configuration,runtime");
	if (body == NULL)
		return;
	json_t *next = json_object_get(body, "configuration"), *runtime = json_object_get(body, "runtime");
	json_t *none = json_object();
	if (json_integer_value(json_object_get(json_object_get(body, "manifest"), "format")) != BACKUP_FORMAT)
		call_problem(c, PROBLEM_INVALID, NULL, "this version cannot read a backup of that format");
	else if (!json_is_object(next))
		call_problem(c, PROBLEM_INVALID, NULL, "there is no configuration in it");
	else if (runtime != NULL && !is_runtime(runtime))
		call_problem(c, PROBLEM_INVALID, NULL, "its run-time state is none");
	else if (is_fresh(c, next))
		restore(c, next, runtime != NULL ? runtime : none);
	json_decref(none);
	json_decref(body);
}
