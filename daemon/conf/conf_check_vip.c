/* SPDX-License-Identifier: Apache-2.0
 * Checks of virtual addresses: what must not be twice in the cluster, and what listeners make of them.
 *
 * A virtual router id that nobody chose follows from the VIP's name alone: were it given out by order, a VIP added or
 * taken away would move those of others, and two nodes would hold an address until all had the new configuration.
 */
#include <stdio.h>

#include "daemon/conf/conf_check.h"

enum { VRID_MAX = 255, ADVERT_STEP_MS = 10 };

/* FNV-1a, 32 bits (draft-eastlake-fnv). Part of what nodes must agree on: never to be changed. */
static unsigned vrid_of_name(const char *name)
{
	uint32_t h = 2166136261u;

	for (; *name != '\0'; name++)
		h = (h ^ (uint8_t)*name) * 16777619u;
	return h % VRID_MAX + 1;
}

static unsigned free_vrid(const struct conf *c)
{
	for (unsigned id = 1; id <= VRID_MAX; id++) {
		bool taken = false;
		for (size_t i = 0; i < c->n_vips; i++)
			taken |= c->vips[i].vrid == id;
		if (!taken)
			return id;
	}
	return 0;
}

static void check_vrid(struct conf_checker *k, const struct vip_config *v, const struct vip_config *before)
{
	char allowed[64];

	conf_check_at(k, "vips", v->name, "vrid", NULL);
	snprintf(allowed, sizeof(allowed), "one that no other has, such as %u", free_vrid(k->c));
	errors_add(k->p->errors, k->p->path.p, v->vrid_chosen ? "this value" : "null", allowed, NULL,
		   "virtual router id %u is also that of \"%s\"%s", v->vrid, before->name,
		   v->vrid_chosen ? "" : ", by their names: choose one");
}

static void check_address(struct conf_checker *k, const struct vip_config *v, size_t i)
{
	char index[24], text[ADDR_TEXT_MAX];

	for (const struct vip_config *other = k->c->vips; other <= v; other++)
		for (size_t n = 0; n < (other == v ? i : other->n_addresses); n++) {
			if (!addr_eq_ip(&other->addresses[n].ip, &v->addresses[i].ip))
				continue;
			snprintf(index, sizeof(index), "%zu", i);
			conf_check_at(k, "vips", v->name, "addresses", index, NULL);
			errors_add(k->p->errors, k->p->path.p, addr_format_ip(&v->addresses[i].ip, text), NULL, NULL,
				   "an address can be in one place: \"%s\" has it", other->name);
			return;
		}
}

/* As written: what is missing or no list was refused as such. */
static json_t *written(const struct conf_checker *k, const struct vip_config *v, const char *field)
{
	return json_object_get(json_object_get(json_object_get(k->c->document, "vips"), v->name), field);
}

static bool is_listed(const struct str_list *l, const char *name, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(l->v[i], name) == 0)
			return true;
	return false;
}

/* A value per node leaves no node out that may hold the address. */
static void check_nodes(struct conf_checker *k, const struct vip_config *v)
{
	json_t *per_node = json_object_get(written(k, v, "interface"), "nodes"); /* NULL: one for all */
	char index[24];

	if (v->nodes.n == 0 && json_is_array(written(k, v, "nodes"))) {
		conf_check_at(k, "vips", v->name, "nodes", NULL);
		errors_add(k->p->errors, k->p->path.p, "[]", "one or more", NULL, "no node may hold it");
	}
	for (size_t i = 0; i < v->nodes.n; i++) {
		const char *node = v->nodes.v[i];
		snprintf(index, sizeof(index), "%zu", i);
		if (is_listed(&v->nodes, node, i)) {
			conf_check_at(k, "vips", v->name, "nodes", index, NULL);
			errors_add(k->p->errors, k->p->path.p, node, NULL, NULL, "named twice");
		} else if (json_is_object(per_node) && !json_is_string(json_object_get(per_node, node))) {
			conf_check_at(k, "vips", v->name, "interface", "nodes", NULL);
			errors_add(k->p->errors, k->p->path.p, NULL, NULL, NULL,
				   "node \"%s\" may hold it, and has no interface here", node);
		}
	}
}

static bool is_bound(const struct conf *c, const struct addr *ip)
{
	for (size_t i = 0; i < c->n_listeners; i++)
		for (size_t n = 0; n < c->listeners[i].n_bind; n++)
			if (addr_eq_ip(&c->listeners[i].bind[n], ip) || addr_is_any(&c->listeners[i].bind[n]))
				return true;
	return false;
}

static void warn_unbound(struct conf_checker *k, const struct vip_config *v)
{
	char index[24], text[ADDR_TEXT_MAX];

	for (size_t i = 0; i < v->n_addresses; i++) {
		if (is_bound(k->c, &v->addresses[i].ip))
			continue;
		snprintf(index, sizeof(index), "%zu", i);
		conf_check_at(k, "vips", v->name, "addresses", index, NULL);
		conf_check_warn(k, "no listener of this node binds %s", addr_format_ip(&v->addresses[i].ip, text));
	}
}

static void check_one(struct conf_checker *k, struct vip_config *v)
{
	v->vrid_chosen = v->vrid != 0;
	if (!v->vrid_chosen)
		v->vrid = vrid_of_name(v->name);
	for (const struct vip_config *other = k->c->vips; other < v; other++)
		if (other->vrid == v->vrid) {
			check_vrid(k, v, other);
			break;
		}
	for (size_t i = 0; i < v->n_addresses; i++)
		check_address(k, v, i);
	if (v->advert_ms % ADVERT_STEP_MS != 0) {
		conf_check_at(k, "vips", v->name, "advert", NULL);
		errors_add(k->p->errors, k->p->path.p, NULL, "steps of 10ms", NULL,
			   "VRRP says its interval in hundredths of a second");
	}
	check_nodes(k, v);
	warn_unbound(k, v);
}

void conf_check_vips(struct conf_checker *k)
{
	if (k->c->n_vips > VIPS_MAX) {
		conf_check_at(k, "vips", NULL);
		errors_add(k->p->errors, k->p->path.p, NULL, "at most 64", NULL, "too many virtual addresses");
		return;
	}
	for (size_t i = 0; i < k->c->n_vips; i++)
		check_one(k, &k->c->vips[i]);
}
