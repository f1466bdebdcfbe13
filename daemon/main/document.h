/* SPDX-License-Identifier: Apache-2.0
 * The configuration a node starts with: from the store, else what was kept when it left a cluster, else the node file's
 * initial_config, else an empty one. Private to main.
 */
#ifndef POSTROAD_MAIN_DOCUMENT_H
#define POSTROAD_MAIN_DOCUMENT_H

#include "cluster/store.h"
#include "daemon/conf/conf.h"

struct start_document {
	json_t *json; /* a reference of the caller's */
	uint64_t revision;
	const char *from;          /* for messages */
	const char *pointer;       /* where it stands in that, before each error's path */
	bool from_node_file, kept; /* to be stored as the first revision */
	json_t *runtime;     /* of what was kept: the run-time state that goes with it, the caller's; NULL = none */
	const char *warning; /* static; NULL = none */
};

/* store may be NULL (--check without one). False: errors say why. */
bool document_find(const struct node_config *n, struct store *store, struct start_document *ret,
		   struct errors *errors) MUST_CHECK;
/* The node file's document is the first revision now. 0 or -errno; *ret_failed: what could not be written. */
int document_remember(const struct node_config *n, json_t *document, const char **ret_failed) MUST_CHECK;
/* A node that leaves its cluster, and with it the log: what is in force becomes the first revision of its own, also if
 * it dies in between, with the run-time state that stays (NULL = none). 0 or -errno. */
int document_keep(const struct node_config *n, json_t *document, json_t *runtime) MUST_CHECK;
/* It is that now. */
void document_unkeep(const struct node_config *n);

#endif
