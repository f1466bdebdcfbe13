/* SPDX-License-Identifier: Apache-2.0
 * What smtp_eod_feed() and smtp_eod_finish() promise for each pair of DATA and BDAT, written the obvious way: content
 * first, then stuffed or not. For the property test and the fuzz target. eod_model.h says what DATA means.
 */
#ifndef POSTROAD_TESTS_LIB_EOD_PAIR_MODEL_H
#define POSTROAD_TESTS_LIB_EOD_PAIR_MODEL_H

#include "daemon/smtp/smtp.h"
#include "tests/lib/eod_model.h"

/* Canonical lines without the dot each line loses at a server. In place. */
static inline size_t eod_pair_unstuff(char *p, size_t n)
{
	size_t to = 0;

	for (size_t i = 0; i < n; i++)
		if (p[i] != '.' || (i > 0 && p[i - 1] != '\n'))
			p[to++] = p[i];
	return to;
}

/* Into out, which has room for twice as much. */
static inline size_t eod_pair_stuff(char *out, const char *p, size_t n)
{
	size_t to = 0;

	for (size_t i = 0; i < n; i++) {
		if (p[i] == '.' && (i == 0 || p[i - 1] == '\n'))
			out[to++] = '.';
		out[to++] = p[i];
	}
	return to;
}

/* Chunks, one behind the other, to content. */
static inline struct eod_model eod_pair_content(const char *p, size_t n, bool finished)
{
	struct eod_model m = { .out = malloc(2 * n + 2), .consumed = n, .done = finished };

	for (size_t i = 0; i < n; i++) {
		m.saw_nul = m.saw_nul || p[i] == '\0';
		if (p[i] != '\r' && p[i] != '\n') {
			m.out[m.n++] = p[i];
			continue;
		}
		if (p[i] == '\r' && i + 1 == n && !finished)
			break; /* not known yet */
		bool crlf = p[i] == '\r' && i + 1 < n && p[i + 1] == '\n';
		m.saw_cr = m.saw_cr || (p[i] == '\r' && !crlf);
		m.saw_lf = m.saw_lf || p[i] == '\n';
		eod_model_add(&m, "\r\n", 2);
		i += crlf;
	}
	if (finished && m.n > 0 && m.out[m.n - 1] != '\n')
		eod_model_add(&m, "\r\n", 2);
	m.content = m.n;
	return m;
}

/* finished counts from BDAT only. free(m.out) */
static inline struct eod_model eod_pair_model(const char *p, size_t n, enum smtp_by from, enum smtp_by to,
					      bool finished)
{
	struct eod_model m = from == SMTP_BY_DATA ? eod_model(p, n) : eod_pair_content(p, n, finished);

	if (from == SMTP_BY_DATA && to == SMTP_BY_BDAT)
		m.n = eod_pair_unstuff(m.out, m.n);
	if (from == SMTP_BY_BDAT && to == SMTP_BY_DATA) {
		char *stuffed = malloc(2 * m.n + 1);
		m.n = eod_pair_stuff(stuffed, m.out, m.n);
		free(m.out);
		m.out = stuffed;
	}
	return m;
}

/* No line ending but CRLF; towards DATA nothing a server could take for the end. */
static inline bool eod_pair_is_canonical(const struct eod_model *m, enum smtp_by to)
{
	if (to == SMTP_BY_DATA)
		return eod_model_is_canonical(m->out, m->n);
	for (size_t i = 0; i < m->n; i++) {
		if (m->out[i] == '\r' && (i + 1 == m->n || m->out[i + 1] != '\n'))
			return false;
		if (m->out[i] == '\n' && (i == 0 || m->out[i - 1] != '\r'))
			return false;
	}
	return true;
}

#endif
