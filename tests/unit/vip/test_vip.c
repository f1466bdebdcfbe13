/* SPDX-License-Identifier: Apache-2.0
 * Which node may hold which VIP: situations of three nodes, as each of them sees them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cluster/vip/vip.h"
#include "tests/unit/vip/ha_fixture.h"

enum { NOW = 100000 };

/* As node `self` sees three nodes, all well. */
static struct vip_nodes nodes_of(uint32_t self)
{
	struct vip_nodes nodes = { .self = self, .n = 3 };

	for (uint32_t i = 0; i < 3; i++) {
		struct vip_node *n = &nodes.list[i];
		*n = (struct vip_node) { .id = i + 1,
					 .age_ms = i + 1 == self ? 0 : 500,
					 .able = true,
					 .keepalived = true,
					 .generation = 5 };
		snprintf(n->name, sizeof(n->name), "n%u", i + 1);
		n->address4 = ip_of("192.0.2.1");
		n->address4.in.sin_addr.s_addr += htonl(i);
	}
	return nodes;
}

static struct vip vip_a(void)
{
	struct vip v = { .name = "a",
			 .interface = "eth0",
			 .vrid = 51,
			 .advert_ms = 200,
			 .garp_s = 60,
			 .n_order = 3,
			 .order = { 1, 2, 3 },
			 .n_addresses = 1,
			 .since_generation = 5,
			 .holder = 1 };

	v.addresses[0] = (struct ha_address) { ip_of("192.0.2.101"), 24 };
	return v;
}

/* A node that has been up, and one that has just come to be. */
static const struct vip_memory was_up = { .well_since = 1, .was_up = true };
static const struct vip_memory fresh;

struct scene {
	struct vip_nodes nodes;
	struct vip vip;
	struct vip_memory memory;
};

static struct scene scene_of(uint32_t self)
{
	return (struct scene) { nodes_of(self), vip_a(), was_up };
}

static struct vip_verdict decide_at(struct scene *s, int64_t now)
{
	struct vip_verdict v;

	vip_decide(&s->nodes, &s->vip, now, &s->memory, &v);
	assert_int_equal(v.up, v.reason[0] == '\0');
	return v;
}

static void expect_down(struct scene *s, const char *part)
{
	struct vip_verdict v = decide_at(s, NOW);

	if (v.up || strstr(v.reason, part) == NULL)
		print_error("wanted \"%s\", got \"%s\"\n", part, v.reason);
	assert_false(v.up);
	assert_non_null(strstr(v.reason, part));
}

static void expect_up(struct scene *s)
{
	struct vip_verdict v = decide_at(s, NOW);

	if (!v.up)
		print_error("not up: \"%s\"\n", v.reason);
	assert_true(v.up);
}

/* ---- tests ---- */

static void priorities_follow_the_order_closely(void **state)
{
	UNUSED(state);
	struct vip v = vip_a();

	assert_int_equal(vip_priority(&v, 1), 250);
	assert_int_equal(vip_priority(&v, 2), 240);
	assert_int_equal(vip_priority(&v, 3), 230);
	assert_int_equal(vip_priority(&v, 4), 0);
	v.pinned = 3;
	assert_int_equal(vip_priority(&v, 3), 250);
	assert_int_equal(vip_priority(&v, 1), 240);
	assert_int_equal(vip_priority(&v, 2), 230);
	v.pinned = 9; /* a node that has no part in it */
	assert_int_equal(vip_priority(&v, 1), 250);
	v.n_order = HA_VIP_NODES_MAX;
	for (uint32_t i = 0; i < HA_VIP_NODES_MAX; i++)
		v.order[i] = i + 1;
	assert_int_equal(vip_priority(&v, HA_VIP_NODES_MAX), 100);
}

static void all_well_means_all_may(void **state)
{
	UNUSED(state);
	for (uint32_t self = 1; self <= 3; self++) {
		struct scene s = scene_of(self);
		expect_up(&s);
	}
}

static void active_active_gives_each_node_its_own_first(void **state)
{
	UNUSED(state);
	struct vip b = vip_a();

	b.order[0] = 2;
	b.order[1] = 3;
	b.order[2] = 1;
	assert_int_equal(vip_priority(&b, 2), 250);
	assert_int_equal(vip_priority(&b, 1), 230);
}

static void a_hard_fault_counts_even_when_nobody_is_left(void **state)
{
	UNUSED(state);
	for (int f = VIP_WORKER; f < VIP_FAULT_COUNT; f++) {
		struct scene s = scene_of(1);
		for (size_t i = 0; i < 3; i++)
			s.nodes.list[i].fault = (enum vip_fault)f;
		expect_down(&s, vip_fault_texts[f]);
		assert_false(s.memory.was_up);
	}
}

static void faults_are_told_from_what_a_node_knows_of_itself(void **state)
{
	UNUSED(state);
	struct vip_health h = { .worker_ms = 999,
				.started_ms = 5000,
				.listeners = true,
				.configuration = true,
				.synced = true,
				.pools = true };

	assert_int_equal(vip_fault_of(&h), VIP_WELL);
	h.worker_ms = 1000;
	assert_int_equal(vip_fault_of(&h), VIP_WORKER);
	h.worker_ms = 0;
	h.synced = false;
	assert_int_equal(vip_fault_of(&h), VIP_STARTING);
	h.started_ms = VIP_START_MS; /* mail does not wait for the cluster */
	assert_int_equal(vip_fault_of(&h), VIP_WELL);
	h.listeners = false;
	assert_int_equal(vip_fault_of(&h), VIP_LISTENERS);
	h.configuration = false;
	assert_int_equal(vip_fault_of(&h), VIP_CONFIGURATION);
	assert_true(vip_is_able(&h));
	h.overloaded = true;
	assert_false(vip_is_able(&h));
	h = (struct vip_health) { .pools = false };
	assert_false(vip_is_able(&h));
}

static void after_a_fault_a_node_must_be_well_for_a_while(void **state)
{
	UNUSED(state);
	struct scene s = scene_of(1);

	s.nodes.list[0].fault = VIP_WORKER;
	assert_false(decide_at(&s, NOW).up);
	s.nodes.list[0].fault = VIP_WELL;
	assert_false(decide_at(&s, NOW + 1).up);
	assert_false(decide_at(&s, NOW + VIP_GOOD_MS).up);
	assert_true(decide_at(&s, NOW + 1 + VIP_GOOD_MS).up);
}

static void a_drained_node_lets_go_and_takes_again_at_once(void **state)
{
	UNUSED(state);
	struct scene s = scene_of(1);

	s.nodes.list[0].draining = true;
	expect_down(&s, "drained");
	s.nodes.list[0].draining = false;
	expect_up(&s);
}

static void a_drain_waits_while_the_flows_are_handed_over(void **state)
{
	UNUSED(state);
	struct scene s = scene_of(1);

	s.nodes.list[0].draining = s.vip.preparing = true;
	expect_up(&s);
	s.nodes.list[0].fault = VIP_WORKER; /* but not a fault */
	expect_down(&s, "worker");
}

static void a_planned_move_makes_all_others_let_go_until_the_target_has_it(void **state)
{
	UNUSED(state);
	for (uint32_t self = 1; self <= 3; self++) {
		struct scene s = scene_of(self);
		s.vip.to = 3;
		if (self == 3)
			expect_up(&s);
		else
			expect_down(&s, "moves to node n3");
		s.vip.holder = 3;
		expect_up(&s);
	}
}

static void a_move_to_one_who_cannot_is_no_reason_to_let_go(void **state)
{
	UNUSED(state);
	for (int i = 0; i < 6; i++) {
		struct scene s = scene_of(1);
		struct vip_node *target = &s.nodes.list[2];
		s.vip.to = 3;
		target->age_ms = i == 0 ? VIP_FRESH_MS : target->age_ms;
		target->fault = i == 1 ? VIP_LISTENERS : VIP_WELL;
		target->draining = i == 2;
		target->keepalived = i != 3;
		s.vip.to_ms = i == 4 ? VIP_MOVE_MS : 0;
		s.vip.n_order = i == 5 ? 2 : 3; /* it has no part in it any more */
		expect_up(&s);
	}
}

static void it_fails_back_to_the_first_who_is_able_and_comes_before(void **state)
{
	UNUSED(state);
	struct scene s = scene_of(3);

	assert_int_equal(vip_better(&s.nodes, &s.vip), 1);
	s.nodes.list[0].able = false; /* where it would only stop again */
	assert_int_equal(vip_better(&s.nodes, &s.vip), 2);
	s.nodes.list[1].draining = true;
	assert_int_equal(vip_better(&s.nodes, &s.vip), 0);
	s = scene_of(3);
	s.vip.pinned = 3; /* it was moved here by hand */
	assert_int_equal(vip_better(&s.nodes, &s.vip), 0);
	s = scene_of(1);
	assert_int_equal(vip_better(&s.nodes, &s.vip), 0);
}

static void a_soft_reason_counts_only_against_one_who_is_better(void **state)
{
	UNUSED(state);
	struct scene s = scene_of(1);

	s.nodes.list[0].able = false;
	s.memory.unable_since = NOW - VIP_UNABLE_MS;
	expect_down(&s, "from node n2");
	s.nodes.list[1].able = false;
	expect_down(&s, "from node n3");
	s.nodes.list[2].able = false; /* all are alike: mail is deferred by somebody rather than by nobody */
	expect_up(&s);
}

static void a_soft_reason_must_last_and_the_other_must_have_spoken_since(void **state)
{
	UNUSED(state);
	struct scene s = scene_of(1);

	s.nodes.list[0].able = false;
	s.memory.unable_since = NOW - VIP_UNABLE_MS + 1;
	expect_up(&s);
	/* What they say is older than this node's trouble: they may have it too. */
	s.memory.unable_since = NOW - VIP_UNABLE_MS;
	s.nodes.list[1].age_ms = s.nodes.list[2].age_ms = VIP_UNABLE_MS;
	expect_up(&s);
	s.nodes.list[1].age_ms = VIP_UNABLE_MS - 1;
	expect_down(&s, "from node n2");
}

static void a_candidate_who_is_away_or_drained_is_none(void **state)
{
	UNUSED(state);
	struct scene s = scene_of(1);

	s.nodes.list[0].able = false;
	s.memory.unable_since = 1;
	s.nodes.list[1].age_ms = INT64_MAX;
	s.nodes.list[2].draining = true;
	expect_up(&s);
}

static void without_contact_the_network_is_asked_before_the_first_take(void **state)
{
	UNUSED(state);
	struct scene s = scene_of(1);

	s.memory = fresh;
	s.vip.holder = 0;
	s.nodes.list[1].age_ms = s.nodes.list[2].age_ms = INT64_MAX;
	assert_true(decide_at(&s, NOW).wants_probe);
	s.vip.probe = VIP_TAKEN;
	expect_down(&s, "somebody has the address");
	assert_true(decide_at(&s, NOW).wants_probe);
	s.vip.probe = VIP_FREE;
	assert_false(decide_at(&s, NOW).wants_probe);
	assert_true(decide_at(&s, NOW + VIP_GOOD_MS).up);
	/* One that has it keeps it when it loses the others. */
	s.vip.probe = VIP_NOT_PROBED;
	expect_up(&s);
}

static void who_was_cut_off_from_keepalived_asks_again(void **state)
{
	UNUSED(state);
	struct scene s = scene_of(1);

	/* Without the others: one of them may have it by now. */
	s.vip.holder = 0;
	s.nodes.list[1].age_ms = s.nodes.list[2].age_ms = INT64_MAX;
	expect_up(&s);
	s.vip.cut = true;
	assert_true(decide_at(&s, NOW).wants_probe);
	s.vip.cut = false;
	expect_down(&s, "the network is asked first");
	s.vip.probe = VIP_FREE;
	assert_false(decide_at(&s, NOW).up);
	assert_true(decide_at(&s, NOW + VIP_GOOD_MS).up);
	/* Who has it keeps it. */
	s = scene_of(1);
	s.nodes.list[1].age_ms = s.nodes.list[2].age_ms = INT64_MAX;
	s.vip.cut = true;
	expect_up(&s);
	/* Where the others are heard, it may have it again at once. */
	s = scene_of(1);
	s.vip.cut = true;
	s.vip.holder = 0;
	expect_up(&s);
}

static void a_node_alone_in_its_cluster_asks_nobody(void **state)
{
	UNUSED(state);
	struct scene s = scene_of(1);

	s.memory = fresh;
	s.nodes.n = 1;
	assert_false(decide_at(&s, NOW).wants_probe);
	assert_true(decide_at(&s, NOW + VIP_GOOD_MS).up);
	/* There is another, of whom nothing was heard since the start. */
	s = scene_of(1);
	s.memory = fresh;
	s.nodes.n = s.nodes.unheard = 1;
	s.vip.holder = 0;
	assert_true(decide_at(&s, NOW).wants_probe);
	assert_false(decide_at(&s, NOW + VIP_GOOD_MS).up);
}

static void a_new_node_waits_until_those_who_are_there_know_it(void **state)
{
	UNUSED(state);
	struct scene s = scene_of(3);

	s.memory = fresh;
	s.vip.since_generation = 6;
	s.nodes.list[2].generation = 6;
	expect_down(&s, "node n1 does not know");
	s.nodes.list[0].generation = 6;
	expect_down(&s, "node n2 does not know");
	s.nodes.list[1].age_ms = VIP_FRESH_MS; /* one that is away cannot hold it */
	assert_false(decide_at(&s, NOW).up);
	assert_true(decide_at(&s, NOW + VIP_GOOD_MS).up);
	/* It was a candidate already, as a cluster of itself: he who has it would not be heard. */
	struct scene joined = scene_of(3);
	joined.vip.since_generation = 6;
	expect_down(&joined, "node n1 does not know");
	joined.nodes.list[0].generation = 6;
	assert_false(decide_at(&joined, NOW).up);
	assert_false(decide_at(&joined, NOW + VIP_GOOD_MS).up); /* n2 does not know either, as before */
	joined.nodes.list[1].generation = 6;
	assert_false(decide_at(&joined, NOW + VIP_GOOD_MS).up);
	assert_true(decide_at(&joined, NOW + 2 * VIP_GOOD_MS).up);
	/* One that has it does not let go because another is slow to learn. */
	struct scene old = scene_of(1);
	old.vip.since_generation = 6;
	expect_up(&old);
}

static void those_who_do_not_know_are_waited_for_a_while_and_the_holder_for_as_long_as_he_has_it(void **state)
{
	UNUSED(state);
	struct scene s = scene_of(3);

	s.memory = fresh;
	s.vip.since_generation = 6;
	s.nodes.list[0].generation = 6;
	assert_false(decide_at(&s, NOW).up);
	assert_false(decide_at(&s, NOW + VIP_UNAWARE_MS).up);
	assert_false(decide_at(&s, NOW + VIP_UNAWARE_MS + 1).up);
	assert_true(decide_at(&s, NOW + VIP_UNAWARE_MS + 1 + VIP_GOOD_MS).up);
	/* His table was refused: what he says to the others does not come here, and both would have it. */
	s = scene_of(3);
	s.memory = fresh;
	s.vip.since_generation = 6;
	for (int64_t at = 0; at < 10 * VIP_UNAWARE_MS; at += 1000)
		assert_false(decide_at(&s, NOW + at).up);
	expect_down(&s, "node n1 does not know");
	/* He has lost it to one who knows: nothing is left to wait for. */
	s.nodes.list[1].generation = 6;
	s.vip.holder = 2;
	assert_false(decide_at(&s, NOW + 10 * VIP_UNAWARE_MS).up);
	assert_true(decide_at(&s, NOW + 10 * VIP_UNAWARE_MS + VIP_GOOD_MS).up);
	/* The time counts anew for one who has known meanwhile. */
	s = scene_of(3);
	s.memory = fresh;
	s.vip.since_generation = 6;
	s.vip.holder = 0;
	assert_false(decide_at(&s, NOW).up);
	s.nodes.list[0].generation = s.nodes.list[1].generation = 6;
	assert_false(decide_at(&s, NOW + VIP_UNAWARE_MS).up);
	s.nodes.list[0].generation = 5;
	expect_down(&s, "node n1 does not know");
	assert_false(decide_at(&s, NOW + 2 * VIP_UNAWARE_MS).up);
}

static void where_a_node_is_not_heard_and_nobody_has_it_the_network_is_asked_first(void **state)
{
	UNUSED(state);
	struct scene s = scene_of(3);

	/* n1 may have it, and its keepalived not know this node. */
	s.memory = fresh;
	s.vip.holder = 0;
	s.nodes.list[0].age_ms = INT64_MAX;
	assert_true(decide_at(&s, NOW).wants_probe);
	s.vip.probe = VIP_TAKEN;
	expect_down(&s, "somebody has the address");
	s.vip.probe = VIP_FREE;
	assert_false(decide_at(&s, NOW).wants_probe);
	assert_true(decide_at(&s, NOW + VIP_GOOD_MS).up);
	/* Who has held it before is known to that one. */
	s.vip.probe = VIP_NOT_PROBED;
	expect_up(&s);
	/* One who is heard has it: keepalived will find that out. */
	s.memory = fresh;
	s.vip.holder = 2;
	assert_false(decide_at(&s, NOW).wants_probe);
	assert_true(decide_at(&s, NOW + VIP_GOOD_MS).up);
	/* Of one that was never heard not even the address is known. */
	s = scene_of(3);
	s.memory = fresh;
	s.vip.holder = 0;
	s.nodes.unheard = 1;
	assert_true(decide_at(&s, NOW).wants_probe);
	/* One without a part in the VIP cannot have it. */
	s = scene_of(3);
	s.memory = fresh;
	s.vip.holder = 0;
	s.vip.n_order = 2;
	s.vip.order[0] = 3;
	s.nodes.list[0].age_ms = INT64_MAX;
	assert_false(decide_at(&s, NOW).wants_probe);
}

static void the_only_node_of_a_vip_asks_where_any_node_is_not_heard(void **state)
{
	UNUSED(state);
	struct scene s = scene_of(3);

	/* The VIP was given to this one alone, and n1, which had it, may not have heard of that. */
	s.memory = fresh;
	s.vip.holder = 0;
	s.vip.n_order = 1;
	s.vip.order[0] = 3;
	s.nodes.list[0].age_ms = INT64_MAX;
	assert_true(decide_at(&s, NOW).wants_probe);
	s.vip.probe = VIP_TAKEN;
	expect_down(&s, "somebody has the address");
	s.vip.probe = VIP_FREE;
	assert_false(decide_at(&s, NOW).wants_probe);
	assert_true(decide_at(&s, NOW + VIP_GOOD_MS).up);
	/* Its own kernel has it, or all are heard. */
	s = scene_of(3);
	s.memory = fresh;
	s.vip.n_order = 1;
	s.vip.order[0] = s.vip.holder = 3;
	s.nodes.list[0].age_ms = INT64_MAX;
	assert_false(decide_at(&s, NOW).wants_probe);
	s.vip.holder = 0;
	s.nodes.list[0].age_ms = 0;
	assert_false(decide_at(&s, NOW).wants_probe);
}

static void one_without_part_in_it_never_holds_it(void **state)
{
	UNUSED(state);
	struct scene s = scene_of(3);

	s.vip.n_order = 2;
	expect_down(&s, "no part");
	assert_int_equal(decide_at(&s, NOW).priority, 0);
}

static void the_last_one_who_could_is_known(void **state)
{
	UNUSED(state);
	struct vip_nodes nodes = nodes_of(1);
	struct vip v = vip_a();

	assert_true(vip_has_other(&nodes, &v, 1));
	nodes.list[1].draining = true;
	assert_true(vip_has_other(&nodes, &v, 1));
	nodes.list[2].age_ms = INT64_MAX;
	assert_false(vip_has_other(&nodes, &v, 1));
}

/* ---- tables ---- */

static void the_table_has_the_nodes_part(void **state)
{
	UNUSED(state);
	struct vip_nodes nodes = nodes_of(2);
	struct vip vips[2] = { vip_a(), vip_a() };
	struct ha_table *t = xcalloc(1, sizeof(*t));
	char why[HA_TEXT_MAX + 1];

	memcpy(vips[1].name, "b", 2);
	vips[1].n_order = 1; /* of node 1 alone */
	assert_null(vip_table(&nodes, vips, 2, t, why));
	assert_int_equal(t->n, 1);
	assert_string_equal(t->vips[0].name, "a");
	assert_int_equal(t->vips[0].priority, 240);
	assert_true(addr_eq_ip(&t->vips[0].source, &nodes.list[1].address4));
	assert_int_equal(t->vips[0].n_peers, 2);
	assert_true(addr_eq_ip(&t->vips[0].peers[0], &nodes.list[0].address4));
	assert_null(ha_table_check(t));
	/* One in the order that is no member is not there. */
	nodes.n = 2;
	assert_null(vip_table(&nodes, vips, 1, t, why));
	assert_int_equal(t->vips[0].n_peers, 1);
	free(t);
}

static void nodes_speak_in_the_first_family_that_half_of_them_have(void **state)
{
	UNUSED(state);
	struct vip_nodes nodes = nodes_of(2);
	struct vip v = vip_a();
	struct ha_table *t = xcalloc(1, sizeof(*t));
	char why[HA_TEXT_MAX + 1];

	v.addresses[1] = v.addresses[0];
	v.addresses[0] = (struct ha_address) { ip_of("2001:db8::101"), 64 };
	v.n_addresses = 2;
	assert_null(vip_table(&nodes, &v, 1, t, why));
	assert_int_equal(t->vips[0].source.sa.sa_family, AF_INET);
	for (size_t i = 0; i < 3; i++) {
		nodes.list[i].address6 = ip_of("2001:db8::1");
		nodes.list[i].address6.in6.sin6_addr.s6_addr[15] = (uint8_t)(i + 1);
	}
	assert_null(vip_table(&nodes, &v, 1, t, why));
	assert_int_equal(t->vips[0].source.sa.sa_family, AF_INET6);
	/* One that loses an address does not make the others change theirs. */
	nodes.list[2].address6.sa.sa_family = 0;
	assert_null(vip_table(&nodes, &v, 1, t, why));
	assert_int_equal(t->vips[0].source.sa.sa_family, AF_INET6);
	assert_int_equal(t->vips[0].n_peers, 1);
	free(t);
}

static void a_node_without_an_address_takes_no_vip_from_the_others(void **state)
{
	UNUSED(state);
	struct vip_nodes nodes = nodes_of(2);
	struct vip v = vip_a();
	struct ha_table *t = xcalloc(1, sizeof(*t));
	char why[HA_TEXT_MAX + 1];

	/* Of the VIP's only family; it has one of the other. */
	nodes.list[2].address6 = ip_of("2001:db8::3");
	nodes.list[2].address4.sa.sa_family = 0;
	assert_null(vip_table(&nodes, &v, 1, t, why));
	assert_int_equal(t->n, 1);
	assert_int_equal(t->vips[0].n_peers, 1);
	assert_true(addr_eq_ip(&t->vips[0].peers[0], &nodes.list[0].address4));
	/* And whoever it is says that it does not know that one. */
	assert_true(vip_is_peer(&nodes, &v, 1) && vip_is_peer(&nodes, &v, 2) && !vip_is_peer(&nodes, &v, 3));
	/* The last one that has an address goes on. */
	nodes.list[0].address4.sa.sa_family = 0;
	assert_null(vip_table(&nodes, &v, 1, t, why));
	assert_int_equal(t->vips[0].n_peers, 0);
	/* The one without takes no part, and says why. */
	nodes.self = 3;
	assert_non_null(vip_table(&nodes, &v, 1, t, why));
	assert_non_null(strstr(why, "VIP a: this node has no IPv4 address"));
	nodes.list[1].address4.sa.sa_family = 0;
	assert_non_null(vip_table(&nodes, &v, 1, t, why));
	assert_non_null(strstr(why, "VIP a: no node has an address"));
	free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(priorities_follow_the_order_closely),
		cmocka_unit_test(all_well_means_all_may),
		cmocka_unit_test(active_active_gives_each_node_its_own_first),
		cmocka_unit_test(a_hard_fault_counts_even_when_nobody_is_left),
		cmocka_unit_test(faults_are_told_from_what_a_node_knows_of_itself),
		cmocka_unit_test(after_a_fault_a_node_must_be_well_for_a_while),
		cmocka_unit_test(a_drained_node_lets_go_and_takes_again_at_once),
		cmocka_unit_test(a_drain_waits_while_the_flows_are_handed_over),
		cmocka_unit_test(a_planned_move_makes_all_others_let_go_until_the_target_has_it),
		cmocka_unit_test(a_move_to_one_who_cannot_is_no_reason_to_let_go),
		cmocka_unit_test(it_fails_back_to_the_first_who_is_able_and_comes_before),
		cmocka_unit_test(a_soft_reason_counts_only_against_one_who_is_better),
		cmocka_unit_test(a_soft_reason_must_last_and_the_other_must_have_spoken_since),
		cmocka_unit_test(a_candidate_who_is_away_or_drained_is_none),
		cmocka_unit_test(without_contact_the_network_is_asked_before_the_first_take),
		cmocka_unit_test(who_was_cut_off_from_keepalived_asks_again),
		cmocka_unit_test(a_node_alone_in_its_cluster_asks_nobody),
		cmocka_unit_test(a_new_node_waits_until_those_who_are_there_know_it),
		cmocka_unit_test(those_who_do_not_know_are_waited_for_a_while_and_the_holder_for_as_long_as_he_has_it),
		cmocka_unit_test(where_a_node_is_not_heard_and_nobody_has_it_the_network_is_asked_first),
		cmocka_unit_test(the_only_node_of_a_vip_asks_where_any_node_is_not_heard),
		cmocka_unit_test(one_without_part_in_it_never_holds_it),
		cmocka_unit_test(the_last_one_who_could_is_known),
		cmocka_unit_test(the_table_has_the_nodes_part),
		cmocka_unit_test(nodes_speak_in_the_first_family_that_half_of_them_have),
		cmocka_unit_test(a_node_without_an_address_takes_no_vip_from_the_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
