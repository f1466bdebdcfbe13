/* SPDX-License-Identifier: Apache-2.0
 * Durations, sizes, rates and times: what is read, what is refused.
 */
#include "tests/unit/conf/conf_test.h"

static void durations_take_one_unit(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} good[] = { { "0s", 0 },         { "500ms", 500 },
		     { "2s", 2000 },      { "5m", 300000 },
		     { "12h", 43200000 }, { "3d", 259200000 },
		     { "010s", 10000 },   { "106751991167d", 9223372036828800000 } };
	static const char *const bad[] = { "",
					   "5",
					   "s",
					   "5 s",
					   " 5s",
					   "5s ",
					   "-5s",
					   "+5s",
					   "1.5s",
					   "5S",
					   "5min",
					   "1h30m",
					   "5sec",
					   "99999999999999999999s",
					   "106751991168d",
					   "18446744073709551615ms",
					   "0x5s" };
	int64_t ms;

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_true(conf_duration_parse(good[i].text, &ms));
		assert_true(ms == good[i].ms);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (conf_duration_parse(bad[i], &ms))
			fail_msg("accepted \"%s\"", bad[i]);
}

static void sizes_are_binary_and_need_a_unit(void **state)
{
	static const char *const bad[] = { "",      "5",   "5K",  "5KB",   "5kib",
					   "5MB",   "KiB", "-5B", "5 KiB", "17179869184GiB",
					   "1.5MiB" };
	uint64_t n;

	UNUSED(state);
	assert_true(conf_size_parse("500B", &n) && n == 500);
	assert_true(conf_size_parse("64KiB", &n) && n == 65536);
	assert_true(conf_size_parse("50MiB", &n) && n == 52428800);
	assert_true(conf_size_parse("1GiB", &n) && n == 1073741824);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (conf_size_parse(bad[i], &n))
			fail_msg("accepted \"%s\"", bad[i]);
	assert_true(conf_data_rate_parse("500B/s", &n) && n == 500);
	assert_true(conf_data_rate_parse("0B/s", &n) && n == 0);
	assert_false(conf_data_rate_parse("500B", &n));
	assert_false(conf_data_rate_parse("500/s", &n));
	assert_false(conf_data_rate_parse("/s", &n));
}

static void rates_have_a_period_and_may_have_a_burst(void **state)
{
	static const char *const bad[] = { "",
					   "100",
					   "100/m",
					   "100/minute",
					   "/min",
					   "100/",
					   "-1/s",
					   "1/s,",
					   "1/s,burst",
					   "1/s,burst=",
					   "1/s,burst=x",
					   "1/s,burst=0",
					   "1/s, burst=5",
					   "1/s,burst=5 ",
					   "1 /s",
					   "99999999999999999999/s" };
	struct rate r;

	UNUSED(state);
	assert_true(conf_rate_parse("100/min", &r) && r.n == 100 && r.per_ms == 60000 && r.burst == 0);
	assert_true(conf_rate_parse("5/s,burst=20", &r) && r.n == 5 && r.per_ms == 1000 && r.burst == 20);
	assert_true(conf_rate_parse("0/h", &r) && r.n == 0 && r.per_ms == 3600000);
	assert_true(conf_rate_parse("9/d", &r) && r.per_ms == 86400000);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (conf_rate_parse(bad[i], &r))
			fail_msg("accepted \"%s\"", bad[i]);
}

static void times_are_rfc_3339(void **state)
{
	static const char *const bad[] = { "",
					   "2026-12-01",
					   "2026-12-01T00:00:00",
					   "2026-12-01 00:00:00Z",
					   "2026-13-01T00:00:00Z",
					   "2026-02-30T00:00:00Z",
					   "2026-12-01T24:00:00Z",
					   "2026-12-01T00:00:60Z",
					   "2026-12-01T00:00:00.Z",
					   "2026-12-01T00:00:00+1:00",
					   "2026-12-01T00:00:00+24:00",
					   "2026-12-01T00:00:00Zx" };
	double wall;

	UNUSED(state);
	assert_true(conf_time_parse("1970-01-01T00:00:00Z", &wall) && wall > -0.1 && wall < 0.1);
	assert_true(conf_time_parse("2026-12-01T12:30:15Z", &wall) && (int64_t)wall == 1796128215);
	assert_true(conf_time_parse("2026-12-01T12:30:15.5+01:00", &wall) && (int64_t)(wall * 10) == 17961246155);
	assert_true(conf_time_parse("2026-12-01T12:30:15-00:30", &wall) && (int64_t)wall == 1796130015);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (conf_time_parse(bad[i], &wall))
			fail_msg("accepted \"%s\"", bad[i]);
}

static void formatted_quantities_parse_to_themselves(void **state)
{
	static const int64_t values[] = { 0, 1, 999, 1000, 90000, 300000, 3600000, 86400000, 86400001 };
	char text[32];
	int64_t ms;
	uint64_t n;

	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		assert_true(conf_duration_parse(conf_duration_format(values[i], text), &ms));
		assert_true(ms == values[i]);
		assert_true(conf_size_parse(conf_size_format((uint64_t)values[i] * 1024, text), &n));
		assert_true(n == (uint64_t)values[i] * 1024);
	}
	assert_string_equal(conf_duration_format(300000, text), "5m");
	assert_string_equal(conf_duration_format(0, text), "0s");
	assert_string_equal(conf_size_format(65536, text), "64KiB");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations_take_one_unit),
		cmocka_unit_test(sizes_are_binary_and_need_a_unit),
		cmocka_unit_test(rates_have_a_period_and_may_have_a_burst),
		cmocka_unit_test(times_are_rfc_3339),
		cmocka_unit_test(formatted_quantities_parse_to_themselves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
