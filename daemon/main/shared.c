/* SPDX-License-Identifier: Apache-2.0
 * This node's part in the shared view, tied to the API and to the store, whose soft state carries it.
 */
#include "cluster/core/voters.h"
#include "daemon/main/node_private.h"

/* ---- the others ---- */

static uint32_t own_id(void *arg)
{
	const struct node *n = arg;

	return store_identity(n->store).id;
}

static int send_soft(void *arg, struct str bytes)
{
	struct node *n = arg;

	return store_soft(n->store, bytes);
}

static struct str heard_soft(void *arg, uint32_t id)
{
	const struct node *n = arg;

	return store_soft_of(n->store, id);
}

static size_t list_members(void *arg, struct report_member *list, size_t max)
{
	const struct node *n = arg;
	const struct entry *e = store_last(n->store, ENTRY_MEMBERSHIP);

	ASSERT(max >= CORE_MEMBERS_MAX);
	return e != NULL ? report_members_of(e->document, list) : 0;
}

static void fill_membership(void *arg, struct node_report *r)
{
	const struct node *n = arg;
	const struct entry *e = store_last(n->store, ENTRY_MEMBERSHIP);
	struct voters v;

	if (n->vips != NULL)
		vips_fill(n->vips, r);
	if (e == NULL || !voters_decode(e->document, &v))
		return;
	for (size_t i = 0; i < v.n; i++)
		if (v.list[i].id == r->id)
			r->voter_only = v.list[i].voter_only;
	cluster_node_fill(n->cluster, r);
}

/* ---- this node ---- */

static void fill(struct node_report *r, void *arg)
{
	struct node *n = arg;

	CHECK_OBJ(n, NODE_MAGIC);
	api_report(n->api, r);
	if (n->stopping == 0)
		return;
	r->state = REPORT_STOPPING;
	r->ready = r->soft = false;
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

	struct share_net net = { .arg = n,
				 .id = own_id,
				 .send = send_soft,
				 .heard = heard_soft,
				 .members = list_members,
				 .fill = fill_membership };

	n->share = share_new(&env);
	share_set_net(n->share, &net);
}

void shared_stop(struct node *n)
{
	share_free(n->share);
	n->share = NULL;
}
