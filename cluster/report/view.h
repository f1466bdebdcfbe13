/* SPDX-License-Identifier: Apache-2.0
 * The newest report of each node, when it was heard, and what follows from all of them. Pure: times come in, this
 * node's own report too. Not safe for two threads.
 *
 * Times are milliseconds of a clock that never goes backwards; `wall` is seconds since 1970.
 */
#ifndef POSTROAD_CLUSTER_REPORT_VIEW_H
#define POSTROAD_CLUSTER_REPORT_VIEW_H

#include "cluster/report/report.h"

struct report_view;

enum {
	REPORT_FRESH_MS = 3000,
	REPORT_SILENT_MS = 8000, /* an alarm; a ring that forms anew is silent for up to 5 s */
	REPORT_GONE_MS = 10000,
	REPORT_VIP_TWICE_MS = 1000,
	REPORT_VIP_NOWHERE_MS = 10000,
	REPORT_VIEW_CHANGES_MAX = 3, /* in 60 s */
	REPORT_CLOCK_REPORTS = 3,    /* in a row */
};
#define REPORT_SKEW_MAX_S 2.0

struct report_view *report_view_new(void);
void report_view_free(struct report_view *v);

/* Who is a member, this node among them; at most CORE_MEMBERS_MAX. Others are gone at once and forgotten when their
 * place is needed or report_view_forget() is called. */
struct report_member {
	uint32_t id;
	char name[REPORT_NAME_MAX + 1];
};
void report_view_members(struct report_view *v, uint32_t own, const struct report_member *list, size_t n,
			 int64_t now_ms);
/* The members of a table of voters (the document of a membership entry, as voters.h has it). Returns how many; 0 = not
 * a table. */
size_t report_members_of(struct str table, struct report_member list[CORE_MEMBERS_MAX]);
/* This node's own report as it was made; copied. */
void report_view_own(struct report_view *v, const struct node_report *r, int64_t now_ms, double wall);
/* A member's newest bytes; the same ones may come again and count once. -EBADMSG: unreadable, or it is not its own;
 * the report before stays and grows old. -ENOENT: no member. */
int report_view_heard(struct report_view *v, uint32_t id, struct str bytes, int64_t now_ms, double wall) MUST_CHECK;
/* Lets go of all but members. */
void report_view_forget(struct report_view *v);

/* ---- questions ---- */

struct report_row {
	uint32_t id;
	const char *name;
	bool own, member;
	enum report_state state;          /* what it says of itself while fresh; else REPORT_STALE or REPORT_GONE */
	int64_t age_ms;                   /* since it was heard; -1 = never: stale at first, then gone */
	double skew_s;                    /* its clock minus this node's, as last heard */
	const struct node_report *report; /* the newest; NULL = never heard. Valid until the next input */
};
typedef void report_row_fn(const struct report_row *row, void *arg);
/* Fresh ones first, then by id. */
void report_view_each(const struct report_view *v, int64_t now_ms, report_row_fn *fn, void *arg);
/* False: there is none of that name. */
bool report_view_find(const struct report_view *v, const char *name, int64_t now_ms, struct report_row *ret);
/* How many nodes are in a state. */
unsigned report_view_count(const struct report_view *v, enum report_state state, int64_t now_ms);
/* A fresh node other than this one that should receive mail. */
bool report_view_other_ready(const struct report_view *v, int64_t now_ms);

/* What other fresh nodes say of one server. */
typedef void report_verdict_fn(const char *node, enum report_verdict_state state, unsigned weight, void *arg);
void report_view_verdicts(const struct report_view *v, uint64_t key, int64_t now_ms, report_verdict_fn *fn, void *arg);
/* Of the other fresh nodes that checked it themselves, more can use it than cannot. */
bool report_view_usable(const struct report_view *v, uint64_t key, int64_t now_ms);

/* Whether this node is the one who makes ticket keys: the fresh member of the lowest id. */
bool report_view_makes_keys(const struct report_view *v, int64_t now_ms);
/* Takes over the keys that fresh members sent; true = *k changed. */
bool report_view_merge_keys(const struct report_view *v, struct ticket_keys *k, int64_t now_ms);

/* ---- alarms ---- */

/* Every alarm there is now; keys are unique, both texts valid during the call. To be called each second. */
typedef void report_alarm_fn(const char *key, const char *text, void *arg);
void report_view_alarms(struct report_view *v, int64_t now_ms, report_alarm_fn *fn, void *arg);

#endif
