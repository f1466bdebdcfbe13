/* SPDX-License-Identifier: Apache-2.0
 * Requests to postroad-ha and their answers, each answered once.
 */
#ifndef POSTROAD_DAEMON_CLUSTER_HA_LINK_H
#define POSTROAD_DAEMON_CLUSTER_HA_LINK_H

#include "cluster/vip/ha_protocol.h"

/* m NULL: it was not reached, or did not answer in time. Else HA_DONE, HA_ERROR or what the request asked for. */
typedef void ha_answer_fn(const struct ha_message *m, void *arg);
/* Sends a request; its ticket is chosen here. False: it cannot be sent now, and fn is not called. */
typedef bool ha_request_fn(void *link, struct ha_message *m, ha_answer_fn *fn, void *arg);

#endif
