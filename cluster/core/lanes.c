/* SPDX-License-Identifier: Apache-2.0
 * Messages into multicasts of at most 60 KiB and back. Two lanes: short messages of control, and all that belongs to
 * the order of the log, which may be long. Short ones pass long ones, so that an acknowledgement never waits for a
 * snapshot.
 *
 * The hard thing is the bound: the transport takes what it is given without saying when it is too much. So no more than
 * CORE_IN_FLIGHT_MAX multicasts are out that did not come back; the rest waits here.
 */
#include <stdlib.h>

#include "cluster/core/core_private.h"

void lanes_init(struct lanes *l)
{
	list_init(&l->control);
	list_init(&l->bulk);
}

static void drop_message(struct out_message *m)
{
	list_remove(&m->link);
	sbuf_wipe(&m->body); /* soft state has keys in it */
	sbuf_fini(&m->body);
	free(m);
}

void lanes_reset(struct lanes *l)
{
	while (!list_empty(&l->control))
		drop_message(LIST_FIRST(&l->control, struct out_message, link));
	while (!list_empty(&l->bulk))
		drop_message(LIST_FIRST(&l->bulk, struct out_message, link));
	sbuf_wipe(&l->frame);
	l->sequence = 0;
	l->in_flight = 0;
}

void lanes_fini(struct lanes *l)
{
	lanes_reset(l);
	sbuf_fini(&l->frame);
}

/* Of states that follow each other only the newest matters, so the queue of control is bounded by the kinds. */
static void replace_older(struct list *lane, enum wire_kind kind)
{
	struct out_message *m;
	struct list *next;

	LIST_FOR_EACH(m, next, lane, link)
		if (m->kind == kind)
			drop_message(m);
}

void lanes_send(struct core *c, enum wire_kind kind, uint64_t epoch, struct sbuf *body)
{
	struct list *lane = kind < WIRE_FIRST_BULK ? &c->lanes.control : &c->lanes.bulk;
	struct out_message *m = xcalloc(1, sizeof(*m));

	if (kind < WIRE_FIRST_BULK)
		replace_older(lane, kind);
	m->kind = kind;
	m->epoch = epoch;
	m->body = *body;
	*body = (struct sbuf) { 0 };
	list_append(lane, &m->link);
	lanes_flush(c);
}

/* Makes the next frame of a message; true: it is its last. */
static bool make_frame(struct core *c, struct out_message *m)
{
	size_t left = m->body.n - m->sent, n = left < WIRE_PART_MAX ? left : WIRE_PART_MAX;
	struct wire_head h = { .kind = m->kind,
			       .flags = (m->sent == 0 ? WIRE_FIRST : 0u) | (n == left ? WIRE_LAST : 0u),
			       .view = c->view.id,
			       .sender = c->config.id,
			       .epoch = m->epoch,
			       .sequence = c->lanes.sequence + 1,
			       .total = (uint32_t)m->body.n };

	wire_frame(&c->lanes.frame, &h, (struct str) { n == 0 ? "" : m->body.p + m->sent, n });
	m->sent += n;
	return n == left;
}

void lanes_flush(struct core *c)
{
	struct lanes *l = &c->lanes;

	while (c->view.open && l->in_flight < CORE_IN_FLIGHT_MAX) {
		if (l->frame.n == 0) {
			struct list *lane = list_empty(&l->control) ? &l->bulk : &l->control;
			if (list_empty(lane))
				return;
			struct out_message *m = LIST_FIRST(lane, struct out_message, link);
			if (make_frame(c, m))
				drop_message(m);
		}
		if (c->env.multicast(c->env.arg, (struct str) { l->frame.p, l->frame.n }) != 0)
			return;
		l->sequence++;
		l->in_flight++;
		sbuf_wipe(&l->frame);
	}
}

void joining_fini(struct joining *j)
{
	sbuf_fini(&j->body);
	*j = (struct joining) { 0 };
}

enum joined joining_add(struct joining *j, const struct wire_head *h, struct str part, struct str *ret)
{
	if (h->flags & WIRE_FIRST) {
		if (j->body.n != 0)
			return JOINED_BAD;
		*j = (struct joining) { .kind = h->kind, .epoch = h->epoch, .total = h->total, .body = j->body };
	} else if (j->body.n == 0) {
		return JOINED_BAD;
	}
	if (j->kind != h->kind || j->epoch != h->epoch || j->total != h->total || h->total - j->body.n < part.n)
		return JOINED_BAD;
	if (part.n == 0 && !(h->flags & WIRE_LAST))
		return JOINED_BAD;
	sbuf_add(&j->body, part.p, part.n);
	if (!(h->flags & WIRE_LAST))
		return JOINED_MORE;
	if (j->body.n != j->total)
		return JOINED_BAD;
	*ret = (struct str) { j->body.p, j->body.n };
	return JOINED_WHOLE;
}
