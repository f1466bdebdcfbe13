/* SPDX-License-Identifier: Apache-2.0
 * keepalived as a child: started, checked, told to read its file again, started anew when it ends; what it says by its
 * FIFO; whether its VRRP process runs.
 */
#ifndef POSTROAD_AGENTS_HA_KEEPALIVED_H
#define POSTROAD_AGENTS_HA_KEEPALIVED_H

#include "agents/ha/files.h"
#include "agents/ha/jobs.h"
#include "agents/ha/process.h"
#include "cluster/vip/ha_protocol.h"

enum {
	KEEPALIVED_SAMPLE_MS = 250,
	KEEPALIVED_WHOLE_MS = 5000,  /* one without a VRRP process is ended after that */
	KEEPALIVED_SETTLE_MS = 1000, /* from its start, or a reload, to the next reload: before, it may become deaf */
	KEEPALIVED_CHECK_MS = 10000,
	KEEPALIVED_BACKOFF_MIN_MS = 250,
	KEEPALIVED_BACKOFF_MAX_MS = 5000,
	KEEPALIVED_RECENT = 16, /* lines of its log that are not repeated within */
	KEEPALIVED_REPEAT_MS = 10000
};
#define KEEPALIVED_FILE "keepalived.conf"
#define KEEPALIVED_CANDIDATE "keepalived.conf.new"

struct keepalived_events {
	void *arg;
	/* Of a line of the FIFO. */
	void (*state)(const char *vip, enum ha_state state, uint8_t priority, void *arg);
	/* The check of the candidate is over; text says what is wrong, as keepalived does. */
	void (*checked)(bool ok, const char *text, void *arg);
	/* The VRRP process came, went, was stopped or goes on. */
	void (*changed)(void *arg);
};

struct keepalived {
	struct jobs *jobs;
	const char *program, *dir;
	struct keepalived_events events;
	struct job *child, *check;
	char check_text[HA_TEXT_MAX + 1];
	bool wanted;
	int64_t start_at, started_at, settled_at, sample_at;
	unsigned backoff_ms;
	enum process_state vrrp;
	int64_t stopped_at; /* when it was first seen so; 0 = it was not, when last seen */
	int64_t whole_at;   /* when both processes were last there, or neither */
	int fifo;
	size_t n;
	char line[256];
	struct {
		int64_t at;
		char text[JOB_LINE_MAX];
	} recent[KEEPALIVED_RECENT];
};

/* Makes the FIFO. dir and program are the caller's and stay. NULL, or a sentence the caller frees. */
char *keepalived_open(struct keepalived *k, struct jobs *jobs, const char *program, const char *dir) MUST_CHECK;
void keepalived_close(struct keepalived *k);
/* Runs `keepalived -t` on KEEPALIVED_CANDIDATE; events.checked() follows. A check under way is given up. */
void keepalived_check(struct keepalived *k);
/* From now on it shall run, or not. To run, it needs KEEPALIVED_FILE. */
void keepalived_want(struct keepalived *k, bool wanted);
/* It reads its file again, if it runs. Only when keepalived_settled(). */
void keepalived_reload(struct keepalived *k);
bool keepalived_settled(const struct keepalived *k, int64_t now_ms);
/* Looks at /proc now. A stopped one counts as stopped when it was seen so twice, some time apart: a debugger stops it
 * for moments, and of a machine that goes on after a pause it may be the last to do so. */
enum process_state keepalived_look(struct keepalived *k);
void keepalived_turn(struct keepalived *k, struct turn *turn);
void keepalived_tick(struct keepalived *k, int64_t now_ms);

/* `INSTANCE "VIP_name" MASTER 250` into its parts. Exported for the tests. */
bool keepalived_parse(const char *line, char name[HA_NAME_MAX + 1], enum ha_state *ret_state,
		      uint8_t *ret_priority) MUST_CHECK;

#endif
