/* SPDX-License-Identifier: Apache-2.0
 * corosync's files, and its starting and stopping: by systemd's unit postroad-corosync, or as a child.
 */
#ifndef POSTROAD_AGENTS_HA_COROSYNC_H
#define POSTROAD_AGENTS_HA_COROSYNC_H

#include "agents/ha/files.h"
#include "agents/ha/jobs.h"
#include "cluster/vip/ha_protocol.h"

#define COROSYNC_FILE "corosync.conf"
#define COROSYNC_STAGED "corosync.conf.staged"
#define COROSYNC_KEY "authkey-" /* and the generation, so that file and key are exchanged at once */
#define COROSYNC_UNIT "postroad-corosync.service"
enum {
	COROSYNC_JOB_MS = 60000,
	COROSYNC_CHECK_MS = 10000, /* less than who asks waits for the answer */
	COROSYNC_RESTART_MS = 1000
};

struct corosync_options {
	const char *dir;       /* root's own */
	const char *program;   /* corosync, as a child; NULL = systemd runs it */
	const char *state_dir; /* of corosync, and of its log where it is a child; NULL = its default */
	const char *user;      /* who may speak to it beside root */
};

struct corosync {
	struct jobs *jobs;
	struct corosync_options options;
	void (*done)(uint32_t ticket, bool ok, const char *text, void *arg);
	void *arg;
	uint64_t staged, installed;
	struct job *child; /* where it is a child */
	bool wanted;
	int64_t start_at;
	pid_t seen; /* that runs, or ran; 0 = none whose remains were not removed */
	/* The request under way; one at a time. */
	struct job *job;
	uint32_t ticket;
	enum ha_corosync_verb verb;
	uint64_t generation;
	bool writing;               /* the job is the one that writes files */
	char text[HA_TEXT_MAX + 1]; /* the first line it printed */
	char hash[65];              /* of what is being staged */
};

/* Also reads which generation is installed. NULL, or a sentence the caller frees. */
char *corosync_open(struct corosync *c, struct jobs *jobs, const struct corosync_options *options) MUST_CHECK;
/* c->done() follows, perhaps before this returns. The request may be wiped afterwards. */
void corosync_request(struct corosync *c, const struct ha_corosync *request);
bool corosync_runs(const struct corosync *c);
void corosync_tick(struct corosync *c, int64_t now_ms);
int64_t corosync_next(const struct corosync *c);
/* At the end: a child is told to leave. */
void corosync_stop(struct corosync *c);

#endif
