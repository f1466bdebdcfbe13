/* SPDX-License-Identifier: Apache-2.0
 * A planned move, on the node that gives: targets open, this node keeps, flows are handed over, the address leaves, and
 * flows are handed over until the network has learned.
 *
 * The hard thing: every step waits for somebody else, who may never answer, and the VIP may leave by itself meanwhile.
 * So each answer names the move it is for, and one that is over hears no more of it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/cluster/vips_private.h"

/* What answers carry: the item may be gone by then. */
struct move_call {
	struct vips *vips;
	char vip[HA_NAME_MAX + 1];
	uint32_t number;
};

static struct move_call *call_new(const struct vips_item *i)
{
	struct move_call *c = xcalloc(1, sizeof(*c));

	c->vips = i->vips;
	memcpy(c->vip, i->name, sizeof(c->vip));
	c->number = i->move.number;
	return c;
}

/* NULL: that move is over. */
static struct vips_item *item_of(const struct move_call *c)
{
	struct vips_item *i = vips_find(c->vips, c->vip);

	return i != NULL && i->move.step != MOVE_NONE && i->move.number == c->number ? i : NULL;
}

bool move_prepares(const struct move *m)
{
	return m->step == MOVE_OPENING || m->step == MOVE_KEEPING || m->step == MOVE_LISTING || m->step == MOVE_WAITING;
}

static void enter(struct vips_item *i, enum move_step step)
{
	i->move.step = step;
	i->move.since_ms = vips_now(i->vips);
}

static void warn(const struct vips_item *i, const char *text)
{
	char *key = xasprintf("vip_move/%s", i->name);

	api_warn(i->vips->env.api, key, text);
	free(key);
}

/* ---- parts of lists ---- */

static void part_free(struct move_part *p)
{
	if (p == NULL)
		return;
	json_decref(p->flows);
	free(p);
}

static void drop_parts(struct move *m)
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

/* ---- the end ---- */

static void on_nothing(const struct ha_message *m, void *arg)
{
	UNUSED(m);
	UNUSED(arg);
}

static const char *said_text(const struct ha_message *m)
{
	return m != NULL ? m->outcome.text : "postroad-ha does not answer";
}

static bool ask_about(struct vips_item *i, enum ha_type type, unsigned seconds, vips_ha_answer_fn *fn, void *arg)
{
	struct ha_message *m = xcalloc(1, sizeof(*m));

	m->type = type;
	memcpy(m->about.vip, i->name, sizeof(i->name));
	m->about.seconds = seconds;
	bool sent = vips_ha_request(i->vips, m, fn, arg);
	free(m);
	return sent;
}

void move_end(struct vips_item *i)
{
	struct move *m = &i->move;

	if (m->step == MOVE_NONE)
		return;
	drop_parts(m);
	if (m->kept && !ask_about(i, HA_FLOWS_DROP, 0, on_nothing, NULL))
		log_msg(LOG_LEVEL_WARNING, "vip_move", "%s: its address stays on lo until its time is over", i->name);
	m->kept = false;
	enter(i, MOVE_NONE);
}

/* Nothing has moved yet. A drain then ends sessions first; any other move is given up. */
static void cannot_prepare(struct vips_item *i, const char *why)
{
	struct move *m = &i->move;
	char *text = xasprintf("the connections of VIP %s cannot be handed over: %s", i->name, why);

	warn(i, text);
	ha_text(m->why, text);
	free(text);
	drop_parts(m);
	if (m->cause == MOVE_DRAIN)
		enter(i, MOVE_WAITING);
	else
		move_end(i);
}

/* ---- handing flows over ---- */

static void send_next(struct vips_item *i);

static void on_taken(int status, struct str body, void *arg)
{
	struct move_call *c = arg;
	struct vips_item *i = item_of(c);

	free(c);
	if (i == NULL || i->move.sending == NULL)
		return;
	if (status != 200)
		log_msg(LOG_LEVEL_WARNING, "vip_move", "%s: flows were not taken over: %.*s", i->name, (int)body.n,
			body.p);
	if (status != 200 && i->move.at == 0 && i->move.step == MOVE_LISTING) {
		cannot_prepare(i, "the other node does not take them over");
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

static int call_target(struct vips_item *i, const char *path, const char *body, vips_answer_fn *fn)
{
	struct vips *v = i->vips;
	struct move_call *c = call_new(i);
	int r = v->has_net ? v->net.call(v->net.arg, i->move.targets[i->move.at], path, str_from(body), fn, c) : -1;

	if (r != 0)
		free(c);
	return r;
}

static void open_all(struct vips_item *i);

/* All is prepared. Others may have taken their time: what the taker passes on unknown, and that third nodes stand back,
 * must outlast the move. */
static void let_go(struct vips_item *i)
{
	struct move *m = &i->move;

	if (vips_now(i->vips) - m->opened_ms <= VIPS_OPEN_LATE_MS)
		enter(i, MOVE_LETTING);
	else if (m->openings < VIPS_OPENINGS_MAX)
		open_all(i);
	else
		cannot_prepare(i, "the other nodes take too long");
}

static void listed(struct vips_item *i)
{
	struct move *m = &i->move;
	int64_t now = vips_now(i->vips);

	m->listing = false;
	m->list_ms = now + VIPS_FOLLOW_MS;
	if (m->step == MOVE_LISTING) {
		let_go(i);
		return;
	}
	/* What is passed on by what it does not know has an end; this list was the last one before it. */
	if (m->step == MOVE_FOLLOWING && now - m->opened_ms >= (VIPS_MOVE_OPEN_S - 3) * 1000)
		enter(i, MOVE_SERVING);
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
			drop_parts(m);
			listed(i);
			return;
		}
		m->parts = m->sending->next;
		m->n_parts--;
		if (m->n_targets == 0)
			m->at = 1;
	}
	char *body = part_body(i);
	int r = call_target(i, VIPS_PATH_TAKE, body, on_taken);
	free(body);
	if (r == 0)
		return;
	if (m->at > 0) {
		m->at++;
		send_next(i);
	} else if (m->step == MOVE_LISTING) {
		cannot_prepare(i, "the other node cannot be called");
	} else {
		drop_parts(m);
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
		cannot_prepare(i, why);
}

static void on_list(const struct ha_message *m, void *arg)
{
	struct move_call *c = arg;
	struct vips_item *i = item_of(c);
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
		not_listed(i, said_text(m));
}

static void list(struct vips_item *i)
{
	struct move *m = &i->move;
	struct move_call *c = call_new(i);

	drop_parts(m);
	m->n_own = 0;
	m->listing = true;
	if (ask_about(i, HA_FLOWS_LIST, 0, on_list, c))
		return;
	free(c);
	not_listed(i, "postroad-ha cannot be asked");
}

/* ---- keeping and opening ---- */

/* After each opening: it forgets what was handed over before. */
static void list_first(struct vips_item *i)
{
	enter(i, MOVE_LISTING);
	list(i);
}

static void on_kept(const struct ha_message *m, void *arg)
{
	struct move_call *c = arg;
	struct vips_item *i = item_of(c);

	free(c);
	if (i == NULL || i->move.step != MOVE_KEEPING)
		return;
	i->move.kept = m != NULL && m->type == HA_DONE;
	if (!i->move.kept) {
		cannot_prepare(i, said_text(m));
		return;
	}
	list_first(i);
}

static void keep(struct vips_item *i)
{
	struct move_call *c = call_new(i);

	enter(i, MOVE_KEEPING);
	if (ask_about(i, HA_FLOWS_KEEP, i->move.seconds, on_kept, c))
		return;
	free(c);
	cannot_prepare(i, "postroad-ha cannot be asked");
}

static void open_next(struct vips_item *i);

static void on_opened(int status, struct str body, void *arg)
{
	struct move_call *c = arg;
	struct vips_item *i = item_of(c);
	char why[HA_TEXT_MAX + 1];

	free(c);
	if (i == NULL || i->move.step != MOVE_OPENING)
		return;
	struct move *m = &i->move;
	snprintf(why, sizeof(why), "%.*s", (int)(body.n < HA_TEXT_MAX ? body.n : HA_TEXT_MAX), body.p);
	if (status != 200 && m->at == 0) {
		cannot_prepare(i, why);
		return;
	}
	/* Who is likely to have it comes first; another one that is not ready only loses what it would not get. */
	if (status == 200)
		m->at++;
	else
		m->targets[m->at] = m->targets[--m->n_targets];
	open_next(i);
}

static char *open_body(const struct vips_item *i)
{
	json_t *owners = json_array();
	char text[ADDR_TEXT_MAX];

	if (i->source4.sa.sa_family != 0)
		json_array_append_new(owners, json_string(addr_format_ip(&i->source4, text)));
	if (i->source6.sa.sa_family != 0)
		json_array_append_new(owners, json_string(addr_format_ip(&i->source6, text)));
	json_t *o = json_pack("{s:s, s:o, s:I, s:i, s:I}", "vip", i->name, "owners", owners, "position",
			      (json_int_t)i->move.position, "seconds", VIPS_MOVE_OPEN_S, "to", (json_int_t)i->move.to);
	char *body = json_dumps(o, JSON_COMPACT);
	ASSERT(body != NULL);
	json_decref(o);
	return body;
}

static void open_next(struct vips_item *i)
{
	struct move *m = &i->move;

	while (m->at < m->n_targets) {
		char *body = open_body(i);
		int r = call_target(i, VIPS_PATH_OPEN, body, on_opened);
		free(body);
		if (r == 0)
			return;
		if (m->at == 0) {
			cannot_prepare(i, "the other node cannot be called");
			return;
		}
		m->targets[m->at] = m->targets[--m->n_targets];
	}
	m->at = 0;
	if (m->openings == 1)
		keep(i);
	else
		list_first(i);
}

static void open_all(struct vips_item *i)
{
	struct move *m = &i->move;

	enter(i, MOVE_OPENING);
	m->openings++;
	m->at = 0;
	/* What is passed on unknown has an end, counted from the first who does. */
	m->opened_ms = vips_now(i->vips);
	open_next(i);
}

/* ---- the beginning ---- */

/* Who shall have it comes first, then by priority: the others stand back, and know the flows if they have to take it.
 */
static uint8_t rank_of(const struct vips_item *i, uint32_t id)
{
	return id == i->move.to ? UINT8_MAX : vip_priority(&i->vip, id);
}

static void add_target(const struct report_row *row, void *arg)
{
	struct vips_item *i = arg;
	struct move *m = &i->move;
	size_t at = m->n_targets;

	if (row->own || vip_priority(&i->vip, row->id) == 0 || at == VIPS_TARGETS_MAX || !vip_view_could(row, i->name))
		return;
	for (; at > 0 && rank_of(i, m->targets[at - 1]) < rank_of(i, row->id); at--)
		m->targets[at] = m->targets[at - 1];
	m->targets[at] = row->id;
	m->n_targets++;
}

void move_begin(struct vips_item *i, enum move_cause cause, uint32_t to, unsigned seconds)
{
	static const char *const causes[] = {
		[MOVE_DRAIN] = "", [MOVE_HAND] = " by hand", [MOVE_FAILBACK] = ": a better node is there again"
	};
	struct vips *v = i->vips;

	move_end(i);
	i->move = (struct move) { .cause = cause,
				  .to = to,
				  .number = ++v->numbers,
				  .position = store_position(v->env.store),
				  .seconds = seconds };
	i->move.last = &i->move.parts;
	report_view_each(v->env.view, vips_now(v), add_target, i);
	warn(i, NULL);
	enter(i, MOVE_OPENING);
	log_msg(LOG_LEVEL_NOTICE, "vip_move", "%s is about to move%s", i->name, causes[cause]);
	if (i->move.n_targets == 0 || (to != 0 && i->move.targets[0] != to)) {
		cannot_prepare(i, "no other node can have it now");
		return;
	}
	i->move.to = i->move.targets[0];
	open_all(i);
}

void move_hurry(struct vips_item *i)
{
	struct move *m = &i->move;

	if (!move_prepares(m) || m->alone)
		return;
	log_msg(LOG_LEVEL_WARNING, "vip_move", "%s: preparing it takes too long; it leaves now", i->name);
	m->listing = false;
	drop_parts(m);
	/* In order: it is kept before postroad-ha hears that it is let go of. */
	m->kept = m->kept || ask_about(i, HA_FLOWS_KEEP, m->seconds, on_nothing, NULL);
	enter(i, MOVE_LETTING);
}

void move_begin_alone(struct vips_item *i)
{
	move_end(i);
	i->move = (struct move) { .cause = MOVE_DRAIN, .alone = true, .number = ++i->vips->numbers };
	i->move.last = &i->move.parts;
	enter(i, MOVE_WAITING);
}

/* ---- the turn ---- */

static void tick_waiting(struct vips_item *i)
{
	struct vips *v = i->vips;
	bool over = vips_now(v) - i->move.since_ms >= v->node->shutdown_grace_ms;

	/* The engine drains already. */
	if (!v->engine_drained || (!over && engine_session_count(v->env.engine) > 0))
		return;
	/* Who connects in this moment is told 421, which must still be sent from the address. */
	if (!i->move.alone && !ask_about(i, HA_FLOWS_KEEP, VIPS_LAST_WORD_S, on_nothing, NULL))
		log_msg(LOG_LEVEL_WARNING, "vip_move", "%s: last connections may end without a word", i->name);
	enter(i, MOVE_LETTING);
}

static void tick_letting(struct vips_item *i)
{
	struct move *m = &i->move;

	if (!i->holds) {
		log_msg(LOG_LEVEL_NOTICE, "vip_move", "%s has left", i->name);
		enter(i, m->kept ? MOVE_FOLLOWING : MOVE_NONE);
		m->list_ms = 0;
	} else if (m->cause != MOVE_DRAIN && vips_now(i->vips) - m->since_ms > VIPS_GONE_MS) {
		warn(i, "it was let go of, and no other node took it");
		ha_text(m->why, "no other node took it");
		move_end(i);
	}
}

static void tick_after(struct vips_item *i)
{
	struct move *m = &i->move;

	if (i->holds || vips_now(i->vips) - m->opened_ms > (int64_t)m->seconds * 1000)
		move_end(i);
	else if (!m->listing && vips_now(i->vips) >= m->list_ms)
		list(i);
}

void move_tick(struct vips_item *i)
{
	struct move *m = &i->move;

	if (move_prepares(m) && !i->holds) {
		/* It left by itself: what could be kept is kept. */
		if (m->kept)
			enter(i, MOVE_FOLLOWING);
		else
			move_end(i);
	}
	if (m->step == MOVE_WAITING)
		tick_waiting(i);
	else if (m->step == MOVE_LETTING)
		tick_letting(i);
	else if (m->step == MOVE_FOLLOWING || m->step == MOVE_SERVING)
		tick_after(i);
}
