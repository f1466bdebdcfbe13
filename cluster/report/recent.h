/* SPDX-License-Identifier: Apache-2.0
 * How often something happened in the last minute: views of the cluster, for node_report.view_changes. Pure.
 */
#ifndef POSTROAD_CLUSTER_REPORT_RECENT_H
#define POSTROAD_CLUSTER_REPORT_RECENT_H

#include "daemon/base/obj.h"

enum { RECENT_MS = 60000, RECENT_MAX = 16 };

/* Zero-initialise. */
struct recent {
	int64_t at_ms[RECENT_MAX]; /* of the last ones, a ring */
	size_t n, next;
};

static inline void recent_note(struct recent *r, int64_t now_ms)
{
	r->at_ms[r->next] = now_ms;
	r->next = (r->next + 1) % RECENT_MAX;
	if (r->n < RECENT_MAX)
		r->n++;
}

/* At most RECENT_MAX: more is no other trouble. */
static inline unsigned recent_count(const struct recent *r, int64_t now_ms)
{
	unsigned count = 0;

	for (size_t i = 0; i < r->n; i++)
		count += now_ms - r->at_ms[i] < RECENT_MS;
	return count;
}

#endif
