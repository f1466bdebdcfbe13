/* SPDX-License-Identifier: Apache-2.0
 * Counts and rates per client: what a rate says holds for every rate that can be written.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "daemon/session/clients.h"

static struct listener_caps caps_of(uint64_t n, int64_t per_ms, uint64_t burst)
{
	return (struct listener_caps) { .connections_per_client = UNLIMITED,
					.connection_rate = { .n = n, .per_ms = per_ms, .burst = burst },
					.client_prefix_v4 = 32,
					.client_prefix_v6 = 64 };
}

/* How many of `tries` connections, evenly over ms milliseconds, are let in. */
static unsigned let_in(const struct listener_caps *caps, unsigned tries, int64_t ms)
{
	struct clients *c = clients_new();
	struct client *client;
	struct addr a;
	unsigned n = 0;

	assert_true(addr_parse("192.0.2.1:1", 0, &a));
	for (unsigned i = 0; i < tries; i++) {
		int64_t now = 1000000 + (int64_t)i * ms / tries;
		if (clients_enter(c, &a, caps, now, &client) != CLIENT_OK)
			continue;
		clients_leave(c, client, now);
		n++;
	}
	clients_free(c);
	return n;
}

static void a_burst_is_let_in_and_no_more(void **state)
{
	static const uint64_t rates[] = { 1, 7, 400, 700, 1000, 2000, 50000 };

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
		struct listener_caps caps = caps_of(rates[i], 1000, 3);
		assert_int_equal(let_in(&caps, 1000, 0), 3);
		caps = caps_of(rates[i], 1000, 0);
		assert_int_equal(let_in(&caps, 100000, 0), rates[i]);
	}
}

static void the_rate_holds_in_the_long_run(void **state)
{
	static const uint64_t rates[] = { 1, 7, 400, 600, 700, 1000, 2000, 5000 };

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
		struct listener_caps caps = caps_of(rates[i], 1000, 10);
		unsigned n = let_in(&caps, 200000, 10000);
		assert_in_range(n, rates[i] * 10 * 98 / 100, rates[i] * 10 + 11);
	}
}

static void zero_lets_nobody_in_and_unlimited_everybody(void **state)
{
	struct listener_caps none = caps_of(0, 1000, 0), all = caps_of(UNLIMITED, 1000, 0);

	UNUSED(state);
	assert_int_equal(let_in(&none, 100, 0), 0);
	assert_int_equal(let_in(&all, 100, 0), 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_burst_is_let_in_and_no_more),
		cmocka_unit_test(the_rate_holds_in_the_long_run),
		cmocka_unit_test(zero_lets_nobody_in_and_unlimited_everybody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
