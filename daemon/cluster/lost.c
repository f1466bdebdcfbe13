/* SPDX-License-Identifier: Apache-2.0
 * Entries of this node that are not part of the cluster's log: kept in a file, told, and listed.
 *
 * The hard thing: this happens when quorum was forced without this node, and what it had written alone is void. Nobody
 * can put it back but people, who must first learn that it was there. Documents may hold secrets, so they are in the
 * file alone, and what is listed says which they are.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cluster/core/le.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/watchdog.h"
#include "daemon/cluster/cluster_private.h"

#define LOST_FILE "lost.jsonl" /* an object in each line, oldest first */
#define ALONE_FILE "alone"     /* in state_dir/trust: cluster_node.alone_from, 8 bytes; not there = 0 */

enum {
	LOST_MAX = 64 << 20 /* bytes of the file; more is only counted by the log */,
	LOST_READ_MAX = 4 << 20 /* bytes of it that are read to list them: the loop beats for postroad-ha meanwhile */,
	LOST_SHOWN = 1000,
	LOST_LINE_MAX = 64 << 10 /* bytes of a line that are read to list it */,
	ALONE_LEN = 8
};

static const char *const kind_names[] = {
	[ENTRY_CONFIG] = "configuration", [ENTRY_RUNTIME] = "runtime", [ENTRY_MEMBERSHIP] = "membership"
};

static char *path_of(const struct cluster_node *n)
{
	return xasprintf("%s/%s", n->env.config->state_dir, LOST_FILE);
}

static json_t *entry_json(const struct entry *e, bool in_force)
{
	json_t *document = e->kind == ENTRY_MEMBERSHIP ? NULL : json_loadb(e->document.p, e->document.n, 0, NULL);

	return json_pack("{s:I, s:I, s:s, s:s, s:s, s:s, s:f, s:b, s:o}", "position", (json_int_t)e->position,
			 "revision", (json_int_t)e->revision, "kind", kind_names[e->kind], "author", e->author, "node",
			 e->node, "comment", e->comment, "time", e->wall, "in_force", in_force, "document",
			 document != NULL ? document : json_null());
}

/* ---- the file ---- */

static int append_to(int fd, struct str line)
{
	off_t end = lseek(fd, 0, SEEK_END);

	if (end < 0)
		return -errno;
	if (end + (off_t)line.n > LOST_MAX)
		return -EFBIG;
	ssize_t n = write(fd, line.p, line.n);
	if (n == (ssize_t)line.n)
		return 0;
	int err = n >= 0 && n < (ssize_t)line.n ? -ENOSPC : -errno;
	/* Half of a line would spoil the next one. */
	return ftruncate(fd, end) == 0 ? err : -errno;
}

static int append(const struct cluster_node *n, struct str line)
{
	char *path = path_of(n);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int err = fd < 0 ? -errno : 0;

	free(path);
	if (fd < 0)
		return err;
	err = append_to(fd, line);
	close(fd);
	return err;
}

static int sync_path(const char *path, int flags)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | flags);
	int err = fd < 0 || fsync(fd) != 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return err;
}

static int sync_lost(const struct cluster_node *n)
{
	char *path = path_of(n);

	watchdog_wait();
	int err = sync_path(path, 0);
	if (err == 0)
		err = sync_path(n->env.config->state_dir, O_DIRECTORY);
	watchdog_waited();
	if (err == -ENOENT) /* forgotten since */
		err = 0;
	if (err != 0)
		log_msg(LOG_LEVEL_ERROR, "lost", "%s may not be on disk: %s", path, strerror(-err));
	free(path);
	return err;
}

static int remove_alone(const struct cluster_node *n)
{
	char *path = xasprintf("%s/%s", n->trust.dir, ALONE_FILE);
	/* Not synced: should it come back, an entry is listed that others have, and none is left out. */
	int err = unlink(path) == 0 || errno == ENOENT ? 0 : -errno;

	free(path);
	return err;
}

static int keep_alone(struct cluster_node *n)
{
	uint8_t bytes[ALONE_LEN];

	if (n->alone_kept == n->alone_from)
		return 0;
	le_put(bytes, n->alone_from, sizeof(bytes));
	int err = n->alone_from == 0 ? remove_alone(n)
				     : trust_files_write(&n->trust, ALONE_FILE,
							 (struct str) { (const char *)bytes, sizeof(bytes) });
	if (err == 0)
		n->alone_kept = n->alone_from;
	else
		log_msg(LOG_LEVEL_WARNING, "lost", "what is written alone cannot be marked: %s", strerror(-err));
	return err;
}

void lost_keep(struct cluster_node *n)
{
	int64_t now = clock_mono_ms();

	if ((!n->lost_unkept && n->alone_kept == n->alone_from) || now < n->lost_again_ms)
		return;
	int err = n->lost_unkept ? sync_lost(n) : 0;
	n->lost_unkept = err != 0;
	/* Behind it: the mark goes when what it is of is on disk. */
	if (err == 0)
		err = keep_alone(n);
	n->lost_again_ms = err == 0 ? 0 : now + CLUSTER_AGAIN_MS;
}

void lost_recall(struct cluster_node *n)
{
	struct sbuf bytes = { 0 };

	if (trust_files_read(&n->trust, ALONE_FILE, ALONE_LEN, &bytes) == 0 && bytes.n == ALONE_LEN)
		n->alone_from = n->alone_kept = le_get((const uint8_t *)bytes.p, ALONE_LEN);
	sbuf_fini(&bytes);
}

void cluster_node_lost(struct cluster_node *n, const struct entry *e, bool in_force)
{
	CHECK_OBJ(n, CLUSTER_NODE_MAGIC);
	json_t *o = entry_json(e, in_force);
	char *text = o == NULL ? NULL : json_dumps(o, JSON_COMPACT);
	struct sbuf line = { 0 };

	json_decref(o);
	if (text != NULL) {
		sbuf_reserve(&line, strlen(text) + 1); /* growing would leave copies of secrets behind */
		sbuf_add(&line, text, strlen(text));
		sbuf_add(&line, "\n", 1);
	}
	int err = text == NULL ? -EINVAL : append(n, cluster_str(&line));
	if (err != 0)
		log_msg(LOG_LEVEL_ERROR, "lost", "position %llu could not be kept: %s", (unsigned long long)e->position,
			strerror(-err));
	OPENSSL_cleanse(line.p, line.n);
	if (text != NULL)
		OPENSSL_cleanse(text, strlen(text));
	free(text);
	sbuf_fini(&line);
	/* Many come at once, and each sync holds up the beat: with the next tick, once for all. */
	n->lost_unkept = true;
	if (n->corosync != NULL && !n->stopped)
		timer_set_in(n->env.loop, &n->tick, 1);
	lost_look(n);
}

/* ---- what was written alone ---- */

void lost_note(struct cluster_node *n, const struct entry *e)
{
	uint32_t ids[CORE_MEMBERS_MAX];

	if (n->corosync == NULL)
		return;
	if (store_members(n->env.store, ids) > 1) {
		n->alone_from = 0; /* kept with the next tick */
	} else if (n->alone_from == 0) {
		n->alone_from = e->position;
		/* At once, as its writer is answered next; not for the entries that follow. */
		if (keep_alone(n) != 0)
			n->lost_again_ms = clock_mono_ms() + CLUSTER_AGAIN_MS;
	}
}

struct alone {
	uint64_t from, revisions[STORE_HISTORY_MAX]; /* newest first */
	size_t n;
};

static void add_revision(const struct entry *e, void *arg)
{
	struct alone *a = arg;

	if (e->position >= a->from && a->n < STORE_HISTORY_MAX)
		a->revisions[a->n++] = e->revision;
}

static size_t give_up(struct cluster_node *n, const struct entry *e, uint64_t from)
{
	if (e == NULL || e->position < from)
		return 0;
	log_msg(LOG_LEVEL_NOTICE, "lost", "position %llu (%s) by %s (%s) may be in no other node's log",
		(unsigned long long)e->position, kind_names[e->kind], e->author, e->comment);
	cluster_node_lost(n, e, true);
	return 1;
}

void lost_alone(struct cluster_node *n)
{
	struct alone a = { .from = n->alone_from };
	size_t count = 0;

	/* Where there is no other node, nobody goes on without it. */
	if (a.from == 0 || n->table == NULL || n->table->n == 1)
		return;
	store_each_revision(n->env.store, add_revision, &a);
	while (a.n > 0)
		count += give_up(n, store_revision(n->env.store, a.revisions[--a.n]), a.from);
	count += give_up(n, store_last(n->env.store, ENTRY_RUNTIME), a.from);
	count += give_up(n, store_last(n->env.store, ENTRY_MEMBERSHIP), a.from);
	n->alone_from = 0;
	n->lost_again_ms = 0; /* the log is forgotten next */
	if (count > 0)
		lost_keep(n);
}

/* ---- telling ---- */

/* Without its document, which may be long and is last: nothing before it but texts and numbers, so that these bytes
 * are its key and nothing else. A short line that people wrote otherwise is read as a whole. */
static json_t *line_json(const char *line, size_t len)
{
	static const char key[] = ",\"document\":";
	const char *at = memmem(line, len, key, sizeof(key) - 1);
	size_t n = at != NULL ? (size_t)(at - line) : len;
	struct sbuf text = { 0 };

	if (n > LOST_LINE_MAX)
		return json_object();
	sbuf_reserve(&text, n + 2);
	sbuf_add(&text, line, n);
	if (at != NULL)
		sbuf_add(&text, "}", 1);
	json_t *o = json_loadb(text.p, text.n, 0, NULL);
	trust_wipe(&text);
	json_object_del(o, "document");
	if (json_object_get(o, "position") != NULL)
		return o;
	json_decref(o);
	return json_object(); /* not a line of ours */
}

/* At once: growing would leave copies of secrets behind. */
static bool read_first(const struct cluster_node *n, struct sbuf *out)
{
	char *path = path_of(n);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st = { 0 };
	ssize_t len = -1;

	free(path);
	if (fd < 0)
		return true;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		size_t n_read = st.st_size < LOST_READ_MAX ? (size_t)st.st_size : LOST_READ_MAX;
		sbuf_reserve(out, n_read);
		len = read(fd, out->p, n_read);
	}
	if (len > 0)
		out->n = (size_t)len;
	close(fd);
	return len == st.st_size;
}

json_t *lost_entries(const struct cluster_node *n, size_t *ret_all, bool *ret_whole)
{
	json_t *list = json_array();
	struct sbuf bytes = { 0 };

	*ret_all = 0;
	*ret_whole = read_first(n, &bytes);
	for (size_t at = 0, len; at < bytes.n; at += len + 1) {
		const char *line = bytes.p + at, *end = memchr(line, '\n', bytes.n - at);
		len = end != NULL ? (size_t)(end - line) : bytes.n - at;
		if ((*ret_all)++ < LOST_SHOWN)
			json_array_append_new(list, line_json(line, len));
	}
	trust_wipe(&bytes);
	return list;
}

void lost_look(struct cluster_node *n)
{
	char *path = path_of(n);

	if (access(path, F_OK) == 0)
		cluster_warn(n, "lost",
			     "what this node had written while others decided without it is not in the cluster's log: "
			     "see GET /api/v1/cluster/lost and %s; DELETE there ends this",
			     path);
	else
		cluster_warn_over(n, "lost");
	free(path);
}

void lost_list(struct cluster_node *n, struct cluster_call *q)
{
	char *path = path_of(n);
	size_t all;
	bool whole;
	json_t *entries = lost_entries(n, &all, &whole);

	cluster_call_answer(q, 200,
			    json_pack("{s:s, s:I, s:b, s:o}", "file", path, "count", (json_int_t)all, "whole", whole,
				      "entries", entries));
	free(path);
}

void lost_forget(struct cluster_node *n, struct cluster_call *q)
{
	char *path = path_of(n);
	int err = unlink(path) == 0 || errno == ENOENT ? 0 : errno;

	free(path);
	lost_look(n);
	if (err != 0)
		cluster_call_refuse(q, PROBLEM_INTERNAL, "The file cannot be removed: %s", strerror(err));
	else
		cluster_call_answer(q, 200, json_object());
}
