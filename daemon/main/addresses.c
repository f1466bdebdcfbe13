/* SPDX-License-Identifier: Apache-2.0
 * Virtual addresses, tied to the rest of the node.
 */
#include "daemon/main/node_private.h"

static struct conf *conf_in_force(void *arg)
{
	const struct node *n = arg;

	return n->conf;
}

static void say(void *arg)
{
	struct node *n = arg;

	CHECK_OBJ(n, NODE_MAGIC);
	if (n->share != NULL)
		share_turn(n->share);
}

void addresses_start(struct node *n)
{
	struct vips_env env = { .store = n->store,
				.engine = n->engine,
				.view = n->view,
				.api = n->api,
				.conf = conf_in_force,
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
