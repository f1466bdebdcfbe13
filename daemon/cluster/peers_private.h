/* SPDX-License-Identifier: Apache-2.0
 * What the files of peers share.
 */
#ifndef POSTROAD_CLUSTER_PEERS_PRIVATE_H
#define POSTROAD_CLUSTER_PEERS_PRIVATE_H

#include "daemon/base/list.h"
#include "daemon/base/log.h"
#include "daemon/cluster/http_head.h"
#include "daemon/cluster/peers.h"
#include "daemon/net/listener.h"
#include "daemon/net/stream_tls.h"

enum {
	PEERS_SOURCES = 256, /* slots; two sources may share one */
	PEERS_SOURCE_BURST = 32,
	PEERS_SOURCE_RATE = 8, /* handshakes a second from one source that are not a member's */
};

struct peers_path {
	const char *path;
	bool strangers;
	size_t body_max;
	peers_serve_fn *fn;
	void *arg;
};

struct peers_source {
	double spent; /* handshakes, less what was given back */
	int64_t at_ms;
};

struct peers {
	uint32_t magic;
	struct loop *loop;
	SSL_CTX *server, *client, *anonymous; /* NULL = not a member */
	channel_member_fn *member;
	void *member_arg;
	struct listener *listeners[PEERS_LISTEN_MAX];
	size_t n_listeners, n_paths, n_requests, n_calls;
	struct peers_path paths[PEERS_PATHS_MAX];
	struct list requests; /* oldest first */
	struct list calls;
	struct peers_source sources[PEERS_SOURCES];
	void *owned[PEERS_PATHS_MAX];
	size_t n_owned;
	bool closing;
};

#define PEERS_MAGIC 0x50454552u

/* What comes in on a connection: a head in a place of its own, then a body of a length that is known. No byte of it is
 * left behind in memory that was freed. */
struct peers_inbox {
	char head[HTTP_HEAD_MAX];
	size_t head_n;
	struct http_head parsed; /* once body != NULL */
	char *body;
	size_t body_n;
};

enum peers_inbox_state { PEERS_INBOX_HEAD, PEERS_INBOX_BODY, PEERS_INBOX_WHOLE, PEERS_INBOX_BAD };
typedef int peers_parse_fn(struct str bytes, struct http_head *ret);
/* Takes bytes and wipes them where they were. HEAD_DONE is told by the caller's judge (NULL = all good), which may say
 * no to a body before it is read: then BAD. */
enum peers_inbox_state peers_inbox_take(struct peers_inbox *in, char *p, size_t n, peers_parse_fn *parse,
					bool (*judge)(const struct http_head *h, void *arg), void *arg) MUST_CHECK;
void peers_inbox_fini(struct peers_inbox *in);

/* peers_server.c */
listener_accept_fn peers_accepted;
void peers_server_end(struct peers *p);
/* peers_client.c */
void peers_client_end(struct peers *p);

#endif
