/* SPDX-License-Identifier: Apache-2.0
 * The hashing pool: right answers on the asking loop, bounds, cancelling, stopping, and what is remembered.
 */
#include "daemon/session/hashing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Both of the password "x". */
#define CHEAP "$2b$04$Yc2ESyf0FS0i1O2ldeO3D.aOJkfcY1J/e9xUZxN7CKrvtHQLXu8Bi"
#define OTHER "$y$j75$q8p61tM2KiBYQ31iNIO/u0$ZG46lYU3IeE4Hc6eVAG0kuk6BW8wihaQHaWJyLY1bx6"

struct asker {
	struct loop *l;
	int answers;
	enum hashing_verdict last;
	struct hashing_job *job;
};

static void on_answer(enum hashing_verdict verdict, void *arg)
{
	struct asker *a = arg;

	a->answers++;
	a->last = verdict;
}

static enum hashing_submit ask(struct hashing *h, struct asker *a, const char *hash, const char *password)
{
	struct hashing_question q = {
		.user = "tim", .password = password, .hash = hash, .like = CHEAP, .fn = on_answer, .arg = a
	};

	return hashing_ask(h, a->l, &q, &a->job);
}

static enum hashing_verdict verdict_of(struct hashing *h, struct asker *a, const char *hash, const char *password)
{
	int before = a->answers;

	assert_int_equal(ask(h, a, hash, password), HASHING_ASKED);
	while (a->answers == before)
		loop_turn(a->l, true);
	assert_int_equal(a->answers, before + 1);
	return a->last;
}

static void passwords_are_told_apart(void **state)
{
	struct asker a = { .l = loop_new() };
	struct hashing *h = hashing_new(2, 8);

	UNUSED(state);
	assert_int_equal(verdict_of(h, &a, CHEAP, "y"), HASHING_BAD);
	assert_int_equal(verdict_of(h, &a, CHEAP, "x"), HASHING_GOOD);
	assert_int_equal(verdict_of(h, &a, "$zz$nonsense", "x"), HASHING_FAILED);
	hashing_free(h);
	loop_free(a.l);
}

static void an_unknown_user_is_bad_whatever_he_says(void **state)
{
	struct asker a = { .l = loop_new() };
	struct hashing *h = hashing_new(1, 8);
	struct hashing_question q = { .user = "nobody", .password = "x", .fn = on_answer, .arg = &a };

	UNUSED(state);
	/* "x" is right for the hash he is measured by, and stays so when asked again. */
	assert_int_equal(verdict_of(h, &a, NULL, "x"), HASHING_BAD);
	assert_int_equal(verdict_of(h, &a, CHEAP, "x"), HASHING_GOOD);
	assert_int_equal(verdict_of(h, &a, NULL, "x"), HASHING_BAD);
	assert_int_equal(hashing_ask(h, a.l, &q, &a.job), HASHING_ASKED);
	while (a.answers < 4)
		loop_turn(a.l, true);
	assert_int_equal(a.last, HASHING_BAD);
	hashing_free(h);
	loop_free(a.l);
}

static void a_success_is_remembered_and_a_failure_is_not(void **state)
{
	struct asker a = { .l = loop_new() };
	struct hashing *h = hashing_new(1, 8);

	UNUSED(state);
	assert_int_equal(verdict_of(h, &a, CHEAP, "x"), HASHING_GOOD);
	assert_int_equal(ask(h, &a, CHEAP, "x"), HASHING_REMEMBERED);
	assert_int_equal(verdict_of(h, &a, CHEAP, "y"), HASHING_BAD);
	assert_int_equal(verdict_of(h, &a, CHEAP, "y"), HASHING_BAD);
	assert_int_equal(verdict_of(h, &a, OTHER, "x"), HASHING_GOOD); /* another hash is another password */
	hashing_free(h);
	loop_free(a.l);
}

static void a_full_pool_says_so_at_once(void **state)
{
	struct asker a = { .l = loop_new() };
	struct hashing *h = hashing_new(1, 2);

	UNUSED(state);
	/* An answer counts until it is given, which needs a turn of the loop. */
	assert_int_equal(ask(h, &a, CHEAP, "a"), HASHING_ASKED);
	assert_int_equal(ask(h, &a, CHEAP, "b"), HASHING_ASKED);
	assert_int_equal(ask(h, &a, CHEAP, "z"), HASHING_FULL);
	while (a.answers < 2)
		loop_turn(a.l, true);
	assert_int_equal(verdict_of(h, &a, CHEAP, "y"), HASHING_BAD);
	assert_int_equal(a.answers, 3);
	hashing_free(h);
	loop_free(a.l);
}

static void a_cancelled_question_is_never_answered(void **state)
{
	struct asker a = { .l = loop_new() }, gone = { .l = a.l };
	struct hashing *h = hashing_new(1, 8);

	UNUSED(state);
	assert_int_equal(ask(h, &gone, CHEAP, "y"), HASHING_ASKED); /* maybe at work already, or done */
	hashing_cancel(gone.job);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(ask(h, &gone, CHEAP, "y"), HASHING_ASKED); /* waiting */
		hashing_cancel(gone.job);
	}
	/* The only thread takes them in order: with this answer those before it are back. */
	assert_int_equal(verdict_of(h, &a, CHEAP, "y"), HASHING_BAD);
	assert_int_equal(gone.answers, 0);
	hashing_free(h);
	loop_free(a.l);
	assert_int_equal(gone.answers, 0);
}

static void stopping_answers_all_that_wait(void **state)
{
	struct asker a = { .l = loop_new() };
	struct hashing *h = hashing_new(1, 16);

	UNUSED(state);
	for (int i = 0; i < 10; i++)
		assert_int_equal(ask(h, &a, CHEAP, "y"), HASHING_ASKED);
	hashing_free(h);
	while (a.answers < 10)
		loop_turn(a.l, true);
	loop_free(a.l);
	assert_int_equal(a.answers, 10);
}

static void answers_still_on_their_way_come_with_the_end_of_the_loop(void **state)
{
	struct asker a = { .l = loop_new() };
	struct hashing *h = hashing_new(2, 16);

	UNUSED(state);
	for (int i = 0; i < 10; i++)
		assert_int_equal(ask(h, &a, CHEAP, "y"), HASHING_ASKED);
	hashing_free(h);
	loop_free(a.l);
	assert_int_equal(a.answers, 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(passwords_are_told_apart),
		cmocka_unit_test(an_unknown_user_is_bad_whatever_he_says),
		cmocka_unit_test(a_success_is_remembered_and_a_failure_is_not),
		cmocka_unit_test(a_full_pool_says_so_at_once),
		cmocka_unit_test(a_cancelled_question_is_never_answered),
		cmocka_unit_test(stopping_answers_all_that_wait),
		cmocka_unit_test(answers_still_on_their_way_come_with_the_end_of_the_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
