/* SPDX-License-Identifier: Apache-2.0
 * The registry over changes: configurations, administration, weights, names that resolve differently.
 */
#include "tests/unit/pool/registry_fixture.h"

static void scene_with_two(struct scene *sc)
{
	scene_init(sc, NULL);
	config_add(&sc->config, "a", &sc->smtp.addr);
	config_add(&sc->config, "b", &sc->other.addr);
}

static void bring_up(struct scene *sc)
{
	scene_apply(sc, &sc->config);
	AWAIT_STATE(sc, "a", SERVER_UP);
	AWAIT_STATE(sc, "b", SERVER_UP);
}

/* A transaction on server `name`, left open. */
static struct server *open_txn(struct scene *sc, const char *name)
{
	struct pool *p = registry_view(sc->registry, "mta");
	struct pick_query q = { 0 };
	struct server *s = NULL;

	for (size_t i = 0; i < p->n_servers; i++)
		if (strcmp(p->servers[i]->name, name) != 0)
			q.tried[q.n_tried++] = p->servers[i];
	assert_int_equal(pool_pick(p, &q, &s), PICK_OK);
	assert_string_equal(s->name, name);
	pool_unref(p);
	return s;
}

/* ---- configurations ---- */

static void a_server_keeps_its_state_over_a_new_configuration(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_with_two(&sc);
	bring_up(&sc);
	struct pool *old = registry_view(sc.registry, "mta");
	config_add(&sc.next, "b", &sc.other.addr);
	config_add(&sc.next, "a", &sc.smtp.addr);
	scene_apply(&sc, &sc.next);
	struct pool *view = registry_view(sc.registry, "mta");
	assert_ptr_equal(view->servers[0], old->servers[1]);
	assert_ptr_equal(view->servers[1], old->servers[0]);
	assert_int_equal(pool_usable(view), 2);
	assert_ptr_equal(view->config, &sc.next.pool);
	assert_ptr_equal(old->config, &sc.config.pool); /* and the view of the old one lives on */
	assert_int_not_equal(sc.config.refs, 0);
	pool_unref(old);
	assert_int_equal(sc.config.refs, 0);
	pool_unref(view);
	scene_fini(&sc);
}

static void a_changed_address_is_another_server(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_init(&sc, NULL);
	config_add(&sc.config, "a", &sc.smtp.addr);
	scene_apply(&sc, &sc.config);
	AWAIT_STATE(&sc, "a", SERVER_UP);
	smtp_stop(&sc.other);
	config_add(&sc.next, "a", &sc.other.addr);
	scene_apply(&sc, &sc.next);
	struct pool *view = registry_view(sc.registry, "mta");
	assert_int_equal(view->n_servers, 1);
	assert_int_equal(server_state(view->servers[0]), SERVER_UNKNOWN);
	AWAIT(sc.loop, server_state(view->servers[0]) == SERVER_DOWN);
	AWAIT(sc.loop, scene_count(&sc) == 1);
	pool_unref(view);
	scene_fini(&sc);
}

static void a_removed_server_drains_and_is_forgotten_when_its_transactions_are_done(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_with_two(&sc);
	bring_up(&sc);
	struct pool *old = registry_view(sc.registry, "mta");
	struct server *s = open_txn(&sc, "b");
	config_add(&sc.next, "a", &sc.smtp.addr);
	scene_apply(&sc, &sc.next);
	assert_int_equal(scene_state(&sc, "b"), SERVER_DRAIN);
	assert_string_equal(scene_find(&sc, "b").info.config->name, "b");
	AWAIT(sc.loop, strstr(sc.transitions.p, "b:up>drain") != NULL);
	assert_string_equal(sc.why, "gone from the configuration");
	struct pick_query q = { .tried = { old->servers[0] }, .n_tried = 1 };
	struct server *none;
	assert_int_equal(pool_pick(old, &q, &none), PICK_NONE); /* not through an old view either */
	pool_txn_end(s);
	assert_int_equal(scene_count(&sc), 1);
	pool_unref(old);
	scene_fini(&sc);
}

static void a_removed_pool_has_no_view_and_comes_back(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_with_two(&sc);
	bring_up(&sc);
	registry_apply(sc.registry, NULL, 0, &sc.next, config_ref, config_unref);
	assert_null(registry_view(sc.registry, "mta"));
	assert_int_equal(sc.config.refs, 0);
	bring_up(&sc);
	scene_fini(&sc);
}

static void list_pool(const struct pool_config *config, unsigned waiting, void *arg)
{
	sbuf_printf(arg, "%s:%u ", config->name, waiting);
}

static void assert_pools(struct scene *sc, const char *want)
{
	struct sbuf b = { 0 };

	sbuf_puts(&b, "");
	registry_each_pool(sc->registry, list_pool, &b);
	assert_string_equal(b.p, want);
	sbuf_fini(&b);
}

static void apply_pools(struct scene *sc, const struct pool_config *const *list, size_t n)
{
	registry_apply(sc->registry, list, n, &sc->config, config_ref, config_unref);
}

static void pools_are_listed_in_the_order_of_the_configuration_in_force(void **state)
{
	UNUSED(state);
	struct scene sc;
	struct test_config *c = &sc.config;

	scene_with_two(&sc);
	struct pool_config a = c->pool, b = c->pool, z = c->pool;
	a.name = "a";
	b.name = "b";
	z.name = "z";
	assert_pools(&sc, "");
	apply_pools(&sc, (const struct pool_config *const[]) { &z, &a, &b }, 3);
	assert_pools(&sc, "z:0 a:0 b:0 ");
	/* One that is gone is not listed and found no more, though its servers still drain. */
	apply_pools(&sc, (const struct pool_config *const[]) { &b, &z }, 2);
	assert_pools(&sc, "b:0 z:0 ");
	assert_null(registry_view(sc.registry, "a"));
	apply_pools(&sc, (const struct pool_config *const[]) { &a, &b, &z }, 3);
	assert_pools(&sc, "a:0 b:0 z:0 ");
	struct pool *view = registry_view(sc.registry, "a");
	assert_string_equal(view->config->name, "a");
	pool_unref(view);
	apply_pools(&sc, NULL, 0);
	assert_pools(&sc, "");
	scene_fini(&sc);
}

static void the_pool_of_nothing_is_decided_at_once(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_init(&sc, NULL);
	registry_apply(sc.registry, NULL, 0, &sc.config, config_ref, config_unref);
	AWAIT(sc.loop, sc.n_first_rounds == 1);
	scene_fini(&sc);
}

/* ---- administration ---- */

static void drain_takes_nothing_new_and_keeps_checking(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_with_two(&sc);
	bring_up(&sc);
	assert_int_equal(registry_set_admin(sc.registry, "mta", "a", SERVER_ADMIN_DRAIN), 0);
	assert_int_equal(scene_state(&sc, "a"), SERVER_DRAIN);
	unsigned n = sc.smtp.n_connections;
	AWAIT(sc.loop, sc.smtp.n_connections > n + 1);
	assert_int_equal(registry_set_admin(sc.registry, "mta", "a", SERVER_ADMIN_READY), 0);
	assert_int_equal(scene_state(&sc, "a"), SERVER_UP);
	scene_fini(&sc);
}

static void maint_stops_checks_and_ready_starts_anew(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_with_two(&sc);
	bring_up(&sc);
	assert_int_equal(registry_set_admin(sc.registry, "mta", "a", SERVER_ADMIN_MAINT), 0);
	assert_int_equal(scene_state(&sc, "a"), SERVER_MAINT);
	AWAIT(sc.loop, sc.smtp.n_open == 0);
	unsigned n = sc.smtp.n_connections, other = sc.other.n_connections;
	AWAIT(sc.loop, sc.other.n_connections > other + 3);
	assert_int_equal(sc.smtp.n_connections, n);
	assert_int_equal(registry_set_admin(sc.registry, "mta", "a", SERVER_ADMIN_READY), 0);
	assert_int_equal(scene_state(&sc, "a"), SERVER_UNKNOWN);
	AWAIT_STATE(&sc, "a", SERVER_UP);
	scene_fini(&sc);
}

static void a_setting_for_an_unknown_name_waits_for_it(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_with_two(&sc);
	assert_int_equal(registry_set_admin(sc.registry, "mta", "b", SERVER_ADMIN_MAINT), -ENOENT);
	assert_int_equal(registry_set_weight(sc.registry, "mta", "a", 7), -ENOENT);
	scene_apply(&sc, &sc.config);
	AWAIT_STATE(&sc, "a", SERVER_UP);
	assert_int_equal(scene_state(&sc, "b"), SERVER_MAINT);
	assert_int_equal(sc.other.n_connections, 0);
	assert_int_equal(scene_find(&sc, "a").info.weight, 7);
	AWAIT(sc.loop, sc.n_first_rounds == 1); /* maintenance is a verdict */
	scene_fini(&sc);
}

static void a_weight_override_ends_when_the_configuration_sets_the_weight(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_with_two(&sc);
	bring_up(&sc);
	assert_int_equal(registry_set_weight(sc.registry, "mta", "a", 30), 0);
	assert_int_equal(registry_set_weight(sc.registry, "mta", "b", 40), 0);
	assert_int_equal(scene_find(&sc, "a").info.weight, 30);
	config_add(&sc.next, "a", &sc.smtp.addr);
	config_add(&sc.next, "b", &sc.other.addr);
	sc.next.servers[0].weight = 55;
	sc.next.servers[0].weight_set = true;
	scene_apply(&sc, &sc.next);
	assert_int_equal(scene_find(&sc, "a").info.weight, 55);
	assert_int_equal(scene_find(&sc, "a").info.weight_override, -1);
	assert_int_equal(scene_find(&sc, "b").info.weight, 40);
	assert_int_equal(sc.n_ended, 1);
	assert_int_equal(registry_set_weight(sc.registry, "mta", "a", 30), 0);
	scene_apply(&sc, &sc.next); /* the same value again is no change */
	assert_int_equal(scene_find(&sc, "a").info.weight, 30);
	assert_int_equal(registry_set_weight(sc.registry, "mta", "a", -1), 0);
	assert_int_equal(scene_find(&sc, "a").info.weight, 55);
	scene_fini(&sc);
}

static void an_override_makes_a_new_ring_where_the_balance_is_a_hash(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_with_two(&sc);
	sc.config.pool.balance = BALANCE_SOURCE;
	bring_up(&sc);
	struct pool *old = registry_view(sc.registry, "mta");
	assert_int_equal(sc.n_changes, 0);
	assert_int_equal(registry_set_weight(sc.registry, "mta", "b", 20), 0);
	AWAIT(sc.loop, sc.n_changes == 1);
	struct pool *view = registry_view(sc.registry, "mta");
	assert_ptr_not_equal(view, old);
	assert_int_equal(view->weights[1], 20);
	pool_unref(old);
	pool_unref(view);
	scene_fini(&sc);
}

static void slow_start_begins_at_a_tenth_and_grows_to_the_whole(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_with_two(&sc);
	sc.config.pool.slow_start_ms = 2500;
	bring_up(&sc); /* at process start there is none */
	assert_int_equal(scene_find(&sc, "a").info.weight, 100);
	assert_int_equal(registry_set_admin(sc.registry, "mta", "a", SERVER_ADMIN_DRAIN), 0);
	assert_int_equal(registry_set_admin(sc.registry, "mta", "a", SERVER_ADMIN_READY), 0);
	assert_int_equal(scene_state(&sc, "a"), SERVER_STARTING);
	assert_int_equal(scene_find(&sc, "a").info.weight, 10);
	AWAIT(sc.loop, scene_find(&sc, "a").info.weight > 10);
	assert_in_range(scene_find(&sc, "a").info.weight, 11, 99);
	AWAIT_STATE(&sc, "a", SERVER_UP);
	assert_int_equal(scene_find(&sc, "a").info.weight, 100);
	scene_fini(&sc);
}

static void a_server_that_was_down_starts_slowly(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_with_two(&sc);
	sc.config.pool.slow_start_ms = 600000;
	smtp_stop(&sc.smtp);
	scene_apply(&sc, &sc.config);
	AWAIT_STATE(&sc, "a", SERVER_DOWN);
	smtp_start(&sc.smtp, sc.loop);
	AWAIT_STATE(&sc, "a", SERVER_STARTING);
	assert_int_equal(scene_find(&sc, "a").info.weight, 10);
	scene_fini(&sc);
}

/* ---- ejection and the control thread ---- */

static void an_ejection_by_traffic_is_told_and_ends_by_itself(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_with_two(&sc);
	sc.config.pool.outlier.eject_ms = 50;
	bring_up(&sc);
	struct pool *p = registry_view(sc.registry, "mta");
	for (unsigned i = 0; i < 5; i++)
		server_report(p, p->servers[0], SERVER_SAW_FAULT, clock_mono_ms());
	AWAIT(sc.loop, strstr(sc.transitions.p, "a:up>ejected a:ejected>up ") != NULL);
	pool_unref(p);
	scene_fini(&sc);
}

static void the_ejected_come_back_when_the_last_usable_server_goes(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_with_two(&sc);
	bring_up(&sc);
	struct pool *p = registry_view(sc.registry, "mta");
	for (unsigned i = 0; i < 5; i++)
		server_report(p, p->servers[0], SERVER_SAW_FAULT, clock_mono_ms());
	AWAIT_STATE(&sc, "a", SERVER_EJECTED);
	smtp_stop(&sc.other);
	AWAIT_STATE(&sc, "b", SERVER_DOWN);
	AWAIT_STATE(&sc, "a", SERVER_UP);
	pool_unref(p);
	scene_fini(&sc);
}

static void set_flag(void *arg)
{
	*(bool *)arg = true;
}

static void a_server_that_comes_up_wakes_who_waits(void **state)
{
	UNUSED(state);
	bool woken = false;
	struct scene sc;

	scene_with_two(&sc);
	bring_up(&sc);
	assert_int_equal(registry_set_admin(sc.registry, "mta", "a", SERVER_ADMIN_DRAIN), 0);
	assert_int_equal(registry_set_admin(sc.registry, "mta", "b", SERVER_ADMIN_DRAIN), 0);
	AWAIT(sc.loop, strstr(sc.transitions.p, "b:up>drain") != NULL);
	struct pool *p = registry_view(sc.registry, "mta");
	struct pool_waiter w = { .loop = sc.loop, .fn = set_flag, .arg = &woken };
	pool_wait_mark(p);
	assert_true(pool_wait(p, &w));
	assert_int_equal(registry_set_admin(sc.registry, "mta", "a", SERVER_ADMIN_READY), 0);
	AWAIT(sc.loop, woken);
	pool_unref(p);
	scene_fini(&sc);
}

/* ---- names ---- */

static void scene_with_name(struct scene *sc, enum server_source source, const char *dns_name)
{
	struct server_config *c;

	scene_init(sc, NULL);
	c = config_server(&sc->config, "mta2");
	c->source = source;
	c->dns_name = dns_name;
	c->port = addr_port(&sc->smtp.addr);
}

static void set_dns(struct scene *sc, const struct dns_record *records, size_t n)
{
	sc->dns.records = records;
	sc->dns.n_records = n;
}

/* Asks again now instead of when the TTL is over: what a new configuration that asks otherwise does. */
static void look_up_again(struct scene *sc)
{
	unsigned asked = sc->dns.n_asked;

	scene_apply(sc, &sc->config);
	AWAIT(sc->loop, sc->dns.n_asked >= asked + 2);
}

static void a_name_becomes_a_server_per_address(void **state)
{
	UNUSED(state);
	const struct dns_record records[] = { { "mta.test", DNS_A, 60, "127.0.0.1", 0, 0, 0, 0 },
					      { "mta.test", DNS_A, 60, "127.0.0.2", 0, 0, 0, 0 } };
	char name[64];
	struct scene sc;

	scene_with_name(&sc, SERVER_FROM_DNS, "mta.test");
	set_dns(&sc, records, ARRAY_LEN(records));
	scene_apply(&sc, &sc.config);
	AWAIT(sc.loop, sc.n_first_rounds == 1);
	assert_int_equal(sc.n_changes, 1);
	assert_int_equal(scene_count(&sc), 2);
	snprintf(name, sizeof(name), "mta2@127.0.0.1:%u", addr_port(&sc.smtp.addr));
	assert_int_equal(scene_state(&sc, name), SERVER_UP);
	assert_int_equal(registry_set_admin(sc.registry, "mta", "mta2", SERVER_ADMIN_DRAIN), 0);
	assert_int_equal(scene_state(&sc, name), SERVER_DRAIN);
	assert_int_equal(registry_set_admin(sc.registry, "mta", "mta2", SERVER_ADMIN_READY), 0);
	assert_int_equal(registry_set_admin(sc.registry, "mta", name, SERVER_ADMIN_MAINT), 0);
	assert_int_equal(scene_state(&sc, name), SERVER_MAINT);
	assert_int_equal(registry_set_admin(sc.registry, "mta", "mta2", SERVER_ADMIN_DRAIN), 0);
	assert_int_equal(scene_state(&sc, name), SERVER_MAINT); /* the stricter one */
	scene_fini(&sc);
}

static void note_unresolved(const char *server, const char *dns_name, const char *why, void *arg)
{
	assert_true(why[0] != '\0');
	snprintf(arg, 64, "%s %s", server, dns_name);
}

static void a_name_without_an_address_is_listed_until_it_has_one(void **state)
{
	UNUSED(state);
	const struct dns_record records[] = { { "mta.test", DNS_A, 60, "127.0.0.1", 0, 0, 0, 0 } };
	char said[64] = "";
	struct scene sc;

	scene_with_name(&sc, SERVER_FROM_DNS, "mta.test");
	config_add(&sc.config, "fixed", &sc.smtp.addr);
	scene_apply(&sc, &sc.config);
	AWAIT(sc.loop, metrics_value(metrics_series(METRIC_RESOLVER_FAILURES_TOTAL, NULL)) > 0);
	registry_each_unresolved(sc.registry, "mta", note_unresolved, said);
	assert_string_equal(said, "mta2 mta.test");
	set_dns(&sc, records, ARRAY_LEN(records));
	look_up_again(&sc);
	AWAIT(sc.loop, scene_count(&sc) == 2);
	said[0] = '\0';
	registry_each_unresolved(sc.registry, "mta", note_unresolved, said);
	assert_string_equal(said, "");
	scene_fini(&sc);
}

static void a_vanished_address_drains_and_a_failed_look_up_changes_nothing(void **state)
{
	UNUSED(state);
	const struct dns_record both[] = { { "mta.test", DNS_A, 60, "127.0.0.1", 0, 0, 0, 0 },
					   { "mta.test", DNS_A, 60, "127.0.0.2", 0, 0, 0, 0 } };
	const struct dns_record broken[] = { { .name = "mta.test", .type = DNS_A, .rcode = 2 },
					     { .name = "mta.test", .type = DNS_AAAA, .rcode = 2 } };
	char name[64];
	struct scene sc;

	scene_with_name(&sc, SERVER_FROM_DNS, "mta.test");
	snprintf(name, sizeof(name), "mta2@127.0.0.1:%u", addr_port(&sc.smtp.addr));
	set_dns(&sc, both, 2);
	scene_apply(&sc, &sc.config);
	AWAIT_STATE(&sc, name, SERVER_UP);
	set_dns(&sc, broken, 2);
	look_up_again(&sc);
	AWAIT(sc.loop, metrics_value(metrics_series(METRIC_RESOLVER_FAILURES_TOTAL, NULL)) > 0);
	assert_int_equal(scene_count(&sc), 2);
	struct server *s = open_txn(&sc, name);
	set_dns(&sc, both + 1, 1);
	look_up_again(&sc);
	AWAIT_STATE(&sc, name, SERVER_DRAIN);
	assert_string_equal(scene_find(&sc, name).info.config->name, "mta2");
	struct pool *p = registry_view(sc.registry, "mta");
	assert_int_equal(p->n_servers, 1);
	pool_unref(p);
	pool_txn_end(s);
	assert_int_equal(scene_state(&sc, name), SERVER_STATE_COUNT); /* forgotten */
	set_dns(&sc, both, 2);
	look_up_again(&sc);
	AWAIT_STATE(&sc, name, SERVER_UP); /* and welcome again */
	scene_fini(&sc);
}

/* Applies a configuration in which server "mta2" is `dns_name`. */
static void rename_to(struct scene *sc, struct test_config *c, const char *dns_name)
{
	*c = (struct test_config) { 0 };
	config_init(c);
	struct server_config *d = config_server(c, "mta2");
	d->source = SERVER_FROM_DNS;
	d->dns_name = dns_name;
	d->port = addr_port(&sc->smtp.addr);
	scene_apply(sc, c);
}

static size_t servers_in_view(struct scene *sc)
{
	struct pool *view = registry_view(sc->registry, "mta");
	size_t n = view->n_servers;

	pool_unref(view);
	return n;
}

static void addresses_of_the_old_name_end_with_the_new_names_first_answer(void **state)
{
	UNUSED(state);
	const struct dns_record records[] = { { "mta.test", DNS_A, 60, "127.0.0.1", 0, 0, 0, 0 },
					      { .name = "wrong.test", .type = DNS_A, .rcode = 2 },
					      { .name = "wrong.test", .type = DNS_AAAA, .rcode = 2 } };
	struct scene sc;

	scene_with_name(&sc, SERVER_FROM_DNS, "mta.test");
	set_dns(&sc, records, ARRAY_LEN(records));
	scene_apply(&sc, &sc.config);
	AWAIT(sc.loop, servers_in_view(&sc) == 1);
	rename_to(&sc, &sc.next, "wrong.test");
	assert_int_equal(servers_in_view(&sc), 1); /* until there is an answer */
	AWAIT(sc.loop, servers_in_view(&sc) == 0);
	AWAIT(sc.loop, sc.config.refs == 0);
	rename_to(&sc, &sc.config, "mta.test");
	AWAIT(sc.loop, servers_in_view(&sc) == 1);
	scene_fini(&sc);
}

static void an_incomplete_answer_keeps_no_address_of_the_old_name(void **state)
{
	UNUSED(state);
	const struct dns_record records[] = { { "mta.test", DNS_A, 60, "127.0.0.1", 0, 0, 0, 0 },
					      { "new.test", DNS_A, 60, "127.0.0.2", 0, 0, 0, 0 },
					      { .name = "new.test", .type = DNS_AAAA, .rcode = 2 } };
	struct scene sc;

	scene_with_name(&sc, SERVER_FROM_DNS, "mta.test");
	set_dns(&sc, records, ARRAY_LEN(records));
	scene_apply(&sc, &sc.config);
	AWAIT(sc.loop, servers_in_view(&sc) == 1);
	rename_to(&sc, &sc.next, "new.test");
	AWAIT(sc.loop, sc.config.refs == 0);
	char name[ADDR_TEXT_MAX + 8], text[ADDR_TEXT_MAX];
	struct addr at;
	assert_true(addr_parse_ip("127.0.0.2", &at));
	addr_set_port(&at, addr_port(&sc.smtp.addr));
	snprintf(name, sizeof(name), "mta2@%s", addr_format(&at, text));
	AWAIT(sc.loop, scene_find(&sc, name).found);
	assert_int_equal(servers_in_view(&sc), 1);
	scene_fini(&sc);
}

static void srv_priority_adds_and_srv_weight_scales(void **state)
{
	UNUSED(state);
	struct dns_record records[] = {
		{ "_smtp._tcp.test", DNS_SRV, 60, "one.test", 10, 30, 1, 0 },
		{ "_smtp._tcp.test", DNS_SRV, 60, "two.test", 20, 60, 1, 0 },
		{ "_smtp._tcp.test", DNS_SRV, 60, "three.test", 20, 0, 1, 0 },
		{ "one.test", DNS_A, 60, "127.0.0.1", 0, 0, 0, 0 },
		{ "two.test", DNS_A, 60, "127.0.0.2", 0, 0, 0, 0 },
		{ "three.test", DNS_A, 60, "127.0.0.3", 0, 0, 0, 0 },
	};
	struct scene sc;

	scene_with_name(&sc, SERVER_FROM_SRV, "_smtp._tcp.test");
	sc.config.servers[0].priority = 2;
	set_dns(&sc, records, ARRAY_LEN(records));
	scene_apply(&sc, &sc.config);
	AWAIT(sc.loop, scene_count(&sc) == 3);
	struct found one = scene_find(&sc, "mta2@127.0.0.1:1"), two = scene_find(&sc, "mta2@127.0.0.2:1"),
		     three = scene_find(&sc, "mta2@127.0.0.3:1");
	assert_int_equal(one.info.priority, 12);
	assert_int_equal(two.info.priority, 22);
	assert_int_equal(one.info.weight, 50);
	assert_int_equal(two.info.weight, 100);
	assert_int_equal(three.info.weight, 1);
	scene_fini(&sc);
}

/* ---- memory over restarts ---- */

static void capabilities_survive_a_restart_without_the_server(void **state)
{
	UNUSED(state);
	char file[] = "/tmp/postroad-learned-XXXXXX";
	struct pool_caps caps;
	struct scene sc;

	close(mkstemp(file)); /* empty: a file that cannot be read is started anew */
	scene_init(&sc, file);
	config_add(&sc.config, "a", &sc.smtp.addr);
	scene_apply(&sc, &sc.config);
	AWAIT_STATE(&sc, "a", SERVER_UP);
	registry_free(sc.registry);
	smtp_stop(&sc.smtp);
	scene_open_registry(&sc, file);
	scene_apply(&sc, &sc.config);
	struct pool *p = registry_view(sc.registry, "mta");
	pool_caps(p, &caps);
	assert_true(caps.known);
	assert_int_equal(caps.exts, SMTP_EXT_PIPELINING | SMTP_EXT_SIZE | SMTP_EXT_8BITMIME);
	assert_int_equal(caps.size, 1000000);
	AWAIT_STATE(&sc, "a", SERVER_DOWN);
	pool_caps(p, &caps);
	assert_int_equal(caps.exts, SMTP_EXT_PIPELINING | SMTP_EXT_SIZE | SMTP_EXT_8BITMIME);
	pool_unref(p);
	scene_fini(&sc);
	unlink(file);
}

/* ---- metrics ---- */

static bool rendered(const char *line)
{
	struct sbuf out = { 0 };

	metrics_render(&out, false);
	bool found = strstr(out.p, line) != NULL;
	sbuf_fini(&out);
	return found;
}

static void series_come_with_a_server_and_go_with_it(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_with_two(&sc);
	sc.config.servers[0].max_connections = 42;
	scene_apply(&sc, &sc.config);
	assert_true(rendered("postroad_server_state{pool=\"mta\",server=\"a\",state=\"unknown\"} 1"));
	assert_true(rendered("postroad_server_up{pool=\"mta\",server=\"a\"} 0"));
	assert_true(rendered("postroad_server_max_connections{pool=\"mta\",server=\"a\"} 42"));
	assert_true(rendered("postroad_replies_total{pool=\"mta\",server=\"a\",stage=\"dot\",class=\"2\"} 0"));
	assert_true(rendered("postroad_retries_total{pool=\"mta\",stage=\"mail\",result=\"succeeded\"} 0"));
	assert_true(rendered("postroad_pool_queue{pool=\"mta\"} 0"));
	AWAIT_STATE(&sc, "a", SERVER_UP);
	AWAIT(sc.loop, rendered("postroad_server_transitions_total{pool=\"mta\",server=\"a\",to=\"up\"} "));
	assert_true(rendered("postroad_server_up{pool=\"mta\",server=\"a\"} 1"));
	config_add(&sc.next, "b", &sc.other.addr);
	config_add(&sc.next, "a", &sc.other.addr); /* the same name elsewhere */
	scene_apply(&sc, &sc.next);
	AWAIT(sc.loop, scene_count(&sc) == 2);
	assert_true(rendered("postroad_server_up{pool=\"mta\",server=\"a\"} "));
	sc.config.pool.n_servers = 1;
	config_init(&sc.config);
	config_add(&sc.config, "b", &sc.other.addr);
	scene_apply(&sc, &sc.config);
	AWAIT(sc.loop, !rendered("postroad_server_up{pool=\"mta\",server=\"a\"} "));
	scene_fini(&sc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_server_keeps_its_state_over_a_new_configuration),
		cmocka_unit_test(a_changed_address_is_another_server),
		cmocka_unit_test(a_removed_server_drains_and_is_forgotten_when_its_transactions_are_done),
		cmocka_unit_test(a_removed_pool_has_no_view_and_comes_back),
		cmocka_unit_test(pools_are_listed_in_the_order_of_the_configuration_in_force),
		cmocka_unit_test(the_pool_of_nothing_is_decided_at_once),
		cmocka_unit_test(drain_takes_nothing_new_and_keeps_checking),
		cmocka_unit_test(maint_stops_checks_and_ready_starts_anew),
		cmocka_unit_test(a_setting_for_an_unknown_name_waits_for_it),
		cmocka_unit_test(a_weight_override_ends_when_the_configuration_sets_the_weight),
		cmocka_unit_test(an_override_makes_a_new_ring_where_the_balance_is_a_hash),
		cmocka_unit_test(slow_start_begins_at_a_tenth_and_grows_to_the_whole),
		cmocka_unit_test(a_server_that_was_down_starts_slowly),
		cmocka_unit_test(an_ejection_by_traffic_is_told_and_ends_by_itself),
		cmocka_unit_test(the_ejected_come_back_when_the_last_usable_server_goes),
		cmocka_unit_test(a_server_that_comes_up_wakes_who_waits),
		cmocka_unit_test(a_name_becomes_a_server_per_address),
		cmocka_unit_test(a_name_without_an_address_is_listed_until_it_has_one),
		cmocka_unit_test(a_vanished_address_drains_and_a_failed_look_up_changes_nothing),
		cmocka_unit_test(addresses_of_the_old_name_end_with_the_new_names_first_answer),
		cmocka_unit_test(an_incomplete_answer_keeps_no_address_of_the_old_name),
		cmocka_unit_test(srv_priority_adds_and_srv_weight_scales),
		cmocka_unit_test(capabilities_survive_a_restart_without_the_server),
		cmocka_unit_test(series_come_with_a_server_and_go_with_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
