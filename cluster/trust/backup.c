/* SPDX-License-Identifier: Apache-2.0
 * Backups: parts, sealed; and back.
 *
 * The hard thing: a restore that stops half way leaves a cluster of two halves. So nothing is handed out before the
 * last piece was genuine and the parts were found to belong together.
 */
#include "cluster/trust/backup.h"

#include <errno.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#include "cluster/members/members.h"
#include "cluster/trust/ca.h"
#include "cluster/trust/corosync_key.h"

enum { READER_MAGIC = 0x626b7264, LINE_MAX_LEN = 64 };
#define FIRST_LINE "PRBACKUP 1"

const char *const backup_part_names[BACKUP_PARTS] = {
	[BACKUP_MANIFEST] = "manifest",
	[BACKUP_CONFIGURATION] = "configuration",
	[BACKUP_RUNTIME] = "run-time",
	[BACKUP_MEMBERS] = "members",
	[BACKUP_CA_CERTIFICATE] = "ca-certificate",
	[BACKUP_CA_KEY] = "ca-key",
	[BACKUP_COROSYNC_KEY] = "corosync-key",
};
static const size_t part_max[BACKUP_PARTS] = {
	[BACKUP_MANIFEST] = 64 * 1024,
	[BACKUP_CONFIGURATION] = CORE_DOCUMENT_MAX,
	[BACKUP_RUNTIME] = CORE_DOCUMENT_MAX,
	[BACKUP_MEMBERS] = MEMBERS_DOCUMENT_MAX,
	[BACKUP_CA_CERTIFICATE] = CA_PEM_MAX,
	[BACKUP_CA_KEY] = CA_PEM_MAX,
	[BACKUP_COROSYNC_KEY] = COROSYNC_KEY_LEN,
};

static void drop(struct backup *b, enum backup_part part)
{
	if (b->part[part].p != NULL)
		OPENSSL_cleanse(b->part[part].p, b->part[part].n);
	free(b->part[part].p);
	b->part[part].p = NULL;
	b->part[part].n = 0;
}

bool backup_set(struct backup *b, enum backup_part part, struct str bytes)
{
	if (bytes.n > part_max[part])
		return false;
	drop(b, part);
	b->part[part].p = xmalloc(bytes.n + 1);
	b->part[part].n = bytes.n;
	if (bytes.n > 0)
		memcpy(b->part[part].p, bytes.p, bytes.n);
	return true;
}

struct str backup_get(const struct backup *b, enum backup_part part)
{
	return (struct str) { b->part[part].p, b->part[part].n };
}

void backup_fini(struct backup *b)
{
	for (unsigned i = 0; i < BACKUP_PARTS; i++)
		drop(b, i);
}

/* ---- whether it is whole ---- */

static bool has(const struct backup *b, enum backup_part part)
{
	return b->part[part].p != NULL;
}

static char *check_json(const struct backup *b, enum backup_part part)
{
	json_error_t e;
	json_t *o = json_loadb(b->part[part].p, b->part[part].n, JSON_REJECT_DUPLICATES, &e);
	bool good = json_is_object(o);

	json_decref(o);
	return good ? NULL : xasprintf("Its part `%s` is no JSON object.", backup_part_names[part]);
}

static char *check_authority(const struct backup *b)
{
	char *why = NULL;
	struct ca *ca = ca_load(backup_get(b, BACKUP_CA_CERTIFICATE), backup_get(b, BACKUP_CA_KEY), &why);

	if (ca != NULL && !ca_can_issue(ca))
		why = xstrdup("The key of the cluster's authority is empty");
	ca_free(ca);
	return why;
}

static char *check_cluster(const struct backup *b)
{
	char *why = NULL;
	struct members *t = members_decode(backup_get(b, BACKUP_MEMBERS), &why);

	if (t == NULL)
		return why;
	if (t->bare)
		why = xstrdup("Its table of nodes is not whole: back up again after the forced quorum has settled.");
	else if (!corosync_key_is(backup_get(b, BACKUP_COROSYNC_KEY), t->key))
		why = xstrdup("Its corosync key is not the one that its table of nodes names.");
	else
		why = check_authority(b);
	members_free(t);
	return why;
}

char *backup_check(const struct backup *b)
{
	unsigned of_cluster = 0, all = BACKUP_PARTS - BACKUP_MEMBERS;
	char *why = NULL;

	for (unsigned i = BACKUP_MEMBERS; i < BACKUP_PARTS; i++)
		of_cluster += has(b, i);
	if (!has(b, BACKUP_MANIFEST) || !has(b, BACKUP_CONFIGURATION))
		return xstrdup("It has no manifest or no configuration.");
	if (of_cluster != 0 && of_cluster != all)
		return xstrdup("It has some parts of a cluster and lacks others.");
	why = check_json(b, BACKUP_MANIFEST);
	if (why == NULL)
		why = check_json(b, BACKUP_CONFIGURATION);
	if (why == NULL && of_cluster != 0)
		why = check_cluster(b);
	return why;
}

/* ---- out ---- */

static int write_part(struct seal *s, const char *name, struct str bytes)
{
	char line[LINE_MAX_LEN];
	int n = snprintf(line, sizeof(line), "%s %zu\n", name, bytes.n), rc;

	if ((rc = seal_write(s, (struct str) { line, (size_t)n })) != 0 || (rc = seal_write(s, bytes)) != 0)
		return rc;
	return seal_write(s, STR("\n"));
}

int backup_write(const struct backup *b, struct str passphrase, unsigned cost, seal_sink_fn *sink, void *arg,
		 char **ret_why)
{
	const char *text = "";

	*ret_why = backup_check(b);
	if (*ret_why != NULL)
		return -EBADMSG;
	struct seal *s = seal_new(passphrase, cost, sink, arg, &text);
	if (s == NULL) {
		*ret_why = xstrdup(text);
		return -EBADMSG;
	}
	int rc = seal_write(s, STR(FIRST_LINE "\n"));
	for (unsigned i = 0; i < BACKUP_PARTS && rc == 0; i++)
		if (has(b, i))
			rc = write_part(s, backup_part_names[i], backup_get(b, i));
	if (rc == 0)
		rc = write_part(s, "end", STR(""));
	if (rc == 0)
		rc = seal_end(s);
	seal_free(s);
	return rc;
}

/* ---- in ---- */

struct backup_reader {
	uint32_t magic;
	struct unseal *unseal;
	struct backup b;
	const char *why; /* what is wrong inside; static */
	char line[LINE_MAX_LEN];
	size_t line_len;
	int part; /* whose bytes come; -1 = a line comes, -2 = the first line, BACKUP_PARTS = the end was there */
	size_t got;
};

static int wrong(struct backup_reader *r, const char *why)
{
	r->why = why;
	return -EBADMSG;
}

static int on_line(struct backup_reader *r)
{
	char *space = strchr(r->line, ' '), again[LINE_MAX_LEN];

	if (r->part == -2) {
		r->part = -1;
		return strcmp(r->line, FIRST_LINE) == 0 ? 0 : wrong(r, "This is no backup, or one of a newer version.");
	}
	if (space == NULL)
		return wrong(r, "The backup is not of the form of this version.");
	*space = '\0';
	size_t n = strtoul(space + 1, NULL, 10);
	snprintf(again, sizeof(again), "%zu", n);
	if (strcmp(again, space + 1) != 0)
		return wrong(r, "The backup is not of the form of this version.");
	if (strcmp(r->line, "end") == 0 && n == 0) {
		r->part = BACKUP_PARTS;
		r->got = 0;
		return 0;
	}
	for (int i = 0; i < BACKUP_PARTS; i++)
		if (strcmp(r->line, backup_part_names[i]) == 0 && n <= part_max[i] &&
		    !has(&r->b, (enum backup_part)i)) {
			r->part = i;
			r->got = 0;
			r->b.part[i].p = xmalloc(n + 1);
			r->b.part[i].n = n;
			memset(r->b.part[i].p, 0, n + 1);
			return 0;
		}
	return wrong(r, "The backup has a part that is too large, stands twice, or is of a newer version.");
}

static int take_line(struct backup_reader *r, char c)
{
	if (c != '\n' && r->line_len == sizeof(r->line) - 1)
		return wrong(r, "This is no backup, or a damaged one.");
	if (c != '\n') {
		r->line[r->line_len++] = c;
		return 0;
	}
	r->line[r->line_len] = '\0';
	r->line_len = 0;
	return on_line(r);
}

static int on_bytes(void *arg, struct str bytes)
{
	struct backup_reader *r = arg;
	int rc = 0;

	while (bytes.n > 0 && rc == 0) {
		size_t used = 1;
		if (r->part < 0) {
			rc = take_line(r, bytes.p[0]);
		} else if (r->part == BACKUP_PARTS) {
			/* The line feed behind an end that has no bytes. */
			rc = bytes.p[0] == '\n' && r->got++ == 0 ? 0
								 : wrong(r, "Something follows the end of the backup.");
		} else if (r->got < r->b.part[r->part].n) {
			size_t left = r->b.part[r->part].n - r->got;
			used = bytes.n < left ? bytes.n : left;
			memcpy(r->b.part[r->part].p + r->got, bytes.p, used);
			r->got += used;
		} else {
			rc = bytes.p[0] == '\n' ? 0 : wrong(r, "This is no backup, or a damaged one.");
			r->part = -1;
		}
		bytes.p += used;
		bytes.n -= used;
	}
	return rc;
}

struct backup_reader *backup_reader_new(struct str passphrase)
{
	struct backup_reader *r;

	NEW_OBJ(r, READER_MAGIC);
	r->part = -2;
	r->unseal = unseal_new(passphrase, on_bytes, r);
	return r;
}

int backup_reader_take(struct backup_reader *r, struct str bytes)
{
	CHECK_OBJ(r, READER_MAGIC);
	return unseal_write(r->unseal, bytes);
}

bool backup_reader_end(struct backup_reader *r, struct backup *ret, char **ret_why)
{
	CHECK_OBJ(r, READER_MAGIC);
	if (unseal_end(r->unseal) != 0) {
		*ret_why = xstrdup(r->why != NULL ? r->why : unseal_why(r->unseal));
		return false;
	}
	if (r->part != BACKUP_PARTS || r->got != 1) {
		*ret_why = xstrdup("The backup has no end.");
		return false;
	}
	*ret_why = backup_check(&r->b);
	if (*ret_why != NULL)
		return false;
	*ret = r->b;
	r->b = (struct backup) { 0 };
	return true;
}

void backup_reader_free(struct backup_reader *r)
{
	if (r == NULL)
		return;
	CHECK_OBJ(r, READER_MAGIC);
	unseal_free(r->unseal);
	backup_fini(&r->b);
	OPENSSL_cleanse(r->line, sizeof(r->line));
	FREE_OBJ(r);
}
