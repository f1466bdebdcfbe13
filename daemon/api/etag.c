/* SPDX-License-Identifier: Apache-2.0
 * Entity tags of the configuration.
 *
 * The hard thing is that a tag is shown to whoever may read, and is made of what only few may read: a plain hash would
 * let a viewer test guesses of a password against it. So it is keyed (RFC 2104): by a secret that the members of a
 * cluster share, since what one of them shows is sent to another; by one of its own on a node alone. The key changes
 * when a node founds, joins or leaves a cluster and when the cluster's keys are rotated: whoever read before gets 412
 * and reads again.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/api/api_private.h"
#include "daemon/base/file.h"

#define KEY_FILE "etag.key"

/* ---- the key ---- */

static bool read_key(const char *path, struct etag_key *ret)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool whole = fd >= 0 && read(fd, ret->bytes, sizeof(ret->bytes)) == (ssize_t)sizeof(ret->bytes);

	if (fd >= 0)
		close(fd);
	return whole;
}

bool etag_key_load(const char *state_dir, struct etag_key *ret)
{
	char *path = xasprintf("%s/" KEY_FILE, state_dir);
	bool kept = read_key(path, ret);

	if (!kept) {
		ASSERT(RAND_bytes(ret->bytes, sizeof(ret->bytes)) == 1);
		kept = file_replace(path, (struct str) { (char *)ret->bytes, sizeof(ret->bytes) }) == 0;
	}
	free(path);
	return kept;
}

/* ---- tags ---- */

static void keyed_hash(const struct api *a, const void *p, size_t n, uint8_t out[EVP_MAX_MD_SIZE])
{
	struct etag_key key = a->etag_key;
	unsigned len;

	if (a->env.shared_key != NULL && !a->env.shared_key(key.bytes, a->env.arg))
		key = a->etag_key;
	ASSERT(HMAC(EVP_sha256(), key.bytes, sizeof(key.bytes), p, n, out, &len) != NULL);
	OPENSSL_cleanse(&key, sizeof(key));
}

void etag_of_entry(const struct api *a, uint64_t revision, const uint8_t *hash, char out[64])
{
	uint8_t md[EVP_MAX_MD_SIZE];

	keyed_hash(a, hash, ENTRY_HASH_LEN, md);
	snprintf(out, 64, "\"r%llu-%02x%02x%02x%02x\"", (unsigned long long)revision, md[0], md[1], md[2], md[3]);
}

void etag_of_document(const struct api *a, char out[64])
{
	static const uint8_t none[ENTRY_HASH_LEN];
	const struct entry *e = store_last(a->env.store, ENTRY_CONFIG);

	etag_of_entry(a, e == NULL ? 0 : e->revision, e == NULL ? none : e->hash, out);
}

void etag_of_object(const struct api *a, const json_t *object, char out[64])
{
	uint8_t md[EVP_MAX_MD_SIZE];
	char *text = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);

	ASSERT(text != NULL);
	keyed_hash(a, text, strlen(text), md);
	OPENSSL_cleanse(text, strlen(text));
	free(text);
	snprintf(out, 64, "\"o%02x%02x%02x%02x%02x%02x%02x%02x\"", md[0], md[1], md[2], md[3], md[4], md[5], md[6],
		 md[7]);
}
