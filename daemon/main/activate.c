/* SPDX-License-Identifier: Apache-2.0
 * Putting a configuration in force, and a new view when names resolve differently.
 *
 * The hard thing: what is committed is the cluster's and is put in force, whatever this node can do with it. So binds
 * are tried before something is proposed, and one that cannot be had later is left out until it can (binds.c).
 */
#include <stdlib.h>
#include <string.h>

#include "daemon/main/node_private.h"
#include "daemon/net/listener.h"

static void owner_ref(void *conf)
{
	conf_ref(conf);
}

static void owner_unref(void *conf)
{
	conf_unref(conf);
}

/* Whoever writes now can do nothing about an address that was taken when it came. */
static bool is_in_force(const struct node *n, const struct addr *at)
{
	for (size_t i = 0; n->conf != NULL && i < n->conf->n_listeners; i++)
		for (size_t j = 0; j < n->conf->listeners[i].n_bind; j++)
			if (addr_eq(&n->conf->listeners[i].bind[j], at))
				return true;
	return false;
}

static bool binds_are_free(struct node *n, const struct conf *c, struct errors *errors)
{
	size_t before = errors->n;

	for (size_t i = 0; i < c->n_listeners; i++) {
		for (size_t j = 0; j < c->listeners[i].n_bind; j++) {
			const struct addr *at = &c->listeners[i].bind[j];
			int error = is_in_force(n, at) || engine_is_own_address(n->engine, at) ? 0 : listener_probe(at);
			char text[ADDR_TEXT_MAX];
			if (error == 0)
				continue;
			char *path = xasprintf("/listeners/%s/bind/%zu", c->listeners[i].name, j);
			errors_add(errors, path, addr_format(at, text), NULL, NULL, "cannot be bound: %s",
				   strerror(error));
			free(path);
		}
	}
	return errors->n == before;
}

bool activate_check(struct conf *c, struct errors *errors, void *arg)
{
	struct node *n = arg;

	CHECK_OBJ(n, NODE_MAGIC);
	return binds_are_free(n, c, errors);
}

void activate_conf(struct conf *c, void *arg)
{
	struct node *n = arg;
	struct errors errors = { 0 };

	CHECK_OBJ(n, NODE_MAGIC);
	registry_apply(n->registry, c->pool_list, c->n_pools, c, owner_ref, owner_unref);
	bool whole = engine_publish(n->engine, conf_snapshot(c, n->registry, !n->votes_only), &errors);
	struct conf *old = n->conf;
	n->conf = conf_ref(c);
	if (old != NULL)
		conf_unref(old);
	binds_tell(n, whole ? NULL : &errors);
	errors_fini(&errors);
	if (n->api != NULL)
		surroundings_check_file_limit(n);
	certificates_in_force(n);
}

static void publish_views(void *arg)
{
	struct node *n = arg;
	struct errors errors = { 0 };

	CHECK_OBJ(n, NODE_MAGIC);
	n->view_posted = false;
	if (n->conf == NULL)
		return;
	bool whole = engine_publish(n->engine, conf_snapshot(n->conf, n->registry, !n->votes_only), &errors);
	binds_tell(n, whole ? NULL : &errors);
	errors_fini(&errors);
}

void activate_again(struct node *n)
{
	if (n->view_posted)
		return;
	n->view_posted = true;
	loop_post(n->loop, publish_views, n);
}

/* ---- what the registry says ---- */

static void on_transition(const struct server *s, enum server_state from, enum server_state to, const char *why,
			  void *arg)
{
	struct node *n = arg;

	CHECK_OBJ(n, NODE_MAGIC);
	if (n->api == NULL)
		return;
	api_event(n->api, "server_state",
		  json_pack("{s:s, s:s, s:s, s:s, s:s}", "pool", s->pool, "server", s->name, "from",
			    server_state_names[from], "to", server_state_names[to], "why", why == NULL ? "" : why));
}

/* Several names may change in one turn, also while a configuration is being put in force: one view for all, in the next
 * turn. */
static void on_servers_changed(const char *pool, void *arg)
{
	struct node *n = arg;

	CHECK_OBJ(n, NODE_MAGIC);
	UNUSED(pool);
	activate_again(n);
}

static void on_finding(const struct server *s, enum server_finding what, const char *text, void *arg)
{
	struct node *n = arg;

	CHECK_OBJ(n, NODE_MAGIC);
	if (n->api == NULL)
		return;
	char *key = xasprintf("%s/%s/%s", server_finding_names[what], s->pool, s->name);
	char *warning = text != NULL ? xasprintf("server %s of pool %s: %s", s->name, s->pool, text) : NULL;
	api_warn(n->api, key, warning);
	free(warning);
	free(key);
}

static bool is_own_address(const struct addr *a, void *arg)
{
	struct node *n = arg;

	return n->engine != NULL && engine_is_own_address(n->engine, a);
}

void activate_hooks(struct node *n, struct registry_hooks *ret)
{
	*ret = (struct registry_hooks) { .on_transition = on_transition,
					 .on_servers_changed = on_servers_changed,
					 .is_own_address = is_own_address,
					 .on_finding = on_finding,
					 .arg = n };
}
