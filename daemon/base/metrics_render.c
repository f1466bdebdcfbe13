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
	size_t plain = strcspn(s, quotes ? "\n\\\"" : "\n\\");

	sbuf_add(out, s, plain);
	for (s += plain; *s != '\0'; s++) {
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

/* `{a="x",b="y"`; nothing when there is no label at all. */
static void put_labels(struct sbuf *out, const struct metric_series *s)
{
	const char *name = metric_families[s->family].labels;
	char sep = '{';

	for (unsigned i = 0; *name != '\0'; i++) {
		size_t n = strcspn(name, ",");
		sbuf_putc(out, sep);
		sbuf_add(out, name, n);
		sbuf_puts(out, "=\"");
		put_escaped(out, s->values[i], true);
		sbuf_putc(out, '"');
		sep = ',';
		name += n + (name[n] == ',');
	}
}

static void put_name(struct sbuf *out, const struct metric_series *s, const char *suffix)
{
	sbuf_puts(out, PREFIX);
	sbuf_puts(out, metric_families[s->family].name);
	sbuf_puts(out, suffix);
}

/* With labels from put_labels(), and with `le` when given; then a space. */
static void put_labelled(struct sbuf *out, const struct metric_series *s, const char *suffix, struct str labels,
			 const char *le)
{
	put_name(out, s, suffix);
	sbuf_add(out, labels.p, labels.n);
	if (le != NULL) {
		sbuf_puts(out, labels.n > 0 ? ",le=\"" : "{le=\"");
		sbuf_puts(out, le);
		sbuf_putc(out, '"');
	}
	sbuf_puts(out, labels.n > 0 || le != NULL ? "} " : " ");
}

static void put_sample(struct sbuf *out, const struct metric_series *s)
{
	put_name(out, s, "");
	put_labels(out, s);
	sbuf_puts(out, s->values[0] != NULL ? "} " : " ");
}

/* printf() is most of the time of a scrape. */
static void put_count(struct sbuf *out, uint64_t v)
{
	char text[24], *p = text + sizeof(text);

	*--p = '\n';
	do
		*--p = (char)('0' + v % 10);
	while ((v /= 10) > 0);
	sbuf_add(out, p, (size_t)(text + sizeof(text) - p));
}

/* 15 digits are what a double carries for sure. */
static void put_double(struct sbuf *out, double v)
{
	if (v >= 0 && v < 1e15 && v == (double)(uint64_t)v)
		put_count(out, (uint64_t)v);
	else if (isnan(v))
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
		put_count(out, stored);
	else
		put_double(out, (double)stored * scale);
}

/* The bounds of a family's buckets as text, made once for all its series. */
struct bounds {
	char le[METRIC_BUCKETS_MAX][32];
};

static void write_bounds(const struct metric_family *f, bool openmetrics, struct bounds *ret)
{
	for (unsigned i = 0; i < f->n_buckets; i++) {
		int n = snprintf(ret->le[i], sizeof(ret->le[i]) - 2, "%.10g", f->buckets[i]);
		if (openmetrics && strpbrk(ret->le[i], ".e") == NULL)
			memcpy(ret->le[i] + n, ".0", 3);
	}
}

static void render_histogram(struct sbuf *out, const struct metric_series *s, const struct bounds *bounds)
{
	const struct metric_family *f = &metric_families[s->family];
	struct sbuf text = { 0 };
	uint64_t count = 0;

	put_labels(&text, s);
	struct str labels = { text.p, text.n };
	for (unsigned i = 0; i < f->n_buckets; i++) {
		count += metrics_cell_sum(s->cell + i);
		put_labelled(out, s, "_bucket", labels, bounds->le[i]);
		put_count(out, count);
	}
	/* The count is made from the same reads as the buckets, so that +Inf and _count always agree. */
	count += metrics_cell_sum(s->cell + f->n_buckets);
	put_labelled(out, s, "_bucket", labels, "+Inf");
	put_count(out, count);
	put_labelled(out, s, "_sum", labels, NULL);
	put_scaled(out, metrics_cell_sum(s->cell + f->n_buckets + 1), f->scale);
	put_labelled(out, s, "_count", labels, NULL);
	put_count(out, count);
	sbuf_fini(&text);
}

static void render_gauge(struct sbuf *out, const struct metric_series *s)
{
	double scale = metric_families[s->family].scale;

	put_sample(out, s);
	if (s->read != NULL)
		put_double(out, s->read(s->read_arg) * scale);
	else
		put_double(out, (double)(int64_t)metrics_cell_sum(s->cell) * scale);
}

static void render_series(struct sbuf *out, const struct metric_series *s, const struct bounds *bounds)
{
	switch (metric_families[s->family].type) {
	case METRIC_COUNTER:
		put_sample(out, s);
		put_scaled(out, metrics_cell_sum(s->cell), metric_families[s->family].scale);
		break;
	case METRIC_GAUGE:
		render_gauge(out, s);
		break;
	case METRIC_HISTOGRAM:
		render_histogram(out, s, bounds);
		break;
	}
}

static void render_family(struct sbuf *out, enum metric m, bool openmetrics)
{
	const struct metric_family *f = &metric_families[m];
	struct bounds bounds;
	bool head = false;
	size_t n;
	struct metric_series *const *list = metrics_family_series(m, &n);

	write_bounds(f, openmetrics, &bounds);
	for (size_t i = 0; i < n; i++) {
		if (list[i]->retired)
			continue;
		if (!head) {
			char *name = xasprintf(PREFIX "%s", f->name);
			metrics_render_head(out, name, f->type, f->help, openmetrics);
			free(name);
			head = true;
		}
		render_series(out, list[i], &bounds);
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
