/* SPDX-License-Identifier: Apache-2.0
 * What requests and steps share. Private to cluster/members.
 */
#ifndef POSTROAD_CLUSTER_MEMBERS_MEMBERS_PRIVATE_H
#define POSTROAD_CLUSTER_MEMBERS_MEMBERS_PRIVATE_H

#include "cluster/members/change.h"

/* For members_follow_head(). NULL: the head is none, or the document is of a newer format. */
struct members *members_decode_head(struct str document);
/* Fills *why and gives NULL. */
struct members *members_refuse(struct members_refusal *why, enum members_refusal_code code, const char *fmt, ...)
	PRINTF_LIKE(3, 4);
/* NULL: not seen, or under another instance than the table's. */
const struct members_seen *members_seen_of(const struct members_view *view, const struct members_node *n);
bool members_is_here(const struct members_view *view, const struct members_node *n);
bool members_is_synced(const struct members_view *view, const struct members_node *n);
/* Appends the names of those that are to have the next file, are not done by `done`, and count although absent. */
bool members_waits_for(const struct members *t, const struct members_view *view, struct sbuf *names);
struct members_node *members_joining(struct members *t);
/* A change begins (or begins anew) with a generation of its own. key: NULL = the present one stays. */
void members_begin(struct members *t, enum members_kind kind, uint32_t node, const uint8_t *key, double now);
/* Out of the list, remembered among the removed. */
void members_drop(struct members *t, size_t i, double now);
/* Of two voters: keeps the tie-breaker, or chooses one. */
void members_choose_tie_breaker(struct members *t, const struct members_view *view);
/* The table, if it can be and the core would take it; otherwise it is freed. view: NULL = not judged. */
struct members *members_judged(struct members *t, const struct members_view *view, struct members_refusal *why);
/* The join or replacement is given up. key: of corosync from then on, which who joined does not know; NULL = it stays.
 */
void members_abort(struct members *t, const uint8_t *key, double now);

#endif
