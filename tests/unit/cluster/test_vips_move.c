/* SPDX-License-Identifier: Apache-2.0
 * Planned moves and the drain of a node, on the node that gives: the other nodes, postroad-ha and the clock are played.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "daemon/cluster/vips_private.h"

enum { START = 100000, CALLS_MAX = 16 };

/* What was asked of another node, or of postroad-ha, and waits for its answer. */
struct node_call {
	uint32_t id;
	const char *path;
	vips_answer_fn *fn;
	void *arg;
};

struct ha_call {
	enum ha_type type;
	unsigned seconds;
	vips_ha_answer_fn *fn;
	void *arg;
};

static struct played {
	int64_t now;
	size_t n_calls, n_asked, n_sessions;
	struct node_call calls[CALLS_MAX];
	struct ha_call asked[CALLS_MAX];
	bool ha_gone, draining, left;
} p;

/* ---- what the move is tied to ---- */

int64_t vips_now(const struct vips *v)
{
	UNUSED(v);
	return p.now;
}

struct vips_item *vips_find(const struct vips *v, const char *name)
{
	return v->n_items > 0 && strcmp(v->items[0]->name, name) == 0 ? v->items[0] : NULL;
}

void vips_say(struct vips *v)
{
	UNUSED(v);
}

void vips_look(struct vips *v)
{
	move_tick(v->items[0]);
	drain_tick(v);
}

bool vips_is_draining(const struct vips *v)
{
	return v->drain || v->leaving;
}

bool vips_ha_request(struct vips *v, struct ha_message *m, vips_ha_answer_fn *fn, void *arg)
{
	UNUSED(v);
	if (p.ha_gone)
		return false;
	assert_true(p.n_asked < CALLS_MAX);
	p.asked[p.n_asked++] = (struct ha_call) { m->type, m->about.seconds, fn, arg };
	return true;
}

void api_warn(struct api *api, const char *key, const char *text)
{
	UNUSED(api);
	UNUSED(key);
	UNUSED(text);
}

uint64_t store_position(const struct store *s)
{
	UNUSED(s);
	return 7;
}

uint64_t engine_session_count(struct engine *e)
{
	UNUSED(e);
	return p.n_sessions;
}

void engine_set_draining(struct engine *e, bool draining)
{
	UNUSED(e);
	p.draining = draining;
}

static int call(void *arg, uint32_t id, const char *path, struct str body, vips_answer_fn *fn, void *fn_arg)
{
	UNUSED(arg);
	UNUSED(body);
	assert_true(p.n_calls < CALLS_MAX);
	p.calls[p.n_calls++] = (struct node_call) { id, path, fn, fn_arg };
	return 0;
}

/* ---- the world ---- */

struct world {
	struct vips vips;
	struct vips_item item;
	struct node_config config;
};

static void hear(struct report_view *view, uint32_t id)
{
	struct node_report r = { .id = id, .sequence = 1, .started_ms = 1, .state = REPORT_READY, .ready = true };
	struct sbuf b = { 0 };

	snprintf(r.node, sizeof(r.node), "n%u", id);
	r.n_vips = 1;
	r.vips[0] = (struct report_vip) { .name = "a", .up = true, .state = REPORT_VIP_BACKUP };
	report_encode(&r, &b);
	assert_int_equal(report_view_heard(view, id, (struct str) { b.p, b.n }, p.now, 0), 0);
	report_wipe(&b);
}

/* n1 is this node and has the VIP; n2 and n3 could have it. */
static struct world *world_new(void)
{
	struct world *w = xcalloc(1, sizeof(*w));
	struct report_member members[3] = { { 1, "n1" }, { 2, "n2" }, { 3, "n3" } };
	struct vips *v = &w->vips;
	struct vips_item *i = &w->item;

	p = (struct played) { .now = START };
	w->config.shutdown_grace_ms = 60000;
	v->node = &w->config;
	v->env.view = report_view_new();
	v->started = true;
	v->net.call = call;
	v->has_net = true;
	v->n_items = 1;
	v->items[0] = i;
	i->vips = v;
	memcpy(i->name, "a", 2);
	i->holds = true;
	i->nodes.self = 1;
	i->nodes.n = 3;
	i->vip.n_order = 3;
	report_view_members(v->env.view, 1, members, 3, p.now);
	for (uint32_t n = 0; n < 3; n++) {
		i->vip.order[n] = n + 1;
		i->nodes.list[n] = (struct vip_node) { .id = n + 1, .able = true, .keepalived = true };
		if (n > 0)
			hear(v->env.view, n + 1);
	}
	assert_true(addr_parse_ip("192.0.2.1", &i->source4));
	return w;
}

static void world_free(struct world *w)
{
	move_end(&w->item);
	for (size_t n = 0; n < p.n_calls; n++)
		p.calls[n].fn(0, STR("it is over"), p.calls[n].arg);
	for (size_t n = 0; n < p.n_asked; n++)
		p.asked[n].fn(NULL, p.asked[n].arg);
	report_view_free(w->vips.env.view);
	free(w);
}

/* The one call that waits is answered. */
static void answer_call(uint32_t id, const char *path, int status)
{
	assert_int_equal(p.n_calls, 1);
	assert_int_equal(p.calls[0].id, id);
	assert_string_equal(p.calls[0].path, path);
	p.n_calls = 0;
	p.calls[0].fn(status, STR("{}"), p.calls[0].arg);
}

static bool has_asked(enum ha_type type)
{
	for (size_t n = 0; n < p.n_asked; n++)
		if (p.asked[n].type == type)
			return true;
	return false;
}

/* The one request of this type that waits is answered; NULL: never. */
static void answer_ha(enum ha_type type, const struct ha_message *m)
{
	assert_int_equal(p.n_asked, 1);
	assert_int_equal(p.asked[0].type, type);
	p.n_asked = 0;
	p.asked[0].fn(m, p.asked[0].arg);
}

static void answer_done(enum ha_type type)
{
	struct ha_message *m = xcalloc(1, sizeof(*m));

	m->type = HA_DONE;
	answer_ha(type, m);
	free(m);
}

static void answer_error(enum ha_type type)
{
	struct ha_message *m = xcalloc(1, sizeof(*m));

	m->type = HA_ERROR;
	ha_text(m->outcome.text, "the table of sockets cannot be read");
	answer_ha(type, m);
	free(m);
}

/* A list of so many flows of this node's own. */
static void answer_list(size_t n)
{
	struct ha_message *m = xcalloc(1, sizeof(*m));

	m->type = HA_FLOWS;
	m->flows.last = true;
	m->flows.n = n;
	for (size_t k = 0; k < n; k++)
		assert_true(addr_parse("192.0.2.10:25", 0, &m->flows.list[k].local) &&
			    addr_parse("192.0.2.99:40000", 0, &m->flows.list[k].remote));
	answer_ha(HA_FLOWS_LIST, m);
	free(m);
}

static void pass(struct world *w, int64_t ms)
{
	p.now += ms;
	vips_look(&w->vips);
}

/* The address has left, and the first list after it is asked for. */
static void leave(struct world *w, int64_t ms)
{
	w->item.holds = false;
	pass(w, 0);
	assert_int_equal(w->item.move.step, MOVE_FOLLOWING);
	pass(w, ms);
}

/* From the beginning to where the address is let go of. */
static void prepare(struct world *w)
{
	move_begin(&w->item, MOVE_DRAIN, 0, VIPS_MOVE_KEEP_S);
	answer_call(2, VIPS_PATH_OPEN, 200);
	answer_call(3, VIPS_PATH_OPEN, 200);
	answer_done(HA_FLOWS_KEEP);
	answer_list(0);
	assert_int_equal(w->item.move.step, MOVE_LETTING);
}

/* To where it is gone, has been learned everywhere, and one connection is left. */
static void serve(struct world *w)
{
	prepare(w);
	leave(w, VIPS_MOVE_OPEN_S * 1000);
	answer_list(1);
	answer_call(2, VIPS_PATH_TAKE, 200);
	answer_call(3, VIPS_PATH_TAKE, 200);
	assert_int_equal(w->item.move.step, MOVE_SERVING);
}

/* ---- tests ---- */

static void a_move_that_is_served_ends_with_its_last_connection(void **state)
{
	UNUSED(state);
	struct world *w = world_new();

	serve(w);
	pass(w, VIPS_SERVE_MS);
	answer_list(1);
	assert_int_equal(w->item.move.step, MOVE_SERVING);
	pass(w, VIPS_SERVE_MS);
	answer_list(0);
	assert_int_equal(w->item.move.step, MOVE_NONE);
	assert_true(has_asked(HA_FLOWS_DROP));
	world_free(w);
}

static void a_list_that_fails_cuts_nothing_and_is_asked_for_again(void **state)
{
	UNUSED(state);
	struct world *w = world_new();

	serve(w);
	pass(w, VIPS_SERVE_MS);
	answer_error(HA_FLOWS_LIST);
	assert_int_equal(w->item.move.step, MOVE_SERVING);
	assert_false(has_asked(HA_FLOWS_DROP));
	pass(w, VIPS_FOLLOW_MS);
	answer_ha(HA_FLOWS_LIST, NULL);
	assert_int_equal(w->item.move.step, MOVE_SERVING);
	/* postroad-ha has gone, and is there again. */
	p.ha_gone = true;
	pass(w, VIPS_FOLLOW_MS);
	p.ha_gone = false;
	pass(w, VIPS_FOLLOW_MS);
	answer_list(0);
	assert_int_equal(w->item.move.step, MOVE_NONE);
	assert_true(has_asked(HA_FLOWS_DROP));
	world_free(w);
}

static void the_last_list_before_an_opening_ends_counts_only_when_it_is_one(void **state)
{
	UNUSED(state);
	struct world *w = world_new();

	prepare(w);
	leave(w, VIPS_MOVE_OPEN_S * 1000);
	answer_error(HA_FLOWS_LIST);
	assert_int_equal(w->item.move.step, MOVE_FOLLOWING);
	pass(w, VIPS_FOLLOW_MS);
	answer_list(1);
	answer_call(2, VIPS_PATH_TAKE, 200);
	answer_call(3, VIPS_PATH_TAKE, 200);
	assert_int_equal(w->item.move.step, MOVE_SERVING);
	world_free(w);
}

/* What the taker passes on unknown has an end, and so has that the others stand back. */
static void who_is_asked_long_before_the_address_leaves_is_asked_again(void **state)
{
	UNUSED(state);
	struct world *w = world_new();

	move_begin(&w->item, MOVE_DRAIN, 0, VIPS_MOVE_KEEP_S);
	answer_call(2, VIPS_PATH_OPEN, 200);
	pass(w, VIPS_OPEN_LATE_MS + 1);
	answer_call(3, VIPS_PATH_OPEN, 503);
	answer_done(HA_FLOWS_KEEP);
	answer_list(0);
	assert_true(move_prepares(&w->item.move));
	/* Who was not ready is not waited for again. */
	answer_call(2, VIPS_PATH_OPEN, 200);
	answer_list(0);
	assert_int_equal(w->item.move.step, MOVE_LETTING);
	/* The lists go on until shortly before the end of the second opening. */
	leave(w, (VIPS_MOVE_OPEN_S - 4) * 1000);
	answer_list(0);
	assert_int_equal(w->item.move.step, MOVE_FOLLOWING);
	world_free(w);
}

static void a_slow_handing_over_is_opened_again_too(void **state)
{
	UNUSED(state);
	struct world *w = world_new();

	move_begin(&w->item, MOVE_HAND, 3, VIPS_MOVE_KEEP_S);
	answer_call(3, VIPS_PATH_OPEN, 200);
	answer_call(2, VIPS_PATH_OPEN, 200);
	answer_done(HA_FLOWS_KEEP);
	answer_list(1);
	answer_call(3, VIPS_PATH_TAKE, 200);
	pass(w, VIPS_OPEN_LATE_MS + 1);
	answer_call(2, VIPS_PATH_TAKE, 200);
	answer_call(3, VIPS_PATH_OPEN, 200);
	answer_call(2, VIPS_PATH_OPEN, 200);
	/* An opening forgets what was handed over before. */
	answer_list(1);
	answer_call(3, VIPS_PATH_TAKE, 200);
	answer_call(2, VIPS_PATH_TAKE, 200);
	assert_int_equal(w->item.move.step, MOVE_LETTING);
	world_free(w);
}

static void nodes_that_are_always_too_slow_are_given_up(void **state)
{
	UNUSED(state);
	struct world *w = world_new();

	move_begin(&w->item, MOVE_DRAIN, 0, VIPS_MOVE_KEEP_S);
	for (int n = 0; n < VIPS_OPENINGS_MAX; n++) {
		answer_call(2, VIPS_PATH_OPEN, 200);
		answer_call(3, VIPS_PATH_OPEN, 200);
		if (n == 0)
			answer_done(HA_FLOWS_KEEP);
		pass(w, VIPS_OPEN_LATE_MS + 1);
		answer_list(0);
	}
	/* Sessions end first. */
	assert_int_equal(w->item.move.step, MOVE_WAITING);
	world_free(w);
}

static void on_left(void *arg)
{
	UNUSED(arg);
	p.left = true;
}

/* As vips_leave(), up to where the address has gone. */
static void stop(struct world *w)
{
	w->vips.leaving = true;
	w->vips.leave_ms = p.now;
	w->vips.left = on_left;
	pass(w, 0);
	answer_call(2, VIPS_PATH_OPEN, 200);
	answer_call(3, VIPS_PATH_OPEN, 200);
	answer_done(HA_FLOWS_KEEP);
	answer_list(0);
	assert_int_equal(w->item.move.step, MOVE_LETTING);
	pass(w, 1000);
	assert_false(p.left);
	w->item.holds = false;
}

/* The new owner announces itself again after 5 s; before, who missed the first round still comes here. */
static void a_process_that_ends_listens_until_the_second_announcement(void **state)
{
	UNUSED(state);
	struct world *w = world_new();

	p.n_sessions = 1;
	stop(w);
	for (int ms = 0; ms < 5500; ms += 250) {
		pass(w, 250);
		assert_false(p.left);
	}
	pass(w, 1000);
	assert_true(p.left);
	world_free(w);
}

static void a_process_that_ends_waits_no_longer_than_its_time(void **state)
{
	UNUSED(state);
	struct world *w = world_new();

	w->config.shutdown_grace_ms = 5000;
	stop(w);
	pass(w, 1000);
	assert_false(p.left);
	pass(w, 500);
	assert_true(p.left);
	world_free(w);
}

static void a_process_that_has_no_address_ends_at_once(void **state)
{
	UNUSED(state);
	struct world *w = world_new();

	w->item.holds = false;
	w->vips.leaving = true;
	w->vips.leave_ms = p.now;
	w->vips.left = on_left;
	pass(w, 0);
	assert_true(p.left);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_move_that_is_served_ends_with_its_last_connection),
		cmocka_unit_test(a_list_that_fails_cuts_nothing_and_is_asked_for_again),
		cmocka_unit_test(the_last_list_before_an_opening_ends_counts_only_when_it_is_one),
		cmocka_unit_test(who_is_asked_long_before_the_address_leaves_is_asked_again),
		cmocka_unit_test(a_slow_handing_over_is_opened_again_too),
		cmocka_unit_test(nodes_that_are_always_too_slow_are_given_up),
		cmocka_unit_test(a_process_that_ends_listens_until_the_second_announcement),
		cmocka_unit_test(a_process_that_ends_waits_no_longer_than_its_time),
		cmocka_unit_test(a_process_that_has_no_address_ends_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
