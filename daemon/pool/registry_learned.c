/* SPDX-License-Identifier: Apache-2.0
 * Capabilities last seen, kept over restarts in a JSON file.
 *
 * What the EHLO of a listener offers must not shrink because the balancer was restarted while a server was down:
 * senders that hold mail for an extension that vanished bounce it for good. The file is a cache: one that cannot be
 * read is started anew, one that cannot be written is said so once. It is replaced whole (write, fsync, rename, fsync
 * of the directory), so a crash leaves the old or the new.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
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

struct learned {
	uint32_t magic;
	char *file;      /* NULL = remembers nothing */
	json_t *servers; /* "pool/server address" → {capabilities, auth, size, seen} */
	bool dirty, complained;
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

static int write_file(const char *file, const char *temp, const json_t *root)
{
	int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), err = 0;

	if (fd < 0)
		return -errno;
	if (json_dumpfd(root, fd, JSON_INDENT(1) | JSON_SORT_KEYS) < 0 || fsync(fd) < 0)
		err = errno != 0 ? -errno : -EIO;
	if (close(fd) < 0 && err == 0)
		err = -errno;
	if (err == 0 && rename(temp, file) < 0)
		err = -errno;
	return err < 0 ? err : sync_directory(file);
}

void learned_write(struct learned *l, int64_t now_ms, bool now)
{
	CHECK_OBJ(l, LEARNED_MAGIC);
	if (l->file == NULL || !l->dirty || (!now && now_ms - l->written_ms < WRITE_INTERVAL_MS))
		return;
	drop_old(l);
	json_t *root = json_pack("{s:i,s:O}", "version", 1, "servers", l->servers);
	char *temp = xasprintf("%s.new", l->file);
	watchdog_wait();
	int err = write_file(l->file, temp, root);
	watchdog_waited();

	if (err < 0 && !l->complained)
		log_msg(LOG_LEVEL_WARNING, "capabilities", "%s cannot be written: %s", l->file, strerror(-err));
	l->complained = err < 0;
	l->dirty = err < 0;
	l->written_ms = now_ms;
	free(temp);
	json_decref(root);
}
