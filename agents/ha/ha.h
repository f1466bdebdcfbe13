/* SPDX-License-Identifier: Apache-2.0
 * postroad-ha as a whole.
 */
#ifndef POSTROAD_AGENTS_HA_HA_H
#define POSTROAD_AGENTS_HA_HA_H

#include "agents/ha/corosync.h"
#include "agents/ha/probe.h"
#include "agents/ha/server.h"
#include "agents/ha/vips.h"

enum { HA_EXIT_DONE = 0, HA_EXIT_FAILED = 1, HA_EXIT_USAGE = 2 };
enum { HA_REPORT_MS = 1000, HA_TURN_MS = 250, HA_ALIVE_MS = 250, HA_STOP_MS = 3000, HA_TIDY_MS = 60000 };

struct ha_options {
	const char *run_dir, *state_dir, *corosync_dir, *corosync_state_dir;
	const char *user;
	const char *keepalived, *corosync;
	bool run_corosync;
};

struct ha {
	struct ha_options options;
	struct jobs jobs;
	struct kernel kernel;
	struct keepalived keepalived;
	struct vips vips;
	struct corosync corosync;
	struct probes probes;
	struct server server;
	struct ha_message *out;
	int64_t beat_at; /* of the last beat; 0 = postroadd is not heard */
	int64_t report_at, second_at, alive_at, tidy_at;
	int64_t stop_at; /* 0 = it goes on; otherwise children are killed then */
	int signals;
	bool reported_corosync;
	bool failed; /* it ends for a reason of its own */
};

/* Runs until TERM; returns the exit status. */
int ha_run(const struct ha_options *options);
/* Looks whether it could: programs, directories, the kernel; prints what it finds. Returns the exit status. */
int ha_check(const struct ha_options *options);
/* Undoes what moves of VIPs left in the kernel, running or not. Returns the exit status. */
int ha_clean(void);

/* ---- requests.c ---- */
void ha_on_request(struct ha_message *m, void *arg);
/* ticket 0 = none; text NULL = it was done. */
void ha_answer(struct ha *ha, uint32_t ticket, enum ha_type about, const char *why);

/* ---- moves.c: flows of a planned move ---- */
void ha_on_flows(struct ha *ha, const struct ha_message *m);
/* A probe of HA_FLOWS_LOST is over: one without the name of a VIP. */
void ha_on_node_probed(struct ha *ha, const struct probe *p);
/* Once a minute: takes away what has run out. */
void ha_tidy_flows(void);

#endif
