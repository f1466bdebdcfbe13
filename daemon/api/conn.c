/* SPDX-License-Identifier: Apache-2.0
 * HTTP servers and their connections: the cap, and the deadline of a request.
 *
 * evhttp accepts by itself, has no cap, a timeout between reads only (a byte now and then holds a connection for ever),
 * and tells that a connection ended only once a request came. So each connection is noted when evhttp asks for its
 * bufferevent, and recognised later by its descriptor and the socket's inode: a descriptor whose inode changed belongs
 * to somebody else, and the note is stale. We end a connection by shutdown(2) alone: evhttp sees the end of file and
 * frees its own objects. Rejected: counting through extra references on the bufferevent, which keeps the socket open
 * after evhttp is done with it.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <event2/listener.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/api/api_private.h"

#define CONN_MAGIC 0x434f4e4eu
#define FRONT_MAGIC 0x46524f4eu
#define REAP_MS 1000
#define STEP_BACK_MS 100 /* when no descriptor was left for a connection */
#define ACCEPT_LOG_MS 60000
#define BACKLOG 1024 /* above the cap: who is beyond it is told by a close, not left waiting */
#define EVHTTP_HEADER_MAX ((ev_ssize_t)4 * 16 * 1024) /* above our own bound, so that we can answer it */
#define EVHTTP_BODY_MAX ((ev_ssize_t)(API_BODY_MAX + API_BODY_MAX / 4))

/* ---- one connection ---- */

static uint64_t inode_of(int fd)
{
	struct stat st;

	return fd < 0 || fstat(fd, &st) != 0 ? 0 : st.st_ino;
}

static bool is_alive(const struct conn *c)
{
	return c->fd < 0 || inode_of(c->fd) == c->inode; /* fd < 0: not adopted yet */
}

static void forget_bytes(struct conn *c)
{
	c->front->api->reading_bytes -= c->bytes;
	c->bytes = 0;
}

static void conn_free(struct conn *c)
{
	struct call *call = c->call;

	forget_bytes(c);
	timer_stop(&c->deadline);
	list_remove(&c->link);
	if (c->counted)
		c->front->api->n_adopted[c->front->is_unix]--;
	c->call = NULL;
	FREE_OBJ(c);
	if (call != NULL)
		http_on_gone(call);
}

/* Forgets connections that evhttp has closed without telling. */
static void reap(struct front *f)
{
	struct list *tmp;
	struct conn *c;

	LIST_FOR_EACH(c, tmp, &f->conns, link) {
		if (!c->told && !is_alive(c))
			conn_free(c);
	}
}

static void on_close(struct evhttp_connection *evcon, void *arg)
{
	struct conn *c = arg;

	UNUSED(evcon);
	CHECK_OBJ(c, CONN_MAGIC);
	conn_free(c);
}

static void on_deadline(void *arg)
{
	struct conn *c = arg;

	CHECK_OBJ(c, CONN_MAGIC);
	struct loop *l = c->front->api->env.loop;
	if (!is_alive(c)) {
		if (!c->told)
			conn_free(c);
		return;
	}
	int64_t until = c->started_ms + API_REQUEST_DEADLINE_MS + (int64_t)c->bytes * 1000 / API_REQUEST_MIN_RATE;
	if (c->reading && loop_now_ms(l) < until) {
		timer_set(l, &c->deadline, until);
		return;
	}
	if (c->reading)
		shutdown(c->fd, SHUT_RDWR);
	/* Until evhttp has noticed. */
	if (!c->told)
		timer_set_in(l, &c->deadline, REAP_MS);
}

static void start_deadline(struct conn *c)
{
	struct loop *l = c->front->api->env.loop;

	c->reading = true;
	forget_bytes(c);
	c->started_ms = loop_now_ms(l);
	timer_set(l, &c->deadline, c->started_ms + API_REQUEST_DEADLINE_MS);
}

static void on_input(struct evbuffer *b, const struct evbuffer_cb_info *info, void *arg)
{
	struct conn *c = arg;

	UNUSED(b);
	CHECK_OBJ(c, CONN_MAGIC);
	if (info->n_added == 0 || c->call != NULL)
		return;
	if (!c->reading)
		start_deadline(c);
	c->bytes += info->n_added;
	c->front->api->reading_bytes += info->n_added;
	/* Nobody has shown a token yet: what all of them together may make us hold is bounded. */
	if (c->fd >= 0 && c->front->api->reading_bytes > API_READING_MAX) {
		shutdown(c->fd, SHUT_RDWR);
		forget_bytes(c);
		timer_set_in(c->front->api->env.loop, &c->deadline, REAP_MS);
	}
}

struct conn *conn_of(struct front *f, struct evhttp_request *req)
{
	struct evhttp_connection *evcon = evhttp_request_get_connection(req);
	struct bufferevent *bev = evhttp_connection_get_bufferevent(evcon);
	struct list *tmp;
	struct conn *c;

	LIST_FOR_EACH(c, tmp, &f->conns, link) {
		if (c->bev != bev)
			continue;
		if (!c->told)
			evhttp_connection_set_closecb(evcon, on_close, c);
		c->told = true;
		return c;
	}
	base_panic(__FILE__, __LINE__, "a request without a connection");
}

void conn_request_begin(struct conn *c, struct call *call)
{
	CHECK_OBJ(c, CONN_MAGIC);
	ASSERT(c->call == NULL);
	c->call = call;
	c->reading = false;
	forget_bytes(c);
	timer_stop(&c->deadline);
}

void conn_request_end(struct conn *c)
{
	CHECK_OBJ(c, CONN_MAGIC);
	c->call = NULL;
}

/* ---- accepting ---- */

static struct bufferevent *new_bufferevent(struct front *f, struct event_base *base)
{
	if (!f->is_tls)
		return bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
	SSL *ssl = SSL_new(f->api->tls);
	ASSERT(ssl != NULL);
	struct bufferevent *bev =
		bufferevent_openssl_socket_new(base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
	if (bev != NULL)
		bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
	return bev;
}

/* evhttp has accepted and wants a bufferevent; it puts the descriptor in when we return. */
static struct bufferevent *on_accept(struct event_base *base, void *arg)
{
	struct front *f = arg;
	struct list *tmp;
	struct conn *c;

	CHECK_OBJ(f, FRONT_MAGIC);
	struct bufferevent *bev = new_bufferevent(f, base);
	/* Without one evhttp would take a plain one, also on the HTTPS port. */
	ASSERT(bev != NULL);
	LIST_FOR_EACH(c, tmp, &f->conns, link) {
		if (c->bev == bev)
			conn_free(c);
	}
	NEW_OBJ(c, CONN_MAGIC);
	c->front = f;
	c->bev = bev;
	c->fd = -1;
	timer_init(&c->deadline, on_deadline, c);
	list_append(&f->conns, &c->link);
	evbuffer_add_cb(bufferevent_get_input(bev), on_input, c);
	event_active(f->adopt, EV_TIMEOUT, 1);
	return bev;
}

static void reap_all(struct api *a)
{
	for (struct front *f = a->fronts; f != NULL; f = f->next)
		reap(f);
}

/* Connections under the cap from where this one comes from. */
static unsigned n_from_there(const struct conn *c)
{
	unsigned n = 0, bits = c->peer.sa.sa_family == AF_INET6 ? 64 : 32;
	struct cidr there = { .base = c->peer, .bits = bits };

	addr_mask(&there.base, bits);
	for (struct front *f = c->front->api->fronts; f != NULL; f = f->next) {
		const struct conn *other;
		struct list *tmp;
		LIST_FOR_EACH(other, tmp, &f->conns, link)
			n += !f->is_unix && other->counted && cidr_match(&there, &other->peer);
	}
	return n;
}

/* Nobody can take the places of all others by connecting again and again. */
static bool has_place(struct conn *c)
{
	const struct api *a = c->front->api;
	socklen_t len = sizeof(c->peer);

	if (a->n_adopted[c->front->is_unix] >= API_CONNECTIONS_MAX)
		return false;
	if (c->front->is_unix)
		return true;
	if (getpeername(c->fd, &c->peer.sa, &len) != 0)
		return false; /* gone already */
	addr_unmap(&c->peer);
	return n_from_there(c) < API_CONNECTIONS_PER_ADDRESS;
}

static void adopt(struct conn *c)
{
	struct api *a = c->front->api;

	c->fd = bufferevent_getfd(c->bev);
	c->inode = inode_of(c->fd);
	if (c->inode == 0) {
		conn_free(c);
		return;
	}
	start_deadline(c);
	if (has_place(c)) {
		c->counted = true;
		a->n_adopted[c->front->is_unix]++;
		return;
	}
	shutdown(c->fd, SHUT_RDWR);
	timer_set_in(a->env.loop, &c->deadline, REAP_MS);
}

/* Runs in the turn in which the connection was accepted, before anything was read from it. */
static void on_adopt(evutil_socket_t fd, short what, void *arg)
{
	struct front *f = arg;
	struct api *a = f->api;
	struct list *tmp;
	struct conn *c;

	UNUSED(fd);
	UNUSED(what);
	CHECK_OBJ(f, FRONT_MAGIC);
	if (!f->is_unix || a->n_adopted[f->is_unix] == API_CONNECTIONS_MAX)
		reap_all(a);
	LIST_FOR_EACH(c, tmp, &f->conns, link) {
		if (c->fd < 0)
			adopt(c);
	}
}

/* ---- no descriptor left ---- */

/* Those that accept; control thread. libevent tells of a failed accept with evhttp's argument, which leads nowhere. */
static struct list listening = { &listening, &listening };

/* The connection stays in the queue and would be told again at once, for ever. */
static void step_back(struct front *f, int error)
{
	struct api *a = f->api;
	int64_t now = loop_now_ms(a->env.loop);

	evconnlistener_disable(f->listener);
	timer_set_in(a->env.loop, &f->step_back, STEP_BACK_MS);
	if (a->accept_logged_ms != 0 && now - a->accept_logged_ms < ACCEPT_LOG_MS)
		return;
	a->accept_logged_ms = now;
	log_msg(LOG_LEVEL_ERROR, "admin_accept", "%s: no connection can be accepted: %s", f->name, strerror(error));
}

static void on_accept_error(struct evconnlistener *l, void *arg)
{
	int error = EVUTIL_SOCKET_ERROR();
	struct list *tmp;
	struct front *f;

	UNUSED(arg);
	LIST_FOR_EACH(f, tmp, &listening, listening) {
		if (f->listener == l)
			step_back(f, error);
	}
}

static void on_step_back_over(void *arg)
{
	struct front *f = arg;

	CHECK_OBJ(f, FRONT_MAGIC);
	evconnlistener_enable(f->listener);
}

/* ---- servers ---- */

static struct front *front_new(struct api *a, const char *name, bool is_unix)
{
	struct front *f;
	struct event_base *base = loop_base(a->env.loop);

	NEW_OBJ(f, FRONT_MAGIC);
	f->api = a;
	f->is_unix = is_unix;
	f->is_tls = !is_unix && a->tls != NULL;
	f->name = xstrdup(name);
	list_init(&f->conns);
	list_init(&f->listening);
	timer_init(&f->step_back, on_step_back_over, f);
	f->adopt = event_new(base, -1, 0, on_adopt, f);
	f->http = evhttp_new(base);
	ASSERT(f->adopt != NULL && f->http != NULL);
	evhttp_set_bevcb(f->http, on_accept, f);
	evhttp_set_gencb(f->http, http_on_request, f);
	evhttp_set_timeout(f->http, API_IDLE_SECONDS);
	evhttp_set_max_headers_size(f->http, EVHTTP_HEADER_MAX);
	evhttp_set_max_body_size(f->http, EVHTTP_BODY_MAX);
	evhttp_set_default_content_type(f->http, NULL);
	evhttp_set_allowed_methods(f->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_PUT | EVHTTP_REQ_PATCH |
						    EVHTTP_REQ_POST | EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS);
	f->next = a->fronts;
	a->fronts = f;
	return f;
}

static void front_free(struct front *f)
{
	list_remove(&f->listening);
	timer_stop(&f->step_back);
	evhttp_free(f->http);
	while (!list_empty(&f->conns))
		conn_free(LIST_FIRST(&f->conns, struct conn, link));
	event_free(f->adopt);
	if (f->is_unix)
		unlink(f->name);
	free(f->name);
	FREE_OBJ(f);
}

/* Takes the listening socket over, or closes it. */
static bool front_listen(struct front *f, int fd)
{
	struct evconnlistener *l = evconnlistener_new(loop_base(f->api->env.loop), NULL, NULL,
						      LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, BACKLOG, fd);

	if (l == NULL) {
		close(fd);
		return false;
	}
	if (evhttp_bind_listener(f->http, l) == NULL) {
		evconnlistener_free(l);
		return false;
	}
	f->listener = l;
	list_append(&listening, &f->listening);
	evconnlistener_set_error_cb(l, on_accept_error);
	return true;
}

static int listening_socket(const struct sockaddr *sa, socklen_t len)
{
	int on = 1, fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (sa->sa_family != AF_UNIX)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (sa->sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, sa, len) != 0) {
		int saved = errno;
		close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

/* The group "postroad" may connect; who it is, is asked of the kernel for each request (see auth.c). */
static void give_to_group(const char *path)
{
	struct group group, *found = NULL;
	char buf[4096];

	chmod(path, 0660);
	if (getgrnam_r("postroad", &group, buf, sizeof(buf), &found) != 0 || found == NULL)
		return;
	if (chown(path, (uid_t)-1, found->gr_gid) != 0)
		log_msg(LOG_LEVEL_DEBUG, "admin_socket", "%s: cannot be given to the group postroad", path);
}

static bool open_unix(struct api *a, char **ret_why)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	char *path = xasprintf("%s/admin.sock", a->env.node->run_dir);
	bool ok = false;

	if (strlen(path) >= sizeof(sun.sun_path)) {
		*ret_why = xasprintf("%s: longer than %zu bytes, the most a socket's path may have", path,
				     sizeof(sun.sun_path) - 1);
		free(path);
		return false;
	}
	memcpy(sun.sun_path, path, strlen(path) + 1);
	unlink(path); /* the lock on the state directory says that no other process is using it */
	mode_t saved = umask(0177);
	int fd = listening_socket((const struct sockaddr *)&sun, sizeof(sun));
	umask(saved);
	if (fd >= 0) {
		give_to_group(path);
		ok = front_listen(front_new(a, path, true), fd);
	}
	if (!ok)
		*ret_why = xasprintf("%s: %m", path);
	free(path);
	return ok;
}

static bool open_tcp(struct api *a, const struct addr *at, char **ret_why)
{
	char text[ADDR_TEXT_MAX];

	addr_format(at, text);
	if (a->tls == NULL && !addr_is_loopback(at)) {
		*ret_why = xasprintf("admin.listen %s: without TLS only loopback addresses are allowed", text);
		return false;
	}
	int fd = listening_socket(&at->sa, addr_len(at));
	if (fd >= 0 && front_listen(front_new(a, text, false), fd))
		return true;
	*ret_why = xasprintf("admin.listen %s: %m", text);
	return false;
}

bool conn_open_fronts(struct api *a, char **ret_why)
{
	if (!open_unix(a, ret_why))
		return false;
	for (size_t i = 0; i < a->env.node->n_admin_listen; i++)
		if (!open_tcp(a, &a->env.node->admin_listen[i], ret_why))
			return false;
	return true;
}

void conn_close_fronts(struct api *a)
{
	while (a->fronts != NULL) {
		struct front *f = a->fronts;
		a->fronts = f->next;
		front_free(f);
	}
}
