/* SPDX-License-Identifier: Apache-2.0
 * What nodes say of themselves and what is configured, as the values that cluster/vip decides by. Pure.
 */
#ifndef POSTROAD_API_VIP_VIEW_H
#define POSTROAD_API_VIP_VIEW_H

#include "cluster/report/view.h"
#include "cluster/vip/vip.h"
#include "daemon/conf/conf.h"

/* The members as far as they matter to one VIP. Those who may hold it and whose address is not known (never heard, or
 * without its interface, or without an address of the VIP's families) are left out; *ret_complete: nobody was left out
 * who was never heard. */
void vip_view_nodes(const struct report_view *view, int64_t now_ms, const struct vip_config *c, struct vip_nodes *ret,
		    bool *ret_complete);
/* What is configured, in ids, and who holds it: this node, else another that is fresh. */
void vip_view_vip(const struct report_view *view, int64_t now_ms, const struct vip_config *c, struct vip *ret);
/* What a node said last of a VIP; NULL = nothing. Valid as the row is. */
const struct report_vip *vip_view_said(const struct report_row *row, const char *vip);
/* Whether a node could take a VIP now, as far as it says: it is fresh, is not being drained, and may hold it. */
bool vip_view_could(const struct report_row *row, const char *vip);
/* To whom a VIP moves by hand (its name, in the run-time document): NULL = to nobody. */
const char *vip_view_pin(const json_t *runtime, const char *vip);

#endif
