/* SPDX-License-Identifier: Apache-2.0
 * Addresses of listeners that another process has: tried again until they can be had.
 *
 * The hard thing: a configuration that is committed counts on every node, also where an address of it is taken. All
 * else of it is in force there; what is missing is a warning for as long as it lasts, and is tried for without end, but
 * ever more seldom.
 */
#include <stdlib.h>

#include "daemon/main/node_private.h"

enum { FIRST_MS = 1000, LAST_MS = 15000 };

static void on_again(void *arg)
{
	struct node *n = arg;
	struct errors errors = { 0 };

	CHECK_OBJ(n, NODE_MAGIC);
	if (n->stopping)
		return;
	bool whole = engine_try_again(n->engine, &errors);
	if (whole || errors.n > 0)
		binds_tell(n, whole ? NULL : &errors);
	errors_fini(&errors);
	if (whole)
		return;
	n->bind_wait_ms = 2 * n->bind_wait_ms < LAST_MS ? 2 * n->bind_wait_ms : LAST_MS;
	timer_set_in(n->loop, &n->bind_again, n->bind_wait_ms);
}

void binds_init(struct node *n)
{
	timer_init(&n->bind_again, on_again, n);
}

void binds_stop(struct node *n)
{
	timer_stop(&n->bind_again);
}

void binds_tell(struct node *n, const struct errors *errors)
{
	char *text = NULL;

	if (errors != NULL && errors->n > 0) {
		const struct error *e = &errors->list[0];
		text = errors->n == 1 ? xasprintf("%s: %s: %s; tried again", e->path, e->found, e->detail)
				      : xasprintf("%s: %s: %s, and %zu more; tried again", e->path, e->found, e->detail,
						  errors->n - 1);
	}
	if (n->api != NULL)
		api_warn(n->api, "listen", text);
	else if (text != NULL)
		log_msg(LOG_LEVEL_WARNING, "warning", "listen: %s", text);
	free(text);
	if (errors == NULL) {
		timer_stop(&n->bind_again);
		n->bind_wait_ms = 0;
	} else if (n->bind_wait_ms == 0) {
		n->bind_wait_ms = FIRST_MS;
		timer_set_in(n->loop, &n->bind_again, FIRST_MS);
	}
}
