/* SPDX-License-Identifier: Apache-2.0
 * Virtual addresses, tied to the rest of the node.
 */
#include <stdlib.h>

#include "cluster/members/members.h"
#include "daemon/main/node_private.h"

enum { CALL_MS = 12000 };

static struct conf *conf_in_force(void *arg)
{
	const struct node *n = arg;

	return n->conf;
}

static enum vips_part part(void *arg)
{
	const struct node *n = arg;

	if (n->votes_only || (n->leaves && store_identity(n->store).cluster == 0))
		return VIPS_NONE;
	switch (cluster_node_standing(n->cluster)) {
	case CLUSTER_LEAVES:
		return VIPS_KEEPS;
	case CLUSTER_GONE:
		return VIPS_NONE;
	default:
		return VIPS_ALL;
	}
}

static void say(void *arg)
{
	struct node *n = arg;

	CHECK_OBJ(n, NODE_MAGIC);
	if (n->share != NULL)
		share_turn(n->share);
}

/* ---- other nodes ---- */

static bool address_of(const struct node *n, uint32_t id, struct addr *ret)
{
	const struct entry *e = store_last(n->store, ENTRY_MEMBERSHIP);
	char *why = NULL;
	struct members *t = e == NULL ? NULL : members_decode(e->document, &why);
	const struct members_node *m = t == NULL ? NULL : members_find(t, id);
	bool found = m != NULL && m->listen.sa.sa_family != 0;

	if (found)
		*ret = m->listen;
	free(why);
	members_free(t);
	return found;
}

static int call_node(void *arg, uint32_t id, const char *path, struct str body, vips_answer_fn *fn, void *fn_arg)
{
	struct node *n = arg;
	struct peers_call_options o = { .id = id, .path = path, .body = body, .deadline_ms = CALL_MS };

	CHECK_OBJ(n, NODE_MAGIC);
	if (n->peers == NULL || !address_of(n, id, &o.to))
		return -1;
	return peers_call(n->peers, &o, fn, fn_arg);
}

static void reply(int status, struct str body, void *request)
{
	peers_reply(request, status, body);
}

static void on_called(struct node *n, struct peers_request *r, const char *path)
{
	const struct ca_identity *from = peers_request_from(r);

	CHECK_OBJ(n, NODE_MAGIC);
	if (n->vips == NULL || from == NULL)
		peers_reply(r, 503, STR("not now"));
	else
		vips_called(n->vips, from->id, path, peers_request_body(r), reply, r);
}

static void on_open(struct peers_request *r, void *arg)
{
	on_called(arg, r, VIPS_PATH_OPEN);
}

static void on_take(struct peers_request *r, void *arg)
{
	on_called(arg, r, VIPS_PATH_TAKE);
}

static void watch_peers(struct node *n)
{
	struct vips_net net = { .arg = n, .call = call_node };

	if (n->peers == NULL)
		return;
	peers_serve(n->peers, VIPS_PATH_OPEN, false, VIPS_BODY_MAX, on_open, n);
	peers_serve(n->peers, VIPS_PATH_TAKE, false, VIPS_BODY_MAX, on_take, n);
	vips_set_net(n->vips, &net);
}

void addresses_start(struct node *n)
{
	watch_peers(n);
	struct vips_env env = { .store = n->store,
				.engine = n->engine,
				.view = n->view,
				.api = n->api,
				.conf = conf_in_force,
				.part = part,
				.say = say,
				.arg = n };

	vips_start(n->vips, &env);
}

void addresses_stop(struct node *n)
{
	struct vips *v = n->vips;

	n->vips = NULL;
	vips_free(v);
}
