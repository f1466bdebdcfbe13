/* SPDX-License-Identifier: Apache-2.0
 * The control plane's face: HTTP over a Unix socket and HTTPS, the resources of the contract, metrics, events.
 *
 * Runs on the control loop. It owns nothing of the mail path: it asks the engine, the registry, the store.
 */
#ifndef POSTROAD_API_API_H
#define POSTROAD_API_API_H

#include "cluster/report/view.h"
#include "cluster/store.h"
#include "daemon/conf/conf.h"
#include "daemon/session/engine.h"

struct api;
struct cluster_call;

#define API_SHARED_KEY_LEN 32

/* What the api needs from the process around it. */
struct api_env {
	struct loop *loop;
	const struct node_config *node;
	const char *node_file;
	struct conf_env conf_env; /* what conf_parse() is given; the strings live as long as the api */
	struct store *store;
	struct registry *registry;
	struct engine *engine;
	struct report_view *view; /* of all nodes; this one alone where there is no cluster (share.h keeps it) */
	/* Whether a parsed configuration could be put in force, as far as that is known without doing so; errors say
	 * why not. */
	bool (*check)(struct conf *c, struct errors *errors, void *arg);
	/* Puts a parsed configuration in force, but for addresses that are taken (engine_missing()). Takes a reference
	 * of its own. */
	void (*activate)(struct conf *c, void *arg);
	/* Sets this node's admin state; true = done. */
	void (*set_node_drain)(bool drain, void *arg);
	/* /cluster/…: to be answered as cluster_calls.h says. NULL = none. */
	void (*cluster_call)(struct cluster_call *q, void *arg);
	/* The cluster as GET /status shows it, a new reference; NULL = there is none. */
	json_t *(*cluster_status)(void *arg);
	/* A secret that all members of this node's cluster have and nobody else. False: it is alone, or has none (yet).
	 * NULL = as false. */
	bool (*shared_key)(uint8_t ret[API_SHARED_KEY_LEN], void *arg);
	void *arg;
	double started_wall;
};

/* Opens the admin socket and the HTTPS listeners, applies the stored run-time state. NULL: *ret_why is a sentence the
 * caller frees. api_set_conf() must follow before the loop runs. */
struct api *api_new(const struct api_env *env, char **ret_why) MUST_CHECK;
void api_free(struct api *a);

/* The configuration in force, as the process started with or activated it (the api keeps a reference). */
void api_set_conf(struct api *a, struct conf *c);
/* An entry of the store was committed, by whomever: as the store's hook `applied`. */
void api_applied(struct api *a, const struct entry *e);
/* All that was in force is void, other entries follow: as the store's hook `reset`. The configuration stays until
 * another one comes, and with it drains and weights: mail goes on by them. */
void api_reset(struct api *a);
/* Of the run-time state in force what stays a node's when it leaves its cluster: drains and weights of servers, and its
 * own drain. NULL = nothing is set. The caller frees. */
json_t *api_own_runtime(struct api *a);
/* A warning for /status; replaces an earlier one with the same key; text NULL ends it. */
void api_warn(struct api *a, const char *key, const char *text);

/* Quorum has returned: what was set with ?scope=local meanwhile gives way to what is stored. */
void api_quorum_returned(struct api *a);

/* ---- the shared view ---- */

/* What this node says of itself, as far as it is known here: state, readiness, sessions, configuration. For
 * share_env.fill. */
void api_report(struct api *a, struct node_report *r);
/* As share_env.node_changed: an event. */
void api_node_changed(struct api *a, const struct report_row *row, enum report_state before);

/* ---- events ---- */

/* Adds to the event stream (a bounded ring) and logs it: type "server_state", "config", "node", … with the data as JSON
 * object (reference stolen). */
void api_event(struct api *a, const char *type, json_t *data);

/* Re-reads the admin certificate. */
void api_reload_certificates(struct api *a);

#endif
