/* SPDX-License-Identifier: Apache-2.0
 * Calls between nodes: what both sides have in common.
 *
 * The hard thing is that bodies hold keys: each is held in one piece of memory of a length known before, which is
 * wiped, so that nothing stays behind where a growing buffer was moved.
 */
#include <openssl/crypto.h>
#include <stdlib.h>

#include "daemon/cluster/peers_private.h"

/* ---- what comes in ---- */

/* The head is whole: its body's bytes that came with it move to their place. Returns whether all is well. */
static bool begin_body(struct peers_inbox *in, int head, bool (*judge)(const struct http_head *h, void *arg), void *arg)
{
	size_t over = in->head_n - (size_t)head;

	if ((judge != NULL && !judge(&in->parsed, arg)) || over > in->parsed.length)
		return false;
	in->body = xmalloc(in->parsed.length + 1);
	memcpy(in->body, in->head + head, over);
	in->body[in->parsed.length] = '\0';
	in->body_n = over;
	OPENSSL_cleanse(in->head + head, over);
	return true;
}

enum peers_inbox_state peers_inbox_take(struct peers_inbox *in, char *p, size_t n, peers_parse_fn *parse,
					bool (*judge)(const struct http_head *h, void *arg), void *arg)
{
	size_t room = in->body != NULL ? in->parsed.length - in->body_n : sizeof(in->head) - in->head_n;
	size_t take = n < room ? n : room;
	bool was_head = in->body == NULL;
	int head = 0;

	memcpy(was_head ? in->head + in->head_n : in->body + in->body_n, p, take);
	*(was_head ? &in->head_n : &in->body_n) += take;
	if (was_head) {
		head = parse((struct str) { in->head, in->head_n }, &in->parsed);
		if (head < 0 || (head > 0 && !begin_body(in, head, judge, arg)))
			take = SIZE_MAX;
	}
	if (take == SIZE_MAX || (head == 0 && was_head)) {
		OPENSSL_cleanse(p, n);
		return take == SIZE_MAX ? PEERS_INBOX_BAD : PEERS_INBOX_HEAD;
	}
	/* The first bytes of a body filled the head's room; the rest goes where it belongs. */
	if (was_head && take < n)
		return peers_inbox_take(in, p + take, n - take, parse, judge, arg);
	OPENSSL_cleanse(p, n);
	if (take < n)
		return PEERS_INBOX_BAD; /* more than was announced */
	return in->body_n == in->parsed.length ? PEERS_INBOX_WHOLE : PEERS_INBOX_BODY;
}

void peers_inbox_fini(struct peers_inbox *in)
{
	OPENSSL_cleanse(in->head, sizeof(in->head));
	if (in->body != NULL)
		OPENSSL_cleanse(in->body, in->parsed.length);
	free(in->body);
	in->body = NULL;
}

/* ---- start and end ---- */

struct peers *peers_new(struct loop *loop)
{
	struct peers *p;

	NEW_OBJ(p, PEERS_MAGIC);
	p->loop = loop;
	list_init(&p->requests);
	list_init(&p->calls);
	return p;
}

static void forget_identity(struct peers *p)
{
	SSL_CTX_free(p->server);
	SSL_CTX_free(p->client);
	SSL_CTX_free(p->anonymous);
	p->server = p->client = p->anonymous = NULL;
	p->member = NULL;
}

static void close_listeners(struct listener **list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] != NULL)
			listener_close(list[i]);
}

void peers_free(struct peers *p)
{
	if (p == NULL)
		return;
	CHECK_OBJ(p, PEERS_MAGIC);
	p->closing = true;
	close_listeners(p->listeners, p->n_listeners);
	peers_client_end(p);
	peers_server_end(p);
	forget_identity(p);
	for (size_t i = 0; i < p->n_owned; i++)
		free(p->owned[i]);
	FREE_OBJ(p);
}

/* ---- who this node is ---- */

bool peers_identity(struct peers *p, const struct channel_config *c, char **ret_why)
{
	CHECK_OBJ(p, PEERS_MAGIC);
	*ret_why = NULL;
	if (c == NULL || c->key_pem.n == 0) {
		forget_identity(p);
		return true;
	}
	struct channel_config nameless = { .ca = c->ca, .member = c->member, .arg = c->arg };
	SSL_CTX *server = channel_server(c, ret_why);
	SSL_CTX *client = server == NULL ? NULL : channel_client(c, ret_why);
	SSL_CTX *anonymous = client == NULL ? NULL : channel_client(&nameless, ret_why);
	if (anonymous == NULL) {
		SSL_CTX_free(server);
		SSL_CTX_free(client);
		return false;
	}
	forget_identity(p);
	p->server = server;
	p->client = client;
	p->anonymous = anonymous;
	p->member = c->member;
	p->member_arg = c->arg;
	return true;
}

/* ---- where it listens ---- */

/* Moves one that listens there already out of the old list. */
static struct listener *take_listener(struct peers *p, const struct addr *at)
{
	for (size_t i = 0; i < p->n_listeners; i++) {
		struct listener *l = p->listeners[i];
		if (l == NULL || !addr_eq(listener_addr(l), at))
			continue;
		p->listeners[i] = NULL;
		return l;
	}
	return NULL;
}

static bool listens_on(const struct peers *p, const struct addr *at)
{
	for (size_t i = 0; i < p->n_listeners; i++)
		if (addr_eq(listener_addr(p->listeners[i]), at))
			return true;
	return false;
}

static bool is_twice(const struct addr *list, size_t i)
{
	for (size_t j = 0; j < i; j++)
		if (addr_eq(&list[j], &list[i]))
			return true;
	return false;
}

/* New ones for addresses that are not listened on yet. */
static bool open_fresh(struct peers *p, const struct addr *list, size_t n, struct listener **fresh, char **ret_why)
{
	char text[ADDR_TEXT_MAX];
	int error = 0;

	for (size_t i = 0; i < n; i++) {
		if (is_twice(list, i)) {
			*ret_why = xasprintf("cluster.listen: %s is there twice", addr_format(&list[i], text));
			return false;
		}
		if (listens_on(p, &list[i]))
			continue;
		fresh[i] = listener_open(p->loop, &list[i], peers_accepted, p, &error);
		if (fresh[i] != NULL)
			continue;
		*ret_why = xasprintf("cluster.listen: %s: %s", addr_format(&list[i], text), strerror(error));
		return false;
	}
	return true;
}

bool peers_listen(struct peers *p, const struct addr *list, size_t n, char **ret_why)
{
	struct listener *next[PEERS_LISTEN_MAX] = { 0 };

	CHECK_OBJ(p, PEERS_MAGIC);
	*ret_why = NULL;
	if (n > PEERS_LISTEN_MAX) {
		*ret_why = xasprintf("cluster.listen: at most %d addresses", PEERS_LISTEN_MAX);
		return false;
	}
	if (!open_fresh(p, list, n, next, ret_why)) {
		close_listeners(next, n);
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		if (next[i] != NULL)
			listener_start(next[i]);
		else
			next[i] = take_listener(p, &list[i]);
	}
	close_listeners(p->listeners, p->n_listeners);
	memcpy(p->listeners, next, sizeof(next));
	p->n_listeners = n;
	return true;
}

void peers_serve(struct peers *p, const char *path, bool strangers, size_t body_max, peers_serve_fn *fn, void *arg)
{
	CHECK_OBJ(p, PEERS_MAGIC);
	ASSERT(p->n_paths < PEERS_PATHS_MAX && path[0] == '/');
	p->paths[p->n_paths++] = (struct peers_path) { path, strangers, body_max, fn, arg };
}

void peers_own(struct peers *p, void *memory)
{
	CHECK_OBJ(p, PEERS_MAGIC);
	ASSERT(p->n_owned < PEERS_PATHS_MAX);
	p->owned[p->n_owned++] = memory;
}
