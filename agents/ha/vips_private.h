/* SPDX-License-Identifier: Apache-2.0
 * What the parts of vips share. Private to them.
 */
#ifndef POSTROAD_AGENTS_HA_VIPS_PRIVATE_H
#define POSTROAD_AGENTS_HA_VIPS_PRIVATE_H

#include "agents/ha/vips.h"

/* ---- vips_apply.c ---- */
void vips_apply_tick(struct vips *v, int64_t now_ms);
/* What only this machine knows: whether it has the interface and the source, and has none of the addresses but by us.
 */
bool vips_fits(const struct vips *v, const struct ha_vip *vip, char why[HA_TEXT_MAX + 1]) MUST_CHECK;

/* ---- vips_kernel.c ---- */
/* Reads the kernel's list where it is stale, notes what is present, renews leases or deletes what nobody holds. */
void vips_kernel_tick(struct vips *v, int64_t now_ms);
/* How many of the VIP's addresses the kernel has on its interface. */
uint8_t vips_present(const struct vips *v, const struct ha_vip *vip, int interface);
/* Deletes a VIP's addresses. */
void vips_delete(struct vips *v, const struct ha_vip *vip);

/* ---- vips.c ---- */
/* Writes track files where health, silence or retirement ask for something else than they say. */
void vips_track(struct vips *v);

#endif
