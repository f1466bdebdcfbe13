/* SPDX-License-Identifier: Apache-2.0
 * The table of voters: its bytes, and that any two quorums share a member.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "cluster/core/voters.h"

static struct voters table(size_t n, uint32_t tie_breaker)
{
	struct voters v = { .n = n, .tie_breaker = tie_breaker };

	for (size_t i = 0; i < n; i++)
		v.list[i] = (struct voter) { .id = (uint32_t)i + 1, .instance = i + 100, .votes = 1, .name = "n" };
	return v;
}

static void a_table_comes_back_as_it_was(void **state)
{
	UNUSED(state);
	struct voters v = table(3, 2), back;
	struct sbuf b = { 0 };

	v.forced = true;
	v.list[1].voter_only = true;
	v.list[2].votes = 0;
	memset(v.list[2].name, 'x', VOTERS_NAME_MAX);
	voters_encode(&v, &b);
	size_t head = b.n;
	sbuf_puts(&b, "text of others");
	assert_true(voters_decode((struct str) { b.p, b.n }, &back));
	assert_true(back.n == 3 && back.tie_breaker == 2 && back.forced);
	for (size_t i = 0; i < 3; i++) {
		assert_true(back.list[i].id == v.list[i].id && back.list[i].instance == v.list[i].instance);
		assert_true(back.list[i].votes == v.list[i].votes && back.list[i].voter_only == v.list[i].voter_only);
		assert_string_equal(back.list[i].name, v.list[i].name);
	}
	for (size_t n = 0; n < head; n++) {
		char *cut = xmalloc(n + 1);
		memcpy(cut, b.p, n);
		assert_false(voters_decode((struct str) { cut, n }, &back));
		free(cut);
	}
	sbuf_fini(&b);
}

static void a_table_that_cannot_be_is_refused(void **state)
{
	UNUSED(state);
	struct voters v[6], back;

	for (size_t i = 0; i < ARRAY_LEN(v); i++)
		v[i] = table(3, 1);
	v[0].list[2].id = 1;
	v[1].list[0].id = 0;
	v[2].tie_breaker = 4;
	v[3].list[0].votes = 0; /* the tie-breaker's */
	v[4].list[1].votes = VOTERS_VOTES_MAX + 1;
	v[5].n = 0;
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		struct sbuf b = { 0 };
		assert_non_null(voters_check(&v[i]));
		voters_encode(&v[i], &b);
		assert_false(voters_decode((struct str) { b.p, b.n }, &back));
		sbuf_fini(&b);
	}
	assert_null(voters_check(&(struct voters) { .n = 1, .list = { { .id = 1, .votes = 1 } } }));
}

static void a_node_set_up_anew_is_not_the_voter_it_was(void **state)
{
	UNUSED(state);
	struct voters v = table(3, 0);

	assert_int_equal(voters_index(&v, 2, 101), 1);
	assert_int_equal(voters_index(&v, 2, 999), -1);
	assert_int_equal(voters_index(&v, 9, 101), -1);
}

static void check_intersection(const struct voters *v)
{
	voters_set all = (voters_set)(1u << v->n) - 1;

	for (voters_set a = 0; a <= all; a++)
		for (voters_set b = 0; b <= all; b++)
			if (voters_quorum(v, a, 0) && voters_quorum(v, b, 0))
				assert_true((a & b) != 0);
	assert_true(voters_quorum(v, all, all));
	assert_false(voters_quorum(v, 0, 0));
}

static void any_two_quorums_share_a_member(void **state)
{
	UNUSED(state);
	for (uint32_t n = 1; n <= 6; n++)
		for (uint32_t tie = 0; tie <= n; tie++) {
			struct voters v = table(n, tie);
			check_intersection(&v);
			v.list[0].votes = 3;
			check_intersection(&v);
			if (n > 1 && tie != n) {
				v.list[n - 1].votes = 0;
				check_intersection(&v);
			}
		}
}

static void of_two_the_tie_breaker_is_enough_unless_the_other_is_there_and_able(void **state)
{
	UNUSED(state);
	struct voters v = table(2, 2);

	assert_true(voters_quorum(&v, 2, 2));
	assert_false(voters_quorum(&v, 2, 3));
	assert_true(voters_quorum(&v, 3, 3));
	assert_false(voters_quorum(&v, 1, 1));
	v.tie_breaker = 0;
	assert_false(voters_quorum(&v, 2, 2));
	assert_true(voters_quorum(&v, 3, 3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_table_comes_back_as_it_was),
		cmocka_unit_test(a_table_that_cannot_be_is_refused),
		cmocka_unit_test(a_node_set_up_anew_is_not_the_voter_it_was),
		cmocka_unit_test(any_two_quorums_share_a_member),
		cmocka_unit_test(of_two_the_tie_breaker_is_enough_unless_the_other_is_there_and_able),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
