/* SPDX-License-Identifier: Apache-2.0
 * Fuzz: smtp_eod_feed() against a model that has no state. Invariants: output, verdict and count are the model's
 * however the input is cut; what leaves never holds CRLF . CRLF, a bare CR or a bare LF; a mode that rejects sends a
 * beginning of it. The first byte chooses the mode and how many cuts follow, a byte each.
 */
#include <stdlib.h>

#include "daemon/smtp/smtp.h"
#include "tests/lib/eod_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void collect(const char *p, size_t n, void *arg)
{
	ASSERT(n > 0);
	sbuf_add(arg, p, n);
}

/* Feeds text in pieces as long as the cuts say, then the rest. Returns how much was consumed. */
static size_t feed(struct smtp_eod *e, struct str text, struct str cuts, struct sbuf *out)
{
	size_t at = 0;

	for (size_t i = 0; i <= cuts.n && !e->done; i++) {
		size_t rest = text.n - at, want = i < cuts.n ? (unsigned char)cuts.p[i] : rest;
		size_t n = want < rest ? want : rest;
		size_t used = smtp_eod_feed(e, text.p + at, n, collect, out);
		ASSERT(used == n || e->done);
		at += used;
	}
	return at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0 || size - 1 < data[0] / 2)
		return 0;
	struct str cuts = { (const char *)data + 1, data[0] / 2 };
	struct str text = { cuts.p + cuts.n, size - 1 - cuts.n };
	struct eod_model m = eod_model(text.p, text.n);
	struct sbuf out = { 0 };
	struct smtp_eod e;

	smtp_eod_init(&e, data[0] % 2 == 0);
	ASSERT(feed(&e, text, cuts, &out) == m.consumed);
	ASSERT(e.done == m.done && e.content == m.content);
	ASSERT(e.saw_bare_cr == m.saw_cr && e.saw_bare_lf == m.saw_lf && e.saw_nul == m.saw_nul);
	bool all_leaves = e.normalize || (!m.saw_cr && !m.saw_lf);
	ASSERT(all_leaves ? out.n == m.n : out.n < m.n);
	ASSERT(out.n == 0 || memcmp(out.p, m.out, out.n) == 0);
	ASSERT(eod_model_is_canonical(m.out, m.n));
	sbuf_fini(&out);
	free(m.out);
	return 0;
}
