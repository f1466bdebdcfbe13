/* SPDX-License-Identifier: Apache-2.0
 * The log: logfmt, lines are written whole, safe from every thread.
 *
 * libqb's logger was looked at and left out here: it guards re-entry with a plain static flag and so drops lines when
 * two threads log at once, which a line per transaction cannot afford.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <syslog.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/log_private.h"

const char *const log_level_names[LOG_LEVEL_COUNT] = { "debug", "info", "notice", "warning", "error" };

/* Written once by log_init() before threads start; the capture hook is for single-threaded tests. */
static enum log_target target = LOG_TARGET_STDERR;
static enum log_level min_level = LOG_LEVEL_INFO;
static log_capture_fn *capture;
static void *capture_arg;

int log_level_from_name(const char *name)
{
	for (int i = 0; i < LOG_LEVEL_COUNT; i++)
		if (strcmp(name, log_level_names[i]) == 0)
			return i;
	return -1;
}

void log_init(enum log_target t, enum log_level level)
{
	target = t;
	min_level = level;
	if (t == LOG_TARGET_SYSLOG)
		openlog("postroadd", LOG_PID | LOG_NDELAY, LOG_MAIL);
}

bool log_enabled(enum log_level level)
{
	return level >= min_level;
}

void log_capture(log_capture_fn *fn, void *arg)
{
	capture = fn;
	capture_arg = arg;
}

/* ---- building ---- */

static void put(struct logline *l, const char *p, size_t n)
{
	size_t room = sizeof(l->text) - 2 - l->n; /* one for '\n', one for NUL */

	if (n > room)
		n = room;
	memcpy(l->text + l->n, p, n);
	l->n += n;
}

static void put_key(struct logline *l, const char *key)
{
	if (l->n > 0)
		put(l, " ", 1);
	put(l, key, strlen(key));
	put(l, "=", 1);
}

static bool is_plain(struct str v)
{
	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];
		if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c == 0x7f)
			return false;
	}
	return v.n > 0;
}

/* One byte as it stands inside quotes; returns its length in out. */
static size_t escape(unsigned char c, char out[5])
{
	static const char hex[] = "0123456789abcdef";

	if (c == '"' || c == '\\') {
		out[0] = '\\';
		out[1] = (char)c;
		return 2;
	}
	if (c >= ' ' && c != 0x7f) {
		out[0] = (char)c;
		return 1;
	}
	memcpy(out, "\\x", 2);
	out[2] = hex[c >> 4];
	out[3] = hex[c & 15];
	return 4;
}

static void put_quoted(struct logline *l, struct str v)
{
	char esc[5];
	size_t reserve = 8; /* the ellipsis and the closing quote always fit */

	put(l, "\"", 1);
	for (size_t i = 0; i < v.n; i++) {
		size_t n = escape((unsigned char)v.p[i], esc);
		if (l->n + n + reserve > sizeof(l->text)) {
			put(l, "…", strlen("…"));
			break;
		}
		put(l, esc, n);
	}
	put(l, "\"", 1);
}

/* The text of the present second is kept per thread: a line per transaction must not pay for a calendar each time. */
static const char *now_text(void)
{
	static _Thread_local char text[32];
	static _Thread_local int64_t second;
	double wall = clock_wall();
	int ms = (int)((wall - (double)(int64_t)wall) * 1000);

	if (second != (int64_t)wall) {
		second = (int64_t)wall;
		clock_rfc3339((double)second, text);
	}
	char *at = text + strlen("2026-11-21T23:38:47.");
	at[0] = (char)('0' + ms / 100);
	at[1] = (char)('0' + ms / 10 % 10);
	at[2] = (char)('0' + ms % 10);
	return text;
}

void log_begin(struct logline *l, enum log_level level, const char *event)
{
	l->level = level;
	l->n = 0;
	if (target == LOG_TARGET_STDERR) {
		log_cstr(l, "time", now_text());
		log_cstr(l, "level", log_level_names[level]);
	}
	log_cstr(l, "event", event);
}

void log_str(struct logline *l, const char *key, struct str v)
{
	if (v.p == NULL)
		return;
	/* A key is written whole or not at all, so that a full line still parses. */
	if (l->n + strlen(key) + 16 > sizeof(l->text))
		return;
	put_key(l, key);
	if (is_plain(v) && l->n + v.n + 8 < sizeof(l->text))
		put(l, v.p, v.n);
	else
		put_quoted(l, v);
}

void log_cstr(struct logline *l, const char *key, const char *value)
{
	log_str(l, key, str_from(value));
}

/* Digits of v before `end`, at least `width` of them; returns where they begin. */
static char *digits(char *end, uint64_t v, int width)
{
	for (; v > 0 || width > 0; v /= 10, width--)
		*--end = (char)('0' + v % 10);
	return end;
}

void log_int(struct logline *l, const char *key, int64_t value)
{
	char text[24], *end = text + sizeof(text);
	char *at = digits(end, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 1);

	if (value < 0)
		*--at = '-';
	log_str(l, key, (struct str) { at, (size_t)(end - at) });
}

void log_duration(struct logline *l, const char *key, int64_t us)
{
	char text[32], *end = text + sizeof(text);
	uint64_t ms = us > 0 ? (uint64_t)us / 1000 : 0;
	char *at = digits(end, ms % 1000, 3);

	*--at = '.';
	at = digits(at, ms / 1000, 1);
	log_str(l, key, (struct str) { at, (size_t)(end - at) });
}

void log_addr(struct logline *l, const char *key, const struct addr *a)
{
	char text[ADDR_TEXT_MAX];

	log_cstr(l, key, addr_format(a, text));
}

/* ---- writing ---- */

static int syslog_priority(enum log_level level)
{
	static const int prio[LOG_LEVEL_COUNT] = { LOG_DEBUG, LOG_INFO, LOG_NOTICE, LOG_WARNING, LOG_ERR };

	return prio[level];
}

/* All of it, however long that takes. */
static bool write_all(const char *p, size_t n)
{
	struct pollfd room = { .fd = STDERR_FILENO, .events = POLLOUT };

	while (n > 0) {
		ssize_t done = write(STDERR_FILENO, p, n);
		if (done < 0 && errno == EAGAIN) /* others have the descriptor, too, and may have made it so */
			poll(&room, 1, -1);
		else if (done < 0 && errno != EINTR)
			return false;
		if (done > 0) {
			p += done;
			n -= (size_t)done;
		}
	}
	return true;
}

/* As many lines at a time as a pipe takes in one piece: others may write to it. */
static bool write_stderr(const char *lines, size_t n)
{
	char out[PIPE_BUF];
	size_t used = 0;

	for (const char *end = lines + n, *p = lines, *next; p < end; p = next) {
		next = (const char *)memchr(p, '\n', (size_t)(end - p)) + 1;
		size_t line = (size_t)(next - p) - 1; /* without its level */
		if (used + line > sizeof(out)) {
			if (!write_all(out, used))
				return false;
			used = 0;
		}
		memcpy(out + used, p + 1, line);
		used += line;
	}
	return write_all(out, used);
}

static void write_syslog(const char *lines, size_t n)
{
	for (const char *end = lines + n, *p = lines, *next; p < end; p = next) {
		next = (const char *)memchr(p, '\n', (size_t)(end - p)) + 1;
		syslog(syslog_priority((enum log_level)p[0]), "%.*s", (int)(next - p) - 2, p + 1);
	}
}

bool log_write(const char *lines, size_t n)
{
	if (target != LOG_TARGET_SYSLOG)
		return write_stderr(lines, n);
	write_syslog(lines, n);
	return true;
}

void log_end(struct logline *l)
{
	if (capture != NULL) {
		l->text[l->n] = '\0';
		capture(l->level, l->text, capture_arg);
		return;
	}
	if (!log_enabled(l->level) || log_queue_put(l->level, l->text, l->n))
		return;
	if (target == LOG_TARGET_SYSLOG) {
		syslog(syslog_priority(l->level), "%.*s", (int)l->n, l->text);
		return;
	}
	l->text[l->n++] = '\n';
	(void)write_all(l->text, l->n);
}

void log_last_words(const char *text, size_t n)
{
	if (target == LOG_TARGET_STDERR && log_queue_put(LOG_LEVEL_ERROR, text, n))
		return;
	(void)(write_all(text, n) && write_all("\n", 1));
}

void log_msg(enum log_level level, const char *event, const char *fmt, ...)
{
	struct logline l;
	char text[1024];
	va_list ap;

	if (!log_enabled(level) && capture == NULL)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_begin(&l, level, event);
	log_cstr(&l, "msg", text);
	log_end(&l);
}
