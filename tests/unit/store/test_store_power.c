/* SPDX-License-Identifier: Apache-2.0
 * Loss of power: after it the disk holds what was synced, and any part of what was not.
 *
 * kill -9 cannot show this, for the page cache survives. So the calls that change the disk are recorded here (the
 * program's own definitions take the place of the C library's), and the disk is rebuilt as it may be found after each
 * of them: with any choice of the writes since the last sync, whole or half, and with the new name or the old one.
 */
#include "tests/unit/store/store_fixture.h"

#include <sys/syscall.h>

#include "daemon/base/log.h"

enum op_kind { OP_WRITE, OP_SYNC, OP_RENAME, OP_SYNC_DIR, OP_REPORTED };

struct op {
	enum op_kind kind;
	ino_t ino;
	uint64_t offset; /* of a write; the position for OP_REPORTED */
	struct sbuf data;
};

enum { OPS_MAX = 2000, FILES_MAX = 50, PENDING_MAX = 500 };

static struct op ops[OPS_MAX];
static size_t n_ops;
static bool recording;
static unsigned fail_dir_syncs; /* so many of the next ones */
static bool fail_syncs;

static struct op *record(enum op_kind kind, int fd)
{
	struct stat st = { 0 };

	assert_true(n_ops < OPS_MAX);
	if (fd >= 0)
		assert_int_equal(fstat(fd, &st), 0);
	ops[n_ops] = (struct op) { .kind = kind, .ino = st.st_ino };
	if (kind == OP_SYNC && S_ISDIR(st.st_mode))
		ops[n_ops].kind = OP_SYNC_DIR;
	return &ops[n_ops++];
}

/* ---- in place of the C library's ---- */

ssize_t pwrite(int fd, const void *p, size_t n, off_t offset)
{
	ssize_t done = syscall(SYS_pwrite64, fd, p, n, offset);

	if (recording && done > 0) {
		struct op *op = record(OP_WRITE, fd);
		op->offset = (uint64_t)offset;
		sbuf_add(&op->data, p, (size_t)done);
	}
	return done;
}

int fdatasync(int fd)
{
	if (recording)
		record(OP_SYNC, fd);
	int done = (int)syscall(SYS_fdatasync, fd);
	if (!fail_syncs)
		return done;
	errno = EIO;
	return -1;
}

int ftruncate(int fd, off_t size)
{
	if (!fail_syncs)
		return (int)syscall(SYS_ftruncate, fd, size);
	errno = EIO;
	return -1;
}

int fsync(int fd)
{
	struct stat st = { 0 };

	if (recording)
		record(OP_SYNC, fd);
	if (fail_dir_syncs > 0 && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
		fail_dir_syncs--;
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_fsync, fd);
}

int rename(const char *from, const char *to)
{
	if (recording) {
		int fd = open(from, O_RDONLY);
		record(OP_RENAME, fd);
		close(fd);
	}
	return (int)syscall(SYS_rename, from, to);
}

/* ---- the disk ---- */

struct file {
	ino_t ino;
	struct sbuf durable;
	const struct op *pending[PENDING_MAX];
	size_t n_pending;
};

struct platter {
	struct file files[FILES_MAX];
	size_t n_files;
	struct file *synced_name, *name; /* what store.log is after a loss of power at the earliest, and now */
	uint64_t reported;
};

static void apply(struct sbuf *content, const struct op *op, size_t n)
{
	if (op->offset + n > content->n) {
		size_t more = (size_t)op->offset + n - content->n;
		memset(sbuf_extend(content, more), 0, more);
	}
	memcpy(content->p + op->offset, op->data.p, n);
}

/* Numbers of inodes are used again; a write at the beginning of the file starts a new one. */
static struct file *file_of(struct platter *d, const struct op *op)
{
	for (size_t i = d->n_files; i > 0 && !(op->kind == OP_WRITE && op->offset == 0); i--)
		if (d->files[i - 1].ino == op->ino)
			return &d->files[i - 1];
	assert_true(d->n_files < FILES_MAX);
	d->files[d->n_files].ino = op->ino;
	return &d->files[d->n_files++];
}

static void play(struct platter *d, const struct op *op)
{
	struct file *f;

	switch (op->kind) {
	case OP_WRITE:
		f = file_of(d, op);
		assert_true(f->n_pending < PENDING_MAX);
		f->pending[f->n_pending++] = op;
		break;
	case OP_SYNC:
		f = file_of(d, op);
		for (size_t i = 0; i < f->n_pending; i++)
			apply(&f->durable, f->pending[i], f->pending[i]->data.n);
		f->n_pending = 0;
		break;
	case OP_RENAME:
		d->name = file_of(d, op);
		break;
	case OP_SYNC_DIR:
		d->synced_name = d->name;
		break;
	case OP_REPORTED:
		d->reported = op->offset;
		break;
	}
}

/* ---- what is found afterwards ---- */

static size_t n_found;

static void assert_found(const char *dir, const struct platter *d, const struct sbuf *content)
{
	bool torn;

	set_log_bytes(dir, content->p, content->n);
	struct store *s = open_ok(dir, &torn);
	assert_true(s->applied.position == d->reported || s->applied.position == d->reported + 1);
	assert_holds(s, (unsigned)s->applied.position);
	store_close(s);
	n_found++;
}

/* Each pending write is there or not as the bits of `choice` say; `half` of them is there only to its middle. */
static void lose_power(const char *dir, const struct platter *d, const struct file *f, uint64_t choice, size_t half)
{
	struct sbuf content = { 0 };

	sbuf_add(&content, f->durable.p, f->durable.n);
	for (size_t i = 0; i < f->n_pending; i++) {
		size_t n = f->pending[i]->data.n;
		if (choice >> (i % 64) & 1)
			apply(&content, f->pending[i], i == half ? n / 2 : n);
	}
	assert_found(dir, d, &content);
	sbuf_fini(&content);
}

static void lose_power_in_every_way(const char *dir, const struct platter *d, const struct file *f)
{
	if (f == NULL) {
		assert_int_equal(d->reported, 0); /* no file yet: an empty store */
		return;
	}
	size_t n = f->n_pending;
	if (n > 8) { /* a new file under the old name before it was synced: each of these would be wrong already */
		lose_power(dir, d, f, 0, SIZE_MAX);
		lose_power(dir, d, f, UINT64_MAX - 1, SIZE_MAX);
		return;
	}
	for (uint64_t choice = 0; choice < 1u << n; choice++) {
		lose_power(dir, d, f, choice, SIZE_MAX);
		for (size_t half = 0; half < n; half++)
			if (choice >> half & 1)
				lose_power(dir, d, f, choice, half);
	}
}

/* What store_append() is asked to do; a compaction between the writes where the round says so. */
static void run_scenario(const char *dir)
{
	recording = true;
	struct store *s = open_ok(dir, NULL);
	for (unsigned i = 1; i <= 12; i++) {
		append_n(s, i, i);
		record(OP_REPORTED, -1)->offset = i;
		if (i % 5 == 0)
			assert_int_equal(compact(s), 0);
		if (i == 8) {
			store_close(s);
			s = open_ok(dir, NULL);
		}
	}
	store_close(s);
	recording = false;
}

static void nothing_reported_is_lost_with_the_power(void **state)
{
	struct platter *d = xcalloc(1, sizeof(*d));
	char *after = dir_new();

	run_scenario(*state);
	assert_true(n_ops > 60);
	for (size_t i = 0; i < n_ops; i++) {
		play(d, &ops[i]);
		lose_power_in_every_way(after, d, d->synced_name);
		if (d->name != d->synced_name)
			lose_power_in_every_way(after, d, d->name);
	}
	assert_int_equal(d->reported, 12);
	assert_true(n_found > n_ops);
	for (size_t i = 0; i < n_ops; i++)
		sbuf_fini(&ops[i].data);
	for (size_t i = 0; i < d->n_files; i++)
		sbuf_fini(&d->files[i].durable);
	n_ops = 0;
	free(d);
	dir_free(after);
}

/* A record that was found at open, though never synced by its writer, must have been synced before it is shown. */
static void what_an_open_has_shown_is_durable(void **state)
{
	struct store *s = open_ok(*state, NULL);

	append_n(s, 1, 3);
	store_close(s);
	recording = true;
	s = open_ok(*state, NULL);
	recording = false;
	assert_holds(s, 3);
	bool file_synced = false, dir_synced = false;
	for (size_t i = 0; i < n_ops; i++) {
		file_synced |= ops[i].kind == OP_SYNC;
		dir_synced |= ops[i].kind == OP_SYNC_DIR;
		sbuf_fini(&ops[i].data);
	}
	assert_true(file_synced && dir_synced);
	n_ops = 0;
	store_close(s);
}

/* ---- a new life that may be there or not ---- */

/* The directory cannot be synced: whose log the next start believes in must be whose log was written. */
static void a_failed_change_of_life_loses_nothing_answered_later(void **state)
{
	for (unsigned fails = 1; fails <= 2; fails++) {
		char *dir = dir_new();
		struct store *s = open_ok(dir, NULL);
		uint64_t instance = store_identity(s).instance;

		append_n(s, 1, 3);
		fail_dir_syncs = fails;
		assert_int_equal(store_join(s, 2, 77, 0), -EIO);
		assert_int_equal(fail_dir_syncs, 0);
		assert_int_equal(store_identity(s).instance, instance);
		bool written = append(s, ENTRY_RUNTIME, "doc-4") == 0;
		assert_int_equal(written, fails == 1); /* put back, or no more writes */
		assert_int_equal(store_quorate(s), written);
		store_close(s);
		s = open_only(dir, NULL);
		if (written)
			assert_holds(s, 4);
		store_close(s);
		dir_free(dir);
	}
	UNUSED(state);
}

/* ---- a sync that fails ---- */

static struct store_operation operation(struct store *s)
{
	return store_operation_find(s, "once");
}

/* It is on the disk all the same: so it must not have been said that it is not. */
static void a_write_whose_sync_failed_is_unknown_until_the_next_start(void **state)
{
	struct store *s = open_ok(*state, NULL);
	struct store_write w = write_of(ENTRY_CONFIG, "doc-3");
	struct outcome o = { 0 };

	append_n(s, 1, 2);
	w.operation = "once";
	fail_syncs = true;
	assert_int_equal(store_propose(s, &w, on_outcome, &o), 0);
	assert_true(store_wait(s, WAIT_MS));
	assert_true(o.times == 1 && o.result.result == CORE_UNKNOWN && o.result.error == -EIO);
	assert_int_equal(operation(s).state, OPERATION_UNKNOWN);
	fail_syncs = false;
	assert_int_equal(append(s, ENTRY_RUNTIME, "later"), -EIO); /* the disk is done with */
	assert_false(store_quorate(s));
	store_close(s);
	s = open_ok(*state, NULL);
	assert_holds(s, 3);
	assert_true(operation(s).state == OPERATION_COMMITTED && operation(s).position == 3);
	store_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing_reported_is_lost_with_the_power),
		TEST(what_an_open_has_shown_is_durable),
		TEST(a_failed_change_of_life_loses_nothing_answered_later),
		TEST(a_write_whose_sync_failed_is_unknown_until_the_next_start),
	};

	log_init(LOG_TARGET_STDERR, LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
