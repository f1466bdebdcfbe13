/* SPDX-License-Identifier: Apache-2.0
 * The file under the store.
 *
 * The hard thing is to tell a torn tail, which a crash leaves and which is cut off, from damage to something that was
 * already reported, which must never be cut off silently. So the header holds a mark: all before it was durable. It is
 * written after each fdatasync and reaches the disk with the next one at the latest; being behind is harmless.
 *
 *	header:  0 "POSTROAD", 8 format u32, 12 CRC32C u32 of the rest up to 24, 16 start u64,
 *	        24 mark u64, 32 CRC32C u32 of the mark, 36 zero u32
 *	record:  0 type u32, 4 length u32, 8 CRC32C u32 of the payload, 12 CRC32C u32 of these 12 bytes, 16 payload
 *
 * All numbers are little-endian. Format 2 knows more types of records than 1; the file is the same. A database library
 *was left out: the format is a page long, and what a full disk or a failed fdatasync does has to be known here, not
 *guessed.
 */
#include "cluster/journal/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cluster/core/le.h"

enum {
	FORMAT_OLDEST = 1,
	FORMAT = 2,
	OFF_FORMAT = 8,
	OFF_CRC = 12,
	OFF_START = 16,
	OFF_MARK = 24,
	OFF_MARK_CRC = 32,
	OFF_ZERO = 36
};
enum { REC_TYPE = 0, REC_LENGTH = 4, REC_CRC = 8, REC_HEAD_CRC = 12 };

_Static_assert(OFF_ZERO + 4 == JOURNAL_HEADER_LEN, "the header's fields fill it");
_Static_assert(REC_HEAD_CRC + 4 == JOURNAL_RECORD_LEN, "the record's fields fill it");

static const uint8_t magic[8] = { 'P', 'O', 'S', 'T', 'R', 'O', 'A', 'D' };

/* ---- checksums ---- */

/* CRC32C (Castagnoli, RFC 3720 B.4), four bits at a time: documents are small and written seldom. */
static uint32_t crc32c(uint32_t crc, const void *bytes, size_t n)
{
	static const uint32_t table[16] = { 0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
					    0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
					    0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75 };
	const uint8_t *p = bytes;

	crc = ~crc;
	for (size_t i = 0; i < n; i++) {
		crc ^= p[i];
		crc = crc >> 4 ^ table[crc & 15];
		crc = crc >> 4 ^ table[crc & 15];
	}
	return ~crc;
}

static uint32_t header_crc(const uint8_t h[JOURNAL_HEADER_LEN])
{
	return crc32c(crc32c(0, h, OFF_CRC), h + OFF_START, OFF_MARK - OFF_START);
}

static void put_mark(uint8_t p[JOURNAL_HEADER_LEN - OFF_MARK], uint64_t mark)
{
	le_put(p, mark, 8);
	le_put(p + 8, crc32c(0, p, 8), 4);
	le_put(p + 12, 0, 4);
}

/* ---- the file ---- */

/* A quota or a limit on the file's size is a full disk to whoever asked for the write. */
static int write_error(void)
{
	return errno == EFBIG ? -ENOSPC : -errno;
}

static int write_at(int fd, const void *bytes, size_t n, uint64_t offset)
{
	const char *p = bytes;

	while (n > 0) {
		ssize_t done = pwrite(fd, p, n, (off_t)offset);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return write_error();
		if (done == 0)
			return -EIO;
		p += done;
		offset += (uint64_t)done;
		n -= (size_t)done;
	}
	return 0;
}

int journal_bytes(int fd, void *bytes, size_t n, uint64_t offset)
{
	char *p = bytes;

	while (n > 0) {
		ssize_t got = pread(fd, p, n, (off_t)offset);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -EIO;
		p += got;
		offset += (uint64_t)got;
		n -= (size_t)got;
	}
	return 0;
}

static int write_record(struct journal *j, uint32_t type, struct str payload)
{
	uint8_t head[JOURNAL_RECORD_LEN];

	if (payload.n > JOURNAL_PAYLOAD_MAX)
		return -EMSGSIZE;
	le_put(head + REC_TYPE, type, 4);
	le_put(head + REC_LENGTH, payload.n, 4);
	le_put(head + REC_CRC, crc32c(0, payload.p, payload.n), 4);
	le_put(head + REC_HEAD_CRC, crc32c(0, head, REC_HEAD_CRC), 4);
	int err = write_at(j->fd, head, sizeof(head), j->size);
	return err != 0 ? err : write_at(j->fd, payload.p, payload.n, j->size + sizeof(head));
}

/* Not synced here: see the top. A mark that cannot be written stays behind, which is harmless. */
static void write_mark(struct journal *j)
{
	uint8_t p[JOURNAL_HEADER_LEN - OFF_MARK];

	put_mark(p, j->size);
	if (write_at(j->fd, p, sizeof(p), OFF_MARK) == 0)
		j->mark = j->size;
}

/* Takes back what a failed append wrote. If even that fails nobody knows what the next open will find. The same holds
 * where syncing failed for another reason than a full disk: the kernel reports that once, drops the pages, and calls
 * the next attempt a success. */
static void cut_back(struct journal *j, int err)
{
	if (ftruncate(j->fd, (off_t)j->size) != 0 || fdatasync(j->fd) != 0)
		j->broken = -EIO;
	if (err != -ENOSPC && err != -EDQUOT && err != -EMSGSIZE)
		j->broken = -EIO;
}

int journal_append(struct journal *j, uint32_t type, struct str payload, uint64_t *ret_offset)
{
	if (j->broken != 0)
		return j->broken;
	int err = write_record(j, type, payload);
	if (err == 0 && fdatasync(j->fd) != 0)
		err = write_error();
	if (err != 0) {
		cut_back(j, err);
		return err;
	}
	*ret_offset = j->size;
	j->size += JOURNAL_RECORD_LEN + payload.n;
	write_mark(j);
	return 0;
}

/* ---- opening ---- */

static int read_header(struct journal *j, char **ret_why)
{
	uint8_t h[JOURNAL_HEADER_LEN];

	if (journal_bytes(j->fd, h, sizeof(h), 0) != 0 || memcmp(h, magic, sizeof(magic)) != 0) {
		*ret_why = xasprintf("%s: not a store of Postroad", j->path);
		return -EBADMSG;
	}
	j->format = (uint32_t)le_get(h + OFF_FORMAT, 4);
	if (j->format < FORMAT_OLDEST || j->format > FORMAT) {
		*ret_why = xasprintf("%s: format %u, this version knows %d to %d", j->path, j->format, FORMAT_OLDEST,
				     FORMAT);
		return -EPROTONOSUPPORT;
	}
	if (le_get(h + OFF_CRC, 4) != header_crc(h)) {
		*ret_why = xasprintf("%s: damaged at offset 0: the header's checksum is wrong", j->path);
		return -EBADMSG;
	}
	j->start = le_get(h + OFF_START, 8);
	/* A damaged mark is only a missing mark. */
	bool good = le_get(h + OFF_MARK_CRC, 4) == crc32c(0, h + OFF_MARK, 8);
	j->mark = good ? le_get(h + OFF_MARK, 8) : JOURNAL_HEADER_LEN;
	return 0;
}

int journal_open(struct journal *j, int dir_fd, const char *path, char **ret_why)
{
	*j = (struct journal) { .dir_fd = dir_fd, .size = JOURNAL_HEADER_LEN };
	j->fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (j->fd < 0 && errno == ENOENT)
		return -ENOENT;
	if (j->fd < 0) {
		int err = -errno;
		*ret_why = xasprintf("%s: %s", path, strerror(-err));
		return err;
	}
	j->path = xstrdup(path);
	int err = read_header(j, ret_why);
	if (err != 0)
		journal_close(j);
	return err;
}

void journal_close(struct journal *j)
{
	/* An orderly end leaves a mark that covers everything. */
	if (j->fd >= 0 && j->broken == 0 && j->mark == j->size)
		fdatasync(j->fd);
	if (j->fd >= 0)
		close(j->fd);
	j->fd = -1;
	free(j->path);
	j->path = NULL;
}

enum found { FOUND_RECORD, FOUND_END, FOUND_TAIL, FOUND_DAMAGE };

struct found_record {
	uint32_t type;
	const char *what; /* of a tail or of damage */
	uint64_t file_size;
};

/* Looks at what stands at j->size; a record's payload replaces *out. */
static enum found look(const struct journal *j, struct sbuf *out, struct found_record *r)
{
	uint8_t head[JOURNAL_RECORD_LEN];
	uint64_t left = r->file_size - j->size;

	/* Reading fails for its own reasons (EIO) too: that is never a tail to be cut. */
	r->what = "it cannot be read";
	if (left == 0)
		return FOUND_END;
	if (left >= sizeof(head) && journal_bytes(j->fd, head, sizeof(head), j->size) != 0)
		return FOUND_DAMAGE;
	r->what = "the record is incomplete";
	if (left < sizeof(head))
		return FOUND_TAIL;
	r->what = "the record's head has a wrong checksum";
	if (le_get(head + REC_HEAD_CRC, 4) != crc32c(0, head, REC_HEAD_CRC))
		return FOUND_TAIL;
	uint64_t n = le_get(head + REC_LENGTH, 4);
	r->type = (uint32_t)le_get(head + REC_TYPE, 4);
	r->what = "the record is longer than any can be";
	if (n > JOURNAL_PAYLOAD_MAX)
		return FOUND_DAMAGE;
	r->what = "the record is incomplete";
	if (left - sizeof(head) < n)
		return FOUND_TAIL;
	sbuf_reset(out);
	r->what = "it cannot be read";
	if (journal_bytes(j->fd, sbuf_extend(out, n), n, j->size + sizeof(head)) != 0)
		return FOUND_DAMAGE;
	r->what = "the record's checksum is wrong";
	if (crc32c(0, out->p, n) == le_get(head + REC_CRC, 4))
		return FOUND_RECORD;
	/* Only one record is ever under way: what has something behind it was durable. */
	return left - sizeof(head) > n ? FOUND_DAMAGE : FOUND_TAIL;
}

static int damaged(const struct journal *j, const char *what, char **ret_why)
{
	*ret_why = xasprintf("%s: damaged at offset %llu: %s", j->path, (unsigned long long)j->size, what);
	return -EBADMSG;
}

static int cut_tail(struct journal *j, const struct found_record *r, char **ret_why, char **ret_warning)
{
	if (ftruncate(j->fd, (off_t)j->size) != 0 || fdatasync(j->fd) != 0) {
		int err = -errno;
		*ret_why = xasprintf("%s: cannot cut off the torn end: %s", j->path, strerror(-err));
		return err;
	}
	*ret_warning =
		xasprintf("%s: cut off %llu bytes at offset %llu of a write that was never reported: %s", j->path,
			  (unsigned long long)(r->file_size - j->size), (unsigned long long)j->size, r->what);
	return 0;
}

/* After a kill the last record, or the file's very name, may be in the page cache alone. What an open has found and
 * somebody acts on must not go with the power later. */
static int settle(struct journal *j, char **ret_why)
{
	if (fdatasync(j->fd) != 0 || fsync(j->dir_fd) != 0) {
		int err = -errno;
		*ret_why = xasprintf("%s: cannot be made durable: %s", j->path, strerror(-err));
		return err;
	}
	if (j->mark != j->size)
		write_mark(j);
	return 0;
}

int journal_replay(struct journal *j, journal_record_fn *fn, void *arg, char **ret_why, char **ret_warning)
{
	struct found_record r = { 0 };
	struct sbuf payload = { 0 };
	struct stat st;
	enum found found;
	int err = 0;

	if (fstat(j->fd, &st) != 0)
		return damaged(j, strerror(errno), ret_why);
	r.file_size = (uint64_t)st.st_size;
	while (err == 0 && (found = look(j, &payload, &r)) == FOUND_RECORD) {
		const char *wrong = fn(r.type, (struct str) { payload.p, payload.n }, j->size, arg);
		if (wrong != NULL)
			err = damaged(j, wrong, ret_why);
		else
			j->size += JOURNAL_RECORD_LEN + payload.n;
	}
	sbuf_fini(&payload);
	if (err != 0)
		return err;
	if (found == FOUND_END && j->size < j->mark)
		return damaged(j, "the file ends before what was already durable", ret_why);
	if (found == FOUND_DAMAGE || (found == FOUND_TAIL && j->size < j->mark))
		return damaged(j, r.what, ret_why);
	if (found == FOUND_TAIL)
		err = cut_tail(j, &r, ret_why, ret_warning);
	return err != 0 ? err : settle(j, ret_why);
}

/* ---- replacing ---- */

int journal_begin(struct journal *next, const struct journal *j, uint64_t start)
{
	uint8_t h[JOURNAL_HEADER_LEN] = { 0 };

	*next = (struct journal) { .dir_fd = j->dir_fd, .size = JOURNAL_HEADER_LEN, .start = start, .format = FORMAT };
	next->path = xasprintf("%s.new", j->path);
	next->fd = open(next->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int err = next->fd < 0 ? -errno : 0;
	memcpy(h, magic, sizeof(magic));
	le_put(h + OFF_FORMAT, FORMAT, 4);
	le_put(h + OFF_START, start, 8);
	le_put(h + OFF_CRC, header_crc(h), 4);
	put_mark(h + OFF_MARK, JOURNAL_HEADER_LEN);
	if (err == 0)
		err = write_at(next->fd, h, sizeof(h), 0);
	if (err != 0)
		journal_abort(next);
	return err;
}

int journal_add(struct journal *next, uint32_t type, struct str payload, uint64_t *ret_offset)
{
	int err = write_record(next, type, payload);

	if (err != 0)
		return err;
	*ret_offset = next->size;
	next->size += JOURNAL_RECORD_LEN + payload.n;
	return 0;
}

void journal_abort(struct journal *next)
{
	if (next->fd >= 0) {
		close(next->fd);
		unlink(next->path);
	}
	next->fd = -1;
	free(next->path);
	next->path = NULL;
}

int journal_commit(struct journal *next, struct journal *j, int *ret_old_fd)
{
	write_mark(next);
	int err = fsync(next->fd) != 0 ? write_error() : 0;
	if (err == 0 && rename(next->path, j->path) != 0)
		err = write_error();
	if (err != 0) {
		journal_abort(next);
		return err;
	}
	free(next->path);
	next->path = xstrdup(j->path);
	/* The new name may be lost with the power; what is appended from here on would be lost with it. */
	if (fsync(next->dir_fd) != 0)
		next->broken = -EIO;
	*ret_old_fd = j->fd;
	free(j->path);
	*j = *next;
	return 0;
}
