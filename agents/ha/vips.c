/* SPDX-License-Identifier: Apache-2.0
 * The VIPs of this node: health, track files, reports.
 *
 * The hard thing: keepalived obeys files and forgets nobody. A VIP may be held only while somebody says so; so each
 * file says "0" from before keepalived knows of the VIP, and is "1" only while postroadd is heard and says that it is
 * up.
 */
#include "agents/ha/vips_private.h"

#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "agents/ha/render.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"

/* What the last run held and could not take away. */
static void reconcile(struct vips *v)
{
	struct sbuf bytes = { 0 };
	struct ha_message *m = xcalloc(1, sizeof(*m));

	if (files_read(v->dir, VIPS_TABLE_FILE, HA_MESSAGE_MAX, &bytes) == 0 && bytes.n > 0 &&
	    ha_decode((struct str) { bytes.p, bytes.n }, m) == NULL && m->type == HA_TABLE) {
		for (size_t i = 0; i < m->table.n; i++)
			vips_delete(v, &m->table.vips[i]);
		v->left = xmalloc(sizeof(*v->left));
		memcpy(v->left, &m->table, sizeof(*v->left));
	}
	free(m);
	sbuf_fini(&bytes);
}

/* 0 = there is none. */
static ino_t inode_of(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 ? st.st_ino : 0;
}

char *vips_open(struct vips *v, const char *dir, struct keepalived *keepalived, struct kernel *kernel)
{
	memset(v, 0, sizeof(*v));
	v->dir = dir;
	v->keepalived = keepalived;
	v->kernel = kernel;
	v->table = xcalloc(1, sizeof(*v->table));
	v->health = xcalloc(1, sizeof(*v->health));
	snprintf(v->track_dir, sizeof(v->track_dir), "%s/" RENDER_TRACK_DIR, dir);
	char *why = files_directory(v->track_dir, 0755);
	if (why == NULL && kernel_refresh(kernel) == 0)
		reconcile(v);
	v->track_inode = inode_of(v->track_dir);
	return why;
}

void vips_close(struct vips *v)
{
	free(v->table);
	free(v->next);
	free(v->waiting);
	free(v->refused);
	free(v->left);
	free(v->health);
	sbuf_fini(&v->rendered);
	sbuf_fini(&v->candidate);
	memset(v, 0, sizeof(*v));
}

/* ---- health ---- */

static const struct ha_health_vip *health_of(const struct vips *v, const char *name)
{
	for (size_t i = 0; i < v->health->n; i++)
		if (strcmp(v->health->vips[i].name, name) == 0)
			return &v->health->vips[i];
	return NULL;
}

static void log_track(const char *vip, bool up, const char *reason)
{
	struct logline l;

	log_begin(&l, up ? LOG_LEVEL_INFO : LOG_LEVEL_NOTICE, up ? "vip_up" : "vip_fault");
	log_cstr(&l, "vip", vip);
	log_cstr(&l, "reason", up ? NULL : reason);
	log_end(&l);
}

void vips_track(struct vips *v)
{
	for (size_t i = 0; i < v->table->n; i++) {
		const struct ha_vip *vip = &v->table->vips[i];
		const struct ha_health_vip *h = health_of(v, vip->name);
		bool up = h != NULL && h->up && !v->states[i].retiring;
		if (up == v->states[i].up)
			continue;
		int r = files_replace(v->track_dir, vip->name, up ? STR("1\n") : STR("0\n"), 0644, false);
		if (r != 0 && !up) /* no room for a file: without one it is a fault too */
			files_remove(v->track_dir, vip->name);
		if (r != 0 && up)
			continue; /* tried again at the next turn */
		v->states[i].up = up;
		v->changed = true;
		log_track(vip->name, up,
			  v->states[i].retiring ? "it leaves the table or changes"
			  : h == NULL           ? "nobody says that it may be held"
						: h->reason);
	}
}

bool vips_keep_files(struct vips *v)
{
	struct sbuf bytes = { 0 };

	for (size_t i = 0; i < v->table->n; i++) {
		struct str wanted = v->states[i].up ? STR("1\n") : STR("0\n");
		const char *name = v->table->vips[i].name;
		sbuf_reset(&bytes);
		if (files_read(v->track_dir, name, 16, &bytes) == 0 &&
		    str_eq((struct str) { bytes.p, bytes.n }, wanted))
			continue;
		log_msg(LOG_LEVEL_WARNING, "track_file", "%s: its file was not as it was written; it is again", name);
		(void)!files_replace(v->track_dir, name, wanted, 0644, false);
	}
	sbuf_fini(&bytes);
	return v->track_inode != 0 && inode_of(v->track_dir) == v->track_inode;
}

void vips_set_health(struct vips *v, const struct ha_health *health)
{
	if (health == NULL)
		v->health->n = 0;
	else
		memcpy(v->health, health, sizeof(*health));
	vips_track(v);
}

/* ---- what keepalived says ---- */

static const char *const state_names[HA_STATE_END] = { "unknown", "backup", "master", "fault", "stop" };

void vips_on_state(const char *vip, enum ha_state state, uint8_t priority, void *arg)
{
	struct vips *v = arg;
	const struct ha_vip *found = ha_table_find(v->table, vip);
	struct logline l;

	if (found == NULL)
		return;
	struct vip_state *s = &v->states[found - v->table->vips];
	s->priority = priority;
	if (s->said == state)
		return;
	s->said = state;
	s->said_at = s->changed_at = clock_mono_ms();
	v->changed = true;
	log_begin(&l, LOG_LEVEL_INFO, "vip_state");
	log_cstr(&l, "vip", vip);
	log_cstr(&l, "state", state_names[state]);
	log_int(&l, "priority", priority);
	log_end(&l);
}

void vips_on_keepalived(void *arg)
{
	struct vips *v = arg;

	v->changed = true;
	v->kernel->stale = true;
	if (v->keepalived->vrrp == PROCESS_GONE) /* a new process says anew what it does */
		for (size_t i = 0; i < v->table->n; i++)
			v->states[i].said = HA_STATE_UNKNOWN;
}

/* ---- the turn ---- */

void vips_tick(struct vips *v, int64_t now_ms)
{
	vips_track(v);
	vips_kernel_tick(v, now_ms);
	vips_apply_tick(v, now_ms);
}

int64_t vips_next(const struct vips *v)
{
	return v->step == VIPS_RETIRING && v->retire_until < v->renew_at ? v->retire_until : v->renew_at;
}

void vips_report(const struct vips *v, int64_t now_ms, struct ha_report *ret)
{
	ret->generation = v->table->generation;
	ret->keepalived = v->keepalived->vrrp == PROCESS_RUNS;
	ret->n = v->table->n;
	for (size_t i = 0; i < v->table->n; i++) {
		const struct ha_vip *vip = &v->table->vips[i];
		const struct vip_state *s = &v->states[i];
		ret->vips[i] = (struct ha_report_vip) {
			.addresses = (uint8_t)vip->n_addresses,
			.present = s->present,
			.up = s->up,
			.state = s->said,
			.priority = s->priority,
			.since_ms = (uint64_t)(now_ms > s->changed_at ? now_ms - s->changed_at : 0)
		};
		memcpy(ret->vips[i].name, vip->name, sizeof(vip->name));
	}
}

void vips_delete_all(struct vips *v)
{
	if (kernel_refresh(v->kernel) != 0)
		return;
	for (size_t i = 0; i < v->table->n; i++)
		vips_delete(v, &v->table->vips[i]);
}
