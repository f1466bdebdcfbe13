/* SPDX-License-Identifier: Apache-2.0
 * The log: logfmt, lines are written whole, safe from every thread.
 *
 * A line is built on the caller's stack (struct logline) and goes out whole, so that lines of several threads never
 * mix. Between log_start() and log_stop() a thread of its own writes: whoever logs copies the line and never waits for
 * those who read. What they do not read in time is bounded, then dropped, counted, and told of where it is missing.
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

enum { LOG_QUEUE_BYTES = 1024 * 1024, LOG_END_MS = 500 };

/* Starts the thread that writes; once privileges are given up, as a thread keeps capabilities of its own. It has all
 * signals blocked. Order is kept. From here on SIGABRT and faults end the process as ever, but the queue gets up to
 * LOG_END_MS first (where nobody else has a handler). A child of fork(2) has no such thread: it writes itself, and may
 * wait. */
void log_start(void);
/* Writes what is queued, for LOG_END_MS at most. True: all is out (or lost with its reader), and who logs now writes
 * again. False: nobody reads; the thread stays as it is, the process can only end. */
bool log_stop(void);
/* How many lines were dropped since the process began. From any thread. */
uint64_t log_dropped(void);
/* A line as it stands, without its end, to standard error: for a process that ends by a broken invariant. */
void log_last_words(const char *text, size_t n);

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
