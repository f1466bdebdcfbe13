/* SPDX-License-Identifier: Apache-2.0
 * From a configuration to a snapshot: what it refers to, what snapshots of one configuration share, how long all that
 * lives.
 */
#include "tests/unit/conf/conf_test.h"

static void ref_conf(void *c)
{
	conf_ref(c);
}

static void unref_conf(void *c)
{
	conf_unref(c);
}

struct fixture {
	struct loop *loop;
	struct registry *registry;
	struct conf *conf;
};

static struct fixture setup(const char *patch)
{
	static const struct registry_hooks hooks = { 0 };
	struct fixture f = { .loop = loop_new(), .conf = parse_with(patch) };

	f.registry = registry_new(f.loop, &hooks, NULL, "127.0.0.1:9");
	registry_apply(f.registry, f.conf->pool_list, f.conf->n_pools, f.conf, ref_conf, unref_conf);
	return f;
}

static void teardown(struct fixture *f)
{
	registry_free(f->registry);
	conf_unref(f->conf);
	loop_free(f->loop);
}

static struct envelope envelope_to(const struct listener_view *l, const struct addr *client, const char *domain)
{
	return (struct envelope) { .listener = l->config->name,
				   .client = client,
				   .helo = STR("c.example"),
				   .sender = STR("a@b.example"),
				   .sender_domain = STR("b.example"),
				   .recipient = STR("x@y"),
				   .recipient_domain = str_from(domain) };
}

static void a_snapshot_ties_listeners_and_routes_to_pools(void **state)
{
	struct fixture f = setup("{'pools': {'q': {'servers': {'s': {'address': '192.0.2.2:25'}}}},"
				 " 'routes': [{'name': 'a', 'pool': 'q', 'when': {'sender_domain': ['b.example']}},"
				 " {'name': 'b', 'action': 'reject'}]}");

	UNUSED(state);
	f.conf->revision = 7;
	struct snapshot *s = conf_snapshot(f.conf, f.registry, true);
	assert_true(s->revision == 7);
	assert_int_equal(s->n_listeners, 1);
	assert_ptr_equal(s->listeners[0].config, &f.conf->listeners[0]);
	assert_string_equal(s->listeners[0].pool->config->name, "p");
	assert_null(s->listeners[0].run);
	assert_string_equal(s->route_pools[0]->config->name, "q");
	assert_null(s->route_pools[1]);

	struct addr client;
	assert_true(addr_parse("192.0.2.9:1000", 0, &client));
	struct envelope e = envelope_to(&s->listeners[0], &client, "any.example");
	assert_int_equal(policy_route(s->policy, &e), 0);
	snapshot_unref(s);
	/* A node that only votes has the same configuration and no listener. */
	s = conf_snapshot(f.conf, f.registry, false);
	assert_int_equal(s->n_listeners, 0);
	assert_string_equal(s->route_pools[0]->config->name, "q");
	snapshot_unref(s);
	teardown(&f);
}

static void accepted_domains_are_each_listeners_own(void **state)
{
	struct fixture f =
		setup("{'domain_sets': {'d': {'*.d.example': true}}, 'listeners': {"
		      " 'l': {'direction': 'inbound', 'accepted_domains': ['a.example', '@d']},"
		      " 'none': {'bind': ['127.0.0.1:1'], 'pool': 'p', 'direction': 'inbound', 'accepted_domains': []},"
		      " 'all': {'bind': ['127.0.0.1:2'], 'pool': 'p', 'direction': 'inbound'},"
		      " 'out': {'bind': ['127.0.0.1:3'], 'pool': 'p', 'accepted_domains': ['a.example']}}}");
	static const struct {
		size_t listener;
		const char *domain;
		bool accepted;
	} cases[] = { { 0, "a.example", true },  { 0, "x.d.example", true }, { 0, "d.example", false },
		      { 0, "b.example", false }, { 1, "a.example", false },  { 2, "b.example", true },
		      { 3, "b.example", true } };
	struct snapshot *s = conf_snapshot(f.conf, f.registry, true);
	struct addr client;

	UNUSED(state);
	assert_true(addr_parse("192.0.2.9:1000", 0, &client));
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct envelope e = envelope_to(&s->listeners[cases[i].listener], &client, cases[i].domain);
		assert_int_equal(policy_route(s->accepted, &e), cases[i].accepted ? (int)cases[i].listener : -1);
	}
	snapshot_unref(s);
	teardown(&f);
}

static void snapshots_of_one_configuration_share_its_policies(void **state)
{
	struct fixture f = setup("{}");
	struct snapshot *a = conf_snapshot(f.conf, f.registry, true), *b = conf_snapshot(f.conf, f.registry, true);

	UNUSED(state);
	assert_ptr_not_equal(a, b);
	assert_ptr_equal(a->policy, b->policy);
	assert_ptr_equal(a->accepted, b->accepted);
	snapshot_unref(a);
	assert_string_equal(b->listeners[0].config->name, "l");
	snapshot_unref(b);
	teardown(&f);
}

static void a_snapshot_keeps_its_configuration(void **state)
{
	struct fixture f = setup("{}");
	struct snapshot *s = conf_snapshot(f.conf, f.registry, true);

	UNUSED(state);
	teardown(&f);
	assert_string_equal(s->listeners[0].config->name, "l");
	assert_string_equal(s->listeners[0].pool->config->name, "p");
	snapshot_unref(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_snapshot_ties_listeners_and_routes_to_pools),
		cmocka_unit_test(accepted_domains_are_each_listeners_own),
		cmocka_unit_test(snapshots_of_one_configuration_share_its_policies),
		cmocka_unit_test(a_snapshot_keeps_its_configuration),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
