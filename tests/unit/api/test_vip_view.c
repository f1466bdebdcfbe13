/* SPDX-License-Identifier: Apache-2.0
 * From what nodes say of themselves to the values that decide about a VIP.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "daemon/api/vip_view.h"

enum { NOW = 50000 };

static const char *names[] = { "n1", "n2", "n3" };

/* n1 is this node; all are members. */
static struct report_view *view_new(void)
{
	struct report_view *v = report_view_new();
	struct report_member list[3] = { { 1, "n1" }, { 2, "n2" }, { 3, "n3" } };

	report_view_members(v, 1, list, 3, NOW - 20000);
	return v;
}

static struct vip_config config_of(void)
{
	static struct vip_address address = { .bits = 24 };
	struct vip_config c = { .name = "a", .interface = "eth0", .vrid = 51, .advert_ms = 200, .failback = true };

	assert_true(addr_parse_ip("192.0.2.10", &address.ip));
	c.addresses = &address;
	c.n_addresses = 1;
	c.nodes = (struct str_list) { .v = names, .n = 3 };
	return c;
}

/* What node `id` says, heard at `when`: ready, and of the VIP with peers of these bits (0 = no keepalived). */
static struct node_report report_of(uint32_t id, uint64_t peers)
{
	struct node_report r = { .id = id, .sequence = 1, .started_ms = 1, .state = REPORT_READY, .ready = true };

	snprintf(r.node, sizeof(r.node), "n%u", id);
	r.n_vips = 1;
	snprintf(r.vips[0].name, sizeof(r.vips[0].name), "a");
	r.vips[0].peers = peers;
	r.vips[0].up = true;
	r.vips[0].state = REPORT_VIP_BACKUP;
	assert_true(addr_parse_ip("192.0.2.1", &r.vips[0].source4));
	r.vips[0].source4.in.sin_addr.s_addr += htonl(id);
	return r;
}

static void hear(struct report_view *v, struct node_report *r, int64_t when)
{
	struct sbuf b = { 0 };

	if (r->id == 1) {
		report_view_own(v, r, when, 0);
	} else {
		report_encode(r, &b);
		assert_int_equal(report_view_heard(v, r->id, (struct str) { b.p, b.n }, when, 0), 0);
	}
	report_wipe(&b);
}

#define ALL (report_peer_bit(1) | report_peer_bit(2) | report_peer_bit(3))

static const struct vip_node *node_in(const struct vip_nodes *nodes, uint32_t id)
{
	for (size_t i = 0; i < nodes->n; i++)
		if (nodes->list[i].id == id)
			return &nodes->list[i];
	return NULL;
}

static void what_is_said_of_a_vip_survives_the_way(void **state)
{
	UNUSED(state);
	struct node_report r = report_of(2, ALL), back;
	struct sbuf b = { 0 };

	assert_true(addr_parse_ip("2001:db8::2", &r.vips[0].source6));
	report_encode(&r, &b);
	for (size_t n = 0; n < b.n; n++) {
		if (report_decode((struct str) { b.p, n }, &back))
			report_fini(&back);
	}
	assert_true(report_decode((struct str) { b.p, b.n }, &back));
	assert_true(back.vips[0].peers == ALL && addr_eq_ip(&back.vips[0].source4, &r.vips[0].source4));
	assert_true(addr_eq_ip(&back.vips[0].source6, &r.vips[0].source6));
	report_fini(&back);
	report_wipe(&b);
}

static void an_overloaded_node_is_well_but_not_able(void **state)
{
	UNUSED(state);
	struct report_view *v = view_new();
	struct vip_config c = config_of();
	struct node_report one = report_of(1, ALL), two = report_of(2, ALL), three = report_of(3, ALL);
	struct vip_nodes nodes;
	bool complete;

	three.overloaded = true;
	hear(v, &one, NOW);
	hear(v, &two, NOW);
	hear(v, &three, NOW);
	vip_view_nodes(v, NOW, &c, &nodes, &complete);
	assert_true(node_in(&nodes, 2)->able);
	assert_false(node_in(&nodes, 3)->able);
	assert_int_equal(node_in(&nodes, 3)->fault, VIP_WELL);
	report_view_free(v);
}

static void a_node_that_was_never_heard_is_waited_for_and_left_out(void **state)
{
	UNUSED(state);
	struct report_view *v = view_new();
	struct vip_config c = config_of();
	struct node_report one = report_of(1, ALL), two = report_of(2, ALL), three = report_of(3, ALL);
	struct vip_nodes nodes;
	bool complete;

	hear(v, &one, NOW);
	hear(v, &two, NOW);
	vip_view_nodes(v, NOW, &c, &nodes, &complete);
	assert_int_equal(nodes.self, 1);
	assert_int_equal(nodes.n, 2);
	assert_false(complete);
	hear(v, &three, NOW);
	vip_view_nodes(v, NOW, &c, &nodes, &complete);
	assert_true(nodes.n == 3 && complete);
	report_view_free(v);
}

static void a_node_whose_only_address_is_of_the_other_family_is_left_out(void **state)
{
	UNUSED(state);
	struct report_view *v = view_new();
	struct vip_config c = config_of();
	struct node_report one = report_of(1, ALL), two = report_of(2, ALL), three = report_of(3, ALL);
	struct vip_nodes nodes;
	bool complete;

	memset(&three.vips[0].source4, 0, sizeof(three.vips[0].source4));
	assert_true(addr_parse_ip("2001:db8::3", &three.vips[0].source6));
	hear(v, &one, NOW);
	hear(v, &two, NOW);
	hear(v, &three, NOW);
	vip_view_nodes(v, NOW, &c, &nodes, &complete);
	assert_null(node_in(&nodes, 3));
	assert_non_null(node_in(&nodes, 2));
	/* It was heard: nobody waits for it. */
	assert_true(complete && nodes.unheard == 0);
	report_view_free(v);
}

static void a_peer_whose_keepalived_lacks_this_node_is_unaware(void **state)
{
	UNUSED(state);
	struct report_view *v = view_new();
	struct vip_config c = config_of();
	struct node_report one = report_of(1, ALL), two = report_of(2, report_peer_bit(2) | report_peer_bit(3)),
			   three = report_of(3, 0);
	struct vip_nodes nodes;
	bool complete;

	hear(v, &one, NOW);
	hear(v, &two, NOW);
	hear(v, &three, NOW);
	vip_view_nodes(v, NOW, &c, &nodes, &complete);
	assert_int_equal(node_in(&nodes, 2)->generation, 0);
	assert_true(node_in(&nodes, 2)->keepalived);
	/* One without keepalived can hold nothing that this node would. */
	assert_int_equal(node_in(&nodes, 3)->generation, 1);
	assert_false(node_in(&nodes, 3)->keepalived);
	report_view_free(v);
}

static void a_silent_node_keeps_its_address_and_counts_for_nothing_else(void **state)
{
	UNUSED(state);
	struct report_view *v = view_new();
	struct vip_config c = config_of();
	struct node_report two = report_of(2, ALL);
	struct vip_nodes nodes;
	struct vip vip;
	struct report_row row;
	bool complete;

	two.vips[0].kernel = true;
	hear(v, &two, NOW - REPORT_FRESH_MS - 1);
	vip_view_nodes(v, NOW, &c, &nodes, &complete);
	assert_true(node_in(&nodes, 2)->age_ms == INT64_MAX);
	assert_int_equal(node_in(&nodes, 2)->address4.sa.sa_family, AF_INET);
	vip_view_vip(v, NOW, &c, &vip);
	assert_int_equal(vip.holder, 0);
	assert_true(report_view_find(v, "n2", NOW, &row));
	assert_false(vip_view_could(&row, "a"));
	report_view_free(v);
}

static void who_drains_or_may_not_hold_it_is_no_target(void **state)
{
	UNUSED(state);
	struct report_view *v = view_new();
	struct node_report two = report_of(2, ALL), three = report_of(3, ALL);
	struct report_row row;

	two.admin_drain = true;
	three.vips[0].up = false;
	hear(v, &two, NOW);
	hear(v, &three, NOW);
	assert_true(report_view_find(v, "n2", NOW, &row));
	assert_false(vip_view_could(&row, "a"));
	assert_true(report_view_find(v, "n3", NOW, &row));
	assert_false(vip_view_could(&row, "a"));
	three.vips[0].up = true;
	three.sequence++;
	hear(v, &three, NOW);
	assert_true(report_view_find(v, "n3", NOW, &row));
	assert_true(vip_view_could(&row, "a"));
	report_view_free(v);
}

static void this_nodes_own_word_on_who_holds_it_comes_first(void **state)
{
	UNUSED(state);
	struct report_view *v = view_new();
	struct vip_config c = config_of();
	struct node_report one = report_of(1, ALL), two = report_of(2, ALL);
	struct vip vip;

	one.vips[0].kernel = two.vips[0].kernel = true;
	hear(v, &two, NOW);
	vip_view_vip(v, NOW, &c, &vip);
	assert_int_equal(vip.holder, 2);
	hear(v, &one, NOW);
	vip_view_vip(v, NOW, &c, &vip);
	assert_int_equal(vip.holder, 1);
	assert_true(vip.n_order == 3 && vip.order[0] == 1 && vip.order[2] == 3 && vip.failback);
	report_view_free(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_said_of_a_vip_survives_the_way),
		cmocka_unit_test(an_overloaded_node_is_well_but_not_able),
		cmocka_unit_test(a_node_that_was_never_heard_is_waited_for_and_left_out),
		cmocka_unit_test(a_node_whose_only_address_is_of_the_other_family_is_left_out),
		cmocka_unit_test(a_peer_whose_keepalived_lacks_this_node_is_unaware),
		cmocka_unit_test(a_silent_node_keeps_its_address_and_counts_for_nothing_else),
		cmocka_unit_test(who_drains_or_may_not_hold_it_is_no_target),
		cmocka_unit_test(this_nodes_own_word_on_who_holds_it_comes_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
