/* SPDX-License-Identifier: Apache-2.0
 * The node's own struct, and what its files do for one another. Private to main.
 */
#ifndef POSTROAD_MAIN_NODE_PRIVATE_H
#define POSTROAD_MAIN_NODE_PRIVATE_H

#include "daemon/api/api.h"
#include "daemon/api/share.h"
#include "daemon/cluster/cluster_node.h"
#include "daemon/cluster/vips.h"
#include "daemon/main/node.h"

#define NODE_MAGIC 0x4e4f4445u

struct node {
	uint32_t magic;
	const struct node_config *config;
	const char *node_file;
	char hostname[256];
	struct conf_env env;
	struct loop *loop;
	struct store *store;
	struct event *store_event;
	struct timer store_tick;
	int first_error;      /* of storing the first document */
	bool leaves;          /* from left_keep() until what was in force is this node's own */
	json_t *left;         /* meanwhile */
	json_t *left_runtime; /* the run-time state that goes with it; NULL = none, or it is written */
	bool left_asked;      /* one of the two is being written */
	int64_t left_at_ms;   /* when that is tried again; 0 = not yet begun */
	struct engine *engine;
	struct registry *registry;
	struct api *api;
	struct report_view *view;
	struct share *share;
	struct vips *vips;
	struct peers *peers;
	struct cluster_node *cluster;
	struct conf *conf;                 /* in force */
	struct certificates *certificates; /* certificates.c */
	struct event *signals[4];
	struct timer first_round, beat;
	struct timer bind_again;
	int64_t bind_wait_ms;                /* 0 = no address is missing */
	int64_t watchdog_ms, watchdog_at_ms; /* at: of the watchdog's thread */
	struct trouble {
		int64_t space_ms, no_vote_ms, event_ms; /* last look; since; last one. 0 = none */
	} trouble;
	bool view_posted;
	bool votes_only;     /* a member that carries no mail: no listener is open */
	bool stopped;        /* the engine was told to */
	unsigned stop_waits; /* parts that are not done yet */
	unsigned stopping;   /* how often it was asked to */
	int status;
	double started_wall;
};

/* ---- surroundings.c: directories, limits, complaints ---- */

/* To the log, and to standard error where the log goes elsewhere: a start that fails must be seen by who started it. */
void surroundings_complain(const struct node *n, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* With its parents; complains where it cannot. */
bool surroundings_make_dir(const struct node *n, const char *path, mode_t mode) MUST_CHECK;
void surroundings_raise_file_limit(void);
/* What there is to say where the caps of c add up to more descriptors than this process may have; else NULL. Caller
 * frees. */
char *surroundings_file_limit_text(const struct conf *c);
/* A warning where the caps of the configuration in force add up to more descriptors than the process may have. */
void surroundings_check_file_limit(struct node *n);

/* ---- shared.c: what the nodes say of themselves ---- */

/* Once the api is there and has its configuration. */
void shared_start(struct node *n);
void shared_stop(struct node *n);

/* ---- addresses.c: virtual addresses ---- */

/* Once the api and the share are there. */
void addresses_start(struct node *n);
void addresses_stop(struct node *n);

/* ---- certificates.c: files read again, expiry ---- */

/* "… expires in 3 days" into out, where that is near or over; else NULL. */
const char *certificates_expiry(const struct certificate_config *c, char *out, size_t cap);
/* Once the api is there. */
void certificates_start(struct node *n);
void certificates_stop(struct node *n);
/* Another configuration is in force. */
void certificates_in_force(struct node *n);
/* Reads all files again; what is wrong with them is a warning, and all stays as it was. */
void certificates_reload(struct node *n);

/* ---- storage.c: the store in the loop ---- */

/* False: said why. */
bool storage_open(struct node *n, char **ret_warning) MUST_CHECK;
bool storage_start(struct node *n) MUST_CHECK;
/* Makes the first document the first revision; waits for that. kept: it is that of a cluster that was left, with that
 * run-time state (NULL = none). 0, or said why. */
int storage_first(struct node *n, struct conf *conf, bool kept, json_t *runtime) MUST_CHECK;
/* Proposes the first entry of its kind; kept as above. 0 or as store_propose(). */
int storage_propose(struct node *n, enum entry_kind kind, json_t *document, bool kept, store_done_fn *fn) MUST_CHECK;
void storage_close(struct node *n);

/* ---- left.c: a node that leaves its cluster ---- */

/* Before the log of a cluster is forgotten, and after: what is in force becomes the first revision of the next log, and
 * servers that were drained stay so. 0 or -errno: it could not be kept, and a death in between would lose it. */
int left_keep(struct node *n) MUST_CHECK;
void left_write(struct node *n);
/* Some times a second: what could not be written is tried again. */
void left_look(struct node *n);
/* Once the store is closed. */
void left_fini(struct node *n);

/* ---- trouble.c: what is wrong with the store ---- */

/* Some times a second. */
void trouble_look(struct node *n);
/* As store_hooks.event. */
void trouble_event(enum core_event event, const char *text, void *node);

/* ---- membership.c: this node as a member of a cluster ---- */

/* Before storage_start(). */
void membership_start(struct node *n);
/* Before the store is closed, and after. */
void membership_stop(struct node *n);
void membership_free(struct node *n);
/* The table of nodes may be another: a node that only votes takes no mail. */
void membership_look(struct node *n);
/* As api_env.cluster_call and cluster_status. */
void membership_call(struct cluster_call *q, void *node);
bool membership_etag_key(uint8_t ret[API_SHARED_KEY_LEN], void *node);
json_t *membership_status(void *node);

/* ---- binds.c: addresses that are taken ---- */

void binds_init(struct node *n);
void binds_stop(struct node *n);
/* What cannot be listened at, which is tried again from now on; NULL = nothing is missing. */
void binds_tell(struct node *n, const struct errors *errors);

/* ---- activate.c: configurations and views ---- */

/* As api_env.check. */
bool activate_check(struct conf *c, struct errors *errors, void *node) MUST_CHECK;
/* As api_env.activate. */
void activate_conf(struct conf *c, void *node);
/* The configuration in force is published again with the next turn: what goes with it has changed. */
void activate_again(struct node *n);
/* All hooks of the registry but on_first_round. */
void activate_hooks(struct node *n, struct registry_hooks *ret);

#endif
