/* SPDX-License-Identifier: Apache-2.0
 * Files that an earlier version wrote open unchanged and go on.
 */
#include "tests/unit/store/store_fixture.h"

#include "daemon/base/base64.h"
#include "daemon/base/log.h"

/* Format 1, as a single node wrote it before there were others: the documents of append_n() at the positions 1 to 8,
 * each under a key k1 … k8, compacted behind the sixth (2 and 4 are gone, their answers are kept). */
static const char format_1[] =
	"UE9TVFJPQUQBAAAAVvH+ZwYAAAAAAAAADgUAAAAAAABqJ5WwAAAAAAIAAAA+AAAAx2OIroWrRnUBAgAAAgAAAAAAAAABAAAAAAAA"
	"AAAAgJKKwNpBAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgJrMgIAAAA+AAAAaGiza9EYOdIBAgAABAAAAAAAAAACAAAA"
	"AAAAAAAAgJeKwNpBBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBARrNAEAAACnAAAAIjjs4rO9drLwBWC+ChKNQRZZRnjf"
	"gynSY2oxdEHtLNkC2ceXLAz+yAEBAAABAAAAAAAAAAEAAAAAAAAAAQAAAAAAAAAAAACQisDaQQAAAAAAAAAAAAAAAAAAAAAAAAAA"
	"AAAAAAAAAAAAAAAAAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEAAAADAG9wcwACAG4xAAQAdGVzdAACAGsxAAUAAABk"
	"b2MtMQEAAACnAAAAJSMlXm5cn3yHqRnk3VH4EOoHovEGWNSFuNFRo+cGbElQ/hTzcMLU4QEBAAABAAAAAAAAAAMAAAAAAAAAAgAA"
	"AAAAAAAAAACVisDaQUMi1i+xVWFMYr3BTUQBxXps8piQMpR0iNGxUZEDLwrNAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMD"
	"AwMAAAADAG9wcwACAG4xAAQAdGVzdAACAGszAAUAAABkb2MtMwEAAACnAAAA2xN7JTPCJ8SHaUpY9npHXRHHyLGi3i/WT2knOVan"
	"7IrT3gBa0XsRugEBAAABAAAAAAAAAAUAAAAAAAAAAwAAAAAAAAAAAACaisDaQeKpUlkVeH1K/dAYlNzy28br+tLH2WZjL1/Ym0Ud"
	"7OnqBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUAAAADAG9wcwACAG4xAAQAdGVzdAACAGs1AAUAAABkb2MtNQEAAACn"
	"AAAAOIjSqbqLl2TLtk7KUwVNWrbd4ICBxQzLWLVGHMUpVqcw87ihRnJMSQECAAABAAAAAAAAAAYAAAAAAAAAAwAAAAAAAAAAAICc"
	"isDaQYdpSlj2ekddEcfIsaLeL9ZPaSc5VqfsitPeAFrRexG6BgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYAAAADAG9w"
	"cwACAG4xAAQAdGVzdAACAGs2AAUAAABkb2MtNgEAAACnAAAAjZqdlWcZEvQ0pC6s58BgVHTl5IHmJLt43Iio54May4Hs1Q0QLjtD"
	"4QEBAAABAAAAAAAAAAcAAAAAAAAABAAAAAAAAAAAAACfisDaQcu2TspTBU1att3ggIHFDMtYtUYcxSlWpzDzuKFGckxJBwcHBwcH"
	"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcAAAADAG9wcwACAG4xAAQAdGVzdAACAGs3AAUAAABkb2MtNwEAAACnAAAAHkrb1cbo"
	"t8a5pwo//g/IYa5BaLq6i6g+Ri2VWmyq3nLXUm0f6guziQECAAABAAAAAAAAAAgAAAAAAAAABAAAAAAAAAAAAIChisDaQTSkLqzn"
	"wGBUdOXkgeYku3jciKjngxrLgezVDRAuO0PhCAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgAAAADAG9wcwACAG4xAAQA"
	"dGVzdAACAGs4AAUAAABkb2MtOA==";

static void put_format_1(const char *dir)
{
	char bytes[sizeof(format_1)];
	size_t n;

	assert_true(base64_decode(str_from(format_1), bytes, sizeof(bytes), &n));
	set_log_bytes(dir, bytes, n);
}

static void assert_as_it_was(struct store *s)
{
	char key[8];

	assert_int_equal(store_position(s), 8);
	assert_int_equal(store_revision_number(s), 4);
	assert_document(store_last(s, ENTRY_CONFIG), "doc-7");
	assert_document(store_last(s, ENTRY_RUNTIME), "doc-8");
	for (unsigned i = 1; i <= 4; i++) {
		char document[16];
		snprintf(document, sizeof(document), "doc-%u", 2 * i - 1);
		assert_document(store_revision(s, i), document);
	}
	for (uint8_t i = 1; i <= 8; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		const struct store_answer *a = store_answer_find(s, key);
		assert_non_null(a);
		assert_true(a->position == i && a->request_hash[0] == i && a->revision == (i + 1u) / 2);
	}
}

static void a_file_of_format_1_opens_and_is_not_touched_by_that(void **state)
{
	put_format_1(*state);
	struct sbuf before = log_bytes(*state);
	struct store *s = open_only(*state, NULL);

	assert_as_it_was(s);
	store_close(s);
	struct sbuf after = log_bytes(*state);
	assert_int_equal(after.n, before.n);
	assert_memory_equal(after.p, before.p, after.n);
	sbuf_fini(&before);
	sbuf_fini(&after);
}

static double soon_after(void)
{
	return 1795304100;
}

static void it_goes_on_and_becomes_format_2_with_the_first_write(void **state)
{
	uint8_t hash[ENTRY_HASH_LEN] = { 2 };
	struct store_write w = write_of(ENTRY_RUNTIME, "again");

	put_format_1(*state);
	struct store *s = open_ok(*state, NULL);
	struct sbuf b = log_bytes(*state);
	assert_int_equal(b.p[8], 2);
	sbuf_fini(&b);
	s->wall = soon_after;
	assert_as_it_was(s);
	w.idempotency_key = "k2"; /* whose entry is gone */
	w.request_hash = hash;
	assert_int_equal(store_append(s, &w, NULL), -EEXIST);
	assert_int_equal(append(s, ENTRY_CONFIG, "doc-9"), 0);
	assert_int_equal(compact(s), 0);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(store_position(s), 9);
		assert_document(store_revision(s, 5), "doc-9");
		assert_document(store_revision(s, 1), "doc-1");
		assert_int_equal(store_answer_find(s, "k2")->request_hash[0], 2);
		store_close(s);
		s = open_ok(*state, NULL);
	}
	store_close(s);
}

/* The new file is there whole, or the old one is. */
static void a_disk_without_room_for_the_new_file_leaves_the_old_one_in_use(void **state)
{
	char *in_the_way = path_in(*state, "store.log.new");
	struct store_write w = write_of(ENTRY_CONFIG, "x");
	struct outcome o = { 0 };

	put_format_1(*state);
	assert_int_equal(mkdir(in_the_way, 0700), 0);
	struct store *s = open_only(*state, NULL);
	assert_int_equal(store_start(s), 0);
	assert_true(store_wait(s, WAIT_MS));
	assert_as_it_was(s);
	assert_int_not_equal(store_disk_error(s), 0);
	assert_int_equal(store_propose(s, &w, on_outcome, &o), 0);
	assert_int_equal(rmdir(in_the_way), 0);
	assert_true(store_wait(s, WAIT_MS)); /* it is tried again each second */
	assert_true(o.times == 1 && o.result.result == CORE_COMMITTED && o.result.position == 9);
	store_close(s);
	free(in_the_way);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_file_of_format_1_opens_and_is_not_touched_by_that),
		TEST(it_goes_on_and_becomes_format_2_with_the_first_write),
		TEST(a_disk_without_room_for_the_new_file_leaves_the_old_one_in_use),
	};

	log_init(LOG_TARGET_STDERR, LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
