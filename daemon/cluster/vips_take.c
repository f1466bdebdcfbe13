/* SPDX-License-Identifier: Apache-2.0
 * A planned move, on the node that takes.
 *
 * The hard thing is to say "ready" no sooner than it is true: the old owner lets go of the address on that word. So the
 * table in which this node is to have it must be in force, made from a log that has the move.
 */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/cluster/vips_private.h"

#define NO_ANSWER "postroad-ha does not answer there"

struct opening {
	struct opening *next;
	struct vips *vips;
	uint32_t number;
	char vip[HA_NAME_MAX + 1];
	uint64_t position;
	uint32_t seconds;
	size_t n_owners, at;
	struct addr owners[2];
	int64_t until_ms;
	bool aside; /* another one shall have it, and this one is not in its way */
	bool asked;
	vips_answer_fn *fn;
	void *arg;
};

static void answer(vips_answer_fn *fn, void *arg, int status, const char *text)
{
	fn(status, status == 200 ? STR("{}") : str_from(text), arg);
}

/* ---- opening ---- */

static void opening_end(struct opening *o, int status, const char *text)
{
	struct opening **at = &o->vips->openings;

	while (*at != o)
		at = &(*at)->next;
	*at = o->next;
	answer(o->fn, o->arg, status, text);
	free(o);
}

static struct opening *opening_find(struct vips *v, uint32_t number)
{
	struct opening *o = v->openings;

	while (o != NULL && o->number != number)
		o = o->next;
	return o;
}

struct opening_call {
	struct vips *vips;
	uint32_t number;
};

static void open_owner(struct opening *o);

static void on_open(const struct ha_message *m, void *arg)
{
	struct opening_call *c = arg;
	struct opening *o = opening_find(c->vips, c->number);

	free(c);
	if (o == NULL)
		return;
	if (m == NULL || m->type != HA_DONE)
		opening_end(o, 503, m != NULL ? m->outcome.text : NO_ANSWER);
	else if (++o->at == o->n_owners)
		opening_end(o, 200, "");
	else
		open_owner(o);
}

static void open_owner(struct opening *o)
{
	struct ha_message *m = xcalloc(1, sizeof(*m));
	struct opening_call *c = xcalloc(1, sizeof(*c));

	*c = (struct opening_call) { o->vips, o->number };
	m->type = HA_FLOWS_OPEN;
	memcpy(m->flows.vip, o->vip, sizeof(o->vip));
	m->flows.last = true;
	m->flows.owner = o->owners[o->at];
	m->flows.seconds = o->seconds;
	o->asked = true;
	lost_remember(vips_find(o->vips, o->vip), &o->owners[o->at], o->seconds);
	bool sent = vips_ha_request(o->vips, m, on_open, c);
	free(m);
	if (sent)
		return;
	free(c);
	opening_end(o, 503, "postroad-ha cannot be asked there");
}

static bool read_owners(const json_t *list, struct opening *o)
{
	for (size_t i = 0; i < json_array_size(list) && i < ARRAY_LEN(o->owners); i++) {
		const char *text = json_string_value(json_array_get(list, i));
		if (text == NULL || !addr_parse_ip(text, &o->owners[o->n_owners++]))
			return false;
	}
	return o->n_owners > 0;
}

/* One of each family that the VIP has addresses of; the other is of no use. */
static void keep_useful(struct opening *o, const struct vips_item *i)
{
	size_t n = 0;

	for (size_t k = 0; k < o->n_owners; k++) {
		bool useful = false;
		for (size_t a = 0; a < i->vip.n_addresses; a++)
			useful |= i->vip.addresses[a].ip.sa.sa_family == o->owners[k].sa.sa_family;
		if (useful)
			o->owners[n++] = o->owners[k];
	}
	o->n_owners = n;
}

/* Who asks that another one take it asks this one to stand back. */
static bool stand_back(struct vips_item *i, uint32_t from, json_int_t to)
{
	if (to <= 0 || to > UINT32_MAX || (uint32_t)to == i->nodes.self || vip_priority(&i->vip, (uint32_t)to) == 0)
		return false;
	i->aside_from = from;
	i->aside_to = (uint32_t)to;
	i->aside_ms = i->aside_seen_ms = vips_now(i->vips);
	return true;
}

static void serve_open(struct vips_item *i, uint32_t from, const json_t *body, vips_answer_fn *fn, void *arg)
{
	struct vips *v = i->vips;
	struct opening *o = xcalloc(1, sizeof(*o));
	json_int_t seconds = json_integer_value(json_object_get(body, "seconds"));

	*o = (struct opening) { .vips = v,
				.number = ++v->numbers,
				.position = (uint64_t)json_integer_value(json_object_get(body, "position")),
				.until_ms = vips_now(v) + VIPS_MOVE_READY_MS,
				.seconds = (uint32_t)seconds,
				.fn = fn,
				.arg = arg };
	memcpy(o->vip, i->name, sizeof(o->vip));
	bool ok = read_owners(json_object_get(body, "owners"), o) && seconds >= 1 && seconds <= 60;
	keep_useful(o, i);
	if (ok && o->n_owners > 0)
		o->aside = stand_back(i, from, json_integer_value(json_object_get(body, "to")));
	o->next = v->openings;
	v->openings = o;
	if (!ok || o->n_owners == 0)
		opening_end(o, 400, "it is not understood");
	/* The next turn looks whether the table holds. */
}

static bool stands_as_asked(const struct vips_item *i, const struct opening *o)
{
	if (o->aside)
		return !i->verdict.up && i->said == HA_STATE_FAULT;
	return i->verdict.up && i->said == HA_STATE_BACKUP;
}

static const char *not_ready(const struct vips_item *i, const struct opening *o)
{
	return i != NULL && !o->aside && !i->verdict.up ? i->verdict.reason : "it is not ready for it";
}

void take_tick(struct vips *v)
{
	struct opening *next;

	for (struct opening *o = v->openings; o != NULL; o = next) {
		const struct vips_item *i = vips_find(v, o->vip);
		next = o->next;
		if (o->asked)
			continue;
		bool ready = i != NULL && stands_as_asked(i, o) && store_position(v->env.store) >= o->position &&
			     vips_table_holds(v, o->position);
		if (ready)
			open_owner(o);
		else if (vips_now(v) >= o->until_ms)
			opening_end(o, 503, not_ready(i, o));
	}
}

void take_end_all(struct vips *v)
{
	while (v->openings != NULL)
		opening_end(v->openings, 503, "the node ends");
}

/* ---- taking ---- */

struct taking {
	vips_answer_fn *fn;
	void *arg;
};

static void on_take(const struct ha_message *m, void *arg)
{
	struct taking *t = arg;

	answer(t->fn, t->arg, m != NULL && m->type == HA_DONE ? 200 : 503, m != NULL ? m->outcome.text : NO_ANSWER);
	free(t);
}

static bool read_flow(const char *text, sa_family_t family, struct ha_flow *ret)
{
	const char *space = text == NULL ? NULL : strchr(text, ' ');
	char local[ADDR_TEXT_MAX];

	if (space == NULL || (size_t)(space - text) >= sizeof(local))
		return false;
	memcpy(local, text, (size_t)(space - text));
	local[space - text] = '\0';
	return addr_parse(local, 0, &ret->local) && addr_parse(space + 1, 0, &ret->remote) &&
	       ret->local.sa.sa_family == family && ret->remote.sa.sa_family == family;
}

static bool read_flows(const json_t *body, struct ha_flows *f)
{
	const json_t *list = json_object_get(body, "flows");
	const char *owner = json_string_value(json_object_get(body, "owner"));
	json_int_t seconds = json_integer_value(json_object_get(body, "seconds"));

	if (owner == NULL || !addr_parse_ip(owner, &f->owner) || json_array_size(list) > HA_FLOWS_MAX || seconds < 1 ||
	    seconds > HA_FLOW_SECONDS_MAX)
		return false;
	f->seconds = (uint32_t)seconds;
	for (; f->n < json_array_size(list); f->n++)
		if (!read_flow(json_string_value(json_array_get(list, f->n)), f->owner.sa.sa_family, &f->list[f->n]))
			return false;
	return f->n > 0;
}

/* This node's own ones come back with the VIP: they are not to be sent away. */
static bool is_own(const struct vips_item *i, const struct addr *owner)
{
	return addr_eq_ip(owner, &i->source4) || addr_eq_ip(owner, &i->source6);
}

static void serve_take(struct vips_item *i, const json_t *body, vips_answer_fn *fn, void *arg)
{
	struct ha_message *m = xcalloc(1, sizeof(*m));
	struct taking *t = xcalloc(1, sizeof(*t));

	*t = (struct taking) { fn, arg };
	m->type = HA_FLOWS_TAKE;
	m->flows.last = true;
	memcpy(m->flows.vip, i->name, sizeof(i->name));
	if (!read_flows(body, &m->flows)) {
		answer(fn, arg, 400, "it is not understood");
		free(t);
	} else if (is_own(i, &m->flows.owner)) {
		answer(fn, arg, 200, "");
		free(t);
	} else if (!vips_ha_request(i->vips, m, on_take, t)) {
		answer(fn, arg, 503, "postroad-ha cannot be asked there");
		free(t);
	} else {
		lost_remember(i, &m->flows.owner, m->flows.seconds);
	}
	free(m);
}

/* ---- calls ---- */

void vips_called(struct vips *v, uint32_t from, const char *path, struct str body, vips_answer_fn *fn, void *arg)
{
	CHECK_OBJ(v, VIPS_MAGIC);
	json_t *o = body.n > VIPS_BODY_MAX ? NULL : json_loadb(body.p, body.n, JSON_REJECT_DUPLICATES, NULL);
	const char *vip = json_string_value(json_object_get(o, "vip"));
	struct vips_item *i = vip == NULL ? NULL : vips_find(v, vip);

	if (o == NULL || vip == NULL)
		answer(fn, arg, 400, "it is not understood");
	else if (i == NULL || vip_priority(&i->vip, from) == 0)
		answer(fn, arg, 404, "one of the nodes has no part in this VIP");
	else if (strcmp(path, VIPS_PATH_OPEN) == 0)
		serve_open(i, from, o, fn, arg);
	else if (strcmp(path, VIPS_PATH_TAKE) == 0)
		serve_take(i, o, fn, arg);
	else
		answer(fn, arg, 404, "there is no such call");
	json_decref(o);
}
