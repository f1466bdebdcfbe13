/* SPDX-License-Identifier: Apache-2.0
 * What the replicated log promises about its messages: lost ones, long ones, those of a member that lacks much.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "tests/unit/store/core_fixture.h"

static struct fix f;

static enum core_state state_of(uint32_t id)
{
	return core_state(f.nodes[id - 1].core);
}

static int clean(void **state)
{
	UNUSED(state);
	fix_fini(&f);
	return 0;
}

static void a_missing_message_asks_for_another_view(void **state)
{
	UNUSED(state);
	fix_init(&f, 3, 0);
	FIX_VIEW(&f, 1, 1, 2, 3);
	fix_run(&f);
	assert_int_equal(fix_write(&f, 1, "a", STR("")), 0);
	sbuf_fini(&f.packets[0].bytes);
	memmove(&f.packets[0], &f.packets[1], --f.n_packets * sizeof(f.packets[0]));
	fix_wait(&f, 1100); /* the next sign of life shows it */
	for (int i = 0; i < 3; i++)
		assert_true(f.nodes[i].n_resync > 0);
	FIX_VIEW(&f, 1, 1, 2, 3);
	fix_run(&f);
	assert_int_equal(f.nodes[0].result, CORE_COMMITTED);
}

static void a_long_document_travels_in_pieces_of_which_few_are_under_way(void **state)
{
	UNUSED(state);
	size_t n = CORE_DOCUMENT_MAX;
	char *text = xcalloc(1, n + 1);

	fix_init(&f, 3, 0);
	FIX_VIEW(&f, 1, 1, 2, 3);
	fix_run(&f);
	f.most_packets = 0;
	assert_int_equal(fix_write(&f, 1, "a", (struct str) { text, n + 1 }), -EFBIG);
	assert_int_equal(fix_write(&f, 1, "a", (struct str) { text, n }), 0);
	fix_run(&f);
	assert_int_equal(f.nodes[0].result, CORE_COMMITTED);
	assert_true(f.most_packets <= CORE_IN_FLIGHT_MAX + 2);
	/* And to one that lacks it. */
	fix_stop(&f.nodes[2]);
	f.nodes[2].n_disk = 0;
	sbuf_reset(&f.nodes[2].meta);
	fix_start(&f, 3, false);
	FIX_VIEW(&f, 1, 1, 2, 3);
	fix_run(&f);
	assert_int_equal(f.nodes[2].n_disk, 2);
	free(text);
}

static void a_member_that_lacks_too_much_gets_the_newest_of_it(void **state)
{
	UNUSED(state);
	char operation[32];
	char *text = xcalloc(1, CORE_DOCUMENT_MAX);
	struct fix_node *last = &f.nodes[2];

	fix_init(&f, 3, 0);
	FIX_VIEW(&f, 1, 1, 2);
	fix_run(&f);
	for (int i = 0; i < 9; i++) { /* 72 MiB */
		snprintf(operation, sizeof(operation), "op-%d", i);
		assert_int_equal(fix_write(&f, 1, operation, (struct str) { text, CORE_DOCUMENT_MAX }), 0);
		fix_run(&f);
	}
	free(text);
	FIX_VIEW(&f, 1, 1, 2, 3);
	fix_run(&f);
	assert_int_equal(state_of(3), CORE_ACTIVE);
	assert_int_equal(last->disk[0].entry.position, 1); /* the table */
	assert_true(last->n_disk > 2 && last->n_disk < 10);
	assert_int_equal(last->disk[last->n_disk - 1].entry.position, 10);
	assert_int_equal(core_find(last->core, "op-0", NULL), 2); /* not kept, and known all the same */
	assert_int_equal(fix_write(&f, 3, "more", STR("")), 0);
	fix_run(&f);
	assert_true(last->result == CORE_COMMITTED && last->position == 11);
	assert_int_equal(last->n_lost, 0);
}

static void the_newest_soft_state_is_known_and_goes_with_the_member(void **state)
{
	UNUSED(state);
	static char large[CORE_SOFT_MAX + 1];

	fix_init(&f, 3, 0);
	FIX_VIEW(&f, 1, 1, 2, 3);
	fix_run(&f);
	assert_int_equal(core_soft(f.nodes[0].core, (struct str) { large, sizeof(large) }), -EFBIG);
	assert_int_equal(core_soft(f.nodes[0].core, STR("one")), 0);
	fix_wait(&f, 1100);
	assert_true(str_eq(core_soft_of(f.nodes[2].core, 1), STR("one")));
	/* News does not wait for its second: others count its age from when they hear it. */
	assert_int_equal(core_soft(f.nodes[0].core, STR("two")), 0);
	fix_wait(&f, 100);
	assert_true(str_eq(core_soft_of(f.nodes[2].core, 1), STR("two")));
	FIX_VIEW(&f, 2, 2, 3);
	assert_int_equal(core_soft_of(f.nodes[2].core, 1).n, 0);
}

static void more_than_can_be_kept_in_memory_is_said_and_fetched_later(void **state)
{
	UNUSED(state);
	char operation[32];

	fix_init(&f, 3, 0);
	FIX_VIEW(&f, 1, 1, 2, 3);
	fix_run(&f);
	f.nodes[2].rc = -ENOSPC;
	char *text = xcalloc(1, CORE_DOCUMENT_MAX);
	for (int i = 0; i < 13; i++) { /* 104 MiB */
		snprintf(operation, sizeof(operation), "op-%d", i);
		assert_int_equal(fix_write(&f, 1, operation, (struct str) { text, CORE_DOCUMENT_MAX }), 0);
		fix_run(&f);
	}
	free(text);
	assert_int_equal(f.nodes[0].n_answers, 13);
	assert_int_equal(state_of(3), CORE_SYNC);
	assert_true(f.nodes[2].n_applied < 14 && f.nodes[2].n_resync == 0);
	f.nodes[2].rc = 0;
	fix_wait(&f, 2000);
	assert_int_equal(f.nodes[2].n_resync, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_teardown(name, clean)
	const struct CMUnitTest tests[] = {
		T(a_missing_message_asks_for_another_view),
		T(a_long_document_travels_in_pieces_of_which_few_are_under_way),
		T(a_member_that_lacks_too_much_gets_the_newest_of_it),
		T(the_newest_soft_state_is_known_and_goes_with_the_member),
		T(more_than_can_be_kept_in_memory_is_said_and_fetched_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
