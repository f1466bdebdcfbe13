/* SPDX-License-Identifier: Apache-2.0
 * What the renderer needs to know of the registry. Private to daemon/base.
 */
#ifndef POSTROAD_BASE_METRICS_PRIVATE_H
#define POSTROAD_BASE_METRICS_PRIVATE_H

#include "daemon/base/metrics.h"

#define METRIC_BUCKETS_MAX 32

struct metric_series {
	enum metric family;
	uint32_t cell; /* the first; histograms: n_buckets + 1 counts (the last is +Inf), then the sum */
	bool retired;
	char **values; /* as many as the family has labels, and NULL */
	metrics_read_fn *read;
	void *read_arg;
};

/* The registry is walked between these two; counting goes on meanwhile. */
void metrics_lock(void);
void metrics_unlock(void);
/* Series of a family in order of creation, retired ones included. */
struct metric_series *const *metrics_family_series(enum metric m, size_t *ret_n);
/* One cell summed over all threads. */
uint64_t metrics_cell_sum(uint32_t cell);
/* How many labels a family has. */
unsigned metrics_n_labels(const struct metric_family *f);

/* metrics_process.c: the process_* families that every exporter has. */
void metrics_render_process(struct sbuf *out, bool openmetrics);
/* metrics_render.c: the two comment lines above a family; `name` with its prefix and, for a counter, with _total. */
void metrics_render_head(struct sbuf *out, const char *name, enum metric_type type, const char *help, bool openmetrics);

#endif
