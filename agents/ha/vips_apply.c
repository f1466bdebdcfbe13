/* SPDX-License-Identifier: Apache-2.0
 * From one table to the next.
 *
 * The hard thing: what stays must not move, what goes must be let go of before its peers could disagree about it, and a
 * table that keepalived does not like must leave no trace. So: check beside, fault what leaves or changes and wait for
 * it, then exchange the file and have it read.
 */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agents/ha/render.h"
#include "agents/ha/vips_private.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"

static void refuse(struct vips *v, const char *why)
{
	uint64_t generation = v->next->generation;

	free(v->refused);
	v->refused = v->next;
	v->again_at = clock_mono_ms() + VIPS_AGAIN_MS;
	v->next = NULL;
	v->step = VIPS_IDLE;
	files_remove(v->dir, KEEPALIVED_CANDIDATE);
	if (strcmp(v->refusal, why) != 0)
		log_msg(LOG_LEVEL_ERROR, "table_refused", "table %llu: %s", (unsigned long long)generation, why);
	ha_text(v->refusal, why);
	v->events.refused(generation, why, v->events.arg);
}

static bool is_of(const struct ha_table *table, const struct addr *ip)
{
	for (size_t i = 0; table != NULL && i < table->n; i++)
		for (size_t k = 0; k < table->vips[i].n_addresses; k++)
			if (addr_eq_ip(&table->vips[i].addresses[k].ip, ip))
				return true;
	return false;
}

/* An address of the machine that is none of ours: it would get a lease and be deleted with it, and whoever administers
 * the machine by it would be cut off. On `lo` one with a lifetime is what a planned move keeps there. */
static bool is_the_machines(const struct vips *v, const struct addr *ip)
{
	int lo = (int)if_nametoindex("lo");

	if (is_of(v->table, ip) || is_of(v->left, ip))
		return false;
	for (size_t i = 0; i < v->kernel->n; i++) {
		const struct kernel_address *a = &v->kernel->list[i];
		if (addr_eq_ip(&a->ip, ip) && !(a->interface == lo && a->leased))
			return true;
	}
	return false;
}

bool vips_fits(const struct vips *v, const struct ha_vip *vip, char why[HA_TEXT_MAX + 1])
{
	char ip[ADDR_TEXT_MAX];

	if (if_nametoindex(vip->interface) == 0) {
		snprintf(why, HA_TEXT_MAX, "VIP %s: there is no interface %s", vip->name, vip->interface);
		return false;
	}
	if (kernel_find(v->kernel, 0, &vip->source) == NULL) {
		snprintf(why, HA_TEXT_MAX, "VIP %s: %s is no address of this machine", vip->name,
			 addr_format_ip(&vip->source, ip));
		return false;
	}
	for (size_t i = 0; i < vip->n_addresses; i++) {
		if (!is_the_machines(v, &vip->addresses[i].ip))
			continue;
		snprintf(why, HA_TEXT_MAX, "VIP %s: %s is the machine's own address already", vip->name,
			 addr_format_ip(&vip->addresses[i].ip, ip));
		return false;
	}
	return true;
}

static void begin(struct vips *v)
{
	char why[HA_TEXT_MAX + 1];

	v->next = v->waiting;
	v->waiting = NULL;
	if (kernel_refresh(v->kernel) != 0) {
		refuse(v, "the kernel's list of addresses cannot be read");
		return;
	}
	for (size_t i = 0; i < v->next->n; i++) {
		if (!vips_fits(v, &v->next->vips[i], why)) {
			refuse(v, why);
			return;
		}
	}
	sbuf_reset(&v->candidate);
	render_keepalived(v->next, v->dir, &v->candidate);
	int r = files_replace(v->dir, KEEPALIVED_CANDIDATE, (struct str) { v->candidate.p, v->candidate.n }, 0600,
			      false);
	if (r != 0) {
		snprintf(why, sizeof(why), "keepalived's file cannot be written: %s", strerror(-r));
		refuse(v, why);
		return;
	}
	v->step = VIPS_CHECKING;
	if (v->next->n > 0)
		keepalived_check(v->keepalived);
	else
		vips_on_checked(true, "", v);
}

/* Whether keepalived can go from one to the other without letting go first: the same addresses by the same protocol. */
static bool same_instance(const struct ha_vip *a, const struct ha_vip *b)
{
	if (strcmp(a->interface, b->interface) != 0 || a->vrid != b->vrid || a->n_addresses != b->n_addresses ||
	    a->source.sa.sa_family != b->source.sa.sa_family)
		return false;
	for (size_t i = 0; i < a->n_addresses; i++)
		if (!addr_eq_ip(&a->addresses[i].ip, &b->addresses[i].ip) ||
		    a->addresses[i].bits != b->addresses[i].bits)
			return false;
	return true;
}

void vips_on_checked(bool ok, const char *text, void *arg)
{
	struct vips *v = arg;

	if (v->step != VIPS_CHECKING)
		return;
	if (!ok) {
		char why[HA_TEXT_MAX + 1];
		snprintf(why, sizeof(why), "keepalived refuses it: %.200s", text);
		refuse(v, why);
		return;
	}
	for (size_t i = 0; i < v->table->n; i++) {
		const struct ha_vip *next = ha_table_find(v->next, v->table->vips[i].name);
		v->states[i].retiring = next == NULL || !same_instance(&v->table->vips[i], next);
	}
	v->step = VIPS_RETIRING;
	v->retire_until = clock_mono_ms() + VIPS_RETIRE_MS;
	vips_track(v);
}

static bool retired(const struct vips *v)
{
	for (size_t i = 0; i < v->table->n; i++)
		if (v->states[i].retiring && v->states[i].present > 0)
			return false;
	return true;
}

/* ---- the exchange ---- */

/* A VIP that stays keeps its state; a new one begins at fault, and its file says so before keepalived looks for it. */
static void carry_over(struct vips *v)
{
	struct vip_state states[HA_VIPS_MAX] = { 0 };

	for (size_t i = 0; i < v->next->n; i++) {
		const char *name = v->next->vips[i].name;
		const struct ha_vip *old = ha_table_find(v->table, name);
		const struct vip_state *s = old == NULL ? NULL : &v->states[old - v->table->vips];
		if (s != NULL && !s->retiring) {
			states[i] = *s;
			continue;
		}
		states[i].changed_at = clock_mono_ms();
		if (files_replace(v->track_dir, name, STR("0\n"), 0644, false) != 0)
			files_remove(v->track_dir, name);
	}
	memcpy(v->states, states, sizeof(states));
}

static void remember(struct vips *v)
{
	struct sbuf bytes = { 0 };
	struct ha_message *m = xcalloc(1, sizeof(*m));

	m->type = HA_TABLE;
	memcpy(&m->table, v->next, sizeof(m->table));
	if (ha_encode(m, &bytes) != NULL ||
	    files_replace(v->dir, VIPS_TABLE_FILE, (struct str) { bytes.p, bytes.n }, 0600, false) != 0)
		log_msg(LOG_LEVEL_WARNING, "table_file", "the table cannot be kept for a start after a crash");
	free(m);
	sbuf_fini(&bytes);
}

static void remove_files_of_the_gone(struct vips *v, const struct ha_table *old)
{
	for (size_t i = 0; i < old->n; i++)
		if (ha_table_find(v->table, old->vips[i].name) == NULL)
			files_remove(v->track_dir, old->vips[i].name);
}

static void install(struct vips *v)
{
	struct str file = { v->candidate.p, v->candidate.n };
	bool same = str_eq(file, (struct str) { v->rendered.p, v->rendered.n });
	int r = same ? 0 : files_replace(v->dir, KEEPALIVED_FILE, file, 0600, false);

	if (r != 0) {
		for (size_t i = 0; i < v->table->n; i++)
			v->states[i].retiring = false;
		refuse(v, "keepalived's file cannot be written");
		return;
	}
	remember(v);
	carry_over(v);
	struct ha_table *old = v->table;
	v->table = v->next;
	v->next = NULL;
	free(v->left);
	v->left = NULL;
	v->step = VIPS_IDLE;
	v->refusal[0] = '\0';
	sbuf_reset(&v->rendered);
	sbuf_add(&v->rendered, file.p, file.n);
	files_remove(v->dir, KEEPALIVED_CANDIDATE);
	if (!same)
		keepalived_reload(v->keepalived);
	keepalived_want(v->keepalived, v->table->n > 0);
	remove_files_of_the_gone(v, old);
	free(old);
	v->changed = v->kernel->stale = true;
	log_msg(LOG_LEVEL_INFO, "table", "table %llu with %zu VIPs is in force",
		(unsigned long long)v->table->generation, v->table->n);
	vips_track(v);
}

void vips_set_table(struct vips *v, const struct ha_table *table)
{
	free(v->waiting);
	free(v->refused);
	v->refused = NULL;
	v->waiting = xmalloc(sizeof(*table));
	memcpy(v->waiting, table, sizeof(*table));
}

void vips_apply_tick(struct vips *v, int64_t now_ms)
{
	if (v->step == VIPS_IDLE && v->waiting == NULL && v->refused != NULL && now_ms >= v->again_at) {
		v->waiting = v->refused;
		v->refused = NULL;
	}
	if (v->step == VIPS_IDLE && v->waiting != NULL)
		begin(v);
	if (v->step == VIPS_RETIRING && (retired(v) || now_ms >= v->retire_until) &&
	    keepalived_settled(v->keepalived, now_ms))
		install(v);
}
