/* SPDX-License-Identifier: Apache-2.0
 * A drain of this node: the VIPs leave with their flows, then sessions end.
 *
 * The hard thing is the order: as long as an address is here, whoever comes is served, or a connection would be refused
 * that another node could have had. Only where flows cannot be handed over do sessions end first.
 */
#include "daemon/cluster/vips_private.h"

static unsigned keep_seconds(const struct vips *v)
{
	int64_t grace = v->node->shutdown_grace_ms / 1000 + 5;

	/* A process that ends has no session for longer than that. */
	return v->leaving && grace < VIPS_MOVE_KEEP_S ? (unsigned)grace : VIPS_MOVE_KEEP_S;
}

static void begin_moves(struct vips *v)
{
	for (size_t n = 0; n < v->n_items; n++) {
		struct vips_item *i = v->items[n];
		if (!i->holds || (i->move.step != MOVE_NONE && i->move.cause == MOVE_DRAIN))
			continue;
		if (vip_has_other(&i->nodes, &i->vip, i->nodes.self))
			move_begin(i, MOVE_DRAIN, 0, keep_seconds(v));
		else
			move_begin_alone(i);
	}
}

/* An address that is here, or on its way. */
static bool is_leaving(const struct vips *v, bool *ret_waiting)
{
	bool leaving = false;

	*ret_waiting = false;
	for (size_t n = 0; n < v->n_items; n++) {
		const struct vips_item *i = v->items[n];
		/* A process that ends need not see a VIP off that goes nowhere. */
		leaving |= i->holds && i->move.step != MOVE_NONE && !(i->move.alone && v->leaving);
		*ret_waiting |= i->move.step == MOVE_WAITING;
	}
	return leaving;
}

static void end_moves(struct vips *v)
{
	for (size_t n = 0; n < v->n_items; n++)
		if (v->items[n]->move.cause == MOVE_DRAIN && v->items[n]->holds)
			move_end(v->items[n]);
}

static void end_sessions(struct vips *v)
{
	if (v->engine_drained || v->leaving)
		return;
	v->engine_drained = true;
	engine_set_draining(v->env.engine, true);
	log_msg(LOG_LEVEL_NOTICE, "drain", "no new sessions; those that are open end at transaction edges");
	vips_say(v);
}

/* A process that ends must not close its listeners while an address is here. */
static void hurry_moves(struct vips *v)
{
	for (size_t n = 0; n < v->n_items; n++)
		if (v->items[n]->holds)
			move_hurry(v->items[n]);
}

static void finish_leaving(struct vips *v)
{
	loop_fn *left = v->left;

	v->left = NULL;
	if (left != NULL)
		left(v->left_arg);
}

void drain_tick(struct vips *v)
{
	int64_t now = vips_now(v);
	bool waiting, leaving;

	if (!vips_is_draining(v) || (v->engine_drained && v->left == NULL && !v->drain))
		return;
	begin_moves(v);
	leaving = is_leaving(v, &waiting);
	/* A process that ends takes its listeners with it: who has missed the new owner's word would be reset. */
	if (leaving)
		v->settle_ms = now + (v->leaving ? VIPS_LISTEN_MS : VIPS_SETTLE_MS);
	int64_t grace = v->node->shutdown_grace_ms / 2, limit = grace < VIPS_LEAVE_MS ? grace : VIPS_LEAVE_MS;
	bool late = v->leaving && now - v->leave_ms >= limit;
	if (v->leaving && now - v->leave_ms >= limit / 2)
		hurry_moves(v);
	if (waiting && v->leaving)
		v->engine_drained = true, engine_set_draining(v->env.engine, true);
	else if (waiting)
		end_sessions(v);
	if ((leaving || now < v->settle_ms) && !late)
		return;
	end_sessions(v);
	finish_leaving(v);
}

void vips_drain(struct vips *v, bool drain)
{
	CHECK_OBJ(v, VIPS_MAGIC);
	if (v->drain == drain)
		return;
	v->drain = drain;
	v->drain_ms = vips_now(v);
	v->settle_ms = 0;
	if (!drain && !v->leaving && v->started) {
		end_moves(v);
		v->engine_drained = false;
		engine_set_draining(v->env.engine, false);
	}
	vips_look(v);
	vips_say(v);
}

void vips_leave(struct vips *v, loop_fn *done, void *arg)
{
	CHECK_OBJ(v, VIPS_MAGIC);
	v->leaving = true;
	v->leave_ms = vips_now(v);
	v->settle_ms = 0;
	v->left = done;
	v->left_arg = arg;
	vips_look(v);
}
