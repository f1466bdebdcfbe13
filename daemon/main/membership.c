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
					.arg = n };
	n->cluster = cluster_node_new(&env);
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
