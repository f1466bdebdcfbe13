/* SPDX-License-Identifier: Apache-2.0
 * Time. Deadlines are absolute milliseconds of the monotonic clock; durations for people are microseconds.
 */
#ifndef POSTROAD_BASE_CLOCK_H
#define POSTROAD_BASE_CLOCK_H

#include "daemon/base/obj.h"

/* CLOCK_MONOTONIC in milliseconds or microseconds. */
int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);
/* Seconds (fraction included) since 1970, for people and files only; never for a deadline. */
double clock_wall(void);
/* RFC 3339 in UTC with milliseconds, into out[32]; returns out. */
const char *clock_rfc3339(double wall, char *out);
/* RFC 5322 date-time in UTC ("Sat, 21 Nov 2026 23:38:47 +0000") into out[40]; returns out. */
const char *clock_rfc5322(double wall, char *out);

#endif
