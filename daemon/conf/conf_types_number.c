/* SPDX-License-Identifier: Apache-2.0
 * Field types that are a quantity: integers, durations, sizes, rates.
 */
#include "daemon/conf/conf_schema.h"

#include <stdlib.h>
#include <unistd.h>

static bool is_unlimited(const struct conf_field *f, json_t *v)
{
	return f->flags & CONF_UNLIMITED && json_is_string(v) && strcmp(json_string_value(v), "unlimited") == 0;
}

static json_t *schema_or_unlimited(const struct conf_field *f, json_t *schema)
{
	if (!(f->flags & CONF_UNLIMITED))
		return schema;
	return json_pack("{s:[o,{s:s}]}", "anyOf", schema, "const", "unlimited");
}

/* ---- integers ---- */

static bool want_integer(struct conf_parser *p, const struct conf_field *f, json_t *v, uint64_t *ret)
{
	if (is_unlimited(f, v)) {
		*ret = UNLIMITED;
		return true;
	}
	if (!json_is_integer(v)) {
		conf_bad(p, f, v, NULL, "a whole number is needed here");
		return false;
	}
	json_int_t i = json_integer_value(v);
	if (i < 0 || (uint64_t)i < f->min || (uint64_t)i > f->max) {
		conf_bad(p, f, v, NULL, "the number is out of range");
		return false;
	}
	*ret = (uint64_t)i;
	return true;
}

static bool parse_count(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	uint64_t n;

	if (!want_integer(p, f, v, &n))
		return false;
	conf_store(f, base, &n, sizeof(n));
	return true;
}

static bool parse_uint(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	uint64_t n;

	if (!want_integer(p, f, v, &n))
		return false;
	unsigned u = (unsigned)n;
	conf_store(f, base, &u, sizeof(u));
	return true;
}

static void integer_allowed(const struct conf_field *f, struct sbuf *out)
{
	if (f->min == f->max)
		sbuf_printf(out, "%llu", (unsigned long long)f->min);
	else
		sbuf_printf(out, "%llu to %llu", (unsigned long long)f->min, (unsigned long long)f->max);
}

static json_t *integer_schema(const struct conf_field *f)
{
	return schema_or_unlimited(f, json_pack("{s:s,s:I,s:I}", "type", "integer", "minimum", (json_int_t)f->min,
						"maximum", (json_int_t)f->max));
}

const struct conf_type conf_type_uint = { "integer", parse_uint, integer_allowed, integer_schema };
const struct conf_type conf_type_count = { "integer", parse_count, integer_allowed, integer_schema };

/* ---- durations ---- */

static bool parse_duration(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	int64_t ms;

	if (json_is_number(v)) {
		conf_bad(p, f, v, NULL, "a duration needs its unit: ms, s, m, h or d");
		return false;
	}
	const char *text = conf_want_text(p, f, v);
	if (text == NULL)
		return false;
	if (!conf_duration_parse(text, &ms)) {
		conf_bad(p, f, v, NULL, "not a duration: write a whole number and one unit (ms, s, m, h, d)");
		return false;
	}
	if ((uint64_t)ms < f->min || (uint64_t)ms > f->max) {
		conf_bad(p, f, v, NULL, "the duration is out of range");
		return false;
	}
	conf_store(f, base, &ms, sizeof(ms));
	return true;
}

static void duration_allowed(const struct conf_field *f, struct sbuf *out)
{
	char lo[32], hi[32];

	sbuf_printf(out, "\"%s\" to \"%s\"", conf_duration_format((int64_t)f->min, lo),
		    conf_duration_format((int64_t)f->max, hi));
}

static json_t *duration_schema(const struct conf_field *f)
{
	json_t *s = conf_string_schema(f);

	json_object_set_new(s, "pattern", json_string("^[0-9]+(ms|s|m|h|d)$"));
	return s;
}

const struct conf_type conf_type_duration = { "duration", parse_duration, duration_allowed, duration_schema };

/* ---- sizes ---- */

static bool want_size(struct conf_parser *p, const struct conf_field *f, json_t *v, uint64_t *ret)
{
	if (is_unlimited(f, v)) {
		*ret = UNLIMITED;
		return true;
	}
	if (json_is_integer(v) && json_integer_value(v) >= 0) {
		*ret = (uint64_t)json_integer_value(v);
	} else if (!json_is_string(v) || !conf_size_parse(json_string_value(v), ret)) {
		conf_bad(p, f, v, NULL,
			 "not a size: write \"500B\", \"64KiB\", \"50MiB\", \"1GiB\", or a number of bytes");
		return false;
	}
	if (*ret < f->min || *ret > f->max) {
		conf_bad(p, f, v, NULL, "the size is out of range");
		return false;
	}
	return true;
}

static bool parse_size(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	uint64_t n;

	if (!want_size(p, f, v, &n))
		return false;
	conf_store(f, base, &n, sizeof(n));
	return true;
}

static void size_allowed(const struct conf_field *f, struct sbuf *out)
{
	char lo[32], hi[32];

	sbuf_printf(out, "\"%s\" to \"%s\"", conf_size_format(f->min, lo), conf_size_format(f->max, hi));
}

static json_t *size_schema(const struct conf_field *f)
{
	json_t *bytes = json_pack("{s:s,s:I,s:I}", "type", "integer", "minimum", (json_int_t)f->min, "maximum",
				  (json_int_t)f->max);
	json_t *s = json_pack("{s:s,s:s}", "type", "string", "pattern", "^[0-9]+(B|KiB|MiB|GiB)$");

	return schema_or_unlimited(f, json_pack("{s:[o,o]}", "anyOf", s, bytes));
}

const struct conf_type conf_type_size = { "size", parse_size, size_allowed, size_schema };

/* A share of the machine's memory, "5%", or a size. */
static bool parse_memory(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	const char *text = json_is_string(v) ? json_string_value(v) : "";
	size_t digits = strspn(text, "0123456789");

	if (digits == 0 || strcmp(text + digits, "%") != 0)
		return parse_size(p, f, v, base);
	unsigned long percent = digits < 4 ? strtoul(text, NULL, 10) : 1000;
	if (percent > 90) {
		conf_bad(p, f, v, NULL, "the share is out of range");
		return false;
	}
	uint64_t bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 100 * percent;
	conf_store(f, base, &bytes, sizeof(bytes));
	return true;
}

static void memory_allowed(const struct conf_field *f, struct sbuf *out)
{
	sbuf_puts(out, "\"0%\" to \"90%\" of the machine's memory, or ");
	size_allowed(f, out);
}

const struct conf_type conf_type_memory = { "percentage or size", parse_memory, memory_allowed, conf_string_schema };

/* ---- rates ---- */

static bool parse_rate(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	struct rate r = { .n = UNLIMITED, .per_ms = 1000 };

	if (!is_unlimited(f, v)) {
		if (!json_is_string(v) || !conf_rate_parse(json_string_value(v), &r)) {
			conf_bad(p, f, v, NULL, "not a rate: write a number per s, min, h or d");
			return false;
		}
	}
	conf_store(f, base, &r, sizeof(r));
	return true;
}

static void rate_allowed(const struct conf_field *f, struct sbuf *out)
{
	UNUSED(f);
	sbuf_puts(out, "\"100/min\" (per s, min, h or d; \",burst=20\" may follow)");
}

static json_t *rate_schema(const struct conf_field *f)
{
	return schema_or_unlimited(
		f, json_pack("{s:s,s:s}", "type", "string", "pattern", "^[0-9]+/(s|min|h|d)(,burst=[0-9]+)?$"));
}

const struct conf_type conf_type_rate = { "rate", parse_rate, rate_allowed, rate_schema };

static bool parse_data_rate(struct conf_parser *p, const struct conf_field *f, json_t *v, void *base)
{
	uint64_t n;

	if (!json_is_string(v) || !conf_data_rate_parse(json_string_value(v), &n) || n < f->min || n > f->max) {
		conf_bad(p, f, v, NULL, "not a data rate in range: write \"500B/s\" or \"10KiB/s\"");
		return false;
	}
	conf_store(f, base, &n, sizeof(n));
	return true;
}

static void data_rate_allowed(const struct conf_field *f, struct sbuf *out)
{
	char lo[32], hi[32];

	sbuf_printf(out, "\"%s/s\" to \"%s/s\"", conf_size_format(f->min, lo), conf_size_format(f->max, hi));
}

static json_t *data_rate_schema(const struct conf_field *f)
{
	json_t *s = conf_string_schema(f);

	json_object_set_new(s, "pattern", json_string("^[0-9]+(B|KiB|MiB|GiB)/s$"));
	return s;
}

const struct conf_type conf_type_data_rate = { "data rate", parse_data_rate, data_rate_allowed, data_rate_schema };
