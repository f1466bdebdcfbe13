/* SPDX-License-Identifier: Apache-2.0
 * Nodes with certificates of one authority, each with its own struct peers, in one loop over loopback.
 */
#ifndef POSTROAD_TESTS_UNIT_CLUSTER_PEERS_FIXTURE_H
#define POSTROAD_TESTS_UNIT_CLUSTER_PEERS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <event2/util.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/cluster/peers.h"

struct node {
	struct loop *loop;
	struct peers *peers;
	struct addr at;
	struct sbuf key, pem;
	struct ca_identity who;
	uint32_t refuses; /* this id is no member, says the node's table */
	struct channel_config config;
	/* of the last request that came to fn_hold() */
	struct peers_request *held;
	unsigned served;
};

static inline bool node_member(void *arg, const struct ca_identity *peer)
{
	const struct node *n = arg;

	return peer->id != n->refuses;
}

static inline struct addr free_port(void)
{
	struct addr at;
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(addr_parse("127.0.0.1:1", 0, &at));
	addr_set_port(&at, 0);
	assert_int_equal(bind(fd, &at.sa, addr_len(&at)), 0);
	assert_int_equal(getsockname(fd, &at.sa, &len), 0);
	close(fd);
	return at;
}

static inline struct ca *authority(const char *cluster)
{
	char *why = NULL;
	struct ca *ca = ca_make(cluster, (double)time(NULL), &why);

	assert_non_null(ca);
	return ca;
}

/* ca NULL: a node of no cluster. */
static inline void node_init(struct node *n, struct loop *loop, const struct ca *ca, uint32_t id)
{
	struct sbuf request = { 0 };
	char *why = NULL;

	*n = (struct node) { .loop = loop, .at = free_port(), .who = { .name = "n", .cluster = "mail", .id = id } };
	n->peers = peers_new(loop);
	if (ca == NULL)
		return;
	assert_true(ca_request_make(&n->key, &request));
	assert_true(ca_issue(ca, (struct str) { request.p, request.n }, &n->who, (double)time(NULL), &n->pem, &why));
	n->config = (struct channel_config) { ca, { n->pem.p, n->pem.n }, { n->key.p, n->key.n }, node_member, n };
	assert_true(peers_identity(n->peers, &n->config, &why));
	assert_true(peers_listen(n->peers, &n->at, 1, &why));
	sbuf_fini(&request);
}

static inline void node_fini(struct node *n)
{
	peers_free(n->peers);
	sbuf_fini(&n->key);
	sbuf_fini(&n->pem);
}

struct answer {
	bool came;
	int status;
	struct sbuf body;
};

static inline void on_answer(int status, struct str body, void *arg)
{
	struct answer *a = arg;

	assert_false(a->came);
	a->came = true;
	a->status = status;
	sbuf_add(&a->body, body.p, body.n);
	sbuf_putc(&a->body, '\0');
}

static inline void answer_reset(struct answer *a)
{
	sbuf_fini(&a->body);
	*a = (struct answer) { 0 };
}

/* Turns of the loop until cond; a minute is for ever. */
#define TURN_UNTIL(loop, cond)                                                                                         \
	do {                                                                                                           \
		int64_t until = clock_mono_ms() + 60000;                                                               \
		while (!(cond)) {                                                                                      \
			assert_true(clock_mono_ms() < until);                                                          \
			loop_turn(loop, true);                                                                         \
		}                                                                                                      \
	} while (0)

static inline struct peers_call_options options_to(const struct node *to, const char *path, struct str body)
{
	return (struct peers_call_options) {
		.to = to->at, .id = to->who.id, .path = path, .body = body, .deadline_ms = 30000
	};
}

static inline void call_and_wait(struct node *from, const struct peers_call_options *o, struct answer *a)
{
	assert_int_equal(peers_call(from->peers, o, on_answer, a), 0);
	TURN_UNTIL(from->loop, a->came);
}

#endif
