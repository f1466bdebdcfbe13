/* SPDX-License-Identifier: Apache-2.0
 * The end-of-data scanner: each known smuggling form by name, then every short input in every split against a model.
 */
#include "daemon/smtp/smtp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "daemon/base/hash.h"
#include "daemon/smtp/scan.h"
#include "tests/lib/eod_feed.h"

#define OUT_MAX 4096

static char room[OUT_MAX]; /* of one test at a time */

/* ---- helpers ---- */

static void check(const struct smtp_eod *e, const struct eod_sink *s, const char *want, size_t n)
{
	assert_int_equal(s->n, n);
	assert_memory_equal(s->text, want, n);
	assert_true(eod_model_is_canonical(s->text, s->n));
	assert_int_equal(e->content, eod_model_content(s->text, s->n));
}

/* ---- named forms ---- */

struct form {
	const char *name;
	struct str in, want;
	bool done, cr, lf, nul;
};

#define S(lit)                                                                                                         \
	{                                                                                                              \
		(lit), sizeof(lit) - 1                                                                                 \
	}

static const struct form forms[] = {
	{ "empty message", S(".\r\n"), S(""), .done = true },
	{ "one line", S("a\r\n.\r\n"), S("a\r\n"), .done = true },
	{ "client's stuffing passes", S("..\r\n.a\r\n..b\r\n.\r\n"), S("..\r\n.a\r\n..b\r\n"), .done = true },
	{ "an unfinished line is no end", S("a.\r\n"), S("a.\r\n"), .done = false },
	{ "what follows the mark stays", S("a\r\n.\r\nQUIT\r\n"), S("a\r\n"), .done = true },
	{ "dot behind a bare LF is doubled", S("a\n.\r\nb"), S("a\r\n..\r\nb"), .lf = true },
	{ "LF dot LF", S("a\n.\nb"), S("a\r\n..\r\nb"), .lf = true },
	{ "LF dot CR", S("a\n.\rb"), S("a\r\n..\r\nb"), .lf = true, .cr = true },
	{ "CR dot LF", S("a\r.\nb"), S("a\r\n..\r\nb"), .lf = true, .cr = true },
	{ "CR dot CR", S("a\r.\rb"), S("a\r\n..\r\nb"), .cr = true },
	{ "LF dot CRLF", S("a\n.\r\nb"), S("a\r\n..\r\nb"), .lf = true },
	{ "CR dot CRLF", S("a\r.\r\nb"), S("a\r\n..\r\nb"), .cr = true },
	{ "CRLF dot LF", S("a\r\n.\nb"), S("a\r\n..\r\nb"), .lf = true },
	{ "CRLF dot CR", S("a\r\n.\rb"), S("a\r\n..\r\nb"), .cr = true },
	{ "CRLF NUL dot CRLF", S("a\r\n\0.\r\nb"), S("a\r\n\0.\r\nb"), .nul = true },
	{ "CRLF dot NUL CRLF", S("a\r\n.\0\r\nb"), S("a\r\n.\0\r\nb"), .nul = true },
	{ "CRLF dot CR CRLF", S("a\r\n.\r\r\nb"), S("a\r\n..\r\n\r\nb"), .cr = true },
	{ "CR CRLF dot CR CRLF", S("a\r\r\n.\r\r\nb"), S("a\r\n\r\n..\r\n\r\nb"), .cr = true },
	{ "CR CRLF dot CRLF is the end", S("a\r\r\n.\r\n"), S("a\r\n\r\n"), .done = true, .cr = true },
	{ "dot LF at the beginning", S(".\nb"), S("..\r\nb"), .lf = true },
	{ "dot CR at the beginning", S(".\rb"), S("..\r\nb"), .cr = true },
	{ "LF dot dot", S("a\n..b"), S("a\r\n...b"), .lf = true },
	{ "LF at the beginning", S("\n.\r\nb"), S("\r\n..\r\nb"), .lf = true },
	{ "real end behind a repaired line", S("a\n.\r\n.\r\n"), S("a\r\n..\r\n"), .done = true, .lf = true },
};

static void known_forms_never_leave_an_end_of_data(void **state)
{
	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		const struct form *f = &forms[i];
		for (int trickle = 0; trickle < 2; trickle++) {
			struct smtp_eod e;
			struct eod_sink s = EOD_SINK(room);
			smtp_eod_init(&e, true);
			(trickle ? eod_feed_trickle : eod_feed_whole)(&e, &s, f->in.p, f->in.n);
			if (s.n != f->want.n || e.done != f->done)
				print_error("%s%s\n", f->name, trickle ? ", byte by byte" : "");
			check(&e, &s, f->want.p, f->want.n);
			assert_int_equal(e.done, f->done);
			assert_int_equal(e.saw_bare_cr, f->cr);
			assert_int_equal(e.saw_bare_lf, f->lf);
			assert_int_equal(e.saw_nul, f->nul);
		}
	}
}

static void only_the_mark_is_consumed_of_what_follows(void **state)
{
	static const char in[] = "a\r\n.\r\nRSET\r\n";
	struct smtp_eod e;
	struct eod_sink s = EOD_SINK(room);

	UNUSED(state);
	smtp_eod_init(&e, true);
	assert_int_equal(eod_feed_whole(&e, &s, in, sizeof(in) - 1), 6);
	assert_int_equal(smtp_eod_feed(&e, in + 6, 6, eod_collect, &s), 0);
	check(&e, &s, "a\r\n", 3);
}

static void reject_sends_nothing_from_the_bad_byte_on_and_still_finds_the_end(void **state)
{
	static const char in[] = "a\r\nb\nc\r\n.\r\r\nd\n.\r\ne\r\n.\r\nQUIT\r\n";
	struct smtp_eod e;
	struct eod_sink s = EOD_SINK(room);

	UNUSED(state);
	smtp_eod_init(&e, false);
	assert_int_equal(eod_feed_trickle(&e, &s, in, sizeof(in) - 1), sizeof(in) - 1 - 6);
	assert_true(e.done && e.saw_bare_lf && e.saw_bare_cr);
	assert_int_equal(s.n, 4);
	assert_memory_equal(s.text, "a\r\nb", 4);
}

static void clean_text_comes_out_in_one_piece_per_call(void **state)
{
	static const char in[] = "Subject: x\r\n\r\n..stuffed\r\n.too\r\nlast\r\n";
	struct smtp_eod e;
	struct eod_sink s = EOD_SINK(room);

	UNUSED(state);
	smtp_eod_init(&e, true);
	for (int i = 1; i <= 20; i++) {
		eod_feed_whole(&e, &s, in, sizeof(in) - 1);
		assert_int_equal(s.pieces, i);
		assert_int_equal(s.n, (sizeof(in) - 1) * (size_t)i); /* nothing is held back behind CRLF */
	}
	eod_feed_whole(&e, &s, ".\r\n", 3);
	assert_int_equal(s.pieces, 20);
	assert_true(e.done);
}

/* ---- property: every short input, every split into up to three pieces ---- */

static const char alphabet[] = { '\r', '\n', '.', '\0', 'a' };
#define WORD_MAX 7

static bool same_in_mode(const struct eod_model *m, const char *p, const size_t *cuts, size_t n_cuts, bool normalize)
{
	struct eod_sink s = EOD_SINK(room);
	struct smtp_eod e;

	smtp_eod_init(&e, normalize);
	return eod_feed_cut(&e, &s, p, cuts, n_cuts) == m->consumed && eod_agrees(&e, &s, m);
}

static void same_as_model(const struct eod_model *m, const char *p, const size_t *cuts, size_t n_cuts)
{
	if (same_in_mode(m, p, cuts, n_cuts, true) && same_in_mode(m, p, cuts, n_cuts, false))
		return;
	for (size_t i = 0; i < cuts[n_cuts - 1]; i++)
		print_error("%02x ", (unsigned char)p[i]);
	for (size_t i = 0; i < n_cuts; i++)
		print_error("| cut at %zu ", cuts[i]);
	fail_msg("differs from the model");
}

static void all_splits(const char *p, size_t n)
{
	struct eod_model m = eod_model(p, n);

	assert_true(eod_model_is_canonical(m.out, m.n));
	for (size_t a = 0; a <= n; a++)
		for (size_t b = a; b <= n; b++)
			same_as_model(&m, p, (size_t[]) { a, b, n }, 3);
	free(m.out);
}

static void every_short_input_in_every_split_agrees_with_the_model(void **state)
{
	char word[WORD_MAX];

	UNUSED(state);
	for (size_t len = 0, count = 1; len <= WORD_MAX; len++, count *= sizeof(alphabet)) {
		for (size_t k = 0; k < count; k++) {
			for (size_t i = 0, rest = k; i < len; i++, rest /= sizeof(alphabet))
				word[i] = alphabet[rest % sizeof(alphabet)];
			all_splits(word, len);
		}
	}
}

/* Long enough to cross the vector loop's blocks; cuts anywhere. A failure prints the bytes and the cuts. */
static void long_random_input_in_random_splits_agrees_with_the_model(void **state)
{
	UNUSED(state);
	for (unsigned round = 0; round < 20000; round++) {
		char text[200];
		size_t n = random_u64() % sizeof(text), cuts[8], n_cuts = 0;
		unsigned plain = random_u64() % 12;
		for (size_t i = 0; i < n; i++)
			text[i] = random_u64() % (plain + 1) != 0 ? 'x' : alphabet[random_u64() % sizeof(alphabet)];
		for (size_t at = 0; n_cuts < 7; n_cuts++)
			cuts[n_cuts] = at += random_u64() % (n - at + 1);
		cuts[n_cuts++] = n;
		struct eod_model m = eod_model(text, n);
		same_as_model(&m, text, cuts, n_cuts);
		free(m.out);
	}
}

/* What the block scan is for: clean lines, with a flaw or none, a cut or none. */
static size_t clean_lines(char *text, size_t cap)
{
	size_t n = 0;

	for (size_t len = random_u64() % 90; n + len + 2 < cap; len = random_u64() % 90) {
		memset(text + n, 'x', len);
		memcpy(text + n + len, "\r\n", 2);
		n += len + 2;
	}
	return n;
}

static void clean_lines_with_few_flaws_agree_with_the_model(void **state)
{
	UNUSED(state);
	for (unsigned round = 0; round < 20000; round++) {
		char text[1000];
		size_t n = clean_lines(text, 200 + random_u64() % 800), cut = random_u64() % (n + 1);
		for (uint64_t flaws = random_u64() % 3; flaws > 0; flaws--)
			text[random_u64() % n] = alphabet[random_u64() % sizeof(alphabet)];
		struct eod_model m = eod_model(text, n);
		same_as_model(&m, text, (size_t[]) { cut, n }, 2);
		same_as_model(&m, text, &n, 1);
		free(m.out);
	}
}

/* ---- the scan beneath ---- */

typedef size_t clean_fn(const char *p, size_t n, size_t i);

static void stops_before_each_flaw(clean_fn *clean, size_t block)
{
	static const char *const flaws[] = { "\r", "\n", "\0", "\r\n.", "\n.", "\r." };
	char text[512 + 1];

	for (size_t at = 1; at < 512 - 3; at++) {
		for (size_t k = 0; k < ARRAY_LEN(flaws); k++) {
			size_t len = flaws[k][0] == '\0' ? 1 : strlen(flaws[k]);
			memset(text, '.', sizeof(text)); /* inside a line a dot is nothing special */
			memcpy(text + at, flaws[k], len);
			size_t got = clean(text, 512, 1);
			assert_in_range(got, at > block ? at - block : 1, at);
		}
	}
	memset(text, 'x', sizeof(text));
	assert_in_range(clean(text, 512, 1), 512 - block, 512);
}

static void block_scans_stop_before_each_flaw(void **state)
{
	UNUSED(state);
#ifdef __SSE2__
	stops_before_each_flaw(scan_clean_sse2, 64);
	if (__builtin_cpu_supports("avx2"))
		stops_before_each_flaw(scan_clean_avx2, 128);
	else
		print_message("this processor has no AVX2: that scan is not tested here\n");
#else
	stops_before_each_flaw(scan_clean, 512);
#endif
}

static void both_scans_find_each_special_byte_at_each_place(void **state)
{
	static const char specials[] = { '\r', '\n', '\0' };
	char text[80];

	UNUSED(state);
	for (size_t n = 0; n <= 64; n++) {
		for (size_t at = 0; at < n; at++) {
			for (size_t k = 0; k < sizeof(specials); k++) {
				memset(text, (int)(0x80 | specials[k]), sizeof(text)); /* alike but for the top bit */
				text[at] = specials[k];
				assert_int_equal(scan_special(text, n), at);
				assert_int_equal(scan_special_portable(text, n), at);
			}
		}
		memset(text, '\x0e', sizeof(text));
		text[n] = '\r'; /* just behind the end */
		assert_int_equal(scan_special(text, n), n);
		assert_int_equal(scan_special_portable(text, n), n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_forms_never_leave_an_end_of_data),
		cmocka_unit_test(only_the_mark_is_consumed_of_what_follows),
		cmocka_unit_test(reject_sends_nothing_from_the_bad_byte_on_and_still_finds_the_end),
		cmocka_unit_test(clean_text_comes_out_in_one_piece_per_call),
		cmocka_unit_test(every_short_input_in_every_split_agrees_with_the_model),
		cmocka_unit_test(long_random_input_in_random_splits_agrees_with_the_model),
		cmocka_unit_test(clean_lines_with_few_flaws_agree_with_the_model),
		cmocka_unit_test(block_scans_stop_before_each_flaw),
		cmocka_unit_test(both_scans_find_each_special_byte_at_each_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
