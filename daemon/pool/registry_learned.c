/* SPDX-License-Identifier: Apache-2.0
 * Capabilities last seen, kept over restarts in a JSON file.
 *
 * What the EHLO of a listener offers must not shrink because the balancer was restarted while a server was down:
 * senders that hold mail for an extension that vanished bounce it for good. The file is a cache: one that cannot be
 * read is started anew, one that cannot be written is said so once. It is replaced whole (write, fsync, rename, fsync
 * of the directory), so a crash leaves the old or the new. A thread of its own waits for the disk: one that hangs must
 * not keep the control thread from saying that mail goes on.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/watchdog.h"
#include "daemon/pool/mechanisms.h"
#include "daemon/pool/registry.h"

#define LEARNED_MAGIC 0x6c65726eu
#define WRITE_INTERVAL_MS 3000
#define ENTRIES_MAX 10000
#define FILE_SIZE_MAX (8l * 1024 * 1024)
#define KEEP_SECONDS (30 * 24 * 3600.0) /* of a server that is no longer there */
#define RENEW_SECONDS (24 * 3600.0)     /* of one that is, though nothing about it changed */

struct writing;

struct learned {
	uint32_t magic;
	char *file;      /* NULL = remembers nothing */
	json_t *servers; /* "pool/server address" → {capabilities, auth, size, seen} */
	bool dirty, complained;
	struct writing *writing; /* under way; NULL = nothing is */
	int64_t written_ms;
};

/* ---- reading ---- */

static json_t *load(const char *file)
{
	json_error_t why;
	json_t *root = NULL, *servers = NULL;
	FILE *f = fopen(file, "re");

	if (f == NULL)
		return NULL;
	if (fseek(f, 0, SEEK_END) == 0 && ftell(f) <= FILE_SIZE_MAX && fseek(f, 0, SEEK_SET) == 0)
		root = json_loadf(f, 0, &why);
	fclose(f);
	if (root == NULL)
		log_msg(LOG_LEVEL_WARNING, "capabilities", "%s cannot be read, starting it anew", file);
	servers = json_object_get(root, "servers");
	servers = json_is_object(servers) ? json_incref(servers) : NULL;
	json_decref(root);
	return servers;
}

struct learned *learned_open(const char *file)
{
	struct learned *l;

	NEW_OBJ(l, LEARNED_MAGIC);
	if (file != NULL) {
		l->file = xstrdup(file);
		l->servers = load(file);
	}
	if (l->servers == NULL)
		l->servers = json_object();
	return l;
}

void learned_close(struct learned *l)
{
	CHECK_OBJ(l, LEARNED_MAGIC);
	ASSERT(l->writing == NULL); /* learned_write() at once comes before */
	json_decref(l->servers);
	free(l->file);
	FREE_OBJ(l);
}

/* ---- one server ---- */

static char *key_of(const struct server *s)
{
	char text[ADDR_TEXT_MAX];

	return xasprintf("%s/%s %s", s->pool, s->name, addr_format(&s->addr, text));
}

static unsigned exts_from(const json_t *list)
{
	unsigned exts = 0;
	size_t i;
	json_t *word;

	json_array_foreach(list, i, word) {
		for (unsigned bit = 0; bit < SMTP_EXT_COUNT; bit++)
			if (json_is_string(word) && strcmp(json_string_value(word), smtp_ext_names[bit]) == 0)
				exts |= 1u << bit;
	}
	return exts;
}

static json_t *exts_to(unsigned exts)
{
	json_t *list = json_array();

	for (unsigned bit = 0; bit < SMTP_EXT_COUNT; bit++)
		if (exts & 1u << bit)
			json_array_append_new(list, json_string(smtp_ext_names[bit]));
	return list;
}

static uint64_t mechanisms_from(const json_t *list)
{
	uint64_t bits = 0;
	size_t i;
	json_t *word;

	json_array_foreach(list, i, word)
		if (json_is_string(word))
			bits |= mechanisms_of(str_from(json_string_value(word)));
	return bits;
}

static json_t *mechanisms_to(uint64_t bits)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < MECHANISMS_MAX; i++)
		if (bits & 1ull << i)
			json_array_append_new(list, json_string(mechanism_name(i)));
	return list;
}

void learned_apply(struct learned *l, struct server_private *sp)
{
	CHECK_OBJ(l, LEARNED_MAGIC);
	char *key = key_of(sp->server);
	const json_t *entry = json_object_get(l->servers, key);
	const json_t *size = json_object_get(entry, "size");

	free(key);
	if (!json_is_object(entry))
		return;
	sp->noted_exts = exts_from(json_object_get(entry, "capabilities"));
	sp->noted_size = json_is_integer(size) && json_integer_value(size) > 0 ? (uint64_t)json_integer_value(size) : 0;
	sp->noted_mechanisms = mechanisms_from(json_object_get(entry, "auth"));
	server_learn_mechanisms(sp->server, sp->noted_mechanisms);
	server_learn(sp->server, sp->noted_exts, sp->noted_size);
}

void learned_note(struct learned *l, struct server_private *sp)
{
	CHECK_OBJ(l, LEARNED_MAGIC);
	struct server *s = sp->server;

	if (!atomic_load_explicit(&s->caps_known, memory_order_acquire))
		return;
	unsigned exts = atomic_load(&s->caps);
	uint64_t size = atomic_load(&s->size), mechanisms = atomic_load(&s->mechanisms);
	double now = clock_wall();
	if (exts == sp->noted_exts && size == sp->noted_size && mechanisms == sp->noted_mechanisms &&
	    now - sp->noted_wall < RENEW_SECONDS)
		return;
	sp->noted_wall = now;
	sp->noted_exts = exts;
	sp->noted_size = size;
	sp->noted_mechanisms = mechanisms;
	char *key = key_of(s);
	if (json_object_size(l->servers) < ENTRIES_MAX || json_object_get(l->servers, key) != NULL) {
		json_object_set_new(l->servers, key,
				    json_pack("{s:o,s:o,s:I,s:f}", "capabilities", exts_to(exts), "auth",
					      mechanisms_to(mechanisms), "size", (json_int_t)size, "seen", now));
		l->dirty = true;
	}
	free(key);
}

/* ---- writing ---- */

static void drop_old(struct learned *l)
{
	double now = clock_wall();
	const char *key;
	json_t *entry;
	void *tmp;

	json_object_foreach_safe(l->servers, tmp, key, entry)
		if (now - json_number_value(json_object_get(entry, "seen")) > KEEP_SECONDS)
			json_object_del(l->servers, key);
}

static int sync_directory(const char *file)
{
	char *copy = xstrdup(file);
	int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;

	free(copy);
	if (fd < 0 || fsync(fd) < 0)
		err = -errno;
	if (fd >= 0)
		close(fd);
	return err;
}

static int write_file(const char *file, const char *temp, struct str text)
{
	int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), err = 0;

	if (fd < 0)
		return -errno;
	while (text.n > 0 && err == 0) {
		ssize_t n = write(fd, text.p, text.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			err = n < 0 ? -errno : -EIO;
		else
			text = (struct str) { text.p + n, text.n - (size_t)n };
	}
	if (err == 0 && fsync(fd) < 0)
		err = -errno;
	if (close(fd) < 0 && err == 0)
		err = -errno;
	if (err == 0 && rename(temp, file) < 0)
		err = -errno;
	return err < 0 ? err : sync_directory(file);
}

/* ---- the thread that waits for the disk ---- */

struct writing {
	pthread_t thread;
	char *file, *temp, *text;
	int err;
	_Atomic bool done;
};

static void *write_it(void *arg)
{
	struct writing *w = arg;

	w->err = write_file(w->file, w->temp, str_from(w->text));
	atomic_store_explicit(&w->done, true, memory_order_release);
	return NULL;
}

static void begin_writing(struct learned *l)
{
	json_t *root = json_pack("{s:i,s:O}", "version", 1, "servers", l->servers);
	struct writing *w = xcalloc(1, sizeof(*w));
	sigset_t all, before;

	w->file = xstrdup(l->file);
	w->temp = xasprintf("%s.new", l->file);
	w->text = json_dumps(root, JSON_INDENT(1) | JSON_SORT_KEYS);
	json_decref(root);
	sigfillset(&all); /* signals are for the thread that has a loop */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (pthread_create(&w->thread, NULL, write_it, w) != 0)
		base_panic(__FILE__, __LINE__, "cannot start a thread");
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	l->writing = w;
	l->dirty = false;
}

/* Waits where it is not done. */
static void end_writing(struct learned *l)
{
	struct writing *w = l->writing;

	watchdog_wait();
	pthread_join(w->thread, NULL);
	watchdog_waited();
	l->writing = NULL;
	if (w->err < 0 && !l->complained)
		log_msg(LOG_LEVEL_WARNING, "capabilities", "%s cannot be written: %s", l->file, strerror(-w->err));
	l->complained = w->err < 0;
	l->dirty = l->dirty || w->err < 0;
	free(w->file);
	free(w->temp);
	free(w->text);
	free(w);
}

void learned_write(struct learned *l, int64_t now_ms, bool now)
{
	CHECK_OBJ(l, LEARNED_MAGIC);
	if (l->writing != NULL && (now || atomic_load_explicit(&l->writing->done, memory_order_acquire)))
		end_writing(l);
	if (l->file == NULL || !l->dirty || l->writing != NULL || (!now && now_ms - l->written_ms < WRITE_INTERVAL_MS))
		return;
	drop_old(l);
	begin_writing(l);
	l->written_ms = now_ms;
	if (now)
		end_writing(l);
}
