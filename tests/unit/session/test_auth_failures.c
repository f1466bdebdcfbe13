/* SPDX-License-Identifier: Apache-2.0
 * Failed logins: delays that double and decay, per client prefix and per user, in bounded memory.
 */
#include "daemon/session/auth_failures.h"

#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define T0 1000000

static const struct listener_caps caps = { .client_prefix_v4 = 32, .client_prefix_v6 = 64 };

static struct addr ip(const char *text)
{
	struct addr a;

	memset(&a, 0, sizeof(a));
	assert_true(addr_parse_ip(text, &a));
	return a;
}

static int64_t fail_once(struct auth_failures *f, const char *client, const char *user, int64_t now)
{
	struct addr a = ip(client);

	return auth_failures_add(f, &(struct auth_attempt) { &a, &caps, user, 0 }, now);
}

static int64_t wait_of(struct auth_failures *f, const char *client, const char *user, int64_t now)
{
	struct addr a = ip(client);

	return auth_failures_wait(f, &(struct auth_attempt) { &a, &caps, user, 0 }, now);
}

static void each_failure_doubles_the_delay_up_to_a_bound(void **state)
{
	struct auth_failures *f = auth_failures_new(1024);
	int64_t want = AUTH_FAILURES_FIRST_MS;

	UNUSED(state);
	for (int i = 0; i < 200; i++) {
		assert_int_equal(fail_once(f, "192.0.2.1", "", T0), want);
		want = want * 2 < AUTH_FAILURES_MAX_MS ? want * 2 : AUTH_FAILURES_MAX_MS;
	}
	auth_failures_free(f);
}

/* What a check cost differs by the user's hash, and must not show. */
static void the_delay_counts_from_the_clients_last_word(void **state)
{
	static const struct {
		int64_t took, left;
	} rows[] = { { 0, 500 }, { 20, 480 }, { 499, 1 }, { 500, 0 }, { 501, 499 }, { 1000, 0 }, { 1200, 300 } };
	struct addr a = ip("192.0.2.1");

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct auth_failures *f = auth_failures_new(64);
		struct auth_attempt who = { &a, &caps, "u", T0 - rows[i].took };
		assert_int_equal(auth_failures_add(f, &who, T0), rows[i].left);
		assert_int_equal(auth_failures_add(f, &who, T0), 1000 - rows[i].took + (rows[i].took > 1000 ? 500 : 0));
		auth_failures_free(f);
	}
}

static void failures_decay(void **state)
{
	struct auth_failures *f = auth_failures_new(1024);
	int64_t before = INT64_MAX;

	UNUSED(state);
	for (int i = 0; i < 8; i++)
		fail_once(f, "192.0.2.1", "u", T0);
	assert_int_equal(fail_once(f, "192.0.2.1", "u", T0 + 20 * AUTH_FAILURES_HALF_LIFE_MS), AUTH_FAILURES_FIRST_MS);
	for (int64_t t = 0; t < 4; t++) {
		struct auth_failures *g = auth_failures_new(1024);
		for (int i = 0; i < 6; i++)
			fail_once(g, "192.0.2.3", "", T0);
		int64_t delay = fail_once(g, "192.0.2.3", "", T0 + t * AUTH_FAILURES_HALF_LIFE_MS);
		assert_true(delay < before);
		before = delay;
		auth_failures_free(g);
	}
	auth_failures_free(f);
}

static void the_most_hurried_guesser_is_forgiven_in_time(void **state)
{
	struct auth_failures *f = auth_failures_new(1024);

	UNUSED(state);
	for (int i = 0; i < 100000; i++)
		fail_once(f, "192.0.2.1", "", T0);
	assert_int_equal(fail_once(f, "192.0.2.1", "", T0 + 10 * AUTH_FAILURES_HALF_LIFE_MS), AUTH_FAILURES_FIRST_MS);
	auth_failures_free(f);
}

static void a_client_that_failed_waits_before_it_may_try_again(void **state)
{
	struct auth_failures *f = auth_failures_new(1024);

	UNUSED(state);
	assert_int_equal(wait_of(f, "192.0.2.1", "u", T0), 0);
	for (int i = 0; i < AUTH_FAILURES_FREE; i++)
		fail_once(f, "192.0.2.1", "u", T0);
	assert_int_equal(wait_of(f, "192.0.2.1", "u", T0), 0);
	int64_t delay = fail_once(f, "192.0.2.1", "u", T0);
	assert_int_equal(wait_of(f, "192.0.2.1", "other", T0), delay);
	assert_int_equal(wait_of(f, "192.0.2.1", "u", T0 + delay - 1), 1);
	assert_int_equal(wait_of(f, "192.0.2.1", "u", T0 + delay), 0);
	auth_failures_free(f);
}

static void strangers_do_not_lock_a_user_out(void **state)
{
	struct auth_failures *f = auth_failures_new(1024);

	UNUSED(state);
	for (int i = 0; i < 50; i++)
		fail_once(f, "192.0.2.1", "tim", T0);
	assert_int_equal(wait_of(f, "198.51.100.1", "tim", T0), 0);
	auth_failures_free(f);
}

static void guesses_at_one_user_from_many_clients_add_up(void **state)
{
	struct auth_failures *f = auth_failures_new(4096);
	int64_t delay = 0;
	char client[32];

	UNUSED(state);
	for (int i = 0; i < 20; i++) {
		snprintf(client, sizeof(client), "192.0.2.%d", i);
		delay = fail_once(f, client, i % 2 == 0 ? "tim" : "TIM", T0);
	}
	assert_int_equal(delay, AUTH_FAILURES_MAX_MS);
	auth_failures_forget_user(f, "Tim");
	assert_int_equal(fail_once(f, "203.0.113.9", "tim", T0), AUTH_FAILURES_FIRST_MS);
	auth_failures_free(f);
}

static void a_success_does_not_absolve_the_client(void **state)
{
	struct auth_failures *f = auth_failures_new(1024);

	UNUSED(state);
	for (int i = 0; i < 20; i++) {
		fail_once(f, "192.0.2.1", "tim", T0);
		auth_failures_forget_user(f, "tim");
	}
	assert_int_equal(wait_of(f, "192.0.2.1", "tim", T0), AUTH_FAILURES_MAX_MS);
	auth_failures_free(f);
}

static void clients_of_one_prefix_are_one(void **state)
{
	struct auth_failures *f = auth_failures_new(1024);

	UNUSED(state);
	for (int i = 0; i < 20; i++)
		fail_once(f, "2001:db8::1", "", T0);
	assert_int_equal(wait_of(f, "2001:db8::ffff:2", "", T0), AUTH_FAILURES_MAX_MS);
	assert_int_equal(wait_of(f, "2001:db8:0:1::1", "", T0), 0);
	auth_failures_free(f);
}

/* A flood of names: no memory is taken, and who guessed in earnest before is still known after it. */
static void a_flood_of_names_takes_no_memory_and_hides_nobody(void **state)
{
	struct auth_failures *f = auth_failures_new(1024);
	struct addr flood = ip("198.51.100.7");
	char user[32];

	UNUSED(state);
	for (int i = 0; i < 10; i++)
		fail_once(f, "192.0.2.1", "tim", T0);
	struct mallinfo2 before = mallinfo2();
	for (int i = 0; i < 200000; i++) {
		snprintf(user, sizeof(user), "user%d", i);
		auth_failures_add(f, &(struct auth_attempt) { &flood, &caps, user, 0 }, T0);
	}
	assert_true(mallinfo2().uordblks <= before.uordblks + 4096);
	assert_int_equal(wait_of(f, "192.0.2.1", "", T0), AUTH_FAILURES_MAX_MS);
	assert_int_equal(fail_once(f, "203.0.113.1", "tim", T0), AUTH_FAILURES_MAX_MS);
	auth_failures_free(f);
}

static void *count_many(void *arg)
{
	for (int i = 0; i < 14; i++)
		fail_once(arg, "192.0.2.1", "tim", T0);
	return NULL;
}

static void threads_share_one_account(void **state)
{
	struct auth_failures *f = auth_failures_new(64);
	pthread_t threads[4];

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count_many, f), 0);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		pthread_join(threads[i], NULL);
	/* Of all 56, 3.5 are left after four half-lives: with one more they delay four doublings, had one been lost,
	 * three.
	 */
	assert_int_equal(fail_once(f, "192.0.2.1", "", T0 + 4 * AUTH_FAILURES_HALF_LIFE_MS),
			 AUTH_FAILURES_FIRST_MS << 4);
	auth_failures_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_failure_doubles_the_delay_up_to_a_bound),
		cmocka_unit_test(the_delay_counts_from_the_clients_last_word),
		cmocka_unit_test(failures_decay),
		cmocka_unit_test(the_most_hurried_guesser_is_forgiven_in_time),
		cmocka_unit_test(a_client_that_failed_waits_before_it_may_try_again),
		cmocka_unit_test(strangers_do_not_lock_a_user_out),
		cmocka_unit_test(guesses_at_one_user_from_many_clients_add_up),
		cmocka_unit_test(a_success_does_not_absolve_the_client),
		cmocka_unit_test(clients_of_one_prefix_are_one),
		cmocka_unit_test(a_flood_of_names_takes_no_memory_and_hides_nobody),
		cmocka_unit_test(threads_share_one_account),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
