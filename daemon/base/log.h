/* SPDX-License-Identifier: Apache-2.0
 * The log: logfmt, one write per line, safe from every thread.
 *
 * A line is built on the caller's stack (struct logline) and written whole, so that lines of several threads never mix.
 * Values are escaped; a value that a client chose can never forge a key or a line. Secrets must not be passed here.
 */
#ifndef POSTROAD_BASE_LOG_H
#define POSTROAD_BASE_LOG_H

#include "daemon/base/addr.h"
#include "daemon/base/str.h"

enum log_level {
	LOG_LEVEL_DEBUG,
	LOG_LEVEL_INFO,
	LOG_LEVEL_NOTICE,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_ERROR,
	LOG_LEVEL_COUNT
};
enum log_target { LOG_TARGET_STDERR, LOG_TARGET_SYSLOG };

/* Names as the node file writes them; log_level_from_name() returns -1 for an unknown one. */
extern const char *const log_level_names[LOG_LEVEL_COUNT];
int log_level_from_name(const char *name);

/* Before any thread starts. Lines below `level` are dropped. */
void log_init(enum log_target target, enum log_level level);
bool log_enabled(enum log_level level);
/* Tests: lines go to fn instead. NULL restores the target. */
typedef void log_capture_fn(enum log_level level, const char *line, void *arg);
void log_capture(log_capture_fn *fn, void *arg);

/* A line under construction. Too long a line is cut with "…" at the end of a value; never in the middle of an escape.
 */
struct logline {
	enum log_level level;
	size_t n;
	char text[2048];
};

/* Starts a line: `time=… level=… event=EVENT`. */
void log_begin(struct logline *l, enum log_level level, const char *event);
void log_str(struct logline *l, const char *key, struct str value); /* absent when value.p is NULL */
void log_cstr(struct logline *l, const char *key, const char *value);
void log_int(struct logline *l, const char *key, int64_t value);
/* Microseconds, written as seconds with three decimals. */
void log_duration(struct logline *l, const char *key, int64_t us);
void log_addr(struct logline *l, const char *key, const struct addr *a);
void log_end(struct logline *l);

/* A whole line in one call: `… event=EVENT msg="formatted text"`. */
void log_msg(enum log_level level, const char *event, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
