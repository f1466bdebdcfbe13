/* SPDX-License-Identifier: Apache-2.0
 * Feeding smtp_eod_feed() as a fuzzer wills.
 */
#ifndef POSTROAD_TESTS_FUZZ_EOD_FUZZ_H
#define POSTROAD_TESTS_FUZZ_EOD_FUZZ_H

#include "tests/lib/eod_feed.h"

/* With room for all that may become of n bytes. free(text) */
static inline struct eod_sink eod_fuzz_sink(size_t n)
{
	size_t cap = 3 * n + 16;

	return (struct eod_sink) { .text = malloc(cap), .cap = cap };
}

/* Feeds text in pieces, each as long as one of the cuts says, then the rest. Returns how much was consumed. */
static inline size_t eod_fuzz_feed(struct smtp_eod *e, struct eod_sink *s, struct str text, struct str cuts)
{
	size_t at[UINT8_MAX + 1], n = 0, end = 0;

	for (; n < cuts.n; n++) {
		size_t rest = text.n - end, want = (unsigned char)cuts.p[n];
		at[n] = end += want < rest ? want : rest;
	}
	at[n++] = text.n;
	return eod_feed_cut(e, s, text.p, at, n);
}

#endif
