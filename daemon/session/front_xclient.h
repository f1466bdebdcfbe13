/* SPDX-License-Identifier: Apache-2.0
 * XCLIENT from those who may say for whom they speak (`accept_xclient`).
 */
#ifndef POSTROAD_SESSION_FRONT_XCLIENT_H
#define POSTROAD_SESSION_FRONT_XCLIENT_H

#include "daemon/session/front.h"

enum step front_xclient_command(struct session *s, struct str args);
/* Its line of the EHLO reply, for those who may use it. */
void front_xclient_announce(const struct session *s, struct sbuf *out);
/* The client's name, as HELO or EHLO says, unless XCLIENT said another. */
void front_take_name(struct session *s, struct str name, bool esmtp);

#endif
