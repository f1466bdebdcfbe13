/* SPDX-License-Identifier: Apache-2.0
 * The daemon's side of virtual addresses: what this node may hold, told to postroad-ha; planned moves that cut nothing;
 * the drain of this node.
 *
 * Control thread. It owns the process's one connection to postroad-ha.
 */
#ifndef POSTROAD_CLUSTER_VIPS_H
#define POSTROAD_CLUSTER_VIPS_H

#include "cluster/vip/ha_client.h"
#include "daemon/api/api.h"

enum {
	VIPS_ANSWER_MS = 30000,    /* an answer of postroad-ha that is not there by then is none */
	VIPS_MOVE_OPEN_S = 20,     /* a new owner passes on what it does not know for so long */
	VIPS_MOVE_KEEP_S = 3600,   /* sessions of an old owner may live on for so long, and are reset then */
	VIPS_MOVE_READY_MS = 8000, /* a target has so long to be ready */
	VIPS_LEAVE_MS = 10000      /* a drain waits so long for addresses to leave */
};

struct vips;

enum vips_part {
	VIPS_ALL,
	VIPS_KEEPS, /* this node is on its way out of the cluster: it takes none, what it has it keeps for now */
	VIPS_NONE   /* VIPs are not for this node: it only votes, or is no member any more and still has their
		       configuration */
};

/* All is borrowed until vips_free(). */
struct vips_env {
	struct store *store;
	struct engine *engine;
	struct report_view *view;
	struct api *api;
	struct conf *(*conf)(void *arg); /* in force; not referenced */
	enum vips_part (*part)(void *arg);
	/* Something of what this node says of itself should not wait: as share_turn(). */
	void (*say)(void *arg);
	void *arg;
};

/* From here on postroad-ha is connected to, and vips_ha_request() works; it is told nothing of VIPs. */
struct vips *vips_new(struct loop *loop, const struct node_config *node);
/* Once all of that is there. Copied. */
void vips_start(struct vips *v, const struct vips_env *env);
/* Accepts NULL. Requests that are not answered are answered from within. */
void vips_free(struct vips *v);

/* ---- other nodes ---- */

/* Once, never from within the call. status 200 = done, 0 = no answer; the body is a sentence where it is not 200. */
typedef void vips_answer_fn(int status, struct str body, void *arg);

/* How members are called. */
struct vips_net {
	void *arg;
	/* Negative: it cannot be called, and fn is not. */
	int (*call)(void *arg, uint32_t id, const char *path, struct str body, vips_answer_fn *fn, void *fn_arg);
};
/* NULL = not (any more): planned moves then end sessions first. Copied. Calls under way are answered before it ends. */
void vips_set_net(struct vips *v, const struct vips_net *net);

#define VIPS_PATH_OPEN "/vip/open"
#define VIPS_PATH_TAKE "/vip/take"
enum { VIPS_BODY_MAX = 256 * 1024 };
/* A member has called with one of these paths. fn is called exactly once: at once, later, or by vips_free(). */
void vips_called(struct vips *v, uint32_t from, const char *path, struct str body, vips_answer_fn *fn, void *arg);

/* ---- postroad-ha ---- */

/* The answer: HA_DONE, HA_ERROR, HA_PROBED, or HA_FLOWS (once for each part). NULL: it is never answered, as
 * postroad-ha has gone or took too long. Not from within vips_ha_request(). */
typedef void vips_ha_answer_fn(const struct ha_message *m, void *arg);
/* Sends HA_COROSYNC, HA_PROBE or HA_FLOWS_*; the ticket is chosen here. False: it was not sent, since postroad-ha is
 * not connected or the message breaks a rule; fn is then not called. A key in it is the caller's to wipe. */
bool vips_ha_request(struct vips *v, struct ha_message *m, vips_ha_answer_fn *fn, void *arg) MUST_CHECK;
bool vips_ha_connected(const struct vips *v);
/* The newest report, NULL = none that is fresh. Valid until the loop turns. */
const struct ha_report *vips_ha_report(const struct vips *v);

/* ---- what is said and asked ---- */

/* For share_net.fill: the VIPs of this node. */
void vips_fill(struct vips *v, struct node_report *r);
/* For api_env.set_node_drain: VIPs move away with their flows, then sessions end at transaction edges; or back. */
void vips_drain(struct vips *v, bool drain);
/* The process ends: moves the VIPs away, and calls done when that is over, soon after at the latest VIPS_LEAVE_MS; may
 * be from within. The engine is not touched. */
void vips_leave(struct vips *v, loop_fn *done, void *arg);

#endif
