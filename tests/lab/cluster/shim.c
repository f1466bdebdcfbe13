/* SPDX-License-Identifier: Apache-2.0
 * A disk and a wall clock that can fail, put under a program by LD_PRELOAD.
 *
 * Below one file system (that of LAB_SHIM_ROOT) every change of a file or a name is written to a journal, and so is
 * every sync, so that a loss of power can be played afterwards: what no sync covered is taken away again (disk.py does
 * it). The hard thing is to be never too kind: a change counts as made before a sync only if it was over when the sync
 * began, and a sync only if it returned; so each operation is noted before it is made, and again when it is done. Syncs
 * can be slowed, and all can be made to hang; CLOCK_REALTIME can be set off. That is told by a page of shared memory,
 * so it changes while the program runs. What glibc writes by itself (stdio) does not pass here. A descriptor given to
 * fdopen() has its whole content noted when it is synced; anything else past the shim is found by disk.py, which
 * compares.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define STDIO_MAX 1024
#define POLL_NS 5000000

/* The page both sides see; disk.py writes it. */
struct control {
	_Atomic uint32_t sync_delay_ms, hang;
	_Atomic int64_t clock_offset_ns;
};

/* One record of the journal, its payload behind it. Little endian, as the machine is. */
struct record {
	uint32_t magic, n; /* bytes of payload */
	uint64_t id;       /* of the operation: D and E name the one that is over */
	uint64_t a, b;     /* inode and offset or size; directories of a rename */
	char type;
	char pad[7];
};
#define RECORD_MAGIC 0x1ab0d15cu

static struct control nothing, *control = &nothing;
static dev_t root_dev;
static int journal_fd = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t last_id;
static unsigned char is_stdio[STDIO_MAX];

/* The functions of the same name behind this library. */
#define REAL(ret, name, ...)                                                                                           \
	static ret (*real_##name)(__VA_ARGS__);                                                                        \
	static void find_##name(void)                                                                                  \
	{                                                                                                              \
		if (real_##name == NULL)                                                                               \
			*(void **)&real_##name = dlsym(RTLD_NEXT, #name);                                              \
	}
REAL(int, openat, int, const char *, int, ...)
REAL(ssize_t, write, int, const void *, size_t)
REAL(ssize_t, pwrite, int, const void *, size_t, off_t)
REAL(ssize_t, writev, int, const struct iovec *, int)
REAL(int, ftruncate, int, off_t)
REAL(int, fsync, int)
REAL(int, fdatasync, int)
REAL(int, renameat, int, const char *, int, const char *)
REAL(int, unlinkat, int, const char *, int)
REAL(int, mkdirat, int, const char *, mode_t)
REAL(int, linkat, int, const char *, int, const char *, int)
REAL(FILE *, fdopen, int, const char *)
REAL(int, clock_gettime, clockid_t, struct timespec *)
REAL(int, gettimeofday, struct timeval *, void *)

static void find_all(void)
{
	find_openat();
	find_write();
	find_pwrite();
	find_writev();
	find_ftruncate();
	find_fsync();
	find_fdatasync();
	find_renameat();
	find_unlinkat();
	find_mkdirat();
	find_linkat();
	find_fdopen();
	find_clock_gettime();
	find_gettimeofday();
}

__attribute__((constructor)) static void begin(void)
{
	const char *page = getenv("LAB_SHIM_CONTROL"), *journal = getenv("LAB_SHIM_JOURNAL"),
		   *root = getenv("LAB_SHIM_ROOT");
	struct stat st;

	find_all();
	if (page != NULL) {
		int fd = real_openat(AT_FDCWD, page, O_RDWR | O_CLOEXEC);
		void *p = fd < 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

		if (p == MAP_FAILED) {
			fprintf(stderr, "shim: %s: %s\n", page, strerror(errno));
			_exit(127);
		}
		close(fd);
		control = p;
	}
	if (journal == NULL || root == NULL || stat(root, &st) != 0)
		return;
	root_dev = st.st_dev;
	journal_fd = real_openat(AT_FDCWD, journal, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (journal_fd < 0) {
		fprintf(stderr, "shim: %s: %s\n", journal, strerror(errno));
		_exit(127);
	}
	last_id = (uint64_t)getpid() << 32;
}

/* ---- the journal ---- */

static void note(char type, uint64_t id, uint64_t a, uint64_t b, const struct iovec *v, int n_v)
{
	struct record r = { .magic = RECORD_MAGIC, .id = id, .a = a, .b = b, .type = type };
	struct iovec all[8] = { { &r, sizeof(r) } };
	size_t n = 0;

	for (int i = 0; i < n_v && i < 7; i++) {
		all[1 + i] = v[i];
		n += v[i].iov_len;
	}
	r.n = (uint32_t)n;
	/* One write to a file opened for appending: processes that share the journal do not mix their records. */
	if (real_writev(journal_fd, all, 1 + n_v) != (ssize_t)(sizeof(r) + n))
		abort();
}

static uint64_t note_begin(char type, uint64_t a, uint64_t b, const void *p, size_t n)
{
	struct iovec v = { (void *)(uintptr_t)p, n };

	note(type, ++last_id, a, b, &v, n > 0);
	return last_id;
}

static void note_done(uint64_t id, int64_t result)
{
	note('D', id, (uint64_t)result, 0, NULL, 0);
}

static bool is_ours(int fd, struct stat *st)
{
	int err = errno;
	bool ours = journal_fd >= 0 && fstat(fd, st) == 0 && st->st_dev == root_dev;

	errno = err;
	return ours;
}

static int64_t monotonic_ns(void)
{
	struct timespec t;

	find_clock_gettime();
	real_clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* The page is looked at again and again: when the disk is made fast, the syncs that wait are over. */
static void wait_while_slow(void)
{
	int64_t began = monotonic_ns();
	struct timespec t = { 0, POLL_NS };

	while (monotonic_ns() - began < (int64_t)atomic_load(&control->sync_delay_ms) * 1000000)
		nanosleep(&t, NULL);
}

static void wait_while_hung(void)
{
	struct timespec t = { 0, POLL_NS };

	while (atomic_load(&control->hang) != 0)
		nanosleep(&t, NULL);
}

/* ---- content ---- */

static ssize_t write_at(int fd, const void *p, size_t n, off_t at, bool moves)
{
	struct stat st;

	if (!is_ours(fd, &st) || !S_ISREG(st.st_mode))
		return moves ? real_write(fd, p, n) : real_pwrite(fd, p, n, at);
	wait_while_hung();
	pthread_mutex_lock(&lock);
	if (moves) {
		bool appends = (fcntl(fd, F_GETFL) & O_APPEND) != 0;

		fstat(fd, &st);
		at = appends ? st.st_size : lseek(fd, 0, SEEK_CUR);
	}
	uint64_t id = note_begin('W', st.st_ino, (uint64_t)at, p, n);
	ssize_t done = moves ? real_write(fd, p, n) : real_pwrite(fd, p, n, at);

	note_done(id, done < 0 ? 0 : done);
	pthread_mutex_unlock(&lock);
	return done;
}

ssize_t write(int fd, const void *p, size_t n)
{
	find_write();
	return write_at(fd, p, n, 0, true);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
	find_pwrite();
	return write_at(fd, p, n, at, false);
}

ssize_t pwrite64(int fd, const void *p, size_t n, off_t at)
{
	return pwrite(fd, p, n, at);
}

ssize_t writev(int fd, const struct iovec *v, int n_v)
{
	struct stat st;
	ssize_t total = 0;

	find_writev();
	if (!is_ours(fd, &st) || !S_ISREG(st.st_mode))
		return real_writev(fd, v, n_v);
	for (int i = 0; i < n_v; i++) {
		ssize_t n = write(fd, v[i].iov_base, v[i].iov_len);

		if (n < 0)
			return total > 0 ? total : n;
		total += n;
		if ((size_t)n < v[i].iov_len)
			break;
	}
	return total;
}

int ftruncate(int fd, off_t size)
{
	struct stat st;

	find_ftruncate();
	if (!is_ours(fd, &st))
		return real_ftruncate(fd, size);
	wait_while_hung();
	pthread_mutex_lock(&lock);
	uint64_t id = note_begin('T', st.st_ino, (uint64_t)size, NULL, 0);
	int rc = real_ftruncate(fd, size);

	note_done(id, rc == 0);
	pthread_mutex_unlock(&lock);
	return rc;
}

int ftruncate64(int fd, off_t size)
{
	return ftruncate(fd, size);
}

/* What stdio wrote is known from the file alone. */
static void note_whole(int fd, const struct stat *st)
{
	find_openat();

	size_t n = (size_t)st->st_size;
	char *p = malloc(n + 1), name[32];

	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd); /* it may be open for writing alone */
	int again = real_openat(AT_FDCWD, name, O_RDONLY | O_CLOEXEC);
	ssize_t got = p == NULL || again < 0 ? -1 : pread(again, p, n, 0);

	if (again >= 0)
		close(again);
	if (got >= 0)
		note_done(note_begin('F', st->st_ino, (uint64_t)got, p, (size_t)got), got);
	free(p);
}

static int sync_with(int (*real)(int), int fd)
{
	struct stat st;

	if (!is_ours(fd, &st))
		return real(fd);
	pthread_mutex_lock(&lock);
	if (fd < STDIO_MAX && is_stdio[fd] != 0 && fstat(fd, &st) == 0)
		note_whole(fd, &st);
	uint64_t id = note_begin('S', st.st_ino, 0, NULL, 0);

	pthread_mutex_unlock(&lock);
	wait_while_hung();
	wait_while_slow();
	int rc = real(fd);

	pthread_mutex_lock(&lock);
	if (rc == 0)
		note('E', id, st.st_ino, 0, NULL, 0);
	pthread_mutex_unlock(&lock);
	return rc;
}

int fsync(int fd)
{
	find_fsync();
	return sync_with(real_fsync, fd);
}

int fdatasync(int fd)
{
	find_fdatasync();
	return sync_with(real_fdatasync, fd);
}

FILE *fdopen(int fd, const char *mode)
{
	struct stat st;

	find_fdopen();
	if (fd >= 0 && fd < STDIO_MAX)
		is_stdio[fd] = is_ours(fd, &st);
	return real_fdopen(fd, mode);
}

/* ---- names ---- */

/* The directory a path is in and its last part. False = not on our file system. */
static bool split(int at, const char *path, uint64_t *ret_dir, const char **ret_name)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(path, '/');
	struct stat st;
	int err = errno;

	snprintf(dir, sizeof(dir), "%.*s",
		 slash == NULL   ? 1
		 : slash == path ? 1
				 : (int)(slash - path),
		 slash == NULL ? "." : path);
	bool ours = journal_fd >= 0 && fstatat(at, dir, &st, 0) == 0 && st.st_dev == root_dev;

	*ret_dir = st.st_ino;
	*ret_name = slash == NULL ? path : slash + 1;
	errno = err;
	return ours;
}

static uint64_t inode_at(int at, const char *path)
{
	struct stat st;
	int err = errno;
	uint64_t ino = fstatat(at, path, &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_ino : 0;

	errno = err;
	return ino;
}

static int open_at(int at, const char *path, int flags, mode_t mode)
{
	uint64_t dir, id = 0;
	const char *name;

	find_openat();
	if ((flags & (O_CREAT | O_TRUNC)) == 0 || (flags & O_TMPFILE) == O_TMPFILE || !split(at, path, &dir, &name)) {
		int fd = real_openat(at, path, flags, mode);

		if (fd >= 0 && fd < STDIO_MAX)
			is_stdio[fd] = 0;
		return fd;
	}
	wait_while_hung();
	pthread_mutex_lock(&lock);
	uint64_t ino = inode_at(at, path);

	if (ino == 0)
		id = note_begin('C', dir, 0, name, strlen(name));
	else if ((flags & O_TRUNC) != 0)
		id = note_begin('T', ino, 0, NULL, 0);
	int fd = real_openat(at, path, flags, mode);

	if (id != 0)
		note_done(id, fd < 0 ? 0 : ino == 0 ? (int64_t)inode_at(at, path) : 1);
	pthread_mutex_unlock(&lock);
	if (fd >= 0 && fd < STDIO_MAX)
		is_stdio[fd] = 0;
	return fd;
}

static mode_t mode_of(int flags, va_list ap)
{
	return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(ap, mode_t) : 0;
}

#define OPENS(name)                                                                                                    \
	int name(const char *path, int flags, ...)                                                                     \
	{                                                                                                              \
		va_list ap;                                                                                            \
		va_start(ap, flags);                                                                                   \
		mode_t mode = mode_of(flags, ap);                                                                      \
		va_end(ap);                                                                                            \
		return open_at(AT_FDCWD, path, flags, mode);                                                           \
	}
#define OPENS_AT(name)                                                                                                 \
	int name(int at, const char *path, int flags, ...)                                                             \
	{                                                                                                              \
		va_list ap;                                                                                            \
		va_start(ap, flags);                                                                                   \
		mode_t mode = mode_of(flags, ap);                                                                      \
		va_end(ap);                                                                                            \
		return open_at(at, path, flags, mode);                                                                 \
	}
OPENS(open)
OPENS(open64)
OPENS_AT(openat)
OPENS_AT(openat64)

int creat(const char *path, mode_t mode)
{
	return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int renameat(int from_at, const char *from, int to_at, const char *to)
{
	uint64_t from_dir, to_dir;
	const char *from_name, *to_name;

	find_renameat();
	if (!split(from_at, from, &from_dir, &from_name) || !split(to_at, to, &to_dir, &to_name))
		return real_renameat(from_at, from, to_at, to);
	wait_while_hung();
	pthread_mutex_lock(&lock);
	struct iovec v[] = { { (void *)(uintptr_t)from_name, strlen(from_name) + 1 },
			     { (void *)(uintptr_t)to_name, strlen(to_name) } };
	uint64_t id = ++last_id;

	note('R', id, from_dir, to_dir, v, 2);
	int rc = real_renameat(from_at, from, to_at, to);

	note_done(id, rc == 0);
	pthread_mutex_unlock(&lock);
	return rc;
}

int rename(const char *from, const char *to)
{
	return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int unlinkat(int at, const char *path, int flags)
{
	uint64_t dir;
	const char *name;

	find_unlinkat();
	if (!split(at, path, &dir, &name))
		return real_unlinkat(at, path, flags);
	wait_while_hung();
	pthread_mutex_lock(&lock);
	uint64_t id = note_begin('U', dir, 0, name, strlen(name));
	int rc = real_unlinkat(at, path, flags);

	note_done(id, rc == 0);
	pthread_mutex_unlock(&lock);
	return rc;
}

int unlink(const char *path)
{
	return unlinkat(AT_FDCWD, path, 0);
}

int rmdir(const char *path)
{
	return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int mkdirat(int at, const char *path, mode_t mode)
{
	uint64_t dir;
	const char *name;

	find_mkdirat();
	if (!split(at, path, &dir, &name))
		return real_mkdirat(at, path, mode);
	pthread_mutex_lock(&lock);
	uint64_t id = note_begin('M', dir, mode, name, strlen(name));
	int rc = real_mkdirat(at, path, mode);

	note_done(id, rc == 0 ? (int64_t)inode_at(at, path) : 0);
	pthread_mutex_unlock(&lock);
	return rc;
}

int mkdir(const char *path, mode_t mode)
{
	return mkdirat(AT_FDCWD, path, mode);
}

int linkat(int from_at, const char *from, int to_at, const char *to, int flags)
{
	uint64_t dir;
	const char *name;

	find_linkat();
	if (!split(to_at, to, &dir, &name))
		return real_linkat(from_at, from, to_at, to, flags);
	pthread_mutex_lock(&lock);
	uint64_t id = note_begin('C', dir, 0, name, strlen(name));
	int rc = real_linkat(from_at, from, to_at, to, flags);

	note_done(id, rc == 0 ? (int64_t)inode_at(to_at, to) : 0);
	pthread_mutex_unlock(&lock);
	return rc;
}

int link(const char *from, const char *to)
{
	return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

/* ---- the wall clock ---- */

static void add(struct timespec *t)
{
	int64_t ns = (int64_t)t->tv_sec * 1000000000 + t->tv_nsec + atomic_load(&control->clock_offset_ns);

	t->tv_sec = ns / 1000000000;
	t->tv_nsec = ns % 1000000000;
}

int clock_gettime(clockid_t id, struct timespec *ret)
{
	find_clock_gettime();
	int rc = real_clock_gettime(id, ret);

	if (rc == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
		add(ret);
	return rc;
}

int gettimeofday(struct timeval *restrict ret, void *restrict zone)
{
	struct timespec t;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &t);
	*ret = (struct timeval) { t.tv_sec, t.tv_nsec / 1000 };
	return 0;
}

time_t time(time_t *ret)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	if (ret != NULL)
		*ret = t.tv_sec;
	return t.tv_sec;
}
