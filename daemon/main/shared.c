/* SPDX-License-Identifier: Apache-2.0
 * This node's part in the shared view, tied to the API.
 */
#include "daemon/main/node_private.h"

static void fill(struct node_report *r, void *arg)
{
	struct node *n = arg;

	CHECK_OBJ(n, NODE_MAGIC);
	api_report(n->api, r);
	if (n->stopping > 0)
		r->state = REPORT_STOPPING;
}

static void warn(const char *key, const char *text, void *arg)
{
	struct node *n = arg;

	CHECK_OBJ(n, NODE_MAGIC);
	api_warn(n->api, key, text);
}

static void node_changed(const struct report_row *row, enum report_state before, void *arg)
{
	struct node *n = arg;

	CHECK_OBJ(n, NODE_MAGIC);
	api_node_changed(n->api, row, before);
}

void shared_start(struct node *n)
{
	struct share_env env = { .loop = n->loop,
				 .node = n->config->node,
				 .started_wall = n->started_wall,
				 .registry = n->registry,
				 .tickets = n->env.tickets,
				 .view = n->view,
				 .fill = fill,
				 .warn = warn,
				 .node_changed = node_changed,
				 .arg = n };

	n->share = share_new(&env);
}

void shared_stop(struct node *n)
{
	share_free(n->share);
	n->share = NULL;
}
