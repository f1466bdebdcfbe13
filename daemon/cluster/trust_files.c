/* SPDX-License-Identifier: Apache-2.0
 * The files of a member.
 *
 * The hard thing: a file that is half written would keep a node out of its cluster, so each is written beside, synced
 * and renamed.
 */
#include "daemon/cluster/trust_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/watchdog.h"

enum { NAME_MAX_LEN = 96 };

void trust_wipe(struct sbuf *b)
{
	if (b->p != NULL)
		OPENSSL_cleanse(b->p, b->cap);
	sbuf_fini(b);
}

/* ---- files ---- */

static bool write_all(int fd, struct str bytes)
{
	for (size_t done = 0; done < bytes.n;) {
		ssize_t n = write(fd, bytes.p + done, bytes.n - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		done += (size_t)n;
	}
	return true;
}

static int sync_directory(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = fd < 0 || fsync(fd) != 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return err;
}

static int replace(const struct trust_files *t, const char *name, struct str bytes)
{
	char *path = xasprintf("%s/%s", t->dir, name), *beside = xasprintf("%s/%s.new", t->dir, name);
	int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int err = 0;

	if (fd < 0 || !write_all(fd, bytes) || fsync(fd) != 0)
		err = -errno;
	if (fd >= 0)
		close(fd);
	if (err == 0 && rename(beside, path) != 0)
		err = -errno;
	if (err == 0)
		err = sync_directory(t->dir);
	else
		unlink(beside);
	free(path);
	free(beside);
	return err;
}

int trust_files_write(const struct trust_files *t, const char *name, struct str bytes)
{
	watchdog_wait();
	int err = replace(t, name, bytes);
	watchdog_waited();
	return err;
}

int trust_files_read(const struct trust_files *t, const char *name, size_t max, struct sbuf *out)
{
	char *path = xasprintf("%s/%s", t->dir, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), err = fd < 0 ? -errno : 0;
	struct stat st;

	free(path);
	if (err != 0)
		return err;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || (size_t)st.st_size > max)
		err = -EFBIG;
	/* At once: growing would leave copies of secrets behind. */
	sbuf_reserve(out, max);
	for (ssize_t n = 1; err == 0 && n > 0;) {
		char piece[4096];
		n = read(fd, piece, sizeof(piece));
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n < 0)
			err = -errno;
		else if (out->n + (size_t)n > max)
			err = -EFBIG;
		else
			sbuf_add(out, piece, (size_t)n);
		OPENSSL_cleanse(piece, sizeof(piece));
	}
	close(fd);
	return err;
}

/* ---- as a whole ---- */

bool trust_files_open(struct trust_files *t, const char *state_dir)
{
	*t = (struct trust_files) { .dir = xasprintf("%s/trust", state_dir) };
	return mkdir(t->dir, 0700) == 0 || errno == EEXIST;
}

static void drop(struct trust_files *t)
{
	ca_free(t->ca);
	t->ca = NULL;
	trust_wipe(&t->certificate);
	trust_wipe(&t->key);
}

void trust_files_close(struct trust_files *t)
{
	drop(t);
	free(t->dir);
	t->dir = NULL;
}

static struct str str_of(const struct sbuf *b)
{
	return (struct str) { b->p, b->n };
}

/* ---- the next pair ---- */

void trust_files_drop_next(const struct trust_files *t)
{
	static const char *const names[] = { TRUST_NEXT_CERTIFICATE, TRUST_NEXT_KEY };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char *path = xasprintf("%s/%s", t->dir, names[i]);
		unlink(path);
		free(path);
	}
}

/* Two files cannot change at once: in between they do not fit, and the next pair is still there. */
bool trust_files_promote(const struct trust_files *t)
{
	struct sbuf certificate = { 0 }, key = { 0 };
	int err = trust_files_read(t, TRUST_NEXT_CERTIFICATE, CA_PEM_MAX, &certificate);

	if (err == 0)
		err = trust_files_read(t, TRUST_NEXT_KEY, CA_PEM_MAX, &key);
	if (err == 0 && !ca_key_fits(str_of(&certificate), str_of(&key)))
		err = -EINVAL;
	if (err == 0)
		err = trust_files_write(t, "node.key", str_of(&key));
	if (err == 0)
		err = trust_files_write(t, "node.pem", str_of(&certificate));
	trust_wipe(&key);
	sbuf_fini(&certificate);
	if (err == 0)
		trust_files_drop_next(t);
	errno = -err;
	return err == 0;
}

static bool pair_fits(const struct trust_files *t)
{
	struct sbuf certificate = { 0 }, key = { 0 };
	bool fits = trust_files_read(t, "node.pem", CA_PEM_MAX, &certificate) == 0 &&
		    trust_files_read(t, "node.key", CA_PEM_MAX, &key) == 0 &&
		    ca_key_fits(str_of(&certificate), str_of(&key));

	trust_wipe(&key);
	sbuf_fini(&certificate);
	return fits;
}

/* A loss of power may bring back names that were gone. */
static bool next_is_in_use(const struct trust_files *t)
{
	struct sbuf key = { 0 }, next = { 0 };
	bool same = trust_files_read(t, "node.key", CA_PEM_MAX, &key) == 0 &&
		    trust_files_read(t, TRUST_NEXT_KEY, CA_PEM_MAX, &next) == 0 &&
		    str_eq(str_of(&key), str_of(&next));

	trust_wipe(&key);
	trust_wipe(&next);
	return same;
}

bool trust_files_load(struct trust_files *t, char **ret_why)
{
	struct sbuf ca = { 0 }, ca_key = { 0 }, certificate = { 0 }, key = { 0 };
	const char *name = "ca.pem";
	struct ca *loaded = NULL;

	if (!pair_fits(t))
		(void)!trust_files_promote(t);
	else if (next_is_in_use(t))
		trust_files_drop_next(t);
	int err = trust_files_read(t, name, CA_PEM_MAX, &ca);
	if (err == 0)
		err = trust_files_read(t, name = "node.pem", CA_PEM_MAX, &certificate);
	if (err == 0)
		err = trust_files_read(t, name = "node.key", CA_PEM_MAX, &key);
	if (trust_files_read(t, "ca.key", CA_PEM_MAX, &ca_key) != 0)
		trust_wipe(&ca_key);
	if (err != 0)
		*ret_why = xasprintf("%s/%s cannot be read: %s", t->dir, name, strerror(-err));
	else
		loaded = ca_load(str_of(&ca), str_of(&ca_key), ret_why);
	trust_wipe(&ca_key);
	sbuf_fini(&ca);
	if (loaded == NULL) {
		trust_wipe(&certificate);
		trust_wipe(&key);
		return false;
	}
	drop(t);
	t->ca = loaded;
	t->certificate = certificate;
	t->key = key;
	return true;
}

/* ---- corosync's keys ---- */

static void key_name(const uint8_t hash[COROSYNC_KEY_HASH_LEN], char out[NAME_MAX_LEN])
{
	int n = snprintf(out, NAME_MAX_LEN, "corosync-");

	for (size_t i = 0; i < COROSYNC_KEY_HASH_LEN; i++)
		n += snprintf(out + n, NAME_MAX_LEN - (size_t)n, "%02x", hash[i]);
	snprintf(out + n, NAME_MAX_LEN - (size_t)n, ".key");
}

int trust_files_write_key(const struct trust_files *t, const uint8_t key[COROSYNC_KEY_LEN])
{
	uint8_t hash[COROSYNC_KEY_HASH_LEN];
	char name[NAME_MAX_LEN];

	corosync_key_hash(key, hash);
	key_name(hash, name);
	return trust_files_write(t, name, (struct str) { (const char *)key, COROSYNC_KEY_LEN });
}

bool trust_files_make_key(const struct trust_files *t, uint8_t ret_hash[COROSYNC_KEY_HASH_LEN])
{
	uint8_t key[COROSYNC_KEY_LEN];
	bool made = corosync_key_make(key);
	bool ok = made && trust_files_write_key(t, key) == 0;

	if (made)
		corosync_key_hash(key, ret_hash);
	OPENSSL_cleanse(key, sizeof(key));
	return ok;
}

bool trust_files_read_key(const struct trust_files *t, const uint8_t hash[COROSYNC_KEY_HASH_LEN],
			  uint8_t ret[COROSYNC_KEY_LEN])
{
	struct sbuf bytes = { 0 };
	char name[NAME_MAX_LEN];

	key_name(hash, name);
	bool ok = trust_files_read(t, name, COROSYNC_KEY_LEN, &bytes) == 0 && bytes.n == COROSYNC_KEY_LEN &&
		  corosync_key_is((struct str) { bytes.p, bytes.n }, hash);
	if (ok)
		memcpy(ret, bytes.p, COROSYNC_KEY_LEN);
	trust_wipe(&bytes);
	return ok;
}

bool trust_files_secret(const struct trust_files *t, const uint8_t hash[COROSYNC_KEY_HASH_LEN], const char *purpose,
			uint8_t ret[TRUST_SECRET_LEN])
{
	uint8_t key[COROSYNC_KEY_LEN];
	unsigned len;

	if (!trust_files_read_key(t, hash, key))
		return false;
	ASSERT(HMAC(EVP_sha256(), key, sizeof(key), (const uint8_t *)purpose, strlen(purpose), ret, &len) != NULL &&
	       len == TRUST_SECRET_LEN);
	OPENSSL_cleanse(key, sizeof(key));
	return true;
}

/* Calls for each file of the directory. */
static void each_file(const struct trust_files *t, void (*fn)(const char *path, const char *name, void *arg), void *arg)
{
	DIR *d = opendir(t->dir);

	for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
		if (e->d_name[0] == '.')
			continue;
		char *path = xasprintf("%s/%s", t->dir, e->d_name);
		fn(path, e->d_name, arg);
		free(path);
	}
	if (d != NULL)
		closedir(d);
}

static void remove_file(const char *path, const char *name, void *arg)
{
	UNUSED(name);
	UNUSED(arg);
	unlink(path);
}

struct kept_keys {
	char names[2][NAME_MAX_LEN];
	double now;
	bool spared;
};

static void remove_key(const char *path, const char *name, void *arg)
{
	struct kept_keys *k = arg;
	struct stat st;

	if (strncmp(name, "corosync-", 9) != 0 || strcmp(name, k->names[0]) == 0 || strcmp(name, k->names[1]) == 0)
		return;
	if (stat(path, &st) == 0 && (double)st.st_mtim.tv_sec + TRUST_KEY_YOUNG_SEC > k->now)
		k->spared = true;
	else
		unlink(path);
}

bool trust_files_keep_keys(const struct trust_files *t, const uint8_t a[COROSYNC_KEY_HASH_LEN],
			   const uint8_t b[COROSYNC_KEY_HASH_LEN], double now)
{
	struct kept_keys k = { .now = now };

	key_name(a, k.names[0]);
	key_name(b, k.names[1]);
	each_file(t, remove_key, &k);
	return !k.spared;
}

void trust_files_forget(struct trust_files *t)
{
	drop(t);
	each_file(t, remove_file, NULL);
	(void)sync_directory(t->dir);
}
