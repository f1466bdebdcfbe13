/* SPDX-License-Identifier: Apache-2.0
 * This node as a member of a cluster, tied to the API and to postroad-ha.
 */
#include "daemon/base/log.h"
#include "daemon/main/node_private.h"

static void warn(const char *key, const char *text, void *arg)
{
	struct node *n = arg;

	CHECK_OBJ(n, NODE_MAGIC);
	if (n->api != NULL)
		api_warn(n->api, key, text);
	else if (text != NULL)
		log_msg(LOG_LEVEL_WARNING, "warning", "%s: %s", key, text);
}

static void event(const char *type, json_t *data, void *arg)
{
	struct node *n = arg;

	CHECK_OBJ(n, NODE_MAGIC);
	if (n->api != NULL)
		api_event(n->api, type, data);
	else
		json_decref(data);
}

static void quorum_returned(void *arg)
{
	struct node *n = arg;

	CHECK_OBJ(n, NODE_MAGIC);
	if (n->api != NULL)
		api_quorum_returned(n->api);
}

static bool leaving(void *arg)
{
	struct node *n = arg;

	CHECK_OBJ(n, NODE_MAGIC);
	int err = left_keep(n);
	if (err != 0)
		log_msg(LOG_LEVEL_ERROR, "cluster", "the configuration in force cannot be kept: %s", strerror(-err));
	return err == 0;
}

static void left(void *arg)
{
	struct node *n = arg;

	CHECK_OBJ(n, NODE_MAGIC);
	left_write(n);
	membership_look(n);
}

static bool ask_ha(void *arg, struct ha_message *m, ha_answer_fn *fn, void *fn_arg)
{
	struct node *n = arg;

	CHECK_OBJ(n, NODE_MAGIC);
	return n->vips != NULL && vips_ha_request(n->vips, m, fn, fn_arg);
}

void membership_start(struct node *n)
{
	n->peers = peers_new(n->loop);
	struct cluster_node_env env = { .loop = n->loop,
					.config = n->config,
					.node_file = n->node_file,
					.store = n->store,
					.view = n->view,
					.peers = n->peers,
					.ha_request = ask_ha,
					.ha = n,
					.warn = warn,
					.event = event,
					.quorum_returned = quorum_returned,
					.leaving = leaving,
					.left = left,
					.arg = n };
	n->cluster = cluster_node_new(&env);
	n->votes_only = cluster_node_votes_only(n->cluster, false);
}

void membership_look(struct node *n)
{
	/* The configuration of a cluster that is left stays in force until this node has its own: without listeners. */
	bool votes_only = n->leaves ? n->votes_only : cluster_node_votes_only(n->cluster, n->votes_only);

	if (votes_only == n->votes_only)
		return;
	log_msg(LOG_LEVEL_NOTICE, "cluster",
		votes_only ? "this node only votes: it takes no mail" : "this node takes mail");
	n->votes_only = votes_only;
	if (n->engine != NULL)
		activate_again(n);
}

void membership_stop(struct node *n)
{
	cluster_node_stop(n->cluster);
	peers_free(n->peers);
	n->peers = NULL;
}

void membership_free(struct node *n)
{
	cluster_node_free(n->cluster);
	n->cluster = NULL;
}

void membership_call(struct cluster_call *q, void *arg)
{
	struct node *n = arg;

	CHECK_OBJ(n, NODE_MAGIC);
	cluster_node_call(n->cluster, q);
}

bool membership_etag_key(uint8_t ret[API_SHARED_KEY_LEN], void *arg)
{
	struct node *n = arg;

	CHECK_OBJ(n, NODE_MAGIC);
	return cluster_node_etag_key(n->cluster, ret);
}

json_t *membership_status(void *arg)
{
	struct node *n = arg;

	CHECK_OBJ(n, NODE_MAGIC);
	return cluster_node_status(n->cluster);
}
