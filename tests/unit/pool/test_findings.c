/* SPDX-License-Identifier: Apache-2.0
 * What checks find beside up and down: told when it begins and ends, never twice; and the question whether a server
 * relays.
 */
#include "tests/unit/pool/registry_fixture.h"

static struct sbuf found; /* "+relay " began or changed, "-relay " ended */

static void on_finding(const struct server *s, enum server_finding what, const char *text, void *arg)
{
	UNUSED(arg);
	assert_string_equal(s->name, "a");
	sbuf_printf(&found, "%c%s ", text != NULL ? '+' : '-', server_finding_names[what]);
}

static void scene_with_one(struct scene *sc)
{
	scene_init(sc, NULL);
	sc->hooks.on_finding = on_finding;
	registry_free(sc->registry);
	scene_open_registry(sc, NULL);
	config_add(&sc->config, "a", &sc->smtp.addr);
	sc->config.pool.health.interval_ms = 60000;
	sc->config.pool.health.relay_check = true;
	sc->config.pool.inbound = "listener in";
	sbuf_reset(&found);
	sbuf_puts(&found, "");
}

static void whether_it_relays_is_asked_behind_the_check_itself(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_with_one(&sc);
	sc.config.pool.health.mail_from = "";
	sc.config.pool.health.rcpt_to = "postmaster@test";
	scene_apply(&sc, &sc.config);
	AWAIT_STATE(&sc, "a", SERVER_UP);
	AWAIT(sc.loop, sc.smtp.n_open == 0);
	assert_string_equal(sc.smtp.heard.p, "EHLO MAIL RCPT RSET MAIL RCPT RSET QUIT");
	assert_false(sc.smtp.jumped);
	assert_string_equal(found.p, "+relay ");
	scene_fini(&sc);
	assert_string_equal(found.p, "+relay -relay ");
}

static void a_server_that_never_answers_it_is_up_all_the_same(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_with_one(&sc);
	sc.config.pool.health.timeout_ms = 200;
	sc.smtp.script.rcpt = NULL;
	scene_apply(&sc, &sc.config);
	AWAIT_STATE(&sc, "a", SERVER_UP);
	AWAIT(sc.loop, sc.smtp.n_open == 0);
	assert_string_equal(sc.smtp.heard.p, "EHLO MAIL RCPT");
	assert_string_equal(sc.transitions.p, "a:unknown>up ");
	assert_string_equal(found.p, "");
	scene_fini(&sc);
}

static void it_is_asked_once_and_again_for_a_pool_that_changed(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_with_one(&sc);
	sc.config.pool.health.interval_ms = 20;
	sc.smtp.script.rcpt = "554 5.7.1 no\r\n";
	scene_apply(&sc, &sc.config);
	AWAIT(sc.loop, sc.smtp.n_connections > 4);
	assert_null(strstr(strstr(sc.smtp.heard.p, "RCPT") + 1, "RCPT"));
	sc.next.pool = sc.config.pool;
	scene_apply(&sc, &sc.next);
	unsigned n = sc.smtp.n_connections;
	AWAIT(sc.loop, sc.smtp.n_connections > n + 4);
	assert_null(strstr(strstr(sc.smtp.heard.p, "RCPT") + 1, "RCPT"));
	sc.config.pool.inbound = "listener other";
	sc.smtp.script.rcpt = well_behaved.rcpt;
	scene_apply(&sc, &sc.config);
	AWAIT(sc.loop, strcmp(found.p, "+relay ") == 0);
	scene_fini(&sc);
}

static void what_it_said_ends_with_the_question(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_with_one(&sc);
	scene_apply(&sc, &sc.config);
	AWAIT(sc.loop, strcmp(found.p, "+relay ") == 0);
	sc.next.pool = sc.config.pool;
	sc.next.pool.inbound = NULL;
	scene_apply(&sc, &sc.next);
	assert_string_equal(found.p, "+relay -relay ");
	scene_fini(&sc);
	assert_string_equal(found.p, "+relay -relay ");
}

static void silence_is_told_once_and_only_of_servers_that_never_greeted(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_with_one(&sc);
	sc.config.pool.inbound = NULL;
	sc.config.pool.health.interval_ms = 20;
	sc.smtp.script.banner = "";
	scene_apply(&sc, &sc.config);
	AWAIT(sc.loop, sc.smtp.n_connections > 3);
	assert_string_equal(found.p, "+banner ");
	sc.smtp.script.banner = well_behaved.banner;
	AWAIT_STATE(&sc, "a", SERVER_UP);
	assert_string_equal(found.p, "+banner -banner ");
	sc.smtp.script.banner = "";
	AWAIT_STATE(&sc, "a", SERVER_DOWN);
	assert_string_equal(found.p, "+banner -banner ");
	scene_fini(&sc);
}

static int forget(void **state)
{
	UNUSED(state);
	sbuf_fini(&found);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whether_it_relays_is_asked_behind_the_check_itself),
		cmocka_unit_test(a_server_that_never_answers_it_is_up_all_the_same),
		cmocka_unit_test(it_is_asked_once_and_again_for_a_pool_that_changed),
		cmocka_unit_test(what_it_said_ends_with_the_question),
		cmocka_unit_test(silence_is_told_once_and_only_of_servers_that_never_greeted),
	};

	return cmocka_run_group_tests(tests, NULL, forget);
}
