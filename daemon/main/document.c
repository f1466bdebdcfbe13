/* SPDX-License-Identifier: Apache-2.0
 * The configuration a node starts with.
 *
 * initial_config is used once. People edit it later all the same and wonder; so the hash of what was used is kept, and
 * an edit since then is a warning at each start.
 */
#include "daemon/main/document.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/base/file.h"

#define HASH_FILE "initial_config.sha256"
#define KEPT_FILE "left.json"                 /* there only between leaving a cluster and the first write after it */
#define KEPT_RUNTIME_FILE "left_runtime.json" /* counts beside the other one only */
#define HEX_LEN (2 * SHA256_DIGEST_LENGTH)

static void hash_of(json_t *document, char hex[HEX_LEN + 1])
{
	uint8_t md[SHA256_DIGEST_LENGTH];
	char *text = json_dumps(document, JSON_COMPACT | JSON_SORT_KEYS);

	ASSERT(text != NULL);
	SHA256((const uint8_t *)text, strlen(text), md);
	free(text);
	for (size_t i = 0; i < sizeof(md); i++)
		snprintf(hex + 2 * i, 3, "%02x", md[i]);
}

static int write_hash(const struct node_config *n, char *hex)
{
	char *path = xasprintf("%s/" HASH_FILE, n->state_dir);
	int rc = file_replace(path, (struct str) { (char *)hex, HEX_LEN });

	free(path);
	return rc;
}

static bool hash_is_kept(const struct node_config *n, const char *hex)
{
	char *path = xasprintf("%s/" HASH_FILE, n->state_dir), kept[HEX_LEN];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool same = fd >= 0 && read(fd, kept, HEX_LEN) == HEX_LEN && memcmp(kept, hex, HEX_LEN) == 0;

	if (fd >= 0)
		close(fd);
	free(path);
	return same;
}

static const char *edit_warning(const struct node_config *n)
{
	char hex[HEX_LEN + 1];

	if (n->initial_config == NULL)
		return NULL;
	hash_of(n->initial_config, hex);
	if (hash_is_kept(n, hex))
		return NULL;
	return "initial_config in the node file differs from what was used: the edit has no effect, change the "
	       "configuration "
	       "through the API";
}

/* ---- what was in force in a cluster ---- */

static int keep_file(const struct node_config *n, const char *name, json_t *document)
{
	char *path = xasprintf("%s/%s", n->state_dir, name), *text = json_dumps(document, JSON_COMPACT);

	ASSERT(text != NULL);
	int err = file_replace(path, str_from(text));
	explicit_bzero(text, strlen(text));
	free(text);
	free(path);
	return err;
}

static void unkeep_file(const struct node_config *n, const char *name)
{
	char *path = xasprintf("%s/%s", n->state_dir, name);

	unlink(path);
	free(path);
}

int document_keep(const struct node_config *n, json_t *document, json_t *runtime)
{
	int err = 0;

	if (runtime != NULL)
		err = keep_file(n, KEPT_RUNTIME_FILE, runtime);
	else
		unkeep_file(n, KEPT_RUNTIME_FILE);
	return err == 0 ? keep_file(n, KEPT_FILE, document) : err;
}

void document_unkeep(const struct node_config *n)
{
	unkeep_file(n, KEPT_FILE);
	unkeep_file(n, KEPT_RUNTIME_FILE);
}

/* NULL: no such file, or none that can be read. */
static json_t *kept_document(const struct node_config *n, const char *name)
{
	char *path = xasprintf("%s/%s", n->state_dir, name);
	json_t *document = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);

	free(path);
	return document;
}

bool document_find(const struct node_config *n, struct store *store, struct start_document *ret, struct errors *errors)
{
	const struct entry *e = store == NULL ? NULL : store_last(store, ENTRY_CONFIG);

	*ret = (struct start_document) { .from = "the stored configuration", .pointer = "" };
	if (e != NULL) {
		ret->json = conf_read_json(e->document.p, e->document.n, errors);
		ret->revision = e->revision;
		ret->warning = edit_warning(n);
	} else if (store != NULL && !store_identity(store).joined &&
		   (ret->json = kept_document(n, KEPT_FILE)) != NULL) {
		ret->from = "the configuration of the cluster that was left";
		ret->kept = true;
		ret->runtime = kept_document(n, KEPT_RUNTIME_FILE);
	} else if (n->initial_config != NULL) {
		ret->json = json_incref(n->initial_config);
		ret->from = "the node file";
		ret->pointer = "/initial_config";
		ret->from_node_file = true;
	} else {
		ret->from = "an empty configuration";
		ret->json = json_pack("{s:i}", "version", 1);
	}
	return ret->json != NULL;
}

int document_remember(const struct node_config *n, json_t *document, const char **ret_failed)
{
	char hex[HEX_LEN + 1];

	*ret_failed = HASH_FILE;
	hash_of(document, hex);
	return write_hash(n, hex);
}
