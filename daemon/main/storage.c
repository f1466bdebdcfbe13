/* SPDX-License-Identifier: Apache-2.0
 * The store in the node's loop: its descriptor, its clock, and what was committed.
 *
 * The hard thing is the start: a first configuration must be durable before anything serves by it, and the loop does
 * not run yet. So the node waits there, for so long and no longer.
 */
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>

#include "daemon/base/clock.h"
#include "daemon/main/document.h"
#include "daemon/main/node_private.h"

#define STORAGE_LEFT_COMMENT "as it was in the cluster that was left"

enum { TICK_MS = 250, SETTLE_MS = 5000, FIRST_MS = CORE_DEADLINE_MS + 2000 };

bool storage_open(struct node *n, char **ret_warning)
{
	char *why = NULL;

	n->store = store_open(n->config->state_dir, n->config->node, &why, ret_warning);
	if (n->store == NULL)
		surroundings_complain(n, "%s", why);
	free(why);
	return n->store != NULL;
}

/* ---- what was committed ---- */

static void on_applied(const struct entry *e, void *arg)
{
	struct node *n = arg;

	CHECK_OBJ(n, NODE_MAGIC);
	cluster_node_applied(n->cluster, e);
	membership_look(n);
	if (n->api != NULL)
		api_applied(n->api, e);
}

static void on_reset(void *arg)
{
	struct node *n = arg;

	CHECK_OBJ(n, NODE_MAGIC);
	log_msg(LOG_LEVEL_NOTICE, "store_reset", "%s",
		store_identity(n->store).cluster != 0
			? "what this node had written is void; the cluster's log follows"
			: "the cluster's log is forgotten; this node begins one of its own");
	cluster_node_reset(n->cluster);
	if (n->api != NULL)
		api_reset(n->api);
}

static void on_lost(const struct entry *e, bool committed, void *arg)
{
	struct node *n = arg;

	CHECK_OBJ(n, NODE_MAGIC);
	log_msg(committed ? LOG_LEVEL_ERROR : LOG_LEVEL_NOTICE, "store_entry_lost",
		"position %llu by %s (%s) is not part of the cluster's log%s", (unsigned long long)e->position,
		e->author, e->comment, committed ? ", and had been in force here" : "");
	cluster_node_lost(n->cluster, e, committed);
}

/* ---- in the loop ---- */

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct node *n = arg;

	UNUSED(fd);
	UNUSED(what);
	CHECK_OBJ(n, NODE_MAGIC);
	store_dispatch(n->store);
}

static void on_tick(void *arg)
{
	struct node *n = arg;

	CHECK_OBJ(n, NODE_MAGIC);
	store_tick(n->store, (uint64_t)clock_mono_ms());
	trouble_look(n);
	left_look(n);
	timer_set_in(n->loop, &n->store_tick, TICK_MS);
}

bool storage_start(struct node *n)
{
	struct store_hooks hooks = {
		.arg = n, .applied = on_applied, .reset = on_reset, .lost = on_lost, .event = trouble_event
	};

	store_set_hooks(n->store, &hooks);
	int err = store_start(n->store);
	if (err != 0) {
		surroundings_complain(n, "the store cannot be started: %s", strerror(-err));
		return false;
	}
	/* So that who asks first finds it ready; a disk that hangs or fails keeps no mail from being taken. */
	(void)!store_wait(n->store, SETTLE_MS);
	n->store_event = event_new(loop_base(n->loop), store_fd(n->store), EV_READ | EV_PERSIST, on_readable, n);
	ASSERT(n->store_event != NULL && event_add(n->store_event, NULL) == 0);
	timer_init(&n->store_tick, on_tick, n);
	on_tick(n);
	return true;
}

void storage_close(struct node *n)
{
	if (n->store_event != NULL) {
		event_free(n->store_event);
		timer_stop(&n->store_tick);
	}
	n->store_event = NULL;
	store_close(n->store);
	n->store = NULL;
	left_fini(n);
}

/* ---- the first document ---- */

static void on_first(const struct store_result *r, void *arg)
{
	struct node *n = arg;

	CHECK_OBJ(n, NODE_MAGIC);
	n->first_error = r->error != 0 ? r->error : -ETIMEDOUT;
	if (r->result == CORE_COMMITTED)
		n->first_error = 0;
}

int storage_propose(struct node *n, enum entry_kind kind, json_t *document, bool kept, store_done_fn *fn)
{
	char *text = json_dumps(document, JSON_COMPACT);
	struct store_write w = { .kind = kind,
				 .author = kept ? "cluster" : "initial_config",
				 .comment = kept ? STORAGE_LEFT_COMMENT : "from the node file",
				 .document = str_from(text),
				 .expect_position = 0 };

	ASSERT(text != NULL);
	int err = store_propose(n->store, &w, fn, n);
	explicit_bzero(text, strlen(text));
	free(text);
	return err;
}

static int write_first(struct node *n, enum entry_kind kind, json_t *document, bool kept)
{
	n->first_error = -ETIMEDOUT;
	int err = storage_propose(n, kind, document, kept, on_first);

	if (err == 0 && !store_wait(n->store, FIRST_MS))
		err = -ETIMEDOUT;
	return err != 0 ? err : n->first_error;
}

int storage_first(struct node *n, struct conf *conf, bool kept, json_t *runtime)
{
	const char *failed = "";

	/* First, so that a crash in between leaves no configuration whose origin nobody knows. */
	int err = kept ? 0 : document_remember(n->config, conf->document, &failed);
	/* It may be there already, where a start before this one came so far. */
	if (err == 0 && runtime != NULL && store_last(n->store, ENTRY_RUNTIME) == NULL) {
		failed = "storing the run-time state";
		err = write_first(n, ENTRY_RUNTIME, runtime, true);
	}
	if (err == 0) {
		failed = kept ? "storing the configuration" : "storing initial_config";
		err = write_first(n, ENTRY_CONFIG, conf->document, kept);
	}
	if (err == 0) {
		conf->revision = store_revision_number(n->store);
		document_unkeep(n->config);
	}
	if (err == -ENOTCONN && store_disk_error(n->store) != 0)
		err = store_disk_error(n->store);
	if (err != 0)
		surroundings_complain(n, "%s: %s", failed, strerror(-err));
	return err;
}
