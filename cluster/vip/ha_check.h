/* SPDX-License-Identifier: Apache-2.0
 * The rules that a message's content obeys, beyond its form. Private to the room: both directions of ha_protocol.h
 * apply them.
 */
#ifndef POSTROAD_CLUSTER_VIP_HA_CHECK_H
#define POSTROAD_CLUSTER_VIP_HA_CHECK_H

#include "cluster/vip/ha_protocol.h"

/* NULL, or a sentence (static). */
const char *ha_message_check(const struct ha_message *m) MUST_CHECK;

#endif
