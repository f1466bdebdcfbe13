/* SPDX-License-Identifier: Apache-2.0
 * Metrics as text: Prometheus exposition format 0.0.4 and OpenMetrics 1.0.0.
 *
 * The hard thing is where the two differ: OpenMetrics names a counter's family without _total, escapes quotes in help,
 * writes a bucket's bound as a float ("1.0"), and ends with "# EOF".
 */
#include "daemon/base/metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/metrics_private.h"

#define PREFIX "postroad_"

static const char *const type_names[] = { "counter", "gauge", "histogram" };

static void put_escaped(struct sbuf *out, const char *s, bool quotes)
{
	for (; *s != '\0'; s++) {
		if (*s == '\n')
			sbuf_puts(out, "\\n");
		else if (*s == '\\' || (*s == '"' && quotes))
			sbuf_printf(out, "\\%c", *s);
		else
			sbuf_putc(out, *s);
	}
}

void metrics_render_head(struct sbuf *out, const char *name, enum metric_type type, const char *help, bool openmetrics)
{
	size_t n = strlen(name);

	if (openmetrics && type == METRIC_COUNTER && n > 6 && strcmp(name + n - 6, "_total") == 0)
		n -= 6;
	sbuf_printf(out, "# HELP %.*s ", (int)n, name);
	put_escaped(out, help, openmetrics);
	sbuf_printf(out, "\n# TYPE %.*s %s\n", (int)n, name, type_names[type]);
}

/* `{a="x",b="y"` and, when given, le; then `} `. Nothing but a space when there is no label at all. */
static void put_labels(struct sbuf *out, const struct metric_series *s, const char *le)
{
	const char *name = metric_families[s->family].labels;
	char sep = '{';

	for (unsigned i = 0; *name != '\0'; i++) {
		size_t n = strcspn(name, ",");
		sbuf_printf(out, "%c%.*s=\"", sep, (int)n, name);
		put_escaped(out, s->values[i], true);
		sbuf_putc(out, '"');
		sep = ',';
		name += n + (name[n] == ',');
	}
	if (le != NULL) {
		sbuf_printf(out, "%cle=\"%s\"", sep, le);
		sep = ',';
	}
	sbuf_puts(out, sep == '{' ? " " : "} ");
}

static void put_sample(struct sbuf *out, const struct metric_series *s, const char *suffix, const char *le)
{
	sbuf_printf(out, PREFIX "%s%s", metric_families[s->family].name, suffix);
	put_labels(out, s, le);
}

/* 15 digits are what a double carries for sure. */
static void put_double(struct sbuf *out, double v)
{
	if (isnan(v))
		sbuf_puts(out, "NaN\n");
	else if (isinf(v))
		sbuf_puts(out, v > 0 ? "+Inf\n" : "-Inf\n");
	else
		sbuf_printf(out, "%.15g\n", v);
}

/* Whole numbers stay whole. */
static void put_scaled(struct sbuf *out, uint64_t stored, double scale)
{
	if (scale == 1)
		sbuf_printf(out, "%llu\n", (unsigned long long)stored);
	else
		put_double(out, (double)stored * scale);
}

static void render_histogram(struct sbuf *out, const struct metric_series *s, bool openmetrics)
{
	const struct metric_family *f = &metric_families[s->family];
	uint64_t count = 0;
	char le[32];

	for (unsigned i = 0; i < f->n_buckets; i++) {
		count += metrics_cell_sum(s->cell + i);
		int n = snprintf(le, sizeof(le) - 2, "%.10g", f->buckets[i]);
		if (openmetrics && strpbrk(le, ".e") == NULL)
			memcpy(le + n, ".0", 3);
		put_sample(out, s, "_bucket", le);
		sbuf_printf(out, "%llu\n", (unsigned long long)count);
	}
	/* The count is made from the same reads as the buckets, so that +Inf and _count always agree. */
	count += metrics_cell_sum(s->cell + f->n_buckets);
	put_sample(out, s, "_bucket", "+Inf");
	sbuf_printf(out, "%llu\n", (unsigned long long)count);
	put_sample(out, s, "_sum", NULL);
	put_scaled(out, metrics_cell_sum(s->cell + f->n_buckets + 1), f->scale);
	put_sample(out, s, "_count", NULL);
	sbuf_printf(out, "%llu\n", (unsigned long long)count);
}

static void render_gauge(struct sbuf *out, const struct metric_series *s)
{
	double scale = metric_families[s->family].scale;

	put_sample(out, s, "", NULL);
	if (s->read != NULL)
		put_double(out, s->read(s->read_arg) * scale);
	else
		put_double(out, (double)(int64_t)metrics_cell_sum(s->cell) * scale);
}

static void render_series(struct sbuf *out, const struct metric_series *s, bool openmetrics)
{
	switch (metric_families[s->family].type) {
	case METRIC_COUNTER:
		put_sample(out, s, "", NULL);
		put_scaled(out, metrics_cell_sum(s->cell), metric_families[s->family].scale);
		break;
	case METRIC_GAUGE:
		render_gauge(out, s);
		break;
	case METRIC_HISTOGRAM:
		render_histogram(out, s, openmetrics);
		break;
	}
}

static void render_family(struct sbuf *out, enum metric m, bool openmetrics)
{
	const struct metric_family *f = &metric_families[m];
	bool head = false;
	size_t n;
	struct metric_series *const *list = metrics_family_series(m, &n);

	for (size_t i = 0; i < n; i++) {
		if (list[i]->retired)
			continue;
		if (!head) {
			char *name = xasprintf(PREFIX "%s", f->name);
			metrics_render_head(out, name, f->type, f->help, openmetrics);
			free(name);
			head = true;
		}
		render_series(out, list[i], openmetrics);
	}
}

void metrics_render(struct sbuf *out, bool openmetrics)
{
	metrics_lock();
	for (int m = 0; m < METRIC_COUNT; m++)
		render_family(out, (enum metric)m, openmetrics);
	metrics_unlock();
	metrics_render_process(out, openmetrics);
	if (openmetrics)
		sbuf_puts(out, "# EOF\n");
}
