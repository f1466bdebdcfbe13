/* SPDX-License-Identifier: Apache-2.0
 * Content between every pair of DATA and BDAT: named forms, then every short input in every split against a model.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "daemon/base/hash.h"
#include "tests/lib/eod_feed.h"
#include "tests/lib/eod_pair_model.h"

#define OUT_MAX 4096

struct pair {
	enum smtp_by from, to;
};

static const struct pair pairs[] = {
	{ SMTP_BY_DATA, SMTP_BY_DATA },
	{ SMTP_BY_DATA, SMTP_BY_BDAT },
	{ SMTP_BY_BDAT, SMTP_BY_DATA },
	{ SMTP_BY_BDAT, SMTP_BY_BDAT },
};

/* ---- helpers ---- */

static char room[OUT_MAX]; /* of one test at a time */

/* ---- named forms ---- */

enum { BARE_CR = 1, BARE_LF = 2, A_NUL = 4 };

struct form {
	const char *name;
	struct pair by;
	struct str in, want;
	int saw;
};

#define S(lit)                                                                                                         \
	{                                                                                                              \
		(lit), sizeof(lit) - 1                                                                                 \
	}
#define DATA_BDAT                                                                                                      \
	{                                                                                                              \
		SMTP_BY_DATA, SMTP_BY_BDAT                                                                             \
	}
#define BDAT_DATA                                                                                                      \
	{                                                                                                              \
		SMTP_BY_BDAT, SMTP_BY_DATA                                                                             \
	}
#define BDAT_BDAT                                                                                                      \
	{                                                                                                              \
		SMTP_BY_BDAT, SMTP_BY_BDAT                                                                             \
	}

static const struct form forms[] = {
	{ "an empty message", DATA_BDAT, S(".\r\n"), S(""), 0 },
	{ "stuffing goes", DATA_BDAT, S("..\r\n.a\r\n..b\r\na.\r\n.\r\n"), S(".\r\na\r\n.b\r\na.\r\n"), 0 },
	{ "a repaired lone dot", DATA_BDAT, S("a\r\n.\nb\r\n.\r\n"), S("a\r\n.\r\nb\r\n"), BARE_LF },
	{ "a lone dot with a CR", DATA_BDAT, S("a\r\n.\rb\r\n.\r\n"), S("a\r\n.\r\nb\r\n"), BARE_CR },
	{ "a dot behind a bare LF", DATA_BDAT, S("a\n.\r\nb\r\n.\r\n"), S("a\r\n.\r\nb\r\n"), BARE_LF },
	{ "a NUL", DATA_BDAT, S("a\0\r\n.\r\n"), S("a\0\r\n"), A_NUL },

	{ "an empty message", BDAT_DATA, S(""), S(""), 0 },
	{ "the mark is content", BDAT_DATA, S("a\r\n.\r\nb\r\n"), S("a\r\n..\r\nb\r\n"), 0 },
	{ "the mark at the beginning", BDAT_DATA, S(".\r\n"), S("..\r\n"), 0 },
	{ "a lone dot", BDAT_DATA, S("."), S("..\r\n"), 0 },
	{ "dots at line starts", BDAT_DATA, S(".a\r\n..b\r\nc.\r\n"), S("..a\r\n...b\r\nc.\r\n"), 0 },
	{ "no final CRLF", BDAT_DATA, S("a"), S("a\r\n"), 0 },
	{ "a CR at the very end", BDAT_DATA, S("a\r"), S("a\r\n"), BARE_CR },
	{ "an LF at the very end", BDAT_DATA, S("a\n"), S("a\r\n"), BARE_LF },
	{ "LF dot LF", BDAT_DATA, S("a\n.\nb\r\n"), S("a\r\n..\r\nb\r\n"), BARE_LF },
	{ "CR dot CR", BDAT_DATA, S("a\r.\rb\r\n"), S("a\r\n..\r\nb\r\n"), BARE_CR },
	{ "CR CRLF dot CR CRLF", BDAT_DATA, S("\r\r\n.\r\r\n"), S("\r\n\r\n..\r\n\r\n"), BARE_CR },
	{ "CRLF NUL dot CRLF", BDAT_DATA, S("a\r\n\0.\r\n"), S("a\r\n\0.\r\n"), A_NUL },

	{ "an empty message", BDAT_BDAT, S(""), S(""), 0 },
	{ "the mark is content", BDAT_BDAT, S("a\r\n.\r\nb\r\n"), S("a\r\n.\r\nb\r\n"), 0 },
	{ "dots at line starts", BDAT_BDAT, S(".a\r\n..b\r\n"), S(".a\r\n..b\r\n"), 0 },
	{ "no final CRLF", BDAT_BDAT, S("a\r\n."), S("a\r\n.\r\n"), 0 },
	{ "an empty line", BDAT_BDAT, S("\r\n"), S("\r\n"), 0 },
	{ "bare ones", BDAT_BDAT, S("a\nb\rc\n\rd\r\n"), S("a\r\nb\r\nc\r\n\r\nd\r\n"), BARE_CR | BARE_LF },
	{ "LF CR at the end", BDAT_BDAT, S("a\n\r"), S("a\r\n\r\n"), BARE_CR | BARE_LF },
};

static void named_forms_become_what_a_server_must_get(void **state)
{
	UNUSED(state);
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		const struct form *f = &forms[i];
		for (int trickle = 0; trickle < 2; trickle++) {
			struct smtp_eod e;
			struct eod_sink s = EOD_SINK(room);
			smtp_eod_init_pair(&e, true, f->by.from, f->by.to);
			size_t used = (trickle ? eod_feed_trickle : eod_feed_whole)(&e, &s, f->in.p, f->in.n);
			assert_int_equal(used, f->in.n);
			if (f->by.from == SMTP_BY_BDAT)
				smtp_eod_finish(&e, eod_collect, &s);
			if (s.n != f->want.n || memcmp(s.text, f->want.p, s.n) != 0)
				fail_msg("%s%s", f->name, trickle ? ", byte by byte" : "");
			assert_true(e.done);
			assert_int_equal(e.saw_bare_cr, (f->saw & BARE_CR) != 0);
			assert_int_equal(e.saw_bare_lf, (f->saw & BARE_LF) != 0);
			assert_int_equal(e.saw_nul, (f->saw & A_NUL) != 0);
		}
	}
}

static void the_end_is_said_once(void **state)
{
	struct smtp_eod e;
	struct eod_sink s = EOD_SINK(room);

	UNUSED(state);
	smtp_eod_init_pair(&e, true, SMTP_BY_BDAT, SMTP_BY_DATA);
	assert_int_equal(smtp_eod_feed(&e, "a\r", 2, eod_collect, &s), 2);
	smtp_eod_finish(&e, eod_collect, &s);
	smtp_eod_finish(&e, eod_collect, &s);
	assert_int_equal(smtp_eod_feed(&e, "b", 1, eod_collect, &s), 0);
	assert_int_equal(s.n, 3);
	assert_memory_equal(s.text, "a\r\n", 3);
}

static void clean_chunks_come_out_in_one_piece_per_call(void **state)
{
	static const char in[] = "Subject: x\r\n\r\n text. more\r\n..not at a start.\r\n";
	static const char lines[] = "Subject: x\r\n\r\n text. more\r\nlast\r\n";
	struct smtp_eod e;
	struct eod_sink s = EOD_SINK(room);

	UNUSED(state);
	smtp_eod_init_pair(&e, true, SMTP_BY_BDAT, SMTP_BY_BDAT);
	for (size_t i = 1; i <= 20; i++) {
		assert_int_equal(smtp_eod_feed(&e, in, sizeof(in) - 1, eod_collect, &s), sizeof(in) - 1);
		assert_int_equal(s.pieces, i);
		assert_int_equal(s.n, (sizeof(in) - 1) * i);
	}
	eod_sink_reset(&s);
	smtp_eod_init_pair(&e, true, SMTP_BY_BDAT, SMTP_BY_DATA);
	for (size_t i = 1; i <= 20; i++) {
		assert_int_equal(smtp_eod_feed(&e, lines, sizeof(lines) - 1, eod_collect, &s), sizeof(lines) - 1);
		assert_int_equal(s.pieces, i);
	}
	assert_int_equal(smtp_eod_feed(&e, in, sizeof(in) - 1, eod_collect, &s), sizeof(in) - 1);
	assert_int_equal(s.pieces, 22); /* one dot to stuff: two pieces */
}

/* ---- property: every short input, every split into up to three pieces ---- */

static const char alphabet[] = { '\r', '\n', '.', '\0', 'a' };
#define WORD_MAX 6

/* What the model says of an input between one pair: before its end was said, and behind. It knows no cuts. */
struct expected {
	struct pair by;
	struct eod_model part, whole;
};

static void expect_pair(struct expected *x, const struct pair *by, const char *p, size_t n)
{
	x->by = *by;
	x->part = eod_pair_model(p, n, by->from, by->to, false);
	x->whole = eod_pair_model(p, n, by->from, by->to, true);
	assert_true(eod_pair_is_canonical(&x->whole, by->to));
}

static void expected_free(struct expected *x)
{
	free(x->part.out);
	free(x->whole.out);
}

static bool same_in_mode(const struct expected *x, bool normalize, const char *p, const size_t *cuts, size_t n_cuts)
{
	struct eod_sink s = EOD_SINK(room);
	struct smtp_eod e;

	smtp_eod_init_pair(&e, normalize, x->by.from, x->by.to);
	if (eod_feed_cut(&e, &s, p, cuts, n_cuts) != x->part.consumed || !eod_agrees(&e, &s, &x->part))
		return false;
	if (x->by.from == SMTP_BY_BDAT)
		smtp_eod_finish(&e, eod_collect, &s);
	return eod_agrees(&e, &s, &x->whole);
}

static void same_as_model(const struct expected *x, const char *p, const size_t *cuts, size_t n_cuts)
{
	if (same_in_mode(x, true, p, cuts, n_cuts) && same_in_mode(x, false, p, cuts, n_cuts))
		return;
	print_error("%s to %s: ", x->by.from == SMTP_BY_DATA ? "DATA" : "BDAT",
		    x->by.to == SMTP_BY_DATA ? "DATA" : "BDAT");
	for (size_t k = 0; k < cuts[n_cuts - 1]; k++)
		print_error("%02x ", (unsigned char)p[k]);
	for (size_t k = 0; k < n_cuts; k++)
		print_error("| cut at %zu ", cuts[k]);
	fail_msg("differs from the model");
}

typedef void word_fn(const char *p, size_t n);

static void for_every_word(word_fn *fn)
{
	char word[WORD_MAX];

	for (size_t len = 0, count = 1; len <= WORD_MAX; len++, count *= sizeof(alphabet)) {
		for (size_t k = 0; k < count; k++) {
			for (size_t i = 0, rest = k; i < len; i++, rest /= sizeof(alphabet))
				word[i] = alphabet[rest % sizeof(alphabet)];
			fn(word, len);
		}
	}
}

/* From DATA to DATA is what test_eod.c does, with longer words. */
static void all_splits(const char *p, size_t n)
{
	for (size_t i = 1; i < ARRAY_LEN(pairs); i++) {
		struct expected x;
		expect_pair(&x, &pairs[i], p, n);
		for (size_t a = 0; a <= n; a++)
			for (size_t b = a; b <= n; b++)
				same_as_model(&x, p, (size_t[]) { a, b, n }, 3);
		expected_free(&x);
	}
}

static void every_short_input_in_every_split_agrees_with_the_model(void **state)
{
	UNUSED(state);
	for_every_word(all_splits);
}

/* Mostly plain text, now and then a special byte or a run of line ends; long enough for the block scan. */
static size_t random_text(char *text, size_t cap)
{
	size_t n = random_u64() % cap;
	unsigned plain = random_u64() % 40;

	for (size_t i = 0; i < n; i++)
		text[i] = random_u64() % (plain + 1) != 0 ? 'x' : alphabet[random_u64() % sizeof(alphabet)];
	for (size_t i = 0; i + 1 < n && plain > 10; i += 1 + random_u64() % 90)
		memcpy(text + i, "\r\n", 2);
	return n;
}

static void long_random_input_in_random_splits_agrees_with_the_model(void **state)
{
	UNUSED(state);
	for (unsigned round = 0; round < 20000; round++) {
		char text[600];
		size_t n = random_text(text, sizeof(text)), cuts[8], n_cuts = 0;
		for (size_t at = 0; n_cuts < 7; n_cuts++)
			cuts[n_cuts] = at += random_u64() % (n - at + 1);
		cuts[n_cuts++] = n;
		for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
			struct expected x;
			expect_pair(&x, &pairs[i], text, n);
			same_as_model(&x, text, cuts, n_cuts);
			expected_free(&x);
		}
	}
}

/* ---- property: there and back ---- */

static char rooms[3][OUT_MAX];

static void convert(const struct pair *by, const char *p, size_t n, struct eod_sink *s)
{
	struct smtp_eod e;

	eod_sink_reset(s);
	smtp_eod_init_pair(&e, true, by->from, by->to);
	assert_int_equal(smtp_eod_feed(&e, p, n, eod_collect, s), n);
	if (by->from == SMTP_BY_BDAT)
		smtp_eod_finish(&e, eod_collect, s);
	else
		assert_true(e.done);
}

static void same(const struct eod_sink *a, const struct eod_sink *b)
{
	assert_int_equal(a->n, b->n);
	assert_memory_equal(a->text, b->text, a->n);
}

/* Any bytes to content, stuffed for DATA, as a client would send that, back to content. */
static void there_and_back(const char *p, size_t n)
{
	static const struct pair raw = BDAT_BDAT, stuff = BDAT_DATA, unstuff = DATA_BDAT, pass = { 0 };
	struct eod_sink content = EOD_SINK(rooms[0]), wire = EOD_SINK(rooms[1]), again = EOD_SINK(rooms[2]);

	convert(&raw, p, n, &content);
	convert(&raw, content.text, content.n, &again);
	same(&again, &content);
	convert(&stuff, p, n, &wire);
	convert(&stuff, content.text, content.n, &again);
	same(&again, &wire);
	memcpy(wire.text + wire.n, ".\r\n", 3);
	convert(&unstuff, wire.text, wire.n + 3, &again);
	same(&again, &content);
	convert(&pass, wire.text, wire.n + 3, &again);
	same(&again, &wire);
}

/* ---- property: stuffed on the way, piece by piece ---- */

struct on_the_way {
	struct smtp_eod unstuff;
	struct eod_sink out;
};

static void unstuff_piece(const char *p, size_t n, void *arg)
{
	struct on_the_way *w = arg;

	assert_int_equal(smtp_eod_feed(&w->unstuff, p, n, eod_collect, &w->out), n);
	assert_false(w->unstuff.done);
}

/* To DATA and from there to BDAT, in the pieces that come out, is the same as to BDAT. */
static void in_two_steps(enum smtp_by from, const char *p, size_t n, size_t cut)
{
	struct on_the_way w = { .out = EOD_SINK(rooms[0]) };
	struct smtp_eod one, first;
	struct eod_sink direct = EOD_SINK(rooms[1]);

	smtp_eod_init_pair(&one, true, from, SMTP_BY_BDAT);
	smtp_eod_init_pair(&first, true, from, SMTP_BY_DATA);
	smtp_eod_init_pair(&w.unstuff, true, SMTP_BY_DATA, SMTP_BY_BDAT);
	size_t used = smtp_eod_feed(&one, p, n, eod_collect, &direct),
	       used_first = smtp_eod_feed(&first, p, cut, unstuff_piece, &w);
	used_first += smtp_eod_feed(&first, p + used_first, n - used_first, unstuff_piece, &w);
	assert_int_equal(used, used_first);
	if (from == SMTP_BY_BDAT) {
		smtp_eod_finish(&one, eod_collect, &direct);
		smtp_eod_finish(&first, unstuff_piece, &w);
	}
	assert_true(one.done && first.done);
	assert_int_equal(smtp_eod_feed(&w.unstuff, ".\r\n", 3, eod_collect, &w.out), 3);
	assert_true(w.unstuff.done);
	assert_int_equal(w.unstuff.content, one.content);
	same(&w.out, &direct);
}

static void two_steps_at_every_cut(const char *p, size_t n)
{
	char text[WORD_MAX + 5];

	memcpy(text, p, n);
	memcpy(text + n, "\r\n.\r\n", 5);
	for (size_t cut = 0; cut <= n; cut++) {
		in_two_steps(SMTP_BY_BDAT, p, n, cut);
		in_two_steps(SMTP_BY_DATA, text, n + 5, cut);
	}
}

static void what_is_stuffed_and_unstuffed_on_the_way_is_the_content(void **state)
{
	UNUSED(state);
	for_every_word(two_steps_at_every_cut);
}

static void what_goes_from_bdat_to_data_comes_back_as_the_same_content(void **state)
{
	UNUSED(state);
	for_every_word(there_and_back);
	for (unsigned round = 0; round < 20000; round++) {
		char text[1000];
		there_and_back(text, random_text(text, sizeof(text)));
	}
}

/* The server's view of a client's DATA is the same whether it gets DATA or BDAT. */
static void data_is_the_same_message_by_either_way(void **state)
{
	UNUSED(state);
	for (unsigned round = 0; round < 20000; round++) {
		char text[1000 + 5];
		size_t n = random_text(text, 1000);
		struct eod_sink wire = EOD_SINK(rooms[0]), content = EOD_SINK(rooms[1]);
		struct smtp_eod to_data, to_bdat;
		memcpy(text + n, "\r\n.\r\n", 5);
		smtp_eod_init(&to_data, true);
		smtp_eod_init_pair(&to_bdat, true, SMTP_BY_DATA, SMTP_BY_BDAT);
		size_t used = smtp_eod_feed(&to_data, text, n + 5, eod_collect, &wire);
		assert_int_equal(smtp_eod_feed(&to_bdat, text, n + 5, eod_collect, &content), used);
		assert_true(to_data.done && to_bdat.done);
		wire.n = eod_pair_unstuff(wire.text, wire.n);
		same(&wire, &content);
		assert_int_equal(to_data.content, content.n);
		assert_int_equal(to_bdat.content, content.n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(named_forms_become_what_a_server_must_get),
		cmocka_unit_test(the_end_is_said_once),
		cmocka_unit_test(clean_chunks_come_out_in_one_piece_per_call),
		cmocka_unit_test(every_short_input_in_every_split_agrees_with_the_model),
		cmocka_unit_test(long_random_input_in_random_splits_agrees_with_the_model),
		cmocka_unit_test(what_goes_from_bdat_to_data_comes_back_as_the_same_content),
		cmocka_unit_test(what_is_stuffed_and_unstuffed_on_the_way_is_the_content),
		cmocka_unit_test(data_is_the_same_message_by_either_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
