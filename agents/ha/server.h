/* SPDX-License-Identifier: Apache-2.0
 * The socket that postroadd connects to: one connection counts, the newest.
 */
#ifndef POSTROAD_AGENTS_HA_SERVER_H
#define POSTROAD_AGENTS_HA_SERVER_H

#include <sys/types.h>

#include "agents/ha/files.h"
#include "agents/ha/turn.h"
#include "cluster/vip/ha_protocol.h"

enum {
	SERVER_SEND_MAX = 16 << 20, /* bytes that may wait for a slow reader; beyond, it is left */
	SERVER_READ_MS = 50,        /* of a turn, for messages; then others have theirs */
	SERVER_REFUSED_MS = 1000    /* strangers are logged so often */
};

struct server_events {
	void *arg;
	/* A request that obeys the rules. The message is wiped when this returns. */
	void (*request)(struct ha_message *m, void *arg);
	/* The connection is over: closed, replaced, or it broke the rules. */
	void (*gone)(void *arg);
};

struct server {
	char path[FILES_PATH_MAX];
	const char *user; /* who may connect, beside root */
	bool user_found;
	uid_t uid;
	gid_t gid;
	struct server_events events;
	int listener, peer;
	ino_t inode; /* of the socket in the file system: it may be replaced with its directory */
	bool greeted;
	int64_t refused_at;
	struct ha_message *in;
	char *buffer; /* [HA_MESSAGE_MAX + 1] */
};

/* Listens at run_dir/HA_SOCKET_NAME; the directory is made if there is none, and given to that user if there is one:
 * as postroadd does. NULL, or a sentence the caller frees. */
char *server_open(struct server *s, const char *run_dir, const char *user) MUST_CHECK;
void server_close(struct server *s);
void server_turn(struct server *s, struct turn *turn);
/* Once a second: listens again where the socket was removed. */
void server_tick(struct server *s);
bool server_connected(const struct server *s);
/* To the peer, if there is one that has greeted. A peer that does not read is left. */
void server_send(struct server *s, struct ha_message *m);

#endif
