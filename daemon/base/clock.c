/* SPDX-License-Identifier: Apache-2.0
 * Time.
 */
#include "daemon/base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

int64_t clock_mono_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_mono_ms(void)
{
	return clock_mono_us() / 1000;
}

double clock_wall(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

const char *clock_rfc3339(double wall, char *out)
{
	time_t sec = (time_t)wall;
	struct tm tm;

	gmtime_r(&sec, &tm);
	size_t n = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + n, 32 - n, ".%03dZ", (int)((wall - (double)sec) * 1000) % 1000);
	return out;
}

const char *clock_rfc5322(double wall, char *out)
{
	static const char day[7][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char month[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
					   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	static _Thread_local char newest[40]; /* asked for again and again within a second */
	static _Thread_local time_t newest_sec = -1;
	time_t sec = (time_t)wall;
	struct tm tm;

	if (sec == newest_sec)
		return memcpy(out, newest, sizeof(newest));
	gmtime_r(&sec, &tm);
	/* Not strftime: day and month names must not follow the locale. */
	snprintf(out, 40, "%s, %d %s %d %02d:%02d:%02d +0000", day[tm.tm_wday], tm.tm_mday, month[tm.tm_mon],
		 tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
	memcpy(newest, out, sizeof(newest));
	newest_sec = sec;
	return out;
}
