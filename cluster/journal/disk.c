/* SPDX-License-Identifier: Apache-2.0
 * The log as it is on disk: opened, checked, and read by position.
 *
 * The hard thing is what may be believed at open. The journal says which records are whole; here each entry is checked
 * against the one before it (position and hash). A file that was made anew begins with gaps, and up to the position
 * in its header each entry is trusted on its own hash alone. A node that is alone refuses what is damaged; one that has
 * others keeps what is sound in front of it, says so, and gets the rest from them.
 *
 *	write:     0 kind u8 (enum core_write_kind), 4 meta length u32, 8 after u64, 16 meta, then entries: each a
 *length u32 and an encoding base:      0 meta length u32, 4 meta, then the core's answers identity:  as
 *identity_encode() makes it An entry's record is its encoding; an answer's is made in answers.c. Only a write comes
 *behind a write.
 */
#include "cluster/journal/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cluster/core/le.h"
#include "daemon/base/log.h"

enum { WRITE_HEAD = 16, BASE_HEAD = 4 };

_Static_assert(ENTRY_ENCODED_MAX <= JOURNAL_PAYLOAD_MAX, "every entry fits a record");

/* ---- the index ---- */

static size_t lower_bound(const struct disk *d, uint64_t position)
{
	size_t from = 0, to = d->n;

	while (from < to) {
		size_t middle = from + (to - from) / 2;
		if (d->entries[middle].position < position)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

const struct disk_entry *disk_find(const struct disk *d, uint64_t position)
{
	size_t i = lower_bound(d, position);

	return i < d->n && d->entries[i].position == position ? &d->entries[i] : NULL;
}

uint64_t disk_next(const struct disk *d, uint64_t position)
{
	size_t i = lower_bound(d, position);

	return i < d->n ? d->entries[i].position : 0;
}

uint64_t disk_last(const struct disk *d)
{
	return d->n == 0 ? 0 : d->entries[d->n - 1].position;
}

void disk_cut(struct disk *d, uint64_t after)
{
	if (after < UINT64_MAX)
		d->n = lower_bound(d, after + 1);
}

static const char *check_order(const struct disk *d, const struct entry *e)
{
	static const struct disk_entry none = { 0 };
	const struct disk_entry *last = d->n == 0 ? &none : &d->entries[d->n - 1];
	bool gap_allowed = d->head && e->position <= d->journal.start;
	uint64_t want = last->revision + (e->kind == ENTRY_CONFIG);

	if (e->position <= last->position || (e->position != last->position + 1 && !gap_allowed))
		return "an entry is not the one that follows";
	if (e->position == last->position + 1 && memcmp(e->previous, last->hash, ENTRY_HASH_LEN) != 0)
		return "an entry does not follow from the one before it";
	/* Behind a gap a revision may be any later one; without a gap it counts the configurations. */
	if (e->position == last->position + 1 ? e->revision != want : e->revision < want)
		return "an entry has the wrong revision";
	return NULL;
}

const char *disk_add(struct disk *d, const struct entry *e, uint64_t offset, size_t size)
{
	const char *wrong = check_order(d, e);

	if (wrong != NULL)
		return wrong;
	if (d->n == d->cap) {
		d->cap = d->cap == 0 ? 64 : 2 * d->cap;
		d->entries = xrealloc(d->entries, d->cap * sizeof(*d->entries));
	}
	struct disk_entry *to = &d->entries[d->n++];
	*to = (struct disk_entry) {
		.position = e->position, .revision = e->revision, .offset = offset, .size = size, .kind = e->kind
	};
	memcpy(to->hash, e->hash, ENTRY_HASH_LEN);
	return NULL;
}

bool disk_read(const struct disk *d, uint64_t position, struct sbuf *bytes, struct entry *ret)
{
	const struct disk_entry *at = disk_find(d, position);

	if (at == NULL)
		return false;
	sbuf_reset(bytes);
	/* An entry's own hash covers all of it. */
	if (journal_bytes(d->fd, sbuf_extend(bytes, at->size), at->size, at->offset) == 0 &&
	    entry_decode((struct str) { bytes->p, bytes->n }, ret) && memcmp(ret->hash, at->hash, ENTRY_HASH_LEN) == 0)
		return true;
	log_msg(LOG_LEVEL_ERROR, "store_damaged", "%s: the entry %llu at offset %llu cannot be read", d->path,
		(unsigned long long)position, (unsigned long long)at->offset);
	return false;
}

/* ---- records ---- */

struct loading {
	struct disk *disk;
	struct answers *answers;
};

static const char *on_entry(struct disk *d, struct str bytes, uint64_t offset)
{
	struct entry e;

	if (!entry_decode(bytes, &e))
		return "an entry cannot be decoded or its hash is wrong";
	return disk_add(d, &e, offset, bytes.n);
}

static void set(struct sbuf *to, struct str from)
{
	sbuf_reset(to);
	sbuf_add(to, from.p, from.n);
}

static bool head_is_whole(const struct disk *d)
{
	return disk_last(d) >= d->journal.start;
}

static const char *on_write(struct disk *d, struct str in, uint64_t offset)
{
	const uint8_t *p = (const uint8_t *)in.p;
	const char *wrong = NULL;

	if (in.n < WRITE_HEAD || le_get(p + 1, 3) != 0 || p[0] > CORE_WRITE_APPEND ||
	    le_get(p + 4, 4) > CORE_META_MAX || le_get(p + 4, 4) > in.n - WRITE_HEAD)
		return "a write cannot be decoded";
	if (d->head && !head_is_whole(d))
		return "entries that were kept are missing in front of it";
	d->head = false;
	size_t n_meta = (size_t)le_get(p + 4, 4), at = WRITE_HEAD + n_meta;
	if (p[0] == CORE_WRITE_APPEND)
		disk_cut(d, le_get(p + 8, 8));
	while (wrong == NULL && at < in.n) {
		size_t n = in.n - at < 4 ? SIZE_MAX : (size_t)le_get(p + at, 4);
		if (n > in.n - at - 4)
			return "a write cannot be decoded";
		wrong = on_entry(d, (struct str) { in.p + at + 4, n }, offset + at + 4);
		at += 4 + n;
	}
	set(&d->meta, (struct str) { in.p + WRITE_HEAD, n_meta });
	return wrong;
}

static const char *on_base(struct disk *d, struct str in)
{
	const uint8_t *p = (const uint8_t *)in.p;
	size_t n = in.n < BASE_HEAD ? SIZE_MAX : (size_t)le_get(p, 4);

	if (n > CORE_META_MAX || n > in.n - BASE_HEAD)
		return "what a file begins with cannot be decoded";
	set(&d->meta, (struct str) { in.p + BASE_HEAD, n });
	set(&d->answers, (struct str) { in.p + BASE_HEAD + n, in.n - BASE_HEAD - n });
	return NULL;
}

static const char *on_record(uint32_t type, struct str payload, uint64_t offset, void *arg)
{
	struct loading *l = arg;
	struct disk *d = l->disk;

	offset += JOURNAL_RECORD_LEN;
	if (type == RECORD_WRITE && d->journal.format > 1)
		return on_write(d, payload, offset);
	if (!d->head)
		return "a record of a kind that does not come behind a write";
	switch (type) {
	case RECORD_ENTRY:
		return on_entry(d, payload, offset);
	case RECORD_ANSWER:
		return answers_decode(l->answers, payload) ? NULL : "an answer cannot be decoded";
	case RECORD_BASE:
		return on_base(d, payload);
	case RECORD_IDENTITY:
		return identity_decode(payload, &d->log_of) ? NULL : "an identity cannot be decoded";
	default:
		return "a record of unknown type";
	}
}

/* ---- opening ---- */

static int failed(char **ret_why, const char *path, const char *what)
{
	int err = errno;

	*ret_why = xasprintf("%s: %s: %s", path, what, strerror(err));
	return -err;
}

/* The directory's own name must survive too. */
static int make_dir(const char *dir, char **ret_why)
{
	if (mkdir(dir, 0700) != 0)
		return errno == EEXIST ? 0 : failed(ret_why, dir, "cannot create the directory");
	char *copy = xstrdup(dir);
	int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = fd < 0 || fsync(fd) != 0 ? failed(ret_why, dir, "cannot make the directory durable") : 0;
	if (fd >= 0)
		close(fd);
	free(copy);
	return err;
}

static int take_lock(struct disk *d, char **ret_why)
{
	char *path = xasprintf("%s/store.lock", d->dir);
	int err = 0;

	d->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (d->lock_fd < 0) {
		err = failed(ret_why, path, "cannot open the lock");
	} else if (flock(d->lock_fd, LOCK_EX | LOCK_NB) != 0) {
		err = -errno;
		*ret_why = xasprintf("%s: another process has this store open", path);
	}
	free(path);
	return err;
}

bool disk_open(struct disk *d, const char *dir, char **ret_why)
{
	*d = (struct disk) { .dir = xstrdup(dir),
			     .path = xasprintf("%s/store.log", dir),
			     .dir_fd = -1,
			     .lock_fd = -1,
			     .fd = -1,
			     .journal = { .fd = -1 },
			     .compact_at = DISK_COMPACT_MIN };
	int err = make_dir(dir, ret_why);
	if (err == 0) {
		d->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (d->dir_fd < 0)
			err = failed(ret_why, dir, "cannot open the directory");
	}
	return err == 0 && take_lock(d, ret_why) == 0;
}

static int create(struct disk *d, char **ret_why)
{
	struct journal next, none = { .dir_fd = d->dir_fd, .fd = -1, .path = xstrdup(d->path) };
	uint8_t identity[IDENTITY_ENCODED];
	uint64_t offset;
	int old, err = journal_begin(&next, &none, 0);

	identity_encode(&d->identity, identity);
	if (err == 0) {
		err = journal_add(&next, RECORD_IDENTITY, (struct str) { (char *)identity, sizeof(identity) }, &offset);
		if (err != 0)
			journal_abort(&next);
	}
	if (err == 0)
		err = journal_commit(&next, &none, &old);
	if (err == 0)
		err = none.broken;
	d->journal = none;
	d->log_of = d->identity;
	if (err != 0)
		*ret_why = xasprintf("%s: cannot create the store: %s", d->path, strerror(-err));
	return err;
}

/* A log that was there once is not begun anew in silence. */
static bool had_log(const struct disk *d)
{
	return d->saved && d->identity.cluster != 0;
}

/* Who have the log too, and mend this one. */
static bool has_others(const struct disk *d)
{
	return had_log(d) && !d->identity.alone;
}

/* Keeps what was sound in front of the damage. */
static void take_damaged(struct disk *d, char **why, char **ret_warning)
{
	free(*ret_warning);
	*ret_warning = *why;
	*why = NULL;
	if (d->journal.path == NULL)
		d->journal = (struct journal) { .dir_fd = d->dir_fd, .fd = -1, .path = xstrdup(d->path) };
	d->damaged = d->replace = d->set_aside = true;
}

static int load_log(struct disk *d, struct answers *answers, char **ret_why, char **ret_warning)
{
	struct loading l = { d, answers };
	char *unfinished = xasprintf("%s.new", d->path);

	unlink(unfinished); /* of a replacement that a crash ended */
	free(unfinished);
	d->head = true;
	int err = journal_open(&d->journal, d->dir_fd, d->path, ret_why);
	if (err == -ENOENT && had_log(d)) {
		err = -EBADMSG;
		*ret_why = xasprintf("%s: it is gone", d->path);
	} else if (err == -ENOENT) {
		err = create(d, ret_why);
	} else if (err == 0) {
		err = journal_replay(&d->journal, on_record, &l, ret_why, ret_warning);
	}
	if (err == 0 && d->head && !head_is_whole(d)) {
		err = -EBADMSG;
		*ret_why = xasprintf("%s: the entry at position %llu is missing", d->path,
				     (unsigned long long)d->journal.start);
	}
	d->fd = d->journal.fd;
	d->replace = d->journal.format == 1;
	d->head = false;
	if (err == -EBADMSG && has_others(d)) {
		take_damaged(d, ret_why, ret_warning);
		err = 0;
	}
	return err;
}

static void forget(struct disk *d)
{
	d->n = 0;
	sbuf_reset(&d->meta);
	sbuf_reset(&d->answers);
	d->replace = d->set_aside = true;
	d->damaged = false;
}

bool disk_load(struct disk *d, struct answers *answers, char **ret_why, char **ret_warning)
{
	int err = identity_load(d->dir_fd, d->dir, &d->identity, ret_why);

	if (err != 0 && err != -ENOENT)
		return false;
	d->saved = err == 0;
	if (!d->saved)
		d->identity = identity_new(1, 0, false);
	if (load_log(d, answers, ret_why, ret_warning) != 0)
		return false;
	if (d->log_of.instance == 0 && (!has_others(d) || d->damaged))
		return true;
	if (!d->saved) {
		d->identity = d->log_of; /* its file was lost */
	} else if (d->log_of.instance != d->identity.instance) {
		/* Of an earlier life: a crash came before the log of this one was begun. */
		forget(d);
		answers_fini(answers);
		answers_init(answers);
	}
	return true;
}

static bool has_the_name(const struct disk *d, const struct identity *i)
{
	uint8_t a[IDENTITY_ENCODED], b[IDENTITY_ENCODED];
	struct identity found;
	char *why = NULL;

	if (identity_load(d->dir_fd, d->dir, &found, &why) != 0) {
		free(why);
		return false;
	}
	identity_encode(&found, a);
	identity_encode(i, b);
	return memcmp(a, b, sizeof(a)) == 0;
}

/* It could not be saved. If it has the name all the same, the next start might believe it and not this log: what is
 * written until then would be lost. So the old one is put back, or nothing is written any more. */
static void stay(struct disk *d, const struct identity *i)
{
	if (!has_the_name(d, i))
		return;
	d->saved = identity_save(d->dir_fd, &d->identity) == 0;
	if (!d->saved)
		d->journal.broken = -EIO;
}

int disk_become(struct disk *d, const struct identity *i)
{
	int err = identity_save(d->dir_fd, i);

	if (err != 0) {
		stay(d, i);
		return err;
	}
	d->saved = true;
	if (i->instance != d->identity.instance)
		forget(d);
	d->identity = *i;
	d->replace = true; /* so that the log says so, too */
	return 0;
}

void disk_close(struct disk *d)
{
	if (d->fd >= 0 && d->fd != d->journal.fd)
		close(d->fd);
	journal_close(&d->journal);
	sbuf_fini(&d->meta);
	sbuf_fini(&d->answers);
	sbuf_fini(&d->scratch);
	free(d->entries);
	if (d->lock_fd >= 0)
		close(d->lock_fd);
	if (d->dir_fd >= 0)
		close(d->dir_fd);
	free(d->dir);
	free(d->path);
}
