/* SPDX-License-Identifier: Apache-2.0
 * The VIPs of this node: the table in force and the one being put in force, what keepalived may hold (track files),
 * what the kernel holds (leases), and what is said about it.
 */
#ifndef POSTROAD_AGENTS_HA_VIPS_H
#define POSTROAD_AGENTS_HA_VIPS_H

#include "agents/ha/keepalived.h"
#include "agents/ha/kernel.h"

enum {
	VIPS_RENEW_MS = 1000,
	VIPS_AGAIN_MS = 5000,  /* a table that was refused is tried again so often: what was missing may come */
	VIPS_RETIRE_MS = 2000, /* keepalived is given so long to release what leaves the table, or changes */
	VIPS_STRAY_MS = 1000   /* an address whose instance is no master for so long is renewed no more */
};
#define VIPS_TABLE_FILE "table" /* the last table, as bytes: what a start after a crash looks for and takes away */

/* Run-time state of a VIP in the table in force, at the same index. */
struct vip_state {
	int interface;      /* its index; 0 = it has gone */
	bool up;            /* what its track file says */
	bool retiring;      /* a fault, whatever its health, until the next table is in force */
	enum ha_state said; /* by keepalived */
	int64_t said_at;
	uint8_t priority;
	uint8_t present;
	int64_t changed_at;
};

enum vips_step { VIPS_IDLE, VIPS_CHECKING, VIPS_RETIRING };

struct vips_events {
	void *arg;
	/* The table was not put in force. */
	void (*refused)(uint64_t generation, const char *why, void *arg);
};

struct vips {
	const char *dir; /* state directory */
	char track_dir[FILES_PATH_MAX];
	ino_t track_inode;
	struct keepalived *keepalived;
	struct kernel *kernel;
	struct vips_events events;
	struct ha_table *table, *next, *waiting; /* in force; being put in force; to come after that. NULL = none */
	struct ha_table *left;                   /* of the run before, until a table is in force; NULL = none */
	struct vip_state states[HA_VIPS_MAX];
	struct ha_table *refused; /* the newest one, which this machine or keepalived did not take */
	int64_t again_at;
	char refusal[HA_TEXT_MAX + 1];
	enum vips_step step;
	int64_t retire_until;
	struct sbuf rendered, candidate; /* keepalived's file for `table` and for `next` */
	struct ha_health *health;        /* as last told; n = 0: all at fault */
	int64_t renew_at;
	bool changed; /* there is news to report */
};

/* Also takes away what the last run left on interfaces. NULL, or a sentence the caller frees. */
char *vips_open(struct vips *v, const char *dir, struct keepalived *keepalived, struct kernel *kernel) MUST_CHECK;
void vips_close(struct vips *v);
/* Puts a checked table in force: checks it against the machine and by keepalived, and until it is in force, or refused,
 * the old one stays. A newer one replaces one that is on its way. Copies. */
void vips_set_table(struct vips *v, const struct ha_table *table);
/* NULL: nothing is told, all are at fault. Copies. */
void vips_set_health(struct vips *v, const struct ha_health *health);
/* Writes track files anew that somebody has altered or taken away. False: their directory is not the one of before,
 * which keepalived watches: start anew. */
bool vips_keep_files(struct vips *v) MUST_CHECK;
/* For struct keepalived_events. */
void vips_on_state(const char *vip, enum ha_state state, uint8_t priority, void *arg);
void vips_on_checked(bool ok, const char *text, void *arg);
void vips_on_keepalived(void *arg);
/* After each turn. */
void vips_tick(struct vips *v, int64_t now_ms);
int64_t vips_next(const struct vips *v);
/* Fills what of a report is about VIPs. */
void vips_report(const struct vips *v, int64_t now_ms, struct ha_report *ret);
/* Deletes the addresses of the table: at the end, when keepalived is gone. */
void vips_delete_all(struct vips *v);

#endif
