/* SPDX-License-Identifier: Apache-2.0
 * Health checks against scripted servers: what is said, what each answer means, rise and fall.
 */
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "tests/unit/pool/registry_fixture.h"

static void scene_with_one(struct scene *sc)
{
	scene_init(sc, NULL);
	config_add(&sc->config, "a", &sc->smtp.addr);
}

static void a_check_is_lock_step_and_ends_with_quit(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_with_one(&sc);
	sc.config.pool.health.interval_ms = 60000;
	sc.config.pool.health.mail_from = "";
	sc.config.pool.health.rcpt_to = "postmaster@test";
	scene_apply(&sc, &sc.config);
	AWAIT_STATE(&sc, "a", SERVER_UP);
	AWAIT(sc.loop, sc.smtp.n_open == 0);
	assert_string_equal(sc.smtp.heard.p, "EHLO MAIL RCPT RSET QUIT");
	assert_false(sc.smtp.jumped);
	assert_string_equal(sc.transitions.p, "a:unknown>up ");
	assert_string_equal(scene_find(&sc, "a").last_check, "250 ok");
	scene_fini(&sc);
}

static void the_first_check_decides_and_the_first_round_is_told_once(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_with_one(&sc);
	config_add(&sc.config, "b", &sc.other.addr);
	smtp_stop(&sc.other);
	scene_apply(&sc, &sc.config);
	assert_int_equal(sc.n_first_rounds, 0); /* never from inside the call */
	AWAIT(sc.loop, sc.n_first_rounds == 1);
	assert_int_equal(scene_state(&sc, "a"), SERVER_UP);
	assert_int_equal(scene_state(&sc, "b"), SERVER_DOWN);
	assert_non_null(strstr(scene_find(&sc, "b").last_check, "refused"));
	unsigned n = sc.smtp.n_connections;
	AWAIT(sc.loop, sc.smtp.n_connections > n + 2);
	assert_int_equal(sc.n_first_rounds, 1);
	scene_fini(&sc);
}

static void it_takes_fall_bad_checks_to_go_down_and_rise_good_ones_to_come_back(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_with_one(&sc);
	scene_apply(&sc, &sc.config);
	AWAIT_STATE(&sc, "a", SERVER_UP);
	sc.smtp.script.banner = "554 5.3.2 no\r\n";
	AWAIT(sc.loop, sc.smtp.n_open == 0);
	sc.smtp.n_connections = 1;
	AWAIT_STATE(&sc, "a", SERVER_DOWN);
	assert_int_equal(sc.smtp.n_connections, 4);
	assert_string_equal(sc.why, "554 5.3.2 no (banner)");
	sc.smtp.script.banner = well_behaved.banner;
	sc.smtp.n_connections = 1;
	AWAIT_STATE(&sc, "a", SERVER_UP);
	assert_int_equal(sc.smtp.n_connections, 3);
	assert_string_equal(sc.transitions.p, "a:unknown>up a:up>down a:down>up ");
	scene_fini(&sc);
}

static void an_answer_of_4xx_is_busy_not_dead(void **state)
{
	UNUSED(state);
	static const char *const busy = "452 4.3.1 insufficient storage\r\n";
	struct scene sc;

	scene_with_one(&sc);
	sc.config.pool.health.mail_from = "probe@test";
	sc.smtp.script.mail = busy;
	scene_apply(&sc, &sc.config);
	AWAIT_STATE(&sc, "a", SERVER_BUSY);
	assert_true(scene_find(&sc, "a").info.busy_until_wall > 0);
	unsigned n = sc.smtp.n_connections;
	AWAIT(sc.loop, sc.smtp.n_connections > n + 5); /* far more than `fall` */
	assert_int_equal(scene_state(&sc, "a"), SERVER_BUSY);
	assert_string_equal(scene_find(&sc, "a").last_check, "452 4.3.1 insufficient storage (MAIL)");
	scene_fini(&sc);
}

static void a_421_banner_is_busy_and_the_hold_ends(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_with_one(&sc);
	sc.config.pool.outlier.busy_ms = 50;
	sc.smtp.script.banner = "421 4.3.2 too many connections\r\n";
	scene_apply(&sc, &sc.config);
	AWAIT_STATE(&sc, "a", SERVER_BUSY);
	assert_string_equal(sc.transitions.p, "a:unknown>busy ");
	sc.smtp.script.banner = well_behaved.banner;
	AWAIT_STATE(&sc, "a", SERVER_UP);
	scene_fini(&sc);
}

static void a_server_never_seen_well_is_unknown_again_when_its_hold_ends(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_with_one(&sc);
	sc.config.pool.outlier.busy_ms = sc.config.pool.outlier.busy_max_ms = 60;
	sc.smtp.script.banner = "421 4.3.2 too many connections\r\n";
	scene_apply(&sc, &sc.config);
	AWAIT(sc.loop, strstr(sc.transitions.p, "a:busy>unknown a:unknown>busy a:busy>unknown ") != NULL);
	assert_null(strstr(sc.transitions.p, ">up"));
	assert_string_equal(sc.why, "no good check yet");
	AWAIT(sc.loop, sc.n_first_rounds == 1);
	sc.smtp.script.banner = well_behaved.banner;
	AWAIT_STATE(&sc, "a", SERVER_UP);
	sbuf_reset(&sc.transitions);
	sc.smtp.script.banner = "421 4.3.2 too many connections\r\n";
	AWAIT(sc.loop, strstr(sc.transitions.p, "a:busy>up ") != NULL);
	assert_null(strstr(sc.transitions.p, "unknown"));
	scene_fini(&sc);
}

static void without_holds_a_busy_answer_brings_nobody_up(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_with_one(&sc);
	sc.config.pool.outlier.busy_ms = 0;
	sc.smtp.script.banner = "421 4.3.2 too many connections\r\n";
	scene_apply(&sc, &sc.config);
	AWAIT(sc.loop, sc.n_first_rounds == 1 && sc.smtp.n_connections > 5);
	assert_string_equal(sc.transitions.p, "");
	sc.smtp.script.banner = well_behaved.banner;
	AWAIT_STATE(&sc, "a", SERVER_UP);
	scene_fini(&sc);
}

static void count_line(enum log_level level, const char *line, void *arg)
{
	unsigned *n = arg;

	UNUSED(level);
	*n += strstr(line, "event=connect") != NULL;
}

/* Lets no more descriptors be opened; what was allowed before. */
static struct rlimit exhaust(void)
{
	struct rlimit before, none;
	int next = dup(0);

	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = (rlim_t)next;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	return before;
}

static void a_lack_of_descriptors_is_no_verdict_and_told_once(void **state)
{
	UNUSED(state);
	unsigned n_lines = 0;
	struct scene sc;

	scene_with_one(&sc);
	scene_apply(&sc, &sc.config);
	AWAIT_STATE(&sc, "a", SERVER_UP);
	AWAIT(sc.loop, sc.smtp.n_open == 0);
	log_capture(count_line, &n_lines);
	struct rlimit before = exhaust();
	for (unsigned i = 0; i < 2 * sc.config.pool.health.fall; i++) {
		double last = scene_find(&sc, "a").info.last_check_wall;
		AWAIT(sc.loop, scene_find(&sc, "a").info.last_check_wall != last);
		assert_string_equal(scene_find(&sc, "a").last_check, "not checked: Too many open files (connect)");
	}
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	log_capture(NULL, NULL);
	assert_string_equal(sc.transitions.p, "a:unknown>up ");
	assert_int_equal(n_lines, 1);
	AWAIT(sc.loop, strcmp(scene_find(&sc, "a").last_check, "250 ok") == 0);
	scene_fini(&sc);
}

static void greylisting_of_the_probe_is_no_failure(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_with_one(&sc);
	sc.config.pool.health.interval_ms = 60000;
	sc.config.pool.health.mail_from = "probe@test";
	sc.config.pool.health.rcpt_to = "probe@test";
	sc.smtp.script.rcpt = "450 4.7.1 greylisted\r\n";
	scene_apply(&sc, &sc.config);
	AWAIT_STATE(&sc, "a", SERVER_UP);
	AWAIT(sc.loop, sc.smtp.n_open == 0);
	assert_string_equal(sc.smtp.heard.p, "EHLO MAIL RCPT RSET QUIT");
	scene_fini(&sc);
}

static void a_server_without_ehlo_is_greeted_with_helo(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_with_one(&sc);
	sc.config.pool.health.interval_ms = 60000;
	sc.smtp.script.ehlo = "502 5.5.1 what\r\n";
	scene_apply(&sc, &sc.config);
	AWAIT_STATE(&sc, "a", SERVER_UP);
	AWAIT(sc.loop, sc.smtp.n_open == 0);
	assert_string_equal(sc.smtp.heard.p, "EHLO HELO QUIT");
	struct pool *p = registry_view(sc.registry, "mta");
	struct pool_caps caps;
	pool_caps(p, &caps);
	assert_true(caps.known);
	assert_int_equal(caps.exts, 0);
	pool_unref(p);
	scene_fini(&sc);
}

/* Each row: one thing said wrongly, and what is written down about it. */
static void what_is_not_smtp_is_a_failure(void **state)
{
	UNUSED(state);
	const struct {
		const char *banner, *ehlo, *want;
	} rows[] = {
		{ "HTTP/1.1 400 Bad Request\r\n", NULL, "(banner)" },
		{ "220 a\r\n220 b\r\n", NULL, "a reply to nothing (banner)" },
		{ "", NULL, "closed by the server (banner)" },
		{ "220 ok\r\n", "", "closed by the server (EHLO)" },
		{ "220 ok\r\n", "250-a\r\n550 b\r\n", "(EHLO)" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct scene sc;
		scene_with_one(&sc);
		sc.smtp.script.banner = rows[i].banner;
		sc.smtp.script.ehlo = rows[i].ehlo;
		scene_apply(&sc, &sc.config);
		AWAIT_STATE(&sc, "a", SERVER_DOWN);
		if (strstr(sc.why, rows[i].want) == NULL)
			fail_msg("row %zu: %s", i, sc.why);
		scene_fini(&sc);
	}
}

static void silence_is_a_failure_at_the_deadline(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_with_one(&sc);
	sc.config.pool.health.timeout_ms = 100;
	sc.smtp.script.ehlo = NULL;
	scene_apply(&sc, &sc.config);
	AWAIT_STATE(&sc, "a", SERVER_DOWN);
	assert_string_equal(sc.why, "no answer in time (EHLO)");
	scene_fini(&sc);
}

static void a_server_that_does_not_answer_quit_is_up_all_the_same(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_with_one(&sc);
	sc.smtp.script.quit = NULL;
	scene_apply(&sc, &sc.config);
	AWAIT_STATE(&sc, "a", SERVER_UP);
	AWAIT(sc.loop, sc.smtp.n_connections >= 3); /* and the next checks come */
	assert_int_equal(scene_state(&sc, "a"), SERVER_UP);
	scene_fini(&sc);
}

static void a_tcp_check_needs_a_connection_only_and_still_learns(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_with_one(&sc);
	sc.config.pool.health.type = HEALTH_TCP;
	sc.smtp.script.banner = NULL;
	scene_apply(&sc, &sc.config);
	AWAIT_STATE(&sc, "a", SERVER_UP);
	AWAIT(sc.loop, sc.smtp.n_connections >= 5);
	assert_int_equal(scene_state(&sc, "a"), SERVER_UP);
	assert_in_range(sc.smtp.n_open, 1, 2); /* silent ones do not pile up */
	scene_fini(&sc);

	scene_with_one(&sc);
	sc.config.pool.health.type = HEALTH_TCP;
	scene_apply(&sc, &sc.config);
	struct pool *p = registry_view(sc.registry, "mta");
	AWAIT(sc.loop, atomic_load(&p->servers[0]->caps_known));
	assert_int_equal(atomic_load(&p->servers[0]->size), 1000000);
	pool_unref(p);
	smtp_stop(&sc.smtp);
	AWAIT_STATE(&sc, "a", SERVER_DOWN);
	scene_fini(&sc);
}

static void without_checks_a_server_is_up_whatever_the_probe_finds(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_with_one(&sc);
	sc.config.pool.health.type = HEALTH_NONE;
	smtp_stop(&sc.smtp);
	scene_apply(&sc, &sc.config);
	AWAIT_STATE(&sc, "a", SERVER_UP);
	AWAIT(sc.loop, scene_find(&sc, "a").last_check[0] != '\0');
	assert_non_null(strstr(scene_find(&sc, "a").last_check, "refused"));
	assert_int_equal(scene_state(&sc, "a"), SERVER_UP);
	scene_fini(&sc);
}

static void our_own_listener_is_never_connected_to(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_with_one(&sc);
	sc.is_own = true;
	scene_apply(&sc, &sc.config);
	AWAIT_STATE(&sc, "a", SERVER_DOWN);
	assert_string_equal(sc.why, "would loop to our own listener");
	assert_int_equal(sc.smtp.n_connections, 0);
	sc.is_own = false;
	AWAIT_STATE(&sc, "a", SERVER_UP);
	scene_fini(&sc);
}

static void a_server_that_is_down_is_checked_at_once_when_its_pool_is_written_anew(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_with_one(&sc);
	sc.config.pool.health.down_interval_ms = 3600000;
	sc.smtp.script.banner = "554 5.3.2 no\r\n";
	scene_apply(&sc, &sc.config);
	AWAIT_STATE(&sc, "a", SERVER_DOWN);
	AWAIT(sc.loop, sc.smtp.n_open == 0);
	sc.smtp.script.banner = well_behaved.banner;
	scene_apply(&sc, &sc.config);
	AWAIT_STATE(&sc, "a", SERVER_UP);
	scene_fini(&sc);
}

static void checks_come_from_the_configured_source(void **state)
{
	UNUSED(state);
	struct scene sc;

	scene_with_one(&sc);
	assert_true(addr_parse_ip("192.0.2.77", &sc.config.pool.source_v4)); /* not ours: binding to it must fail */
	scene_apply(&sc, &sc.config);
	AWAIT_STATE(&sc, "a", SERVER_DOWN);
	assert_int_equal(sc.smtp.n_connections, 0);
	scene_fini(&sc);
}

/* ---- the word of other nodes ---- */

static bool others_say_yes(const struct server *s, void *arg)
{
	++*(unsigned *)arg;
	return strcmp(s->pool, "mta") == 0;
}

static bool others_say_no(const struct server *s, void *arg)
{
	UNUSED(s);
	++*(unsigned *)arg;
	return false;
}

/* A server that takes the connection and never says a word: its check is under way for as long as a test needs. */
static void scene_with_a_silent_one(struct scene *sc)
{
	scene_with_one(sc);
	sc->smtp.script.banner = NULL;
	scene_apply(sc, &sc->config);
	AWAIT(sc->loop, sc->smtp.n_open == 1);
	assert_int_equal(scene_state(sc, "a"), SERVER_UNKNOWN);
}

static void a_server_not_checked_yet_is_used_when_others_can(void **state)
{
	UNUSED(state);
	struct scene sc;
	unsigned asked = 0;

	scene_with_a_silent_one(&sc);
	assert_int_equal(registry_borrow(sc.registry, others_say_no, &asked), 0);
	assert_int_equal(scene_state(&sc, "a"), SERVER_UNKNOWN);
	assert_int_equal(registry_borrow(sc.registry, others_say_yes, &asked), 1);
	assert_int_equal(scene_state(&sc, "a"), SERVER_UP);
	assert_true(scene_find(&sc, "a").info.borrowed);
	AWAIT_STATE(&sc, "a", SERVER_UP);
	assert_string_equal(sc.transitions.p, "a:unknown>up ");
	assert_string_equal(sc.why, "other nodes can use it; not checked here yet");
	assert_int_equal(asked, 2);
	assert_int_equal(registry_borrow(sc.registry, others_say_yes, &asked), 0);
	assert_int_equal(asked, 2);             /* once is enough */
	assert_int_equal(sc.n_first_rounds, 0); /* nobody knows what it can do */
	scene_fini(&sc);
}

static void the_word_of_others_ends_the_first_round_where_capabilities_are_known(void **state)
{
	UNUSED(state);
	struct scene sc;
	unsigned asked = 0;

	scene_with_a_silent_one(&sc);
	assert_int_equal(registry_borrow(sc.registry, others_say_yes, &asked), 1);
	struct pool *view = registry_view(sc.registry, "mta");
	server_learn(view->servers[0], 0, 0);
	pool_unref(view);
	AWAIT(sc.loop, sc.n_first_rounds == 1);
	assert_true(scene_find(&sc, "a").info.borrowed);
	scene_fini(&sc);
}

static void the_first_own_check_ends_the_word_of_others(void **state)
{
	UNUSED(state);
	struct scene sc;
	unsigned asked = 0;

	scene_with_one(&sc);
	smtp_stop(&sc.smtp);
	scene_apply(&sc, &sc.config);
	assert_int_equal(registry_borrow(sc.registry, others_say_yes, &asked), 1);
	AWAIT_STATE(&sc, "a", SERVER_DOWN); /* at once, whatever `fall` is */
	assert_int_equal(registry_borrow(sc.registry, others_say_yes, &asked), 0);
	scene_fini(&sc);
}

static void a_good_first_check_makes_the_word_of_others_its_own(void **state)
{
	UNUSED(state);
	struct scene sc;
	unsigned asked = 0;

	scene_with_one(&sc);
	scene_apply(&sc, &sc.config);
	assert_int_equal(registry_borrow(sc.registry, others_say_yes, &asked), 1);
	AWAIT(sc.loop, !scene_find(&sc, "a").info.borrowed);
	AWAIT_STATE(&sc, "a", SERVER_UP);
	assert_string_equal(sc.transitions.p, "a:unknown>up ");
	/* From here on it takes `fall` failures, as of any other. */
	sc.smtp.script.banner = "554 5.3.2 no\r\n";
	AWAIT(sc.loop, sc.smtp.n_open == 0);
	sc.smtp.n_connections = 1;
	AWAIT_STATE(&sc, "a", SERVER_DOWN);
	assert_int_equal(sc.smtp.n_connections, 4);
	scene_fini(&sc);
}

static void a_busy_first_check_without_holds_takes_the_word_back(void **state)
{
	UNUSED(state);
	struct scene sc;
	unsigned asked = 0;

	scene_with_one(&sc);
	sc.config.pool.outlier.busy_ms = 0;
	sc.smtp.script.banner = "421 4.3.2 too many connections\r\n";
	scene_apply(&sc, &sc.config);
	assert_int_equal(registry_borrow(sc.registry, others_say_yes, &asked), 1);
	AWAIT_STATE(&sc, "a", SERVER_UNKNOWN);
	assert_false(scene_find(&sc, "a").info.borrowed);
	scene_fini(&sc);
}

static void what_comes_back_from_maintenance_is_not_taken_on_anybodys_word(void **state)
{
	UNUSED(state);
	struct scene sc;
	unsigned asked = 0;

	scene_with_a_silent_one(&sc);
	assert_int_equal(registry_set_admin(sc.registry, "mta", "a", SERVER_ADMIN_MAINT), 0);
	assert_int_equal(registry_borrow(sc.registry, others_say_yes, &asked), 0);
	assert_int_equal(registry_set_admin(sc.registry, "mta", "a", SERVER_ADMIN_READY), 0);
	assert_int_equal(registry_borrow(sc.registry, others_say_yes, &asked), 0);
	assert_int_equal(asked, 0);
	scene_fini(&sc);
}

static void maintenance_ends_the_word_of_others(void **state)
{
	UNUSED(state);
	struct scene sc;
	unsigned asked = 0;

	scene_with_a_silent_one(&sc);
	assert_int_equal(registry_borrow(sc.registry, others_say_yes, &asked), 1);
	assert_int_equal(registry_set_admin(sc.registry, "mta", "a", SERVER_ADMIN_MAINT), 0);
	assert_int_equal(scene_state(&sc, "a"), SERVER_MAINT);
	assert_false(scene_find(&sc, "a").info.borrowed);
	assert_int_equal(registry_set_admin(sc.registry, "mta", "a", SERVER_ADMIN_READY), 0);
	assert_int_equal(scene_state(&sc, "a"), SERVER_UNKNOWN);
	scene_fini(&sc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_check_is_lock_step_and_ends_with_quit),
		cmocka_unit_test(the_first_check_decides_and_the_first_round_is_told_once),
		cmocka_unit_test(it_takes_fall_bad_checks_to_go_down_and_rise_good_ones_to_come_back),
		cmocka_unit_test(an_answer_of_4xx_is_busy_not_dead),
		cmocka_unit_test(a_421_banner_is_busy_and_the_hold_ends),
		cmocka_unit_test(a_server_never_seen_well_is_unknown_again_when_its_hold_ends),
		cmocka_unit_test(without_holds_a_busy_answer_brings_nobody_up),
		cmocka_unit_test(a_lack_of_descriptors_is_no_verdict_and_told_once),
		cmocka_unit_test(greylisting_of_the_probe_is_no_failure),
		cmocka_unit_test(a_server_without_ehlo_is_greeted_with_helo),
		cmocka_unit_test(what_is_not_smtp_is_a_failure),
		cmocka_unit_test(silence_is_a_failure_at_the_deadline),
		cmocka_unit_test(a_server_that_does_not_answer_quit_is_up_all_the_same),
		cmocka_unit_test(a_tcp_check_needs_a_connection_only_and_still_learns),
		cmocka_unit_test(without_checks_a_server_is_up_whatever_the_probe_finds),
		cmocka_unit_test(our_own_listener_is_never_connected_to),
		cmocka_unit_test(a_server_that_is_down_is_checked_at_once_when_its_pool_is_written_anew),
		cmocka_unit_test(checks_come_from_the_configured_source),
		cmocka_unit_test(a_server_not_checked_yet_is_used_when_others_can),
		cmocka_unit_test(the_word_of_others_ends_the_first_round_where_capabilities_are_known),
		cmocka_unit_test(the_first_own_check_ends_the_word_of_others),
		cmocka_unit_test(a_good_first_check_makes_the_word_of_others_its_own),
		cmocka_unit_test(a_busy_first_check_without_holds_takes_the_word_back),
		cmocka_unit_test(what_comes_back_from_maintenance_is_not_taken_on_anybodys_word),
		cmocka_unit_test(maintenance_ends_the_word_of_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
