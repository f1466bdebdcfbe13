/* SPDX-License-Identifier: Apache-2.0
 * The files of a member: who may believe whom, below state_dir/trust (0700, files 0600), and the newest table of nodes
 * this node was told of, for a start without the others; and since when it has written alone.
 *
 *	ca.pem, ca.key, node.pem, node.key, node.next.pem, node.next.key, table, alone, corosync-HASH.key
 */
#ifndef POSTROAD_DAEMON_CLUSTER_TRUST_FILES_H
#define POSTROAD_DAEMON_CLUSTER_TRUST_FILES_H

#include "cluster/trust/ca.h"
#include "cluster/trust/corosync_key.h"

enum {
	TRUST_SECRET_LEN = 32,
	TRUST_KEY_YOUNG_SEC = 300 /* longer than a change is looked at, waits and is decided */
};
#define TRUST_NEXT_KEY "node.next.key"
#define TRUST_NEXT_CERTIFICATE "node.next.pem"

/* PEM texts; the keys are secrets. */
struct trust_files {
	char *dir;
	struct ca *ca; /* NULL = none is here; without its key where this node may not issue */
	struct sbuf certificate, key;
};

/* Makes the directory. False: errno says why. */
bool trust_files_open(struct trust_files *t, const char *state_dir) MUST_CHECK;
/* Wipes what is in memory. */
void trust_files_close(struct trust_files *t);
/* Reads authority, certificate and key; where these two do not belong together, a trust_files_promote() was
 * interrupted, and is ended; where the next pair is the one in use, it is forgotten. False: *ret_why is a sentence the caller frees, all is as before. */
bool trust_files_load(struct trust_files *t, char **ret_why) MUST_CHECK;
/* The next certificate and key take the place of those in use, on disk. False: errno, and both pairs are there. */
bool trust_files_promote(const struct trust_files *t) MUST_CHECK;
/* Forgets the next ones. */
void trust_files_drop_next(const struct trust_files *t);
/* One file, whole or not at all, durable. 0 or -errno. */
int trust_files_write(const struct trust_files *t, const char *name, struct str bytes) MUST_CHECK;
/* Appends; 0 or -errno. */
int trust_files_read(const struct trust_files *t, const char *name, size_t max, struct sbuf *out) MUST_CHECK;
int trust_files_write_key(const struct trust_files *t, const uint8_t key[COROSYNC_KEY_LEN]) MUST_CHECK;
/* A new key, kept; its hash comes out. False: there is no randomness, or it cannot be kept. */
bool trust_files_make_key(const struct trust_files *t, uint8_t ret_hash[COROSYNC_KEY_HASH_LEN]) MUST_CHECK;
/* False: no key with this hash is here. The caller wipes it. */
bool trust_files_read_key(const struct trust_files *t, const uint8_t hash[COROSYNC_KEY_HASH_LEN],
			  uint8_t ret[COROSYNC_KEY_LEN]) MUST_CHECK;
/* A secret for one purpose, made from the key with this hash: nothing of the key can be told from it (HMAC, RFC 2104).
 * False as above. The caller wipes it. */
bool trust_files_secret(const struct trust_files *t, const uint8_t hash[COROSYNC_KEY_HASH_LEN], const char *purpose,
			uint8_t ret[TRUST_SECRET_LEN]) MUST_CHECK;
/* Forgets corosync's keys but those with one of two hashes, and those written less than TRUST_KEY_YOUNG_SEC before
 * `now` (seconds since 1970): of a change that is in no table yet. False: such were spared, to be asked again. */
bool trust_files_keep_keys(const struct trust_files *t, const uint8_t a[COROSYNC_KEY_HASH_LEN],
			   const uint8_t b[COROSYNC_KEY_HASH_LEN], double now);
/* Forgets everything, on disk and in memory. */
void trust_files_forget(struct trust_files *t);
/* Wipes a builder that held a secret and frees it. */
void trust_wipe(struct sbuf *b);

#endif
