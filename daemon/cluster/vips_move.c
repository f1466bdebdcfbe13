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

struct move_call {
	struct vips *vips;
	char vip[HA_NAME_MAX + 1];
	uint32_t number;
};

struct move_call *move_call_new(const struct vips_item *i)
{
	struct move_call *c = xcalloc(1, sizeof(*c));

	c->vips = i->vips;
	memcpy(c->vip, i->name, sizeof(c->vip));
	c->number = i->move.number;
	return c;
}

struct vips_item *move_item_of(const struct move_call *c)
{
	struct vips_item *i = vips_find(c->vips, c->vip);

	return i != NULL && i->move.step != MOVE_NONE && i->move.number == c->number ? i : NULL;
}

bool move_prepares(const struct move *m)
{
	return m->step == MOVE_OPENING || m->step == MOVE_KEEPING || m->step == MOVE_LISTING || m->step == MOVE_WAITING;
}

void move_enter(struct vips_item *i, enum move_step step)
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

/* ---- the end ---- */

static void on_nothing(const struct ha_message *m, void *arg)
{
	UNUSED(m);
	UNUSED(arg);
}

const char *move_said(const struct ha_message *m)
{
	return m != NULL ? m->outcome.text : "postroad-ha does not answer";
}

bool move_ask(struct vips_item *i, enum ha_type type, unsigned seconds, vips_ha_answer_fn *fn, void *arg)
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
	flows_drop(m);
	if (m->kept && !move_ask(i, HA_FLOWS_DROP, 0, on_nothing, NULL))
		log_msg(LOG_LEVEL_WARNING, "vip_move", "%s: its address stays on lo until its time is over", i->name);
	m->kept = false;
	move_enter(i, MOVE_NONE);
}

void move_cannot_prepare(struct vips_item *i, const char *why)
{
	struct move *m = &i->move;
	char *text = xasprintf("the connections of VIP %s cannot be handed over: %s", i->name, why);

	warn(i, text);
	ha_text(m->why, text);
	free(text);
	flows_drop(m);
	if (m->cause == MOVE_DRAIN)
		move_enter(i, MOVE_WAITING);
	else
		move_end(i);
}

/* ---- calls ---- */

int move_call_target(struct vips_item *i, const char *path, const char *body, vips_answer_fn *fn)
{
	struct vips *v = i->vips;
	struct move_call *c = move_call_new(i);
	int r = v->has_net ? v->net.call(v->net.arg, i->move.targets[i->move.at], path, str_from(body), fn, c) : -1;

	if (r != 0)
		free(c);
	return r;
}

/* ---- keeping and opening ---- */

/* After each opening: it forgets what was handed over before. */
static void list_first(struct vips_item *i)
{
	move_enter(i, MOVE_LISTING);
	flows_list(i);
}

static void on_kept(const struct ha_message *m, void *arg)
{
	struct move_call *c = arg;
	struct vips_item *i = move_item_of(c);

	free(c);
	if (i == NULL || i->move.step != MOVE_KEEPING)
		return;
	i->move.kept = m != NULL && m->type == HA_DONE;
	if (!i->move.kept) {
		move_cannot_prepare(i, move_said(m));
		return;
	}
	list_first(i);
}

static void keep(struct vips_item *i)
{
	struct move_call *c = move_call_new(i);

	move_enter(i, MOVE_KEEPING);
	if (move_ask(i, HA_FLOWS_KEEP, i->move.seconds, on_kept, c))
		return;
	free(c);
	move_cannot_prepare(i, "postroad-ha cannot be asked");
}

static void open_next(struct vips_item *i);

static void on_opened(int status, struct str body, void *arg)
{
	struct move_call *c = arg;
	struct vips_item *i = move_item_of(c);
	char why[HA_TEXT_MAX + 1];

	free(c);
	if (i == NULL || i->move.step != MOVE_OPENING)
		return;
	struct move *m = &i->move;
	snprintf(why, sizeof(why), "%.*s", (int)(body.n < HA_TEXT_MAX ? body.n : HA_TEXT_MAX), body.p);
	if (status != 200 && m->at == 0) {
		move_cannot_prepare(i, why);
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
		int r = move_call_target(i, VIPS_PATH_OPEN, body, on_opened);
		free(body);
		if (r == 0)
			return;
		if (m->at == 0) {
			move_cannot_prepare(i, "the other node cannot be called");
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

	move_enter(i, MOVE_OPENING);
	m->openings++;
	m->at = 0;
	/* What is passed on unknown has an end, counted from the first who does. */
	m->opened_ms = vips_now(i->vips);
	open_next(i);
}

/* All is prepared. Others may have taken their time: what the taker passes on unknown, and that third nodes stand back,
 * must outlast the move. */
void move_let_go(struct vips_item *i)
{
	struct move *m = &i->move;

	if (vips_now(i->vips) - m->opened_ms <= VIPS_OPEN_LATE_MS)
		move_enter(i, MOVE_LETTING);
	else if (m->openings < VIPS_OPENINGS_MAX)
		open_all(i);
	else
		move_cannot_prepare(i, "the other nodes take too long");
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
	move_enter(i, MOVE_OPENING);
	log_msg(LOG_LEVEL_NOTICE, "vip_move", "%s is about to move%s", i->name, causes[cause]);
	if (i->move.n_targets == 0 || (to != 0 && i->move.targets[0] != to)) {
		move_cannot_prepare(i, "no other node can have it now");
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
	flows_drop(m);
	/* In order: it is kept before postroad-ha hears that it is let go of. */
	m->kept = m->kept || move_ask(i, HA_FLOWS_KEEP, m->seconds, on_nothing, NULL);
	move_enter(i, MOVE_LETTING);
}

void move_begin_alone(struct vips_item *i)
{
	move_end(i);
	i->move = (struct move) { .cause = MOVE_DRAIN, .alone = true, .number = ++i->vips->numbers };
	i->move.last = &i->move.parts;
	move_enter(i, MOVE_WAITING);
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
	if (!i->move.alone && !move_ask(i, HA_FLOWS_KEEP, VIPS_LAST_WORD_S, on_nothing, NULL))
		log_msg(LOG_LEVEL_WARNING, "vip_move", "%s: last connections may end without a word", i->name);
	move_enter(i, MOVE_LETTING);
}

static void tick_letting(struct vips_item *i)
{
	struct move *m = &i->move;

	if (!i->holds) {
		log_msg(LOG_LEVEL_NOTICE, "vip_move", "%s has left", i->name);
		move_enter(i, m->kept ? MOVE_FOLLOWING : MOVE_NONE);
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
		flows_list(i);
}

void move_tick(struct vips_item *i)
{
	struct move *m = &i->move;

	if (move_prepares(m) && !i->holds) {
		/* It left by itself: what could be kept is kept. */
		if (m->kept)
			move_enter(i, MOVE_FOLLOWING);
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
