/* SPDX-License-Identifier: Apache-2.0
 * The VIPs' addresses in the kernel: who is there, and for how long.
 *
 * The hard thing: keepalived may be killed, or stopped, with its addresses on the interface, and this process too. So
 * an address has a lease from the moment it is seen, renewed only while the VRRP process runs and may hold it. Whoever
 * renews also creates, if the address went in between; therefore the list is read anew right before.
 */
#include <errno.h>
#include <net/if.h>
#include <string.h>

#include "agents/ha/vips_private.h"
#include "daemon/base/log.h"

uint8_t vips_present(const struct vips *v, const struct ha_vip *vip, int interface)
{
	uint8_t n = 0;

	for (size_t i = 0; i < vip->n_addresses; i++)
		n += interface != 0 && kernel_find(v->kernel, interface, &vip->addresses[i].ip) != NULL;
	return n;
}

static void log_failure(const char *what, const struct ha_vip *vip, int r)
{
	log_msg(LOG_LEVEL_ERROR, "vip_kernel", "cannot %s an address of %s: %s", what, vip->name, strerror(-r));
}

void vips_delete(struct vips *v, const struct ha_vip *vip)
{
	int interface = (int)if_nametoindex(vip->interface);

	for (size_t i = 0; i < vip->n_addresses && interface != 0; i++) {
		const struct kernel_address *a = kernel_find(v->kernel, interface, &vip->addresses[i].ip);
		int r = a == NULL ? 0 : kernel_delete(v->kernel, a);
		if (a == NULL || r == -EADDRNOTAVAIL)
			continue;
		v->kernel->stale = true;
		if (r != 0) {
			log_failure("delete", vip, r);
			continue;
		}
		struct logline l;
		log_begin(&l, LOG_LEVEL_WARNING, "vip_deleted");
		log_cstr(&l, "vip", vip->name);
		log_cstr(&l, "reason", "it was on the interface while nobody held it");
		log_end(&l);
	}
}

static bool is_vip(const struct vips *v, const struct addr *ip)
{
	for (size_t i = 0; i < v->table->n; i++)
		for (size_t k = 0; k < v->table->vips[i].n_addresses; k++)
			if (addr_eq_ip(&v->table->vips[i].addresses[k].ip, ip))
				return true;
	return false;
}

static bool same_network(const struct kernel_address *a, const struct kernel_address *b)
{
	struct addr x = a->ip, y = b->ip;

	if (a->interface != b->interface || a->bits != b->bits || x.sa.sa_family != y.sa.sa_family)
		return false;
	addr_mask(&x, a->bits);
	addr_mask(&y, b->bits);
	return addr_eq_ip(&x, &y);
}

/* IPv6 has one route for all addresses of a network, and a lifetime of one of them becomes the route's: the node would
 * be cut off when its VIP goes. */
static bool has_own_route(const struct vips *v, const struct kernel_address *a)
{
	for (size_t i = 0; i < v->kernel->n; i++)
		if (same_network(&v->kernel->list[i], a) && !is_vip(v, &v->kernel->list[i].ip))
			return false;
	return true;
}

/* `all`: also those that have a lease already. */
static void lease(struct vips *v, const struct ha_vip *vip, int interface, bool all)
{
	for (size_t i = 0; i < vip->n_addresses; i++) {
		const struct kernel_address *a = kernel_find(v->kernel, interface, &vip->addresses[i].ip);
		if (a == NULL || (a->leased && !all))
			continue;
		int r = kernel_lease(v->kernel, a, a->ip.sa.sa_family == AF_INET || has_own_route(v, a));
		if (r != 0)
			log_failure("lease", vip, r);
	}
}

/* keepalived says that it is no master, for longer than a transition takes; or was told to let go. */
static bool is_stray(const struct vip_state *s, int64_t now_ms)
{
	bool master = s->said == HA_STATE_MASTER || s->said == HA_STATE_UNKNOWN;

	return !s->up || (!master && now_ms - s->said_at > VIPS_STRAY_MS);
}

static void look_at(struct vips *v, size_t i, int64_t now_ms)
{
	struct vip_state *s = &v->states[i];

	s->interface = (int)if_nametoindex(v->table->vips[i].interface);
	uint8_t present = vips_present(v, &v->table->vips[i], s->interface);
	if (present == s->present)
		return;
	s->present = present;
	s->changed_at = now_ms;
	v->changed = true;
}

static int refresh(struct vips *v, int64_t now_ms)
{
	int r = kernel_refresh(v->kernel);

	if (r != 0)
		log_msg(LOG_LEVEL_ERROR, "kernel", "cannot read the list of addresses: %s", strerror(-r));
	for (size_t i = 0; i < v->table->n && r == 0; i++)
		look_at(v, i, now_ms);
	return r;
}

void vips_kernel_tick(struct vips *v, int64_t now_ms)
{
	bool renew = now_ms >= v->renew_at, fresh = v->kernel->stale;

	if (renew)
		v->renew_at = now_ms + VIPS_RENEW_MS;
	if ((!renew && !fresh) || refresh(v, now_ms) != 0)
		return;
	/* Asked anew: what was seen a quarter of a second ago may be dead, or just born. */
	enum process_state vrrp = keepalived_look(v->keepalived);
	for (size_t i = 0; i < v->table->n; i++) {
		struct vip_state *s = &v->states[i];
		if (s->present == 0)
			continue;
		if (vrrp != PROCESS_RUNS)
			vips_delete(v, &v->table->vips[i]);
		else
			/* A stray one gets a lease that nobody renews. */
			lease(v, &v->table->vips[i], s->interface, renew && !is_stray(s, now_ms));
	}
}
