/* SPDX-License-Identifier: Apache-2.0
 * Names of SASL mechanisms that servers offer, as bits of a word.
 *
 * Logins that are passed on are not understood here, so any name may come. Each gets a number when it is first seen and
 * keeps it for the life of the process; beyond MECHANISMS_MAX different names, further ones are not noticed.
 */
#ifndef POSTROAD_POOL_MECHANISMS_H
#define POSTROAD_POOL_MECHANISMS_H

#include <stdint.h>

#include "daemon/base/str.h"

#define MECHANISMS_MAX 64
#define MECHANISM_NAME_MAX 20 /* RFC 4422 3.1 */

/* The bits of a list as EHLO has it, "PLAIN LOGIN": words that are no names are skipped. From any thread. */
uint64_t mechanisms_of(struct str list);
/* The name of a bit that mechanisms_of() gave, upper case. From any thread. */
const char *mechanism_name(unsigned bit);

#endif
