/* SPDX-License-Identifier: Apache-2.0
 * A planned move's flows, on the node that gives: listed by postroad-ha, cut into messages, handed to each target in
 * turn.
 */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/cluster/vips_private.h"

/* ---- parts of lists ---- */

static void part_free(struct move_part *p)
{
	if (p == NULL)
		return;
	json_decref(p->flows);
	free(p);
}

void flows_drop(struct move *m)
{
	struct move_part *p;

	while ((p = m->parts) != NULL) {
		m->parts = p->next;
		part_free(p);
	}
	part_free(m->sending);
	m->sending = NULL;
	m->n_parts = 0;
	m->last = &m->parts;
}

/* ---- handing flows over ---- */

static void send_next(struct vips_item *i);

static void on_taken(int status, struct str body, void *arg)
{
	struct move_call *c = arg;
	struct vips_item *i = move_item_of(c);

	free(c);
	if (i == NULL || i->move.sending == NULL)
		return;
	if (status != 200)
		log_msg(LOG_LEVEL_WARNING, "vip_move", "%s: flows were not taken over: %.*s", i->name, (int)body.n,
			body.p);
	if (status != 200 && i->move.at == 0 && i->move.step == MOVE_LISTING) {
		move_cannot_prepare(i, "the other node does not take them over");
		return;
	}
	i->move.at++;
	send_next(i);
}

static char *part_body(const struct vips_item *i)
{
	const struct move_part *p = i->move.sending;
	char owner[ADDR_TEXT_MAX];
	json_t *o = json_pack("{s:s, s:s, s:I, s:O}", "vip", i->name, "owner", addr_format_ip(&p->owner, owner),
			      "seconds", (json_int_t)p->seconds, "flows", p->flows);
	char *text = json_dumps(o, JSON_COMPACT);

	ASSERT(text != NULL);
	json_decref(o);
	return text;
}

static void listed(struct vips_item *i)
{
	struct move *m = &i->move;
	int64_t now = vips_now(i->vips);

	m->listing = false;
	m->list_ms = now + VIPS_FOLLOW_MS;
	if (m->step == MOVE_LISTING) {
		move_let_go(i);
		return;
	}
	/* What is passed on by what it does not know has an end; this list was the last one before it. */
	if (m->step == MOVE_FOLLOWING && now - m->opened_ms >= (VIPS_MOVE_OPEN_S - 3) * 1000)
		move_enter(i, MOVE_SERVING);
	else if (m->step == MOVE_SERVING && m->n_own == 0)
		move_end(i);
	else if (m->step == MOVE_SERVING)
		m->list_ms = now + VIPS_SERVE_MS;
}

static void send_next(struct vips_item *i)
{
	struct move *m = &i->move;

	while (m->at >= m->n_targets || m->sending == NULL) {
		part_free(m->sending);
		m->sending = m->parts;
		m->at = 0;
		if (m->sending == NULL) {
			flows_drop(m);
			listed(i);
			return;
		}
		m->parts = m->sending->next;
		m->n_parts--;
		if (m->n_targets == 0)
			m->at = 1;
	}
	char *body = part_body(i);
	int r = move_call_target(i, VIPS_PATH_TAKE, body, on_taken);
	free(body);
	if (r == 0)
		return;
	if (m->at > 0) {
		m->at++;
		send_next(i);
	} else if (m->step == MOVE_LISTING) {
		move_cannot_prepare(i, "the other node cannot be called");
	} else {
		flows_drop(m);
		listed(i);
	}
}

/* One owner's flows of one family. */
static void add_part(struct vips_item *i, const struct ha_flows *f, sa_family_t family)
{
	struct move *m = &i->move;
	char local[ADDR_TEXT_MAX], remote[ADDR_TEXT_MAX];
	json_t *flows = json_array();

	for (size_t n = 0; n < f->n; n++) {
		if (f->list[n].local.sa.sa_family != family)
			continue;
		json_array_append_new(flows, json_pack("s++", addr_format(&f->list[n].local, local), " ",
						       addr_format(&f->list[n].remote, remote)));
	}
	bool own = f->owner.sa.sa_family == 0;
	const struct addr *owner = !own ? &f->owner : family == AF_INET6 ? &i->source6 : &i->source4;
	if (json_array_size(flows) == 0 || owner->sa.sa_family != family || m->n_parts >= VIPS_PARTS_MAX ||
	    m->step == MOVE_SERVING) {
		json_decref(flows);
		return;
	}
	struct move_part *p = xcalloc(1, sizeof(*p));
	*p = (struct move_part) { NULL, *owner, own ? m->seconds : f->seconds, flows };
	*m->last = p;
	m->last = &p->next;
	m->n_parts++;
}

/* No list is not an empty one: once the address is gone, sessions live on and it is asked for again. */
static void not_listed(struct vips_item *i, const char *why)
{
	i->move.listing = false;
	i->move.list_ms = vips_now(i->vips) + VIPS_FOLLOW_MS;
	if (i->move.step == MOVE_LISTING)
		move_cannot_prepare(i, why);
}

static void on_list(const struct ha_message *m, void *arg)
{
	struct move_call *c = arg;
	struct vips_item *i = move_item_of(c);
	bool is_list = m != NULL && m->type == HA_FLOWS, last = !is_list || m->flows.last;

	if (last)
		free(c);
	if (i == NULL || !i->move.listing)
		return;
	if (is_list) {
		i->move.n_own += m->flows.owner.sa.sa_family == 0 ? m->flows.n : 0;
		add_part(i, &m->flows, AF_INET);
		add_part(i, &m->flows, AF_INET6);
	}
	if (!last)
		return;
	if (is_list)
		send_next(i);
	else
		not_listed(i, move_said(m));
}

void flows_list(struct vips_item *i)
{
	struct move *m = &i->move;
	struct move_call *c = move_call_new(i);

	flows_drop(m);
	m->n_own = 0;
	m->listing = true;
	if (move_ask(i, HA_FLOWS_LIST, 0, on_list, c))
		return;
	free(c);
	not_listed(i, "postroad-ha cannot be asked");
}
