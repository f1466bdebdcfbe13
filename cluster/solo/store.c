/* SPDX-License-Identifier: Apache-2.0
 * The store of a node that is alone: the adapter behind cluster/store.h with a quorum of one.
 *
 * The hard thing is what may be believed at open. The journal says which records are whole; here each entry is checked
 * against the one before it (position and hash). A compacted file begins with gaps, and up to the position written in
 * its header each entry is trusted on its own hash alone.
 */
#include "cluster/store.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cluster/solo/store_private.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"

#define STORE_MAGIC 0x53544f52u /* "STOR" */

_Static_assert(ENTRY_ENCODED_MAX <= JOURNAL_PAYLOAD_MAX, "every entry fits a record");

static void held_fini(struct held *h)
{
	sbuf_fini(&h->bytes);
	*h = (struct held) { 0 };
}

/* ---- what is in force ---- */

/* A copy with texts of its own and without the document. */
static void hold_head(struct held *to, const struct held *from)
{
	struct entry e = from->entry;

	*to = (struct held) { .offset = from->offset, .size = from->size };
	e.document = (struct str) { NULL, 0 };
	entry_encode(&e, &to->bytes);
	ASSERT(entry_decode((struct str) { to->bytes.p, to->bytes.n }, &to->entry));
	memcpy(to->entry.hash, from->entry.hash, ENTRY_HASH_LEN);
}

static void remember_answer(struct store *s, const struct entry *e)
{
	struct store_answer answer = {
		.position = e->position, .revision = e->revision, .kind = e->kind, .wall = e->wall
	};

	answers_expire(&s->answers, e->wall);
	if (e->idempotency_key[0] == '\0')
		return;
	memcpy(answer.request_hash, e->request_hash, ENTRY_HASH_LEN);
	answers_put(&s->answers, e->idempotency_key, &answer);
}

/* Makes a durable entry the newest of its kind. Takes over h's bytes. */
static void adopt(struct store *s, struct held *h)
{
	enum entry_kind kind = h->entry.kind;

	if (kind == ENTRY_CONFIG) {
		if (s->n_revisions == STORE_HISTORY_MAX) {
			held_fini(&s->revisions[0]);
			memmove(&s->revisions[0], &s->revisions[1], sizeof(s->revisions) - sizeof(s->revisions[0]));
			s->n_revisions--;
		}
		hold_head(&s->revisions[s->n_revisions++], h);
	}
	held_fini(&s->last[kind]);
	s->last[kind] = *h;
	s->position = h->entry.position;
	s->revision = h->entry.revision;
	memcpy(s->tip, h->entry.hash, ENTRY_HASH_LEN);
	remember_answer(s, &h->entry);
}

/* ---- opening ---- */

static const char *check_order(const struct store *s, const struct entry *e)
{
	bool gap_allowed = e->position <= s->journal.start;
	uint64_t want = s->revision + (e->kind == ENTRY_CONFIG);

	if (e->position <= s->position || (e->position != s->position + 1 && !gap_allowed))
		return "an entry is not the one that follows";
	if (e->position == s->position + 1 && memcmp(e->previous, s->tip, ENTRY_HASH_LEN) != 0)
		return "an entry does not follow from the one before it";
	/* Behind a gap a revision may be any later one; without a gap it counts the configurations. */
	if (e->position == s->position + 1 ? e->revision != want : e->revision < want)
		return "an entry has the wrong revision";
	return NULL;
}

static const char *on_record(uint32_t type, struct str payload, uint64_t offset, void *arg)
{
	struct store *s = arg;
	struct held h = { .offset = offset, .size = JOURNAL_RECORD_LEN + payload.n };

	if (type == RECORD_ANSWER)
		return answers_decode(&s->answers, payload) ? NULL : "an answer cannot be decoded";
	if (type != RECORD_ENTRY)
		return "a record of unknown type";
	sbuf_add(&h.bytes, payload.p, payload.n);
	const char *wrong = "an entry cannot be decoded or its hash is wrong";
	if (entry_decode((struct str) { h.bytes.p, h.bytes.n }, &h.entry))
		wrong = check_order(s, &h.entry);
	if (wrong != NULL)
		held_fini(&h);
	else
		adopt(s, &h);
	return wrong;
}

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

static int take_lock(struct store *s, const char *dir, char **ret_why)
{
	char *path = xasprintf("%s/store.lock", dir);
	int err = 0;

	s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->lock_fd < 0) {
		err = failed(ret_why, path, "cannot open the lock");
	} else if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0) {
		err = -errno;
		*ret_why = xasprintf("%s: another process has this store open", path);
	}
	free(path);
	return err;
}

static int create_journal(struct store *s, const char *path, char **ret_why)
{
	struct journal next;
	struct journal none = { .dir_fd = s->dir_fd, .fd = -1, .path = xstrdup(path) };
	int err = journal_begin(&next, &none, 0);

	if (err == 0)
		err = journal_commit(&next, &none);
	if (err == 0)
		err = none.broken;
	s->journal = none;
	if (err != 0)
		*ret_why = xasprintf("%s: cannot create the store: %s", path, strerror(-err));
	return err;
}

static int open_journal(struct store *s, const char *dir, char **ret_why, char **ret_warning)
{
	char *path = xasprintf("%s/store.log", dir), *unfinished = xasprintf("%s.new", path);
	int err;

	unlink(unfinished); /* a compaction that a crash ended */
	err = journal_open(&s->journal, s->dir_fd, path, ret_why);
	if (err == -ENOENT)
		err = create_journal(s, path, ret_why);
	if (err == 0)
		err = journal_replay(&s->journal, on_record, s, ret_why, ret_warning);
	if (err == 0 && s->position < s->journal.start) {
		err = -EBADMSG;
		*ret_why = xasprintf("%s: the entry at position %llu is missing", path,
				     (unsigned long long)s->journal.start);
	}
	free(unfinished);
	free(path);
	return err;
}

struct store *store_open(const char *dir, const char *node, char **ret_why, char **ret_warning)
{
	struct store *s;

	*ret_why = NULL;
	*ret_warning = NULL;
	NEW_OBJ(s, STORE_MAGIC);
	s->dir_fd = s->lock_fd = s->journal.fd = -1;
	s->node = xstrdup(node);
	s->wall = clock_wall;
	s->compact_at = STORE_COMPACT_MIN;
	answers_init(&s->answers);
	int err = make_dir(dir, ret_why);
	if (err == 0) {
		s->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (s->dir_fd < 0)
			err = failed(ret_why, dir, "cannot open the directory");
	}
	if (err == 0)
		err = take_lock(s, dir, ret_why);
	if (err == 0)
		err = open_journal(s, dir, ret_why, ret_warning);
	if (err == 0)
		return s;
	store_close(s);
	free(*ret_warning);
	*ret_warning = NULL;
	return NULL;
}

void store_close(struct store *s)
{
	if (s == NULL)
		return;
	CHECK_OBJ(s, STORE_MAGIC);
	journal_close(&s->journal);
	answers_fini(&s->answers);
	for (size_t i = 0; i < s->n_revisions; i++)
		held_fini(&s->revisions[i]);
	for (int kind = 0; kind < ENTRY_KIND_COUNT; kind++)
		held_fini(&s->last[kind]);
	held_fini(&s->scratch);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	if (s->dir_fd >= 0)
		close(s->dir_fd);
	free(s->node);
	FREE_OBJ(s);
}

/* ---- reading ---- */

const struct entry *store_last(const struct store *s, enum entry_kind kind)
{
	CHECK_OBJ(s, STORE_MAGIC);
	return s->last[kind].entry.position == 0 ? NULL : &s->last[kind].entry;
}

const struct entry *store_revision(struct store *s, uint64_t revision)
{
	uint32_t type;
	size_t i = 0;

	CHECK_OBJ(s, STORE_MAGIC);
	while (i < s->n_revisions && s->revisions[i].entry.revision != revision)
		i++;
	if (i == s->n_revisions)
		return NULL;
	if (i == s->n_revisions - 1)
		return &s->last[ENTRY_CONFIG].entry;
	struct sbuf *bytes = &s->scratch.bytes;
	int err = journal_read(&s->journal, s->revisions[i].offset, bytes, &type);
	if (err != 0 || !entry_decode((struct str) { bytes->p, bytes->n }, &s->scratch.entry)) {
		log_msg(LOG_LEVEL_ERROR, "store_damaged", "%s: revision %llu at offset %llu cannot be read",
			s->journal.path, (unsigned long long)revision, (unsigned long long)s->revisions[i].offset);
		return NULL;
	}
	return &s->scratch.entry;
}

size_t store_each_revision(struct store *s, store_revision_fn *fn, void *arg)
{
	CHECK_OBJ(s, STORE_MAGIC);
	for (size_t i = s->n_revisions; i > 0; i--)
		fn(&s->revisions[i - 1].entry, arg);
	return s->n_revisions;
}

uint64_t store_revision_number(const struct store *s)
{
	CHECK_OBJ(s, STORE_MAGIC);
	return s->revision;
}

const struct store_answer *store_answer_find(struct store *s, const char *key)
{
	CHECK_OBJ(s, STORE_MAGIC);
	return answers_find(&s->answers, key);
}

bool store_quorate(const struct store *s)
{
	CHECK_OBJ(s, STORE_MAGIC);
	return s->journal.broken == 0;
}

/* ---- writing ---- */

static const char *text_or_empty(const char *s)
{
	return s == NULL ? "" : s;
}

static int check_write(const struct store *s, const struct store_write *w)
{
	if (w->kind < ENTRY_CONFIG || w->kind >= ENTRY_KIND_COUNT)
		return -EINVAL;
	if (w->idempotency_key != NULL && (w->idempotency_key[0] == '\0' || w->request_hash == NULL))
		return -EINVAL;
	/* Before the position: a write that was made must not look stale to its own repetition. */
	if (w->idempotency_key != NULL && answers_find(&s->answers, w->idempotency_key) != NULL)
		return -EEXIST;
	if (w->expect_position != UINT64_MAX && w->expect_position != s->last[w->kind].entry.position)
		return -ESTALE;
	return 0;
}

static struct entry next_entry(const struct store *s, const struct store_write *w)
{
	struct entry e = { .epoch = 1,
			   .position = s->position + 1,
			   .revision = s->revision + (w->kind == ENTRY_CONFIG),
			   .kind = w->kind,
			   .wall = s->wall(),
			   .operation = text_or_empty(w->operation),
			   .author = text_or_empty(w->author),
			   .node = s->node,
			   .comment = text_or_empty(w->comment),
			   .idempotency_key = text_or_empty(w->idempotency_key),
			   .document = w->document };

	memcpy(e.previous, s->tip, ENTRY_HASH_LEN);
	if (w->idempotency_key != NULL)
		memcpy(e.request_hash, w->request_hash, ENTRY_HASH_LEN);
	return e;
}

int store_append(struct store *s, const struct store_write *w, const struct entry **ret_entry)
{
	struct held h = { 0 };

	CHECK_OBJ(s, STORE_MAGIC);
	int err = check_write(s, w);
	if (err != 0)
		return err;
	struct entry e = next_entry(s, w);
	if (!entry_fits(&e))
		return e.document.n > ENTRY_DOCUMENT_MAX ? -EFBIG : -EINVAL;
	entry_encode(&e, &h.bytes);
	h.size = JOURNAL_RECORD_LEN + h.bytes.n;
	ASSERT(entry_decode((struct str) { h.bytes.p, h.bytes.n }, &h.entry));
	err = journal_append(&s->journal, RECORD_ENTRY, (struct str) { h.bytes.p, h.bytes.n }, &h.offset);
	if (err != 0) {
		held_fini(&h);
		return err;
	}
	adopt(s, &h);
	store_compact_if_due(s);
	if (ret_entry != NULL)
		*ret_entry = &s->last[w->kind].entry;
	return 0;
}
