/* SPDX-License-Identifier: Apache-2.0
 * Checks of listeners: the safety rule, addresses bound twice, what a listener that only passes bytes through may say.
 *
 * All of it looks at every node's addresses: a document is valid on all nodes or on none.
 */
#include "daemon/conf/conf_check.h"

#include <stdlib.h>

/* RFC 5321 4.5.3.2.7, 4.5.3.1.8, 4.5.3.1.7 */
#define IDLE_MIN_MS 300000
#define RECIPIENTS_MIN 100
#define MESSAGE_MIN (64 * 1024)

static bool is_outside_loopback(const struct conf_checker *k, const struct listener_config *l)
{
	for (size_t i = 0; i < k->p->n_binds; i++)
		if (k->p->binds[i].owner == l && !addr_is_loopback(&k->p->binds[i].addr))
			return true;
	return false;
}

static bool has_everybody(const struct cidr_list *nets)
{
	for (size_t i = 0; i < nets->n; i++)
		if (nets->v[i].bits == 0)
			return true;
	return false;
}

/* A listener outside loopback must say who may use it, or for whom: nobody becomes an open relay by leaving something
 * out. */
static void check_safety(struct conf_checker *k, const struct listener_config *l)
{
	bool is_inbound = l->mode == LISTENER_SMTP && l->direction == DIRECTION_INBOUND;

	if (is_inbound && !l->accepted_domains.present) {
		conf_check_at(k, "listeners", l->name, "accepted_domains", NULL);
		errors_add(
			k->p->errors, k->p->path.p, NULL, "a list of domains, \"*.…\" and \"@set\"", NULL,
			"an inbound listener outside loopback could relay for the world: say which domains it accepts");
	} else if (!is_inbound && !l->allow.present && l->auth.mode != LISTENER_AUTH_REQUIRE) {
		conf_check_at(k, "listeners", l->name, "allow", NULL);
		errors_add(
			k->p->errors, k->p->path.p, NULL,
			"a list of networks; [\"0.0.0.0/0\", \"::/0\"] where everybody is meant", NULL,
			"a listener outside loopback could relay for the world: say who may connect, or require AUTH");
	} else if (!is_inbound && has_everybody(&l->allow) && l->auth.mode != LISTENER_AUTH_REQUIRE) {
		conf_check_at(k, "listeners", l->name, "allow", NULL);
		conf_check_warn(k,
				"everybody may send through this listener, as far as the servers behind it let them");
	}
}

/* ---- addresses bound twice ---- */

static void put_bind(struct map *seen, const char *node, const char *addr, struct conf_bind *b)
{
	char *key = xasprintf("%s %s", node, addr);

	map_put(seen, str_from(key), b);
	free(key);
}

static struct conf_bind *get_bind(const struct map *seen, const char *node, const char *addr)
{
	char *key = xasprintf("%s %s", node, addr);
	struct conf_bind *b = map_get(seen, str_from(key));

	free(key);
	return b;
}

/* "*" stands for all nodes, "?" for some node. */
static void check_binds(struct conf_checker *k)
{
	struct map *seen = map_new();

	for (size_t i = 0; i < k->p->n_binds; i++) {
		struct conf_bind *b = &k->p->binds[i];
		char addr[ADDR_TEXT_MAX];
		addr_format(&b->addr, addr);
		const struct conf_bind *other = get_bind(seen, "*", addr);
		if (other == NULL)
			other = get_bind(seen, b->node != NULL ? b->node : "?", addr);
		if (other != NULL)
			errors_add(k->p->errors, b->path, NULL, NULL, NULL, "%s is bound twice: also at %s", addr,
				   other->path);
		put_bind(seen, b->node != NULL ? b->node : "*", addr, b);
		if (b->node != NULL)
			put_bind(seen, "?", addr, b);
	}
	map_free(seen, NULL);
}

/* ---- mode tcp ---- */

static void refuse_smtp_keys(struct conf_checker *k, const struct conf_object *o, json_t *v)
{
	for (size_t i = 0; i < o->n_fields; i++) {
		const struct conf_field *f = &o->fields[i];
		json_t *one = json_object_get(v, f->name);
		if (one == NULL || json_is_null(one))
			continue;
		size_t at = conf_path_push(&k->p->path, f->name);
		if (!(f->flags & CONF_TRANSPORT))
			conf_bad(k->p, NULL, one, NULL,
				 "a listener with mode \"tcp\" does not look into what it passes on");
		else if (f->type == &conf_type_object)
			refuse_smtp_keys(k, f->sub, one);
		conf_path_pop(&k->p->path, at);
	}
}

/* ---- one listener ---- */

static void warn_listener(struct conf_checker *k, const struct listener_config *l)
{
	conf_check_at(k, "listeners", l->name, "timeouts", "idle", NULL);
	if (l->timeouts.idle_ms < IDLE_MIN_MS && l->mode == LISTENER_SMTP)
		conf_check_warn(k, "clients may wait up to 5m between commands (RFC 5321 4.5.3.2.7)");
	conf_check_at(k, "listeners", l->name, "caps", "recipients", NULL);
	if (l->caps.recipients < RECIPIENTS_MIN)
		conf_check_warn(k, "a server must take 100 recipients at least (RFC 5321 4.5.3.1.8)");
	conf_check_at(k, "listeners", l->name, "caps", "message_size", NULL);
	if (l->caps.message_size < MESSAGE_MIN)
		conf_check_warn(k, "a server must take messages of 64KiB at least (RFC 5321 4.5.3.1.7)");
	conf_check_at(k, "listeners", l->name, "accepted_domains", NULL);
	if (l->direction == DIRECTION_OUTBOUND && l->accepted_domains.n > 0)
		conf_check_warn(k, "has no effect on an outbound listener");
}

/* Who may say that he is somebody else decides what `allow` is worth. */
static void check_identity(struct conf_checker *k, const struct listener_config *l)
{
	static const char text[] = "everybody may claim to be any client: list the proxies alone";

	conf_check_at(k, "listeners", l->name, "accept_proxy", NULL);
	if (has_everybody(&l->accept_proxy))
		conf_check_warn(k, "%s", text);
	conf_check_at(k, "listeners", l->name, "accept_xclient", NULL);
	if (has_everybody(&l->accept_xclient))
		conf_check_warn(k, "%s", text);
}

static bool route_splits(const struct route_config *r, const struct listener_config *l)
{
	return (r->recipient.present || r->recipient_domain.present) && conf_check_meets(r, l);
}

/* Those who log in are people with mail programs, which cannot split a message: what becomes of one whose recipients
 * take several routes is to be said, not found out. */
static void check_mixed(struct conf_checker *k, const struct listener_config *l, json_t *written)
{
	json_t *said = json_object_get(written, "mixed_recipients");
	const struct policy_config *p = &k->c->policy;

	if (l->auth.mode == LISTENER_AUTH_NONE || (said != NULL && !json_is_null(said)))
		return;
	for (size_t i = 0; i < p->n_routes; i++) {
		if (!route_splits(&p->routes[i], l))
			continue;
		conf_check_at(k, "listeners", l->name, "mixed_recipients", NULL);
		errors_add(k->p->errors, k->p->path.p, NULL, "\"defer\", \"first\", \"reject\"", NULL,
			   "route \"%s\" depends on recipients, and mail programs of people who log in cannot split a "
			   "message: say what becomes of recipients of another route",
			   p->routes[i].name != NULL ? p->routes[i].name : "");
		return;
	}
}

static void check_listener(struct conf_checker *k, const struct listener_config *l)
{
	json_t *written = json_object_get(json_object_get(k->c->document, "listeners"), l->name);

	conf_check_at(k, "listeners", l->name, "pool", NULL);
	if (l->pool != NULL) {
		conf_check_name(k, k->pools, l->pool, "pool");
		map_put(k->used_pools, str_from(l->pool), k);
	}
	conf_check_at(k, "listeners", l->name, "accepted_domains", NULL);
	conf_check_sets(k, &l->accepted_domains);
	if (is_outside_loopback(k, l))
		check_safety(k, l);
	conf_check_at(k, "listeners", l->name, NULL);
	if (l->mode == LISTENER_TCP)
		refuse_smtp_keys(k, &conf_listener_object, written);
	check_mixed(k, l, written);
	conf_check_at(k, "listeners", l->name, NULL);
	if (k->p->env->node != NULL && l->n_bind == 0 &&
	    conf_nodes(&conf_listener_object.fields[0], json_object_get(written, "bind")))
		conf_check_warn(k, "has no address to bind on this node");
	check_identity(k, l);
	warn_listener(k, l);
}

void conf_check_listeners(struct conf_checker *k)
{
	for (size_t i = 0; i < k->c->n_listeners; i++)
		check_listener(k, &k->c->listeners[i]);
	check_binds(k);
}
