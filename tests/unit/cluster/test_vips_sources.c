/* SPDX-License-Identifier: Apache-2.0
 * The addresses of other nodes, over a restart without them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/cluster/vips_private.h"

enum { NOW = 50000 };

/* What the module is tied to. */
int64_t vips_now(const struct vips *v)
{
	UNUSED(v);
	return NOW;
}

struct vips_item *vips_find(const struct vips *v, const char *name)
{
	return v->n_items > 0 && strcmp(v->items[0]->name, name) == 0 ? v->items[0] : NULL;
}

static const char *names[] = { "n1", "n2", "n3" };

struct world {
	char dir[32];
	struct node_config config;
	struct vip_config vip;
	struct vips vips;
	struct vips_item item;
};

static struct addr ip_of(const char *text)
{
	struct addr a;

	assert_true(addr_parse_ip(text, &a));
	return a;
}

/* A start of n1: nobody was heard. */
static void start(struct world *w)
{
	struct report_member members[3] = { { 1, "n1" }, { 2, "n2" }, { 3, "n3" } };
	struct vips *v = &w->vips;
	struct vips_item *i = &w->item;

	*v = (struct vips) { .node = &w->config, .n_items = 1, .items = { i } };
	v->env.view = report_view_new();
	report_view_members(v->env.view, 1, members, 3, NOW);
	*i = (struct vips_item) { .vips = v, .name = "a", .source4 = ip_of("192.0.2.1") };
	i->nodes = (struct vip_nodes) { .self = 1, .unheard = 2, .n = 1, .list = { { .id = 1, .name = "n1" } } };
	i->nodes.list[0].address4 = i->source4;
	i->vip.n_addresses = 1;
	i->vip.addresses[0].ip = ip_of("192.0.2.101");
	sources_read(v);
}

static void end(struct world *w)
{
	report_view_free(w->vips.env.view);
	json_decref(w->vips.sources);
}

static struct world *world_new(void)
{
	struct world *w = xcalloc(1, sizeof(*w));

	snprintf(w->dir, sizeof(w->dir), "/tmp/vip_sources.XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	w->config.state_dir = w->dir;
	w->vip.nodes = (struct str_list) { .v = names, .n = 3 };
	start(w);
	return w;
}

static void world_free(struct world *w)
{
	char *path = xasprintf("%s/vip_sources.json", w->dir);

	end(w);
	unlink(path);
	assert_int_equal(rmdir(w->dir), 0);
	free(path);
	free(w);
}

/* n2 and n3 are heard, and n1 starts again. */
static void hear_and_restart(struct world *w, const char *two, const char *three)
{
	struct vip_nodes *nodes = &w->item.nodes;

	nodes->n = 3;
	nodes->unheard = 0;
	nodes->list[1] = (struct vip_node) { .id = 2, .name = "n2", .address4 = ip_of(two) };
	nodes->list[2] = (struct vip_node) { .id = 3, .name = "n3", .address4 = ip_of(three) };
	nodes->list[2].address6 = ip_of("2001:db8::3");
	sources_use(&w->item, &w->vip);
	sources_write(&w->vips);
	end(w);
	start(w);
}

static void peers_are_known_after_a_restart_that_hears_nobody(void **state)
{
	UNUSED(state);
	struct world *w = world_new();
	const struct vip_nodes *nodes = &w->item.nodes;

	hear_and_restart(w, "192.0.2.2", "192.0.2.3");
	sources_use(&w->item, &w->vip);
	assert_int_equal(nodes->n, 3);
	assert_int_equal(nodes->unheard, 0);
	const struct addr two = ip_of("192.0.2.2"), three = ip_of("192.0.2.3"), three6 = ip_of("2001:db8::3");
	assert_int_equal(nodes->list[1].id, 2);
	assert_true(addr_eq_ip(&nodes->list[1].address4, &two));
	assert_true(addr_eq_ip(&nodes->list[2].address4, &three) && addr_eq_ip(&nodes->list[2].address6, &three6));
	/* An address is all that is known: nothing is said, and nobody is heard. */
	assert_true(nodes->list[1].age_ms == INT64_MAX && !nodes->list[1].keepalived);
	world_free(w);
}

/* n2 says that it is there, and this of the VIP. */
static void say(struct world *w, const struct report_vip *vip, bool voter_only)
{
	struct node_report r = { .id = 2, .node = "n2", .started_ms = 1, .sequence = 1, .voter_only = voter_only };
	struct sbuf b = { 0 };

	if (vip != NULL)
		r.vips[r.n_vips++] = *vip;
	report_encode(&r, &b);
	assert_int_equal(report_view_heard(w->vips.env.view, 2, (struct str) { b.p, b.n }, NOW, 0), 0);
	report_wipe(&b);
	w->item.nodes.unheard = 1;
}

static void only_who_has_said_nothing_of_the_vip_is_recalled(void **state)
{
	UNUSED(state);
	struct world *w = world_new();
	const struct report_vip without = { .name = "a" };

	/* It is starting, say. */
	hear_and_restart(w, "192.0.2.2", "192.0.2.3");
	say(w, NULL, false);
	sources_use(&w->item, &w->vip);
	assert_int_equal(w->item.nodes.n, 3);
	assert_int_equal(w->item.nodes.unheard, 0);
	/* It has no address there now. */
	end(w);
	start(w);
	say(w, &without, false);
	sources_use(&w->item, &w->vip);
	assert_int_equal(w->item.nodes.n, 2);
	assert_int_equal(w->item.nodes.list[1].id, 3);
	/* It only votes now. */
	end(w);
	start(w);
	say(w, NULL, true);
	sources_use(&w->item, &w->vip);
	assert_int_equal(w->item.nodes.n, 2);
	world_free(w);
}

static void an_address_that_is_somebody_elses_by_now_is_not_used(void **state)
{
	UNUSED(state);
	struct world *w = world_new();

	hear_and_restart(w, "192.0.2.101", "192.0.2.1"); /* the VIP's, and this node's */
	sources_use(&w->item, &w->vip);
	assert_int_equal(w->item.nodes.n, 2);
	assert_int_equal(w->item.nodes.list[1].id, 3);
	assert_int_equal(w->item.nodes.list[1].address4.sa.sa_family, 0);
	world_free(w);
}

static void what_is_heard_counts_and_takes_the_place_of_what_was(void **state)
{
	UNUSED(state);
	struct world *w = world_new();
	const struct addr now = ip_of("192.0.2.12");

	hear_and_restart(w, "192.0.2.2", "192.0.2.3");
	hear_and_restart(w, "192.0.2.12", "192.0.2.3");
	sources_use(&w->item, &w->vip);
	assert_true(addr_eq_ip(&w->item.nodes.list[1].address4, &now));
	world_free(w);
}

static void a_node_that_is_no_member_or_not_of_the_vip_is_not_recalled(void **state)
{
	UNUSED(state);
	struct world *w = world_new();
	struct report_member members[2] = { { 1, "n1" }, { 2, "n2" } };

	hear_and_restart(w, "192.0.2.2", "192.0.2.3");
	w->vip.nodes.n = 1;
	sources_use(&w->item, &w->vip);
	assert_int_equal(w->item.nodes.n, 1);
	w->vip.nodes.n = 3;
	report_view_members(w->vips.env.view, 1, members, 2, NOW);
	sources_use(&w->item, &w->vip);
	assert_int_equal(w->item.nodes.n, 2);
	world_free(w);
}

static void a_file_that_cannot_be_read_is_none(void **state)
{
	UNUSED(state);
	static const char *const bad[] = { "", "[]", "{\"a\":3}", "{\"a\":{\"n2\":[3,\"x\",null],\"n3\":{}}}",
					   "{\"a\":" };
	struct world *w = world_new();
	char *path = xasprintf("%s/vip_sources.json", w->dir);

	for (size_t k = 0; k < ARRAY_LEN(bad); k++) {
		FILE *f = fopen(path, "w");
		assert_non_null(f);
		fputs(bad[k], f);
		fclose(f);
		end(w);
		start(w);
		sources_use(&w->item, &w->vip);
		assert_int_equal(w->item.nodes.n, 1);
		/* And it is good again with the next that is heard. */
		hear_and_restart(w, "192.0.2.2", "192.0.2.3");
		sources_use(&w->item, &w->vip);
		assert_int_equal(w->item.nodes.n, 3);
	}
	free(path);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(peers_are_known_after_a_restart_that_hears_nobody),
		cmocka_unit_test(only_who_has_said_nothing_of_the_vip_is_recalled),
		cmocka_unit_test(an_address_that_is_somebody_elses_by_now_is_not_used),
		cmocka_unit_test(what_is_heard_counts_and_takes_the_place_of_what_was),
		cmocka_unit_test(a_node_that_is_no_member_or_not_of_the_vip_is_not_recalled),
		cmocka_unit_test(a_file_that_cannot_be_read_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
