/* SPDX-License-Identifier: Apache-2.0
 * What the tests of the store share: a directory in memory, files as bytes, short ways to write and to compare.
 */
#ifndef POSTROAD_TESTS_STORE_FIXTURE_H
#define POSTROAD_TESTS_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cluster/store.h"
#include "cluster/store/store_private.h"

#define ANY_POSITION UINT64_MAX

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

/* Memory where there is any: the tests open and sync thousands of times. */
static inline char *dir_new(void)
{
	char *dir = xasprintf("%s/postroad-store-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");

	assert_non_null(mkdtemp(dir));
	return dir;
}

static inline char *path_in(const char *dir, const char *name)
{
	return xasprintf("%s/%s", dir, name);
}

static inline void dir_free(char *dir)
{
	static const char *const names[] = { "store.log",        "store.log.new", "store.lock",
					     "store.log.before", "identity",      "identity.new" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char *path = path_in(dir, names[i]);
		if (unlink(path) != 0)
			rmdir(path);
		free(path);
	}
	assert_int_equal(rmdir(dir), 0);
	free(dir);
}

static inline int setup(void **state)
{
	*state = dir_new();
	return 0;
}

static inline int teardown(void **state)
{
	dir_free(*state);
	return 0;
}

/* The journal as it stands on disk; sbuf_fini() by the caller. */
static inline struct sbuf log_bytes(const char *dir)
{
	char *path = path_in(dir, "store.log");
	struct sbuf b = { 0 };
	struct stat st;
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	assert_int_equal(read(fd, sbuf_extend(&b, (size_t)st.st_size), (size_t)st.st_size), st.st_size);
	close(fd);
	free(path);
	return b;
}

static inline void set_log_bytes(const char *dir, const void *p, size_t n)
{
	char *path = path_in(dir, "store.log");
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, p, n), n);
	close(fd);
	free(path);
}

enum { WAIT_MS = 20000 };

/* Opened, not started. */
static inline struct store *open_only(const char *dir, bool *ret_torn)
{
	char *why, *warning;
	struct store *s = store_open(dir, "n1", &why, &warning);

	if (s == NULL)
		print_error("%s\n", why);
	assert_non_null(s);
	assert_null(why);
	if (ret_torn == NULL && warning != NULL)
		fail_msg("%s", warning);
	if (ret_torn != NULL)
		*ret_torn = warning != NULL;
	free(warning);
	return s;
}

/* Opens what must open. *ret_torn says whether a tail was cut; NULL = none may be. */
static inline struct store *open_ok(const char *dir, bool *ret_torn)
{
	struct store *s = open_only(dir, ret_torn);

	assert_int_equal(store_start(s), 0);
	assert_true(store_wait(s, WAIT_MS));
	assert_int_equal(store_state(s), CORE_ACTIVE);
	return s;
}

/* Opens what must not open; the reason must name the file. */
static inline char *open_fails(const char *dir)
{
	char *why, *warning;
	struct store *s = store_open(dir, "n1", &why, &warning);

	assert_null(s);
	assert_null(warning);
	assert_non_null(why);
	assert_non_null(strstr(why, dir));
	return why;
}

static inline struct store_write write_of(enum entry_kind kind, const char *document)
{
	return (struct store_write) { .kind = kind,
				      .author = "ops",
				      .comment = "test",
				      .document = str_from(document),
				      .expect_position = ANY_POSITION };
}

struct outcome {
	unsigned times;
	struct store_result result;
};

static inline void on_outcome(const struct store_result *r, void *arg)
{
	struct outcome *o = arg;

	o->times++;
	o->result = *r;
	o->result.entry = NULL;
}

static inline int error_of(const struct store_result *r)
{
	switch (r->result) {
	case CORE_COMMITTED:
		return 0;
	case CORE_STALE:
		return -ESTALE;
	case CORE_DUPLICATE:
		return -EEXIST;
	case CORE_NO_QUORUM:
		return -ENOTCONN;
	case CORE_UNKNOWN:
		return -ETIMEDOUT;
	default:
		return r->error;
	}
}

/* Proposes and waits for the one answer. */
static inline int store_append(struct store *s, const struct store_write *w, const struct entry **ret_entry)
{
	struct outcome o = { 0 };
	int err = store_propose(s, w, on_outcome, &o);

	if (err != 0)
		return err;
	assert_int_equal(o.times, 0); /* never from within the call */
	assert_true(store_wait(s, WAIT_MS));
	assert_int_equal(o.times, 1);
	if (ret_entry != NULL)
		*ret_entry = store_last(s, w->kind);
	return error_of(&o.result);
}

/* Compaction comes with a write: here with those that a new view makes. */
static inline int compact(struct store *s)
{
	s->compact_now = true;
	group_view_of_self(s);
	assert_true(store_wait(s, WAIT_MS));
	s->compact_now = false;
	return s->disk_error;
}

static inline int append(struct store *s, enum entry_kind kind, const char *document)
{
	struct store_write w = write_of(kind, document);

	return store_append(s, &w, NULL);
}

/* "doc-1", "doc-2" …: what append_n() writes, configuration and run-time state by turns. */
static inline void append_n(struct store *s, unsigned from, unsigned to)
{
	char document[32];

	for (unsigned i = from; i <= to; i++) {
		snprintf(document, sizeof(document), "doc-%u", i);
		assert_int_equal(append(s, i % 2 == 1 ? ENTRY_CONFIG : ENTRY_RUNTIME, document), 0);
	}
}

static inline void assert_document(const struct entry *e, const char *want)
{
	assert_non_null(e);
	assert_int_equal(e->document.n, strlen(want));
	assert_memory_equal(e->document.p, want, e->document.n);
}

/* The store holds exactly the first n writes of append_n(). */
static inline void assert_holds(struct store *s, unsigned n)
{
	char document[32];

	assert_int_equal(s->applied.position, n);
	assert_int_equal(store_revision_number(s), (n + 1) / 2);
	for (unsigned i = n; i > 0 && i + 2 > n; i--) {
		snprintf(document, sizeof(document), "doc-%u", i);
		assert_document(store_last(s, i % 2 == 1 ? ENTRY_CONFIG : ENTRY_RUNTIME), document);
	}
	for (unsigned revision = 1; revision <= (n + 1) / 2; revision++) {
		snprintf(document, sizeof(document), "doc-%u", 2 * revision - 1);
		assert_document(store_revision(s, revision), document);
	}
}

#endif
