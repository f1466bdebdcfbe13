/* SPDX-License-Identifier: Apache-2.0
 * The table itself, for view.c and alarms.c. Private to the room.
 */
#ifndef POSTROAD_CLUSTER_REPORT_VIEW_PRIVATE_H
#define POSTROAD_CLUSTER_REPORT_VIEW_PRIVATE_H

#include "cluster/report/view.h"

#define REPORT_VIEW_MAGIC 0x52455056u
enum { NODES_MAX = 2 * CORE_MEMBERS_MAX, MISSING_MAX = 2 * REPORT_VIPS_MAX };

/* Since when a node has said in each of its reports that it has a VIP. */
struct claim {
	char vip[REPORT_NAME_MAX + 1];
	int64_t since_ms;
};

struct view_node {
	uint32_t id;
	char name[REPORT_NAME_MAX + 1];
	bool used, own, member;
	struct node_report *report; /* NULL = never heard */
	int64_t heard_ms;           /* without a report: when it became a member here */
	double skew_s;
	unsigned off; /* reports in a row with a clock that is off */
	size_t n_claims;
	struct claim claims[REPORT_VIPS_MAX];
};

struct missing {
	char vip[REPORT_NAME_MAX + 1];
	int64_t since_ms;
	bool seen; /* while they are counted */
};

struct report_view {
	uint32_t magic;
	uint32_t own;
	struct view_node nodes[NODES_MAX];
	size_t n_missing;
	struct missing missing[MISSING_MAX]; /* VIPs that no fresh node has */
};

bool view_node_is_fresh(const struct view_node *n, int64_t now_ms);
enum report_state view_node_state(const struct view_node *n, int64_t now_ms);

#endif
