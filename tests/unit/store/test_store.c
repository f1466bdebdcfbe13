/* SPDX-License-Identifier: Apache-2.0
 * The store in good times: what is written is found, in order, once, and within its bounds.
 */
#include "tests/unit/store/store_fixture.h"

#include <errno.h>
#include <sys/wait.h>

#include "daemon/base/log.h"

/* ---- documents ---- */

static void a_new_store_is_empty_and_private(void **state)
{
	char *sub = path_in(*state, "store.log.new"); /* some name that teardown removes */
	struct store *s = open_ok(sub, NULL);
	char *log = path_in(sub, "store.log"), *lock = path_in(sub, "store.lock");
	struct stat st;

	assert_null(store_last(s, ENTRY_CONFIG));
	assert_null(store_revision(s, 1));
	assert_int_equal(store_revision_number(s), 0);
	assert_true(store_quorate(s));
	assert_int_equal(stat(sub, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(stat(log, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(stat(lock, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	store_close(s);
	char *identity = path_in(sub, "identity");
	assert_int_equal(stat(identity, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	unlink(identity);
	free(identity);
	unlink(log);
	unlink(lock);
	free(log);
	free(lock);
	free(sub);
}

static void what_was_written_is_there_after_reopening(void **state)
{
	struct store *s = open_ok(*state, NULL);

	append_n(s, 1, 7);
	assert_holds(s, 7);
	store_close(s);
	s = open_ok(*state, NULL);
	assert_holds(s, 7);
	append_n(s, 8, 9);
	store_close(s);
	s = open_ok(*state, NULL);
	assert_holds(s, 9);
	store_close(s);
}

static double fixed_wall(void)
{
	return 1795304327.25;
}

static void an_entry_says_who_when_and_what_came_before(void **state)
{
	struct store *s = open_ok(*state, NULL);
	struct store_write w = write_of(ENTRY_CONFIG, "first");
	const struct entry *e = NULL;
	uint8_t zero[ENTRY_HASH_LEN] = { 0 }, first[ENTRY_HASH_LEN];

	s->wall = fixed_wall;
	w.operation = "op";
	assert_int_equal(store_append(s, &w, &e), 0);
	assert_true(e->epoch == 1 && e->position == 1 && e->revision == 1 && e->wall == fixed_wall());
	assert_memory_equal(e->previous, zero, sizeof(zero));
	assert_string_equal(e->operation, "op");
	assert_string_equal(e->author, "ops");
	assert_string_equal(e->node, "n1");
	assert_string_equal(e->comment, "test");
	memcpy(first, e->hash, sizeof(first));
	w = write_of(ENTRY_RUNTIME, "second");
	w.comment = NULL;
	assert_int_equal(store_append(s, &w, &e), 0);
	assert_true(e->position == 2 && e->revision == 1);
	assert_memory_equal(e->previous, first, sizeof(first));
	assert_string_equal(e->comment, "");
	store_close(s);
}

/* A rollback writes a document that lies in the store's own memory. */
static void a_document_of_the_store_can_be_written_again(void **state)
{
	struct store *s = open_ok(*state, NULL);
	struct store_write w;

	append_n(s, 1, 5);
	w = write_of(ENTRY_CONFIG, "");
	w.document = store_revision(s, 1)->document;
	assert_int_equal(store_append(s, &w, NULL), 0);
	assert_document(store_last(s, ENTRY_CONFIG), "doc-1");
	w.document = store_last(s, ENTRY_CONFIG)->document;
	w.author = store_last(s, ENTRY_CONFIG)->author;
	assert_int_equal(store_append(s, &w, NULL), 0);
	assert_document(store_last(s, ENTRY_CONFIG), "doc-1");
	assert_string_equal(store_last(s, ENTRY_CONFIG)->author, "ops");
	store_close(s);
}

static void a_large_document_comes_back(void **state)
{
	struct store *s = open_ok(*state, NULL);
	struct store_write w = write_of(ENTRY_CONFIG, "");
	struct sbuf b = { 0 };

	memset(sbuf_extend(&b, 5 << 20), 'x', 5 << 20);
	w.document = (struct str) { b.p, b.n };
	assert_int_equal(store_append(s, &w, NULL), 0);
	store_close(s);
	s = open_ok(*state, NULL);
	assert_true(str_eq(store_last(s, ENTRY_CONFIG)->document, w.document));
	store_close(s);
	sbuf_fini(&b);
}

/* ---- what is refused ---- */

static void a_stale_writer_is_refused(void **state)
{
	struct store *s = open_ok(*state, NULL);
	struct store_write w = write_of(ENTRY_CONFIG, "x");

	w.expect_position = 0; /* nothing there yet */
	assert_int_equal(store_append(s, &w, NULL), 0);
	assert_int_equal(store_append(s, &w, NULL), -ESTALE);
	assert_int_equal(append(s, ENTRY_RUNTIME, "y"), 0);
	w.expect_position = 1; /* another kind's entry does not count */
	assert_int_equal(store_append(s, &w, NULL), 0);
	assert_int_equal(store_append(s, &w, NULL), -ESTALE);
	assert_int_equal(s->applied.position, 3);
	store_close(s);
}

static void what_does_not_fit_changes_nothing(void **state)
{
	struct store *s = open_ok(*state, NULL);
	char text[ENTRY_TEXT_MAX + 2];
	uint8_t hash[ENTRY_HASH_LEN] = { 0 };
	struct store_write w = write_of(ENTRY_KIND_COUNT, "x");

	memset(text, 'k', sizeof(text));
	text[ENTRY_TEXT_MAX + 1] = '\0';
	assert_int_equal(store_append(s, &w, NULL), -EINVAL);
	w = write_of(ENTRY_CONFIG, "x");
	w.comment = text;
	assert_int_equal(store_append(s, &w, NULL), -EINVAL);
	w = write_of(ENTRY_CONFIG, "x");
	w.idempotency_key = "";
	w.request_hash = hash;
	assert_int_equal(store_append(s, &w, NULL), -EINVAL);
	w.idempotency_key = "key";
	w.request_hash = NULL;
	assert_int_equal(store_append(s, &w, NULL), -EINVAL);
	w = write_of(ENTRY_CONFIG, "x");
	w.document.n = (size_t)ENTRY_DOCUMENT_MAX + 1;
	assert_int_equal(store_append(s, &w, NULL), -EFBIG);
	assert_int_equal(s->applied.position, 0);
	append_n(s, 1, 1);
	assert_holds(s, 1);
	store_close(s);
}

static void a_second_process_is_refused_while_the_first_lives(void **state)
{
	struct store *s = open_ok(*state, NULL);
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		char *why, *warning;
		struct store *other = store_open(*state, "n1", &why, &warning);
		_exit(other == NULL && strstr(why, "store.lock: another process") != NULL ? 0 : 1);
	}
	assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	append_n(s, 1, 1);
	store_close(s);
	store_close(open_ok(*state, NULL));
}

static void a_foreign_file_is_left_alone(void **state)
{
	static const char *const files[] = { "", "hello", "POSTROAD",
					     "this is not a store, but it is long enough to be one" };

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		set_log_bytes(*state, files[i], strlen(files[i]));
		char *why = open_fails(*state);
		assert_non_null(strstr(why, "store.log: not a store of Postroad"));
		free(why);
		struct sbuf b = log_bytes(*state);
		assert_int_equal(b.n, strlen(files[i]));
		sbuf_fini(&b);
	}
}

static void a_newer_format_is_named(void **state)
{
	store_close(open_ok(*state, NULL));
	struct sbuf b = log_bytes(*state);
	b.p[8] = 3;
	set_log_bytes(*state, b.p, b.n);
	char *why = open_fails(*state);
	assert_non_null(strstr(why, "store.log: format 3, this version knows 1 to 2"));
	free(why);
	sbuf_fini(&b);
}

static void a_directory_that_cannot_be_made_is_named(void **state)
{
	char *deep = path_in(*state, "no/such");
	char *why, *warning;

	assert_null(store_open(deep, "n1", &why, &warning));
	assert_non_null(strstr(why, deep));
	free(why);
	free(deep);
}

/* ---- history ---- */

struct seen {
	uint64_t revisions[STORE_HISTORY_MAX + 1];
	size_t n;
};

static void see(const struct entry *e, void *arg)
{
	struct seen *seen = arg;

	assert_true(seen->n <= STORE_HISTORY_MAX);
	assert_int_equal(e->document.n, 0);
	assert_string_equal(e->author, "ops");
	assert_int_equal(e->position, e->revision); /* only configurations here */
	seen->revisions[seen->n++] = e->revision;
}

static void assert_history(struct store *s, uint64_t newest)
{
	struct seen seen = { .n = 0 };
	char document[32];

	assert_int_equal(store_each_revision(s, see, &seen), STORE_HISTORY_MAX);
	for (size_t i = 0; i < seen.n; i++)
		assert_int_equal(seen.revisions[i], newest - i);
	assert_null(store_revision(s, newest - STORE_HISTORY_MAX));
	assert_null(store_revision(s, newest + 1));
	assert_null(store_revision(s, 0));
	for (uint64_t r = newest; r > newest - STORE_HISTORY_MAX; r--) {
		snprintf(document, sizeof(document), "c%d", (int)r);
		assert_document(store_revision(s, r), document);
	}
}

static void the_last_revisions_are_kept_and_no_more(void **state)
{
	struct store *s = open_ok(*state, NULL);
	char document[32];

	for (int i = 1; i <= STORE_HISTORY_MAX + 30; i++) {
		snprintf(document, sizeof(document), "c%d", i);
		assert_int_equal(append(s, ENTRY_CONFIG, document), 0);
	}
	assert_history(s, STORE_HISTORY_MAX + 30);
	store_close(s);
	s = open_ok(*state, NULL);
	assert_history(s, STORE_HISTORY_MAX + 30);
	assert_int_equal(compact(s), 0);
	assert_history(s, STORE_HISTORY_MAX + 30);
	store_close(s);
	s = open_ok(*state, NULL);
	assert_history(s, STORE_HISTORY_MAX + 30);
	store_close(s);
}

/* ---- compaction ---- */

static void compaction_keeps_what_is_kept_and_the_order_goes_on(void **state)
{
	struct store *s = open_ok(*state, NULL);

	append_n(s, 1, 20);
	for (int round = 0; round < 3; round++) {
		unsigned n = 20 + 3 * (unsigned)round;
		assert_int_equal(compact(s), 0);
		assert_holds(s, n);
		append_n(s, n + 1, n + 3);
		store_close(s);
		s = open_ok(*state, NULL);
		assert_holds(s, n + 3);
	}
	store_close(s);
}

static void an_empty_store_can_be_compacted(void **state)
{
	struct store *s = open_ok(*state, NULL);

	assert_int_equal(compact(s), 0);
	append_n(s, 1, 2);
	store_close(s);
	s = open_ok(*state, NULL);
	assert_holds(s, 2);
	store_close(s);
}

static void the_file_stays_bounded(void **state)
{
	struct store *s = open_ok(*state, NULL);
	char *document = xcalloc(1, 20001);

	memset(document, 'x', 20000);
	append_n(s, 1, 1);
	for (int i = 0; i < 500; i++) {
		assert_int_equal(append(s, ENTRY_RUNTIME, document), 0);
		assert_true(s->disk.journal.size < DISK_COMPACT_MIN + 30000);
	}
	assert_int_equal(s->applied.position, 501);
	store_close(s);
	s = open_ok(*state, NULL);
	assert_document(store_last(s, ENTRY_RUNTIME), document);
	assert_document(store_last(s, ENTRY_CONFIG), "doc-1");
	store_close(s);
	free(document);
}

static void a_failed_compaction_does_not_fail_the_write(void **state)
{
	struct store *s = open_ok(*state, NULL);
	char *in_the_way = path_in(*state, "store.log.new");

	assert_int_equal(mkdir(in_the_way, 0700), 0);
	for (unsigned i = 1; i <= 30; i++) {
		s->disk.compact_at = 0;
		assert_int_equal(append(s, ENTRY_RUNTIME, "m"), 0);
		assert_int_equal(append(s, ENTRY_RUNTIME, "n"), 0);
		assert_int_equal(append(s, ENTRY_RUNTIME, "o"), 0);
		append_n(s, i, i);
	}
	assert_true(s->disk.compact_at > s->disk.journal.size); /* it was tried, and will not be at each write */
	store_close(s);
	s = open_ok(*state, NULL);
	assert_int_equal(s->applied.position, 120);
	assert_document(store_last(s, ENTRY_RUNTIME), "doc-30");
	store_close(s);
	free(in_the_way);
}

/* ---- idempotency ---- */

static double now_wall;

static double settable_wall(void)
{
	return now_wall;
}

static int append_under(struct store *s, const char *key, uint8_t fill)
{
	uint8_t hash[ENTRY_HASH_LEN];
	struct store_write w = write_of(ENTRY_CONFIG, key);

	memset(hash, fill, sizeof(hash));
	w.idempotency_key = key;
	w.request_hash = hash;
	return store_append(s, &w, NULL);
}

static void assert_answer(struct store *s, const char *key, uint8_t fill, uint64_t revision)
{
	const struct store_answer *a = store_answer_find(s, key);

	assert_non_null(a);
	assert_int_equal(a->request_hash[0], fill);
	assert_int_equal(a->request_hash[ENTRY_HASH_LEN - 1], fill);
	assert_int_equal(a->revision, revision);
	assert_int_equal(a->kind, ENTRY_CONFIG);
}

static void a_key_is_answered_after_reopening_and_compaction(void **state)
{
	struct store *s = open_ok(*state, NULL);

	assert_null(store_answer_find(s, "k1"));
	assert_int_equal(append_under(s, "k1", 1), 0);
	assert_int_equal(append_under(s, "k2", 2), 0);
	assert_int_equal(append_under(s, "k1", 3), -EEXIST);
	for (int i = 0; i < STORE_HISTORY_MAX; i++) /* pushes both entries out of the history */
		assert_int_equal(append(s, ENTRY_CONFIG, "x"), 0);
	for (int round = 0; round < 3; round++) {
		assert_answer(s, "k1", 1, 1);
		assert_answer(s, "k2", 2, 2);
		assert_int_equal(store_answer_find(s, "k2")->position, 2);
		store_close(s);
		s = open_ok(*state, NULL);
		assert_int_equal(compact(s), 0);
	}
	assert_int_equal(append_under(s, "k2", 2), -EEXIST);
	store_close(s);
}

static void a_failed_write_leaves_no_answer(void **state)
{
	struct store *s = open_ok(*state, NULL);
	uint8_t hash[ENTRY_HASH_LEN] = { 0 };
	struct store_write w = write_of(ENTRY_CONFIG, "x");

	w.idempotency_key = "k";
	w.request_hash = hash;
	w.expect_position = 5;
	assert_int_equal(store_append(s, &w, NULL), -ESTALE);
	assert_null(store_answer_find(s, "k"));
	store_close(s);
}

static void a_repetition_is_known_before_it_is_stale(void **state)
{
	struct store *s = open_ok(*state, NULL);
	uint8_t hash[ENTRY_HASH_LEN] = { 0 };
	struct store_write w = write_of(ENTRY_CONFIG, "x");

	w.idempotency_key = "k";
	w.request_hash = hash;
	w.expect_position = 0;
	assert_int_equal(store_append(s, &w, NULL), 0);
	assert_int_equal(store_append(s, &w, NULL), -EEXIST);
	store_close(s);
}

static void a_key_ends_after_a_day_of_log_time(void **state)
{
	struct store *s = open_ok(*state, NULL);

	s->wall = settable_wall;
	now_wall = 1000000;
	assert_int_equal(append_under(s, "old", 1), 0);
	now_wall += ANSWER_KEEP_SEC;
	assert_int_equal(append_under(s, "young", 2), 0);
	assert_answer(s, "old", 1, 1);
	now_wall += 1;
	assert_answer(s, "old", 1, 1); /* nothing was written since */
	assert_int_equal(append(s, ENTRY_RUNTIME, "x"), 0);
	assert_null(store_answer_find(s, "old"));
	assert_answer(s, "young", 2, 2);
	assert_int_equal(compact(s), 0);
	store_close(s);
	s = open_ok(*state, NULL);
	assert_null(store_answer_find(s, "old"));
	assert_answer(s, "young", 2, 2);
	s->wall = settable_wall;
	assert_int_equal(append_under(s, "old", 3), 0); /* a key may be used again */
	store_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_new_store_is_empty_and_private),
		TEST(what_was_written_is_there_after_reopening),
		TEST(an_entry_says_who_when_and_what_came_before),
		TEST(a_document_of_the_store_can_be_written_again),
		TEST(a_large_document_comes_back),
		TEST(a_stale_writer_is_refused),
		TEST(what_does_not_fit_changes_nothing),
		TEST(a_second_process_is_refused_while_the_first_lives),
		TEST(a_foreign_file_is_left_alone),
		TEST(a_newer_format_is_named),
		TEST(a_directory_that_cannot_be_made_is_named),
		TEST(the_last_revisions_are_kept_and_no_more),
		TEST(compaction_keeps_what_is_kept_and_the_order_goes_on),
		TEST(an_empty_store_can_be_compacted),
		TEST(the_file_stays_bounded),
		TEST(a_failed_compaction_does_not_fail_the_write),
		TEST(a_key_is_answered_after_reopening_and_compaction),
		TEST(a_failed_write_leaves_no_answer),
		TEST(a_repetition_is_known_before_it_is_stale),
		TEST(a_key_ends_after_a_day_of_log_time),
	};

	log_init(LOG_TARGET_STDERR, LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
