/* SPDX-License-Identifier: Apache-2.0
 * What smtp_eod_feed() promises, written the obvious way: the whole input at once, line by line, nothing held in a
 * state. For the property test and the fuzz target.
 */
#ifndef POSTROAD_TESTS_LIB_EOD_MODEL_H
#define POSTROAD_TESTS_LIB_EOD_MODEL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct eod_model {
	char *out; /* free() */
	size_t n;
	size_t consumed;
	uint64_t content;
	bool done, saw_cr, saw_lf, saw_nul;
};

/* Index of the dot of the first CRLF . CRLF, where a CRLF stands in front of p[0]; n if there is none. */
static inline size_t eod_model_mark(const char *p, size_t n)
{
	for (size_t i = 0; i + 3 <= n; i++) {
		bool behind_crlf = i == 0 || (i >= 2 && p[i - 2] == '\r' && p[i - 1] == '\n');
		if (behind_crlf && memcmp(p + i, ".\r\n", 3) == 0)
			return i;
	}
	return n;
}

/* Length of the line ending at p: 0 = none there, or a CR of which it is not yet known what it is. */
static inline size_t eod_model_ending(const char *p, size_t n, bool *ret_unknown)
{
	*ret_unknown = n == 1 && p[0] == '\r';
	if (n >= 2 && p[0] == '\r' && p[1] == '\n')
		return 2;
	return n > 0 && !*ret_unknown && (p[0] == '\r' || p[0] == '\n');
}

static inline void eod_model_add(struct eod_model *m, const char *p, size_t n)
{
	memcpy(m->out + m->n, p, n);
	m->n += n;
}

/* One line, its text in p[0..len), its ending `ending` bytes long (0 = none yet). Returns whether that ending was a
 * real CRLF. */
static inline bool eod_model_line(struct eod_model *m, const char *p, size_t len, size_t ending, bool real_start)
{
	bool lone_dot = len == 1 && p[0] == '.';
	bool dot = len > 0 && p[0] == '.';

	m->saw_nul = m->saw_nul || memchr(p, '\0', len) != NULL;
	if (ending == 0 && lone_dot && real_start)
		return false; /* may become the mark */
	if (dot && (!real_start || (lone_dot && ending == 1)))
		eod_model_add(m, ".", 1);
	eod_model_add(m, p, len);
	if (ending == 0)
		return false;
	m->saw_cr = m->saw_cr || (ending == 1 && p[len] == '\r');
	m->saw_lf = m->saw_lf || (ending == 1 && p[len] == '\n');
	eod_model_add(m, "\r\n", 2);
	return ending == 2;
}

/* What a server makes of canonical lines: each loses its leading dot. */
static inline uint64_t eod_model_content(const char *out, size_t n)
{
	uint64_t content = n;

	for (size_t i = 0; i < n; i++)
		content -= out[i] == '.' && (i == 0 || out[i - 1] == '\n');
	return content;
}

static inline struct eod_model eod_model(const char *p, size_t n)
{
	size_t mark = eod_model_mark(p, n), line = 0;
	struct eod_model m = { .out = malloc(3 * n + 16), .done = mark < n, .consumed = mark < n ? mark + 3 : n };
	bool real = true, unknown = false;

	for (size_t i = 0; i < mark; i++) {
		size_t ending = eod_model_ending(p + i, mark - i, &unknown);
		if (unknown)
			break;
		if (ending == 0)
			continue;
		real = eod_model_line(&m, p + line, i - line, ending, real);
		line = i + ending;
		i = line - 1;
	}
	eod_model_line(&m, p + line, mark - line - unknown, 0, real);
	m.content = eod_model_content(m.out, m.n);
	return m;
}

/* No end of data a server could see, and no line ending but CRLF. */
static inline bool eod_model_is_canonical(const char *out, size_t n)
{
	if (eod_model_mark(out, n) < n)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (out[i] == '\r' && (i + 1 == n || out[i + 1] != '\n'))
			return false;
		if (out[i] == '\n' && (i == 0 || out[i - 1] != '\r'))
			return false;
	}
	return true;
}

#endif
