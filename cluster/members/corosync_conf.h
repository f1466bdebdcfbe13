/* SPDX-License-Identifier: Apache-2.0
 * corosync.conf as text: a function of typed values alone, each checked before it is written.
 *
 * Corosync runs as root, so whoever renders this for it takes values, never text made elsewhere: a name with a line
 * feed in it would be a section of its own. Pure, and needs nothing of the room but this header and its source. Source:
 * corosync.conf(5) of corosync 3.1.
 */
#ifndef POSTROAD_CLUSTER_MEMBERS_COROSYNC_CONF_H
#define POSTROAD_CLUSTER_MEMBERS_COROSYNC_CONF_H

#include "daemon/base/addr.h"
#include "daemon/base/str.h"

enum {
	COROSYNC_CONF_NODES_MAX = 32,
	COROSYNC_CONF_LINKS_MAX = 2,
	COROSYNC_CONF_NAME_MAX = 63,
	COROSYNC_CONF_PATH_MAX = 255,
	COROSYNC_CONF_TOKEN_MS = 1500,
	COROSYNC_CONF_TOKEN_MIN_MS = 130, /* below, a retransmit would come within 30 ms, which corosync refuses */
	COROSYNC_CONF_TOKEN_MAX_MS = 60000,
	COROSYNC_CONF_COEFFICIENT_MS = 125, /* for each node beyond the second */
	COROSYNC_CONF_PORT = 5405           /* UDP, of link 0; link 1 has the next */
};

struct corosync_conf_node {
	uint32_t id; /* not 0 */
	char name[COROSYNC_CONF_NAME_MAX + 1];
	size_t n_links; /* as many as each other node has */
	struct addr links[COROSYNC_CONF_LINKS_MAX];
};

/* Zero or "" = as corosync has it, unless said otherwise. */
struct corosync_conf {
	char cluster[COROSYNC_CONF_NAME_MAX + 1];
	uint64_t generation;                        /* config_version; not 0 */
	unsigned token_ms;                          /* 0 = COROSYNC_CONF_TOKEN_MS */
	unsigned coefficient_ms;                    /* UINT_MAX = 0; 0 = COROSYNC_CONF_COEFFICIENT_MS */
	unsigned port;                              /* 0 = COROSYNC_CONF_PORT */
	bool no_realtime;                           /* tests: several on one machine would starve it */
	char user[33];                              /* who may talk to it beside root */
	char keyfile[COROSYNC_CONF_PATH_MAX + 1];   /* needed */
	char state_dir[COROSYNC_CONF_PATH_MAX + 1]; /* of corosync */
	char logfile[COROSYNC_CONF_PATH_MAX + 1];   /* "" = the system's log */
	size_t n;
	struct corosync_conf_node nodes[COROSYNC_CONF_NODES_MAX];
};

/* NULL = it can be written, or what is wrong with it. */
const char *corosync_conf_check(const struct corosync_conf *c);
/* Appends the text. The values must pass corosync_conf_check(). The same values give the same bytes. */
void corosync_conf_render(const struct corosync_conf *c, struct sbuf *out);

#endif
