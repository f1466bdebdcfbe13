/* SPDX-License-Identifier: Apache-2.0
 * The shared view of three nodes over their stores: what one says reaches the others as its soft state, a node that is
 * cut off is missed and goes on by itself, and is heard again.
 */
#include "tests/unit/store/hub_fixture.h"

#include "daemon/api/share.h"

struct member {
	struct hub_node *at;
	struct loop *loop;
	struct registry *registry;
	struct tls_tickets *tickets;
	struct report_view *view;
	struct share *share;
};

static uint32_t net_id(void *arg)
{
	return store_identity(((const struct member *)arg)->at->store).id;
}

static int net_send(void *arg, struct str bytes)
{
	return store_soft(((const struct member *)arg)->at->store, bytes);
}

static struct str net_heard(void *arg, uint32_t id)
{
	return store_soft_of(((const struct member *)arg)->at->store, id);
}

static size_t net_members(void *arg, struct report_member *list, size_t max)
{
	const struct entry *e = store_last(((const struct member *)arg)->at->store, ENTRY_MEMBERSHIP);

	assert_true(e != NULL && max >= CORE_MEMBERS_MAX);
	return report_members_of(e->document, list);
}

static void env_fill(struct node_report *r, void *arg)
{
	UNUSED(arg);
	r->state = REPORT_READY;
}

static void env_warn(const char *key, const char *text, void *arg)
{
	UNUSED(arg);
	UNUSED(key);
	UNUSED(text);
}

static void env_changed(const struct report_row *row, enum report_state before, void *arg)
{
	UNUSED(arg);
	UNUSED(before);
	assert_false(row->own);
}

static void member_start(struct member *m, struct hub_node *at)
{
	static const struct registry_hooks none;
	struct share_net net = { .arg = m, .id = net_id, .send = net_send, .heard = net_heard, .members = net_members };

	*m = (struct member) { .at = at, .loop = loop_new(), .tickets = tls_tickets_new(), .view = report_view_new() };
	m->registry = registry_new(m->loop, &none, NULL, NULL);
	assert_non_null(m->registry);
	struct share_env env = { .loop = m->loop,
				 .node = at->id == 1   ? "n1"
					 : at->id == 2 ? "n2"
						       : "n3",
				 .started_wall = 1000,
				 .registry = m->registry,
				 .tickets = m->tickets,
				 .view = m->view,
				 .fill = env_fill,
				 .warn = env_warn,
				 .node_changed = env_changed,
				 .arg = m };
	m->share = share_new(&env);
	share_set_net(m->share, &net);
}

static void member_stop(struct member *m)
{
	share_free(m->share);
	registry_free(m->registry);
	report_view_free(m->view);
	tls_tickets_unref(m->tickets);
	loop_free(m->loop);
}

/* Gives each node's timers their turn; true = every one of them sees so many nodes ready. */
static bool see_ready(struct member list[HUB_NODES], const unsigned want[HUB_NODES])
{
	bool all = true;

	for (unsigned i = 0; i < HUB_NODES; i++) {
		loop_turn(list[i].loop, false);
		all &= report_view_count(list[i].view, REPORT_READY, loop_now_ms(list[i].loop)) == want[i];
	}
	return all;
}

static bool same_keys(const struct member *a, const struct member *b)
{
	uint8_t x[TLS_TICKETS_EXPORT_MAX] = { 0 }, y[TLS_TICKETS_EXPORT_MAX] = { 0 };

	return tls_tickets_export(a->tickets, x) == tls_tickets_export(b->tickets, y) && memcmp(x, y, sizeof(x)) == 0;
}

static bool makes_keys(const struct member *m)
{
	return report_view_makes_keys(m->view, loop_now_ms(m->loop));
}

static void three_nodes_see_each_other_part_and_meet_again(void **state)
{
	UNUSED(state);
	static const unsigned all[] = { 3, 3, 3 }, apart[] = { 2, 2, 1 };
	struct hub *h = hub_of_three();
	struct member list[HUB_NODES];

	for (uint32_t id = 1; id <= HUB_NODES; id++)
		member_start(&list[id - 1], &h->nodes[id]);
	HUB_UNTIL(h, see_ready(list, all) && same_keys(&list[0], &list[1]) && same_keys(&list[0], &list[2]));
	assert_true(makes_keys(&list[0]) && !makes_keys(&list[1]) && !makes_keys(&list[2]));
	HUB_VIEW(h, 1, 1, 2);
	HUB_VIEW(h, 2, 3);
	HUB_UNTIL(h, see_ready(list, apart));
	assert_false(store_quorate(list[2].at->store));
	assert_true(makes_keys(&list[0]) && !makes_keys(&list[1]) && makes_keys(&list[2]));
	HUB_VIEW(h, 1, 1, 2, 3);
	HUB_UNTIL(h, see_ready(list, all));
	assert_false(makes_keys(&list[2]));
	for (int i = 0; i < HUB_NODES; i++)
		member_stop(&list[i]);
	hub_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(three_nodes_see_each_other_part_and_meet_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
