/* SPDX-License-Identifier: Apache-2.0
 * Durations, sizes, rates and times as people write them.
 *
 * A number without a unit is refused: guessing seconds where somebody meant milliseconds is how mail systems time out.
 */
#include "daemon/conf/conf_schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit duration_units[] = {
	{ "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 },
};
static const struct unit size_units[] = {
	{ "GiB", 1ULL << 30 },
	{ "MiB", 1ULL << 20 },
	{ "KiB", 1ULL << 10 },
	{ "B", 1 },
};
static const struct unit period_units[] = {
	{ "s", 1000 },
	{ "min", 60000 },
	{ "h", 3600000 },
	{ "d", 86400000 },
};

/* Digits at *p; moves *p behind them. */
static bool number(const char **p, uint64_t *ret)
{
	uint64_t v = 0;
	const char *start = *p;

	for (; **p >= '0' && **p <= '9'; (*p)++)
		if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, (uint64_t)(**p - '0'), &v))
			return false;
	*ret = v;
	return *p > start;
}

/* The unit that is exactly text[0..n). */
static const struct unit *find_unit(const struct unit *units, size_t n_units, struct str text)
{
	for (size_t i = 0; i < n_units; i++)
		if (str_eq(str_from(units[i].name), text))
			return &units[i];
	return NULL;
}

static bool with_unit(const char *text, size_t n, const struct unit *units, size_t n_units, uint64_t *ret)
{
	const char *p = text;
	uint64_t v;

	if (!number(&p, &v))
		return false;
	const struct unit *u = find_unit(units, n_units, (struct str) { p, n - (size_t)(p - text) });
	return u != NULL && !__builtin_mul_overflow(v, u->factor, ret) && *ret <= INT64_MAX;
}

bool conf_duration_parse(const char *text, int64_t *ret_ms)
{
	uint64_t v;

	if (!with_unit(text, strlen(text), duration_units, ARRAY_LEN(duration_units), &v))
		return false;
	*ret_ms = (int64_t)v;
	return true;
}

bool conf_size_parse(const char *text, uint64_t *ret)
{
	return with_unit(text, strlen(text), size_units, ARRAY_LEN(size_units), ret);
}

bool conf_data_rate_parse(const char *text, uint64_t *ret)
{
	size_t n = strlen(text);

	return n > 2 && strcmp(text + n - 2, "/s") == 0 &&
	       with_unit(text, n - 2, size_units, ARRAY_LEN(size_units), ret);
}

bool conf_rate_parse(const char *text, struct rate *ret)
{
	struct rate r = { 0 };
	const char *p = text;

	if (!number(&p, &r.n) || r.n > INT64_MAX || *p++ != '/')
		return false;
	size_t n = strcspn(p, ",");
	const struct unit *u = find_unit(period_units, ARRAY_LEN(period_units), (struct str) { p, n });
	if (u == NULL)
		return false;
	r.per_ms = (int64_t)u->factor;
	p += n;
	if (*p != '\0') {
		if (strncmp(p, ",burst=", 7) != 0)
			return false;
		p += 7;
		if (!number(&p, &r.burst) || *p != '\0' || r.burst == 0 || r.burst > INT64_MAX)
			return false;
	}
	*ret = r;
	return true;
}

static const char *format(uint64_t v, const struct unit *units, size_t n_units, char *out)
{
	size_t i = 0;

	while (i + 1 < n_units && (v == 0 || v % units[i].factor != 0))
		i++;
	snprintf(out, 32, "%llu%s", (unsigned long long)(v / units[i].factor), units[i].name);
	return out;
}

const char *conf_duration_format(int64_t ms, char *out)
{
	if (ms == 0)
		return strcpy(out, "0s");
	return format((uint64_t)ms, duration_units, ARRAY_LEN(duration_units), out);
}

const char *conf_size_format(uint64_t bytes, char *out)
{
	return format(bytes, size_units, ARRAY_LEN(size_units), out);
}

/* ---- RFC 3339 ---- */

/* "Z", "+01:00" */
static bool zone(const char *p, long *ret_seconds)
{
	unsigned h, m;

	*ret_seconds = 0;
	if (strcmp(p, "Z") == 0 || strcmp(p, "z") == 0)
		return true;
	if ((*p != '+' && *p != '-') || strlen(p) != 6 || strspn(p + 1, "0123456789") != 2 || p[3] != ':' ||
	    strspn(p + 4, "0123456789") != 2)
		return false;
	h = (unsigned)strtoul(p + 1, NULL, 10);
	m = (unsigned)strtoul(p + 4, NULL, 10);
	if (h > 23 || m > 59)
		return false;
	*ret_seconds = (long)(h * 3600 + m * 60) * (*p == '-' ? -1 : 1);
	return true;
}

/* The fixed part "2026-12-01T00:00:00". */
static bool date_time(const char *text, struct tm *ret)
{
	static const char form[] = "dddd-dd-ddTdd:dd:dd";
	struct tm t = { 0 };

	for (size_t i = 0; form[i] != '\0'; i++) {
		bool is_digit = text[i] >= '0' && text[i] <= '9';
		if (form[i] == 'd' ? !is_digit : text[i] != form[i])
			return false;
	}
	t.tm_year = atoi(text) - 1900;
	t.tm_mon = atoi(text + 5) - 1;
	t.tm_mday = atoi(text + 8);
	t.tm_hour = atoi(text + 11);
	t.tm_min = atoi(text + 14);
	t.tm_sec = atoi(text + 17);
	*ret = t;
	return t.tm_hour < 24 && t.tm_min < 60 && t.tm_sec < 60;
}

bool conf_time_parse(const char *text, double *ret_wall)
{
	struct tm t, again;
	double fraction = 0;
	long offset;
	const char *p = text;

	if (!date_time(text, &t))
		return false;
	p += 19;
	if (*p == '.') {
		double place = 0.1;
		if (p[1] < '0' || p[1] > '9')
			return false;
		for (p++; *p >= '0' && *p <= '9'; p++, place /= 10)
			fraction += place * (*p - '0');
	}
	if (!zone(p, &offset))
		return false;
	again = t;
	time_t wall = timegm(&again);
	/* timegm() carries 31 February over into March; a date that moved was none. */
	if (again.tm_mon != t.tm_mon || again.tm_mday != t.tm_mday)
		return false;
	*ret_wall = (double)(wall - offset) + fraction;
	return true;
}
