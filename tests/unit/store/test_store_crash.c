/* SPDX-License-Identifier: Apache-2.0
 * The store in bad times: crashes at every byte, damage, full disks, kill -9.
 *
 * A crash is simulated on the journal's bytes: `before` is the file after the last reported write, `record` what the
 * next write adds. The header's mark is as old as the last sync left it.
 */
#include "tests/unit/store/store_fixture.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "daemon/base/hash.h"
#include "daemon/base/log.h"

enum { N_WRITES = 6 };

/* The file after each of the first N_WRITES writes, while the store is open. */
static void record_history(const char *dir, struct sbuf after[N_WRITES + 1])
{
	struct store *s = open_ok(dir, NULL);

	after[0] = log_bytes(dir);
	for (unsigned i = 1; i <= N_WRITES; i++) {
		append_n(s, i, i);
		after[i] = log_bytes(dir);
	}
	store_close(s);
}

static void free_history(struct sbuf after[N_WRITES + 1])
{
	for (int i = 0; i <= N_WRITES; i++)
		sbuf_fini(&after[i]);
}

/* Opens a file of these bytes, with the header of an older file over it; it must hold n writes and take more. */
static void assert_recovers(const char *dir, const struct sbuf *bytes, const struct sbuf *header, unsigned n, bool torn)
{
	struct sbuf file = { 0 };
	bool was_torn;

	sbuf_add(&file, header->p, JOURNAL_HEADER_LEN);
	sbuf_add(&file, bytes->p + JOURNAL_HEADER_LEN, bytes->n - JOURNAL_HEADER_LEN);
	set_log_bytes(dir, file.p, file.n);
	sbuf_fini(&file);
	struct store *s = open_ok(dir, &was_torn);
	assert_int_equal(was_torn, torn);
	assert_holds(s, n);
	append_n(s, n + 1, n + 1);
	store_close(s);
	s = open_ok(dir, NULL);
	assert_holds(s, n + 1);
	store_close(s);
}

static void a_crash_at_any_byte_of_a_write_loses_nothing_reported(void **state)
{
	struct sbuf after[N_WRITES + 1];

	record_history(*state, after);
	for (unsigned i = 0; i < N_WRITES; i++) {
		size_t old = after[i].n, new = after[i + 1].n;
		for (size_t n = old; n <= new; n++) {
			struct sbuf cut = { after[i + 1].p, n, 0 };
			bool whole = n == new;
			assert_recovers(*state, &cut, &after[i], whole ? i + 1 : i, !whole && n > old);
			/* The mark written after write i may still have been in memory. */
			assert_recovers(*state, &cut, &after[i > 0 ? i - 1 : 0], whole ? i + 1 : i, !whole && n > old);
		}
	}
	free_history(after);
}

/* Blocks of a write reach the disk in any order: some of its bytes are as if never written. */
static void a_write_with_holes_is_cut_off(void **state)
{
	struct sbuf after[N_WRITES + 1];

	record_history(*state, after);
	size_t old = after[N_WRITES - 1].n, new = after[N_WRITES].n;
	for (size_t from = old; from < new; from += 5) {
		for (size_t to = from + 1; to <= new; to += 7) {
			struct sbuf torn = { 0 };
			sbuf_add(&torn, after[N_WRITES].p, new);
			memset(torn.p + from, 0, to - from);
			bool same = memcmp(torn.p, after[N_WRITES].p, new) == 0; /* there were zeroes before */
			assert_recovers(*state, &torn, &after[N_WRITES - 1], same ? N_WRITES : N_WRITES - 1, !same);
			sbuf_fini(&torn);
		}
	}
	free_history(after);
}

static void assert_refused(const char *dir, const struct sbuf *bytes, const char *part)
{
	set_log_bytes(dir, bytes->p, bytes->n);
	char *why = open_fails(dir);
	if (strstr(why, part) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", why, part);
	free(why);
	struct sbuf now = log_bytes(dir);
	assert_int_equal(now.n, bytes->n); /* nothing was cut */
	assert_memory_equal(now.p, bytes->p, now.n);
	sbuf_fini(&now);
}

static void losing_what_was_durable_is_an_error_with_its_offset(void **state)
{
	struct sbuf after[N_WRITES + 1];
	char part[64];

	record_history(*state, after);
	for (unsigned i = 0; i < N_WRITES; i++) {
		for (size_t n = after[i].n; n < after[i + 1].n; n++) {
			struct sbuf cut = { after[N_WRITES].p, n, 0 };
			snprintf(part, sizeof(part), "store.log: damaged at offset %zu: ", after[i].n);
			assert_refused(*state, &cut, part);
		}
	}
	free_history(after);
}

static void no_flipped_bit_is_ever_believed(void **state)
{
	struct sbuf after[N_WRITES + 1];

	record_history(*state, after);
	struct sbuf *file = &after[N_WRITES];
	for (size_t bit = 0; bit < file->n * 8; bit += 3) {
		size_t at = bit / 8;
		file->p[at] = (char)(file->p[at] ^ 1 << bit % 8);
		if (at >= 24 && at < JOURNAL_HEADER_LEN) { /* the mark: only a hint */
			set_log_bytes(*state, file->p, file->n);
			struct store *s = open_ok(*state, NULL);
			assert_holds(s, N_WRITES);
			store_close(s);
		} else {
			assert_refused(*state, file, "store.log: ");
		}
		file->p[at] = (char)(file->p[at] ^ 1 << bit % 8);
	}
	free_history(after);
}

/* Even where the mark is missing, a record with something behind it was durable. */
static void damage_in_the_middle_is_an_error_without_the_mark_too(void **state)
{
	struct sbuf after[N_WRITES + 1];
	char part[64];

	record_history(*state, after);
	struct sbuf *file = &after[N_WRITES];
	memcpy(file->p, after[0].p, JOURNAL_HEADER_LEN);
	for (unsigned i = 0; i + 1 < N_WRITES; i++) {
		size_t at = after[i].n + JOURNAL_RECORD_LEN + 3;
		file->p[at] ^= 1;
		snprintf(part, sizeof(part), "store.log: damaged at offset %zu: ", after[i].n);
		assert_refused(*state, file, part);
		file->p[at] ^= 1;
	}
	free_history(after);
}

static void a_torn_tail_is_gone_for_good(void **state)
{
	struct sbuf after[N_WRITES + 1], torn = { 0 };
	bool was_torn;

	record_history(*state, after);
	sbuf_add(&torn, after[2].p, after[2].n);
	memset(sbuf_extend(&torn, 10000), 0xa5, 10000); /* much longer than what is written next */
	set_log_bytes(*state, torn.p, torn.n);
	for (unsigned n = 2; n < 5; n++) {
		struct store *s = open_ok(*state, &was_torn);
		assert_int_equal(was_torn, n == 2);
		assert_holds(s, n);
		append_n(s, n + 1, n + 1);
		store_close(s);
	}
	sbuf_fini(&torn);
	free_history(after);
}

/* ---- whole records in the wrong place ---- */

/* An empty file, then the records named by (history, number) pairs. */
static void assert_sequence_refused(const char *dir, struct sbuf *const history[], const int *numbers, const char *part)
{
	struct sbuf file = { 0 };

	sbuf_add(&file, history[0][0].p, history[0][0].n);
	for (size_t i = 0; numbers[i] > 0; i++) {
		const struct sbuf *h = &history[i][numbers[i]];
		size_t from = history[i][numbers[i] - 1].n;
		sbuf_add(&file, h->p + from, h->n - from);
	}
	assert_refused(dir, &file, part);
	sbuf_fini(&file);
}

static void entries_that_do_not_follow_are_refused(void **state)
{
	struct sbuf a[N_WRITES + 1], b[N_WRITES + 1];
	char *other = dir_new();

	record_history(*state, a);
	record_history(other, b); /* the same documents at other times: other hashes */
	assert_sequence_refused(*state, (struct sbuf *[]) { a, b }, (int[]) { 1, 2, 0 },
				"does not follow from the one before");
	assert_sequence_refused(*state, (struct sbuf *[]) { a, a }, (int[]) { 1, 3, 0 }, "is not the one that follows");
	assert_sequence_refused(*state, (struct sbuf *[]) { a }, (int[]) { 2, 0 }, "is not the one that follows");
	free_history(a);
	free_history(b);
	dir_free(other);
}

/* ---- a full disk ---- */

static void limit_file_size(rlim_t bytes)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_full_disk_at_any_byte_fails_the_write_and_nothing_else(void **state)
{
	struct store *s = open_ok(*state, NULL);

	append_n(s, 1, 2);
	size_t record = s->disk.journal.size;
	append_n(s, 3, 3);
	record = s->disk.journal.size - record;
	for (size_t room = 0; room < record; room++) {
		limit_file_size(s->disk.journal.size + room);
		int err = append(s, ENTRY_RUNTIME, "doc-4");
		limit_file_size(RLIM_INFINITY);
		assert_int_equal(err, -ENOSPC);
		assert_true(store_quorate(s));
		assert_holds(s, 3);
		struct sbuf b = log_bytes(*state);
		assert_int_equal(b.n, s->disk.journal.size);
		sbuf_fini(&b);
	}
	limit_file_size(s->disk.journal.size + 2 * record); /* the disk is tried first */
	assert_int_equal(append(s, ENTRY_RUNTIME, "doc-4"), 0);
	limit_file_size(RLIM_INFINITY);
	append_n(s, 5, 5);
	store_close(s);
	s = open_ok(*state, NULL);
	assert_holds(s, 5);
	store_close(s);
}

/* ---- kill -9 ---- */

/* Writes for ever and reports each position after the store did. Compacts whenever there is half to gain. */
static _Noreturn void writer(const char *dir, int report)
{
	char document[32];
	bool torn;
	struct store *s = open_ok(dir, &torn);

	for (;;) {
		struct store_write w = write_of(s->applied.position % 40 == 0 ? ENTRY_CONFIG : ENTRY_RUNTIME, "");
		snprintf(document, sizeof(document), "at-%llu", (unsigned long long)s->applied.position + 1);
		w.document = str_from(document);
		s->disk.compact_at = 0;
		if (store_append(s, &w, NULL) != 0 ||
		    write(report, &s->applied.position, sizeof(s->applied.position)) < 0)
			_exit(1);
	}
}

/* Reads n reports, kills, reads what is left; returns the last position reported. */
static uint64_t read_and_kill(pid_t pid, int from, unsigned n)
{
	uint64_t last = 0, position;
	int status;

	for (unsigned i = 0; read(from, &position, sizeof(position)) == (ssize_t)sizeof(position); i++) {
		last = position;
		if (i == n)
			kill(pid, SIGKILL);
	}
	close(from);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	return last;
}

static void everything_reported_survives_kill_9(void **state)
{
	uint64_t compacted = 0;

	for (int round = 0; round < 40; round++) {
		int pipe_fds[2];
		assert_int_equal(pipe(pipe_fds), 0);
		pid_t pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			writer(*state, pipe_fds[1]);
		close(pipe_fds[1]);
		uint64_t reported = read_and_kill(pid, pipe_fds[0], (unsigned)(random_u64() % 200));

		bool torn;
		char document[32];
		struct store *s = open_ok(*state, &torn);
		assert_true(s->applied.position >= reported && s->applied.position <= reported + 1);
		snprintf(document, sizeof(document), "at-%llu", (unsigned long long)s->applied.position);
		bool config = (s->applied.position - 1) % 40 == 0;
		assert_document(store_last(s, config ? ENTRY_CONFIG : ENTRY_RUNTIME), document);
		assert_int_equal(store_revision_number(s), (s->applied.position + 39) / 40);
		compacted += s->disk.journal.start > 0;
		store_close(s);
	}
	assert_true(compacted > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_crash_at_any_byte_of_a_write_loses_nothing_reported),
		TEST(a_write_with_holes_is_cut_off),
		TEST(losing_what_was_durable_is_an_error_with_its_offset),
		TEST(no_flipped_bit_is_ever_believed),
		TEST(damage_in_the_middle_is_an_error_without_the_mark_too),
		TEST(a_torn_tail_is_gone_for_good),
		TEST(entries_that_do_not_follow_are_refused),
		TEST(a_full_disk_at_any_byte_fails_the_write_and_nothing_else),
		TEST(everything_reported_survives_kill_9),
	};

	signal(SIGXFSZ, SIG_IGN);
	log_init(LOG_TARGET_STDERR, LOG_LEVEL_WARNING);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
