/* SPDX-License-Identifier: Apache-2.0
 * Metrics: families of series, counted without sharing a cache line between threads.
 *
 * A series is created by the control thread when a configuration is applied, never on the message path, and keeps its
 * number for the life of the process. Each worker adds to its own copy (a plain relaxed store); a reader sums the
 * copies. Gauges that are a fact of the moment (connections, server state) are not stored: they are read through a
 * function at scrape time.
 */
#ifndef POSTROAD_BASE_METRICS_H
#define POSTROAD_BASE_METRICS_H

#include "daemon/base/str.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* One row per family; see metrics.tbl.h. */
struct metric_family {
	const char *name; /* without the "postroad_" prefix; counters end in _total */
	enum metric_type type;
	const char *labels;    /* comma-separated label names, "" = none */
	const double *buckets; /* histograms: upper bounds, ascending, without +Inf */
	unsigned n_buckets;
	double scale; /* a stored unit is this much of the exposed base unit (1e-6: stored in microseconds) */
	const char *help;
};

/* Every family, indexed by enum metric. */
enum metric {
#define METRIC(ID, name, type, labels, buckets, scale, help) METRIC_##ID,
#include "daemon/base/metrics.tbl.h"
#undef METRIC
	METRIC_COUNT
};
extern const struct metric_family metric_families[METRIC_COUNT];

/* A series' number; 0 = none: adding to it is allowed and does nothing. */
typedef uint32_t series_id;

#define METRIC_THREADS_MAX 130 /* 128 workers, the control thread, the cluster thread */

/* Names this thread's copy; at the start of each thread that counts. Slot 0 is the control thread. */
void metrics_thread(unsigned slot);

/* The series of a family with these label values (as many as the family has labels, values copied); created when new.
 * Safe from any thread, meant for the control thread. */
series_id metrics_series(enum metric m, const char *const *values);
/* Ends a series: it is rendered no longer. Its number is not reused. */
void metrics_retire(series_id id);

void metrics_add(series_id id, uint64_t n);
/* Histograms: one observation, in stored units. */
void metrics_observe(series_id id, uint64_t value);
/* Gauges that are set by the control thread. */
void metrics_set(series_id id, int64_t value);
/* Gauges that are a fact of the moment: read by fn at scrape time, on the control thread. What fn returns is in
 * stored units, as with metrics_set(); INFINITY stands for "no limit". fn must not create, retire or rebind series: the
 * registry is locked. */
typedef double metrics_read_fn(void *arg);
void metrics_read_with(series_id id, metrics_read_fn *fn, void *arg);

/* Sum over threads of a counter (tests, status pages). */
uint64_t metrics_value(series_id id);

/* Writes all series: Prometheus text 0.0.4, or OpenMetrics 1.0.0 with "# EOF". */
void metrics_render(struct sbuf *out, bool openmetrics);

#endif
