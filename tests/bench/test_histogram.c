/* SPDX-License-Identifier: Apache-2.0
 * The histogram of the load generator: every figure of the benchmarks about latency comes out of it.
 */
#include "tests/bench/histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void an_empty_one_says_zero(void **state)
{
	struct histogram h = { 0 };

	UNUSED(state);
	assert_int_equal(histogram_quantile(&h, 0.99), 0);
}

static void small_values_are_exact(void **state)
{
	struct histogram h = { 0 };

	UNUSED(state);
	for (int64_t us = 0; us < 64; us++)
		histogram_add(&h, us);
	assert_int_equal(histogram_quantile(&h, 0.5), 31);
	assert_int_equal(histogram_quantile(&h, 1), 63);
}

static void a_single_value_is_every_quantile(void **state)
{
	UNUSED(state);
	for (int64_t us = 1; us < (int64_t)1 << 34; us = us * 3 + 1) {
		struct histogram h = { 0 };

		histogram_add(&h, us);
		assert_int_equal(histogram_quantile(&h, 0.001), us);
		assert_int_equal(histogram_quantile(&h, 1), us);
	}
}

/* Never below the true value, and at most 1/64 above it: checked against sorted values. */
static void quantiles_are_within_their_error(void **state)
{
	static const double fractions[] = { 0.01, 0.5, 0.9, 0.99, 0.999 };
	static int64_t values[10000];
	struct histogram h = { 0 };
	int64_t value = 40;

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		value += (int64_t)(i * i % 977) + 1; /* rising, so already sorted */
		values[i] = value;
		histogram_add(&h, value);
	}
	for (size_t i = 0; i < ARRAY_LEN(fractions); i++) {
		int64_t truth = values[(size_t)(fractions[i] * (double)ARRAY_LEN(values)) - 1];
		int64_t got = histogram_quantile(&h, fractions[i]);

		assert_true(got >= truth);
		assert_true(got <= truth + truth / 64 + 1);
	}
	assert_int_equal(h.max, value);
}

static void what_is_too_large_is_not_lost(void **state)
{
	struct histogram h = { 0 };

	UNUSED(state);
	histogram_add(&h, INT64_MAX);
	histogram_add(&h, -5); /* a clock that jumped: counts as nothing */
	assert_int_equal(h.count, 2);
	assert_int_equal(h.max, INT64_MAX);
	assert_int_equal(histogram_quantile(&h, 0.5), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_one_says_zero),           cmocka_unit_test(small_values_are_exact),
		cmocka_unit_test(a_single_value_is_every_quantile), cmocka_unit_test(quantiles_are_within_their_error),
		cmocka_unit_test(what_is_too_large_is_not_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
