/* SPDX-License-Identifier: Apache-2.0
 * A node that leaves its cluster, and with it the log: what was in force becomes the first revision of its own.
 *
 * The hard thing: by then there is no way back, and the disk may be full or slow. So it is written until it is there;
 * meanwhile this node goes on by what was in force, and takes no VIP by it.
 */
#include <stdlib.h>

#include "daemon/base/clock.h"
#include "daemon/main/document.h"
#include "daemon/main/node_private.h"

enum { AGAIN_MS = 5000 };

/* VIPs are the cluster's: two masters if a node that is alone again took them. So are the listeners of a node that only
 * voted: nobody expects mail to be taken by it. Of a node whose join came to nothing the document is its own. */
static json_t *own_document(const struct node *n)
{
	const struct entry *e = store_last(n->store, ENTRY_CONFIG);
	json_t *document = e == NULL ? NULL : json_loadb(e->document.p, e->document.n, 0, NULL);

	if (document == NULL)
		return json_deep_copy(n->conf->document);
	json_object_del(document, "vips");
	if (n->votes_only)
		json_object_del(document, "listeners");
	return document;
}

int left_keep(struct node *n)
{
	/* One that was never written is what is in force here, and no log has it. */
	if (n->left == NULL || store_last(n->store, ENTRY_CONFIG) != NULL) {
		left_fini(n);
		n->left = own_document(n);
		n->left_runtime = n->api == NULL ? NULL : api_own_runtime(n->api);
	}
	n->leaves = true;
	n->left_at_ms = 0;
	return document_keep(n->config, n->left, n->left_runtime);
}

static void warn(struct node *n, const char *text)
{
	if (n->api != NULL)
		api_warn(n->api, "cluster_left", text);
}

static void not_written(struct node *n, const char *why)
{
	struct sbuf text = { 0 };

	n->left_at_ms = clock_mono_ms() + AGAIN_MS;
	sbuf_printf(&text,
		    "this node has left its cluster, and its configuration is not in its own log yet: %s. It is tried "
		    "again; until then nothing can be changed and no VIP is taken",
		    why);
	warn(n, text.p);
	sbuf_fini(&text);
}

/* What came before, as a write that was given up and came late, stands. */
static bool is_there(struct node *n, const struct store_result *r)
{
	bool there = r->result == CORE_COMMITTED || r->result == CORE_STALE || r->result == CORE_DUPLICATE;

	n->left_asked = false;
	if (!there)
		not_written(n, r->error != 0 ? strerror(abs(r->error)) : "the disk has not taken it in time");
	return there;
}

static void done(struct node *n)
{
	n->leaves = false;
	left_fini(n);
	document_unkeep(n->config);
	warn(n, NULL);
	membership_look(n);
}

static void on_left(const struct store_result *r, void *arg)
{
	struct node *n = arg;

	CHECK_OBJ(n, NODE_MAGIC);
	/* Otherwise VIPs stay where they are: this node must not take one by what is in force yet. */
	if (is_there(n, r))
		done(n);
}

static void on_left_runtime(const struct store_result *r, void *arg)
{
	struct node *n = arg;

	CHECK_OBJ(n, NODE_MAGIC);
	if (!is_there(n, r))
		return;
	json_decref(n->left_runtime);
	n->left_runtime = NULL;
	left_write(n);
}

/* The run-time state first: with a configuration and none, servers that are drained would be ready. */
void left_write(struct node *n)
{
	bool runtime = n->left_runtime != NULL;

	if (n->left == NULL || n->left_asked)
		return;
	/* It has joined another cluster since, whose configuration it gets. */
	if (store_identity(n->store).joined) {
		done(n);
		return;
	}
	n->left_asked = true;
	int err = runtime ? storage_propose(n, ENTRY_RUNTIME, n->left_runtime, true, on_left_runtime)
			  : storage_propose(n, ENTRY_CONFIG, n->left, true, on_left);
	if (err == 0)
		return;
	n->left_asked = false;
	not_written(n, strerror(-err));
}

void left_look(struct node *n)
{
	if (n->left_at_ms != 0 && !n->left_asked && clock_mono_ms() >= n->left_at_ms)
		left_write(n);
}

void left_fini(struct node *n)
{
	json_decref(n->left);
	json_decref(n->left_runtime);
	n->left = n->left_runtime = NULL;
	n->left_at_ms = 0;
}
