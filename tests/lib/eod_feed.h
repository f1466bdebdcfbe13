/* SPDX-License-Identifier: Apache-2.0
 * Feeding smtp_eod_feed() in pieces, and holding what came of it against a model. For the property tests and the fuzz
 * targets.
 */
#ifndef POSTROAD_TESTS_LIB_EOD_FEED_H
#define POSTROAD_TESTS_LIB_EOD_FEED_H

#include "daemon/smtp/smtp.h"
#include "tests/lib/eod_model.h"

/* What left. */
struct eod_sink {
	char *text;
	size_t cap, n, pieces;
};

/* An empty one that fills an array. */
#define EOD_SINK(room)                                                                                                 \
	{                                                                                                              \
		(room), sizeof(room), 0, 0                                                                             \
	}

static inline void eod_collect(const char *p, size_t n, void *arg)
{
	struct eod_sink *s = arg;

	ASSERT(n > 0 && n <= s->cap - s->n);
	memcpy(s->text + s->n, p, n);
	s->n += n;
	s->pieces++;
}

static inline void eod_sink_reset(struct eod_sink *s)
{
	s->n = s->pieces = 0;
}

/* Feeds p cut at the given places (ascending, the last one its length). Returns how much was consumed; a piece of which
 * less was consumed is the last. */
static inline size_t eod_feed_cut(struct smtp_eod *e, struct eod_sink *s, const char *p, const size_t *cuts,
				  size_t n_cuts)
{
	size_t at = 0;

	for (size_t i = 0; i < n_cuts && !e->done; i++) {
		at += smtp_eod_feed(e, p + at, cuts[i] - at, eod_collect, s);
		if (at != cuts[i])
			break;
	}
	return at;
}

static inline size_t eod_feed_whole(struct smtp_eod *e, struct eod_sink *s, const char *p, size_t n)
{
	return eod_feed_cut(e, s, p, &n, 1);
}

static inline size_t eod_feed_trickle(struct smtp_eod *e, struct eod_sink *s, const char *p, size_t n)
{
	size_t at = 0;

	while (at < n && !e->done && eod_feed_whole(e, s, p + at, 1) == 1)
		at++;
	return at;
}

/* A mode that rejects sends a part of what the model does, from the front. */
static inline bool eod_agrees(const struct smtp_eod *e, const struct eod_sink *s, const struct eod_model *m)
{
	bool all_leaves = e->normalize || (!m->saw_cr && !m->saw_lf);

	return (all_leaves ? s->n == m->n : s->n < m->n) && (s->n == 0 || memcmp(s->text, m->out, s->n) == 0) &&
	       e->done == m->done && e->saw_bare_cr == m->saw_cr && e->saw_bare_lf == m->saw_lf &&
	       e->saw_nul == m->saw_nul && e->content == m->content;
}

#endif
