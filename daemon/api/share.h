/* SPDX-License-Identifier: Apache-2.0
 * This node's part in the shared view: each second it says what it is, hears what the others say of themselves, and
 * acts on it: verdicts on servers it has not checked yet, ticket keys, alarms.
 *
 * Control thread only. A node alone does the same without anybody to tell.
 */
#ifndef POSTROAD_API_SHARE_H
#define POSTROAD_API_SHARE_H

#include "cluster/report/view.h"
#include "daemon/net/tls.h"
#include "daemon/pool/pool.h"

struct share;

/* What there is between nodes. No function may call back. */
struct share_net {
	void *arg;
	/* This node's; not 0. Another one from when it joins or leaves. */
	uint32_t (*id)(void *arg);
	/* This node's soft state, the latest wins; bytes are copied. Negative: not now. */
	int (*send)(void *arg, struct str bytes);
	/* A member's newest soft state, empty = none. Valid until the next call. */
	struct str (*heard)(void *arg, uint32_t id);
	/* The members, this node among them; 0 = it is alone, and nothing is sent. Returns how many. */
	size_t (*members)(void *arg, struct report_member *list, size_t max);
	/* What they know and the daemon does not: VIPs, links, view changes, feature levels. NULL = nothing. */
	void (*fill)(void *arg, struct node_report *r);
};

/* All is borrowed for the life of the share. */
struct share_env {
	struct loop *loop;
	const char *node;
	double started_wall;
	struct registry *registry;
	struct tls_tickets *tickets; /* rotated from here alone */
	struct report_view *view;
	/* What the daemon says of itself: all but who it is, servers, transactions and keys. */
	void (*fill)(struct node_report *r, void *arg);
	/* An alarm begins or has another text; text NULL = it is over. */
	void (*warn)(const char *key, const char *text, void *arg);
	/* Another node came, went, or says something else of itself. */
	void (*node_changed)(const struct report_row *row, enum report_state before, void *arg);
	void *arg;
};

/* Alone until share_set_net(). Makes the first turn at once. */
struct share *share_new(const struct share_env *env);
void share_free(struct share *s);
/* NULL = alone from now on. The struct is copied. */
void share_set_net(struct share *s, const struct share_net *net);
/* What is done each second, now: this node has something to say that should not wait. */
void share_turn(struct share *s);

/* The word for a verdict, as servers' states are called everywhere. */
const char *share_verdict_name(enum report_verdict_state state);

#endif
