/* SPDX-License-Identifier: Apache-2.0
 * The other nodes' own addresses on the networks of VIPs, kept in state_dir for a start that hears nobody.
 *
 * The hard thing: a node that knows no peer speaks to nobody, and who speaks to it is not listened to either. So an old
 * address is better than none; but it must never be one that makes the table a wrong one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/cluster/vips_private.h"

#define SOURCES_FILE "vip_sources.json"

static char *path_of(const struct vips *v, const char *suffix)
{
	return xasprintf("%s/" SOURCES_FILE "%s", v->node->state_dir, suffix);
}

void sources_read(struct vips *v)
{
	char *path = path_of(v, "");

	v->sources = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
	free(path);
	if (!json_is_object(v->sources)) {
		json_decref(v->sources);
		v->sources = json_object();
	}
}

/* ---- to and fro ---- */

static const struct vip_node *named(const struct vip_nodes *nodes, const char *name)
{
	for (size_t k = 0; k < nodes->n; k++)
		if (strcmp(nodes->list[k].name, name) == 0)
			return &nodes->list[k];
	return NULL;
}

static void remember(struct vips_item *i, json_t *known, const struct vip_node *n)
{
	json_t *list = json_array();
	char text[ADDR_TEXT_MAX];

	if (n->address4.sa.sa_family != 0)
		json_array_append_new(list, json_string(addr_format_ip(&n->address4, text)));
	if (n->address6.sa.sa_family != 0)
		json_array_append_new(list, json_string(addr_format_ip(&n->address6, text)));
	if (json_array_size(list) == 0 || json_equal(list, json_object_get(known, n->name))) {
		json_decref(list);
		return;
	}
	json_object_set_new(known, n->name, list);
	i->vips->sources_changed = true;
}

/* Somebody else may have it by now. */
static bool is_taken(const struct vips_item *i, const struct addr *a)
{
	bool taken = addr_eq_ip(a, &i->source4) || addr_eq_ip(a, &i->source6);

	for (size_t k = 0; k < i->vip.n_addresses; k++)
		taken |= addr_eq_ip(a, &i->vip.addresses[k].ip);
	for (size_t k = 0; k < i->nodes.n; k++)
		taken |= addr_eq_ip(a, &i->nodes.list[k].address4) || addr_eq_ip(a, &i->nodes.list[k].address6);
	return taken;
}

static void recall(struct vips_item *i, const json_t *list, const struct report_row *row)
{
	struct vip_node n = { .id = row->id, .age_ms = INT64_MAX, .generation = 1 };
	struct addr a;

	snprintf(n.name, sizeof(n.name), "%s", row->name);
	for (size_t k = 0; k < json_array_size(list); k++) {
		const char *text = json_string_value(json_array_get(list, k));
		if (text == NULL || !addr_parse_ip(text, &a) || is_taken(i, &a))
			continue;
		*(a.sa.sa_family == AF_INET6 ? &n.address6 : &n.address4) = a;
	}
	if ((n.address4.sa.sa_family == 0 && n.address6.sa.sa_family == 0) || i->nodes.n == HA_NODES_MAX)
		return;
	i->nodes.list[i->nodes.n++] = n;
	i->nodes.unheard -= row->report == NULL && i->nodes.unheard > 0;
}

/* A member that could have part in the VIP and has not said a word about it. */
static bool is_silent(const struct report_row *row, const char *vip)
{
	bool votes_only = row->report != NULL && row->report->voter_only;

	return row->member && !row->own && !votes_only && vip_view_said(row, vip) == NULL;
}

void sources_use(struct vips_item *i, const struct vip_config *c)
{
	struct vips *v = i->vips;
	json_t *known = json_object_get(v->sources, i->name);
	struct report_row row;

	if (!json_is_object(known)) {
		known = json_object();
		json_object_set_new(v->sources, i->name, known);
	}
	for (size_t k = 0; k < c->nodes.n; k++) {
		const struct vip_node *n = named(&i->nodes, c->nodes.v[k]);
		if (n != NULL && n->id != i->nodes.self)
			remember(i, known, n);
		else if (n == NULL && report_view_find(v->env.view, c->nodes.v[k], vips_now(v), &row) &&
			 is_silent(&row, i->name))
			recall(i, json_object_get(known, c->nodes.v[k]), &row);
	}
}

/* ---- the file ---- */

static void drop_strangers(struct vips *v)
{
	const char *name;
	json_t *known;
	void *next;

	json_object_foreach_safe(v->sources, next, name, known) {
		if (vips_find(v, name) == NULL || json_object_size(known) == 0)
			json_object_del(v->sources, name);
	}
}

/* Not synced: mail waits for no disk here, and after a loss of power the file of before, or none, does little harm. */
void sources_write(struct vips *v)
{
	if (!v->sources_changed)
		return;
	v->sources_changed = false;
	drop_strangers(v);
	char *path = path_of(v, ""), *beside = path_of(v, ".new"), *text = json_dumps(v->sources, JSON_COMPACT);
	ASSERT(text != NULL);
	size_t len = strlen(text);
	int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	bool ok = fd >= 0 && write(fd, text, len) == (ssize_t)len;

	if (fd >= 0)
		ok = close(fd) == 0 && ok;
	if (!ok || rename(beside, path) != 0)
		log_msg(LOG_LEVEL_WARNING, "vip_sources", "%s cannot be written: %s", path, strerror(errno));
	free(text);
	free(beside);
	free(path);
}
