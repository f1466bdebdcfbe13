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

/* What a transport counts of views, looked at now and then: those that came, and attempts at one that came to nothing,
 * which are counted from 0 again once one comes. Zero-initialise. */
struct recent_views {
	struct recent recent;
	uint64_t views, attempts; /* at the last look */
	bool looked;
};

/* What came before the first look, or while it was to be expected (nodes are being added, taken out or started), counts
 * as none. */
static inline void recent_views_look(struct recent_views *r, uint64_t views, uint64_t attempts, bool expected,
				     int64_t now_ms)
{
	uint64_t came = views > r->views ? views - r->views : 0;

	came += attempts > r->attempts ? attempts - r->attempts : 0;
	for (uint64_t i = 0; r->looked && !expected && i < came && i < RECENT_MAX; i++)
		recent_note(&r->recent, now_ms);
	r->views = views;
	r->attempts = attempts;
	r->looked = true;
}

#endif
