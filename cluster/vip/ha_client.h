/* SPDX-License-Identifier: Apache-2.0
 * postroadd's side of the socket to postroad-ha: connects, says what holds, and keeps what it heard last.
 *
 * The owner watches ha_client_fd() for reading, calls ha_client_tick() when that is due, and ha_client_beat() while it
 * is well. What is set once is said again after every reconnect. Nothing here blocks.
 */
#ifndef POSTROAD_CLUSTER_VIP_HA_CLIENT_H
#define POSTROAD_CLUSTER_VIP_HA_CLIENT_H

#include "cluster/vip/ha_protocol.h"

enum { HA_CLIENT_RETRY_MS = 500, HA_CLIENT_HEALTH_MS = 1000, HA_CLIENT_QUEUE_MAX = 512 };

struct ha_client;

/* Called from ha_client_dispatch() and ha_client_tick(); each may be NULL. */
struct ha_client_events {
	void *arg;
	/* Connected and greeted, or no longer; why is a sentence for the log, NULL when connected. */
	void (*connected)(bool yes, const char *why, void *arg);
	/* ha_client_report() has something new. */
	void (*report)(const struct ha_report *r, void *arg);
	/* HA_ERROR, HA_DONE, HA_PROBED, HA_FLOWS: answers, by their ticket; a table that was refused has ticket 0. When
	 * the connection is lost, requests under way are never answered. */
	void (*answer)(const struct ha_message *m, void *arg);
};

/* run_dir and events are copied; node: this node's name, as ha_name_ok(). */
struct ha_client *ha_client_new(const char *run_dir, const char *node,
				const struct ha_client_events *events) MUST_CHECK;
void ha_client_free(struct ha_client *c);

/* -1 while there is no connection; may change with every call of this module. */
int ha_client_fd(const struct ha_client *c);
/* The descriptor can be read. now_ms: monotonic. */
void ha_client_dispatch(struct ha_client *c, int64_t now_ms);
/* Connects, repeats, sends what waits. Returns when it wants to be called next, in monotonic ms. */
int64_t ha_client_tick(struct ha_client *c, int64_t now_ms);

/* What holds from now on: NULL, or why it cannot be said (nothing is then changed). Copied. */
const char *ha_client_set_table(struct ha_client *c, const struct ha_table *t) MUST_CHECK;
const char *ha_client_set_health(struct ha_client *c, const struct ha_health *h) MUST_CHECK;
/* The caller is well: to be called each HA_BEAT_MS, and not otherwise. */
void ha_client_beat(struct ha_client *c);
/* A request (HA_COROSYNC, HA_PROBE, HA_FLOWS_*) whose ticket is the caller's to choose, not 0. NULL, or why it was not
 * sent: it breaks a rule, or there is no connection. A key in it is the caller's to wipe. */
const char *ha_client_request(struct ha_client *c, struct ha_message *m) MUST_CHECK;

/* The newest report of this connection, and how old it is; NULL = none. */
const struct ha_report *ha_client_report(const struct ha_client *c, int64_t now_ms, int64_t *ret_age_ms);

#endif
