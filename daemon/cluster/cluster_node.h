/* SPDX-License-Identifier: Apache-2.0
 * This node as a member of a cluster: the table of nodes as it is applied, corosync and its files, what is to be done
 * next, and the requests that change who is a member.
 *
 * Control thread. Nothing here is waited for by mail. A node that is in no cluster has one of these too, which does
 * nothing until it is asked to found or join one.
 */
#ifndef POSTROAD_DAEMON_CLUSTER_CLUSTER_NODE_H
#define POSTROAD_DAEMON_CLUSTER_CLUSTER_NODE_H

#include "cluster/report/view.h"
#include "cluster/store.h"
#include "daemon/api/cluster_calls.h"
#include "daemon/cluster/ha_link.h"
#include "daemon/cluster/peers.h"
#include "daemon/conf/conf.h"

struct cluster_node;

enum { CLUSTER_ETAG_KEY_LEN = 32 };

/* All is borrowed for the life of the object. */
struct cluster_node_env {
	struct loop *loop;
	const struct node_config *config;
	const char *node_file; /* NULL = none */
	struct store *store;
	struct report_view *view;
	struct peers *peers;
	ha_request_fn *ha_request; /* to postroad-ha */
	void *ha;
	/* A warning for /status, text NULL = it is over; an event (json is stolen). */
	void (*warn)(const char *key, const char *text, void *arg);
	void (*event)(const char *type, json_t *data, void *arg);
	/* Writes are possible again. */
	void (*quorum_returned)(void *arg);
	/* This node is about to forget the cluster's log, and has: what is in force is to be its own from then on.
	 * False: not yet, it is asked again. */
	bool (*leaving)(void *arg);
	void (*left)(void *arg);
	void *arg;
};

/* After store_open() and before store_start(): of a member, the store gets its transport here. Never NULL. */
struct cluster_node *cluster_node_new(const struct cluster_node_env *env);
/* Nothing is begun any more; the store may be closed then. Accepts NULL. */
void cluster_node_stop(struct cluster_node *n);
/* After the store was closed, peers freed, and requests to postroad-ha answered. Accepts NULL. */
void cluster_node_free(struct cluster_node *n);

/* As the store's hooks. */
void cluster_node_applied(struct cluster_node *n, const struct entry *e);
void cluster_node_reset(struct cluster_node *n);
/* As store_hooks.lost: kept in state_dir/lost.jsonl, told, and listed by GET /cluster/lost. */
void cluster_node_lost(struct cluster_node *n, const struct entry *e, bool in_force);
/* What this node says of itself as a member, for its report. */
void cluster_node_fill(const struct cluster_node *n, struct node_report *r);

/* Where a member is called (peers.h), by the newest table known here. False: there is no such. */
bool cluster_node_address(const struct cluster_node *n, uint32_t id, struct addr *ret) MUST_CHECK;

/* The key of entity tags, as all members make it from corosync's key by the table of the log: another one after the
 * keys were rotated. False: this node is in no cluster, or the key is not here (yet). The caller wipes it. */
bool cluster_node_etag_key(struct cluster_node *n, uint8_t ret[CLUSTER_ETAG_KEY_LEN]) MUST_CHECK;

/* LEAVES: its vote is gone, the others have not forgotten it yet. GONE: it is about to forget them. */
enum cluster_standing { CLUSTER_STAYS, CLUSTER_LEAVES, CLUSTER_GONE };
enum cluster_standing cluster_node_standing(const struct cluster_node *n);
/* A member that carries no mail and no VIP. before: where it is in a cluster and in no table, being removed. */
bool cluster_node_votes_only(const struct cluster_node *n, bool before);

/* As api_env.cluster_call, and the text of GET /status. */
void cluster_node_call(struct cluster_node *n, struct cluster_call *q);
json_t *cluster_node_status(const struct cluster_node *n);

/* Before a clean stop: where this node is one of two and the tie-breaker, the other becomes it. done is called once, at
 * once or within some seconds, whether that was done or not. */
void cluster_node_hand_over(struct cluster_node *n, void (*done)(void *arg), void *arg);

#endif
