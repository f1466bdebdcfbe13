/* SPDX-License-Identifier: Apache-2.0
 * What a backup of a cluster is: everything that a restore needs, secrets among it, as one sealed stream.
 *
 * Inside the seal: "PRBACKUP 1", then each part as a line `NAME BYTES`, its bytes and a line feed, then `end 0`. A
 * restore has all of it in memory and found good before the first byte of it is used.
 */
#ifndef POSTROAD_CLUSTER_TRUST_BACKUP_H
#define POSTROAD_CLUSTER_TRUST_BACKUP_H

#include "cluster/trust/seal.h"

enum backup_part {
	BACKUP_MANIFEST,      /* JSON, for people: version, cluster, node, when, positions */
	BACKUP_CONFIGURATION, /* the document with its secrets */
	BACKUP_RUNTIME,       /* run-time state; may be missing */
	BACKUP_MEMBERS,       /* the table of nodes; this and what follows: of a cluster, all or none */
	BACKUP_CA_CERTIFICATE,
	BACKUP_CA_KEY,
	BACKUP_COROSYNC_KEY,
	BACKUP_PARTS
};
extern const char *const backup_part_names[BACKUP_PARTS];

/* Parts are owned; missing = p is NULL. */
struct backup {
	struct {
		char *p;
		size_t n;
	} part[BACKUP_PARTS];
};

/* Copies. False: longer than a part of that kind may be. */
bool backup_set(struct backup *b, enum backup_part part, struct str bytes) MUST_CHECK;
/* Borrowed. */
struct str backup_get(const struct backup *b, enum backup_part part);
/* Wipes and frees all parts. */
void backup_fini(struct backup *b);
/* NULL = whole and of one piece, or a sentence: what is missing, no JSON, keys that do not belong together. The caller
 * frees it. Whether the configuration is valid its schema must say. */
char *backup_check(const struct backup *b);

/* Checks and seals. 0; -EBADMSG and *ret_why (the caller frees it); or the sink's error. */
int backup_write(const struct backup *b, struct str passphrase, unsigned cost, seal_sink_fn *sink, void *arg,
		 char **ret_why) MUST_CHECK;

struct backup_reader;
struct backup_reader *backup_reader_new(struct str passphrase);
/* Bytes of the file as they come. 0, or -EBADMSG for good. */
int backup_reader_take(struct backup_reader *r, struct str bytes) MUST_CHECK;
/* The end of the file. True: *ret holds a backup that was found good, the caller's to backup_fini(). False: *ret_why,
 * which the caller frees. */
bool backup_reader_end(struct backup_reader *r, struct backup *ret, char **ret_why) MUST_CHECK;
void backup_reader_free(struct backup_reader *r);

#endif
