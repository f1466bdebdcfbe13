/* SPDX-License-Identifier: Apache-2.0
 * Typed data as keepalived's file. Pure.
 */
#ifndef POSTROAD_AGENTS_HA_RENDER_H
#define POSTROAD_AGENTS_HA_RENDER_H

#include "cluster/vip/ha_protocol.h"

#define RENDER_TRACK_DIR "track" /* below the state directory: a file for each VIP, "1" = this node may hold it */
#define RENDER_FIFO "vrrp.fifo"
#define RENDER_INSTANCE "VIP_" /* before a VIP's name, in keepalived's names */

/* Appends keepalived.conf for a table that ha_table_check() has passed; state_dir is one that files_path_ok(). */
void render_keepalived(const struct ha_table *t, const char *state_dir, struct sbuf *out);

#endif
