/* SPDX-License-Identifier: Apache-2.0
 * Private to this room: the address of MAIL and RCPT.
 */
#ifndef POSTROAD_SMTP_PATH_H
#define POSTROAD_SMTP_PATH_H

#include "daemon/smtp/smtp.h"

/* Takes a path off the front of *in. NULL = done, else what is wrong, static text, and *in and *ret are as before.
 * "<>" and an address without a domain pass: which command may have them is the caller's business. */
const char *smtp_path_take(struct str *in, struct smtp_path *ret);
/* "[…]" with something allowed inside. */
bool smtp_literal_valid(struct str s);
/* No empty label but one trailing dot, none longer than max. */
bool smtp_labels_valid(struct str domain, size_t max);

#define SMTP_LABEL_MAX 63 /* RFC 1035 2.3.4 */

#endif
