/* SPDX-License-Identifier: Apache-2.0
 * Listening sockets: one per worker and address, accepting in batches.
 *
 * The hard thing is running out of descriptors: a level-triggered accept would then spin, so the listener steps back
 * for a moment. An accept that finds nobody costs nearly as much as one that does, so a batch grows only while one turn
 * after the other finds somebody.
 */
#include "daemon/net/listener.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/log.h"

#define LISTENER_MAGIC 0x4c535452u
#define ACCEPT_BATCH 16
#define STEP_BACK_MS 100
#define TELL_AGAIN_MS 60000
#define BACKLOG 4096

struct listener {
	uint32_t magic;
	struct loop *loop;
	int fd;
	struct addr at;
	listener_accept_fn *fn;
	void *arg;
	struct event rd;
	struct timer retry;
	bool started;    /* until then its loop's thread does not know it */
	int batch;       /* how many to accept in a turn */
	uint64_t turn;   /* the last one that filled its batch */
	int64_t told_ms; /* when the log was told that no descriptor is left; 0 = never */
};

static int open_socket(const struct addr *at, int *ret_errno)
{
	int one = 1, fd = socket(at->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0) {
		*ret_errno = errno;
		return -1;
	}
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	/* A virtual address may arrive after us. */
	setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one));
	if (at->sa.sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* inherited by what is accepted */
	if (bind(fd, &at->sa, addr_len(at)) < 0) {
		*ret_errno = errno;
		close(fd);
		return -1;
	}
	return fd;
}

/* It lasts, as a rule; a line for each try would bury all others. */
static void tell_lack(struct listener *li, int error)
{
	int64_t now = loop_now_ms(li->loop);

	if (li->told_ms != 0 && now - li->told_ms < TELL_AGAIN_MS)
		return;
	li->told_ms = now;
	log_msg(LOG_LEVEL_ERROR, "accept", "no descriptor for a new connection: %s", strerror(error));
}

/* False: nothing more to take now. */
static bool accept_one(struct listener *li)
{
	struct addr peer = { 0 };
	socklen_t len = sizeof(peer);
	int fd = accept4(li->fd, &peer.sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0) {
		addr_unmap(&peer);
		li->fn(fd, &peer, li->arg);
		return true;
	}
	if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
		tell_lack(li, errno);
		event_del(&li->rd);
		timer_set_in(li->loop, &li->retry, STEP_BACK_MS);
		return false;
	}
	return errno == ECONNABORTED || errno == EINTR;
}

static void on_acceptable(evutil_socket_t fd, short what, void *arg)
{
	struct listener *li = arg;

	UNUSED(fd);
	UNUSED(what);
	CHECK_OBJ(li, LISTENER_MAGIC);
	uint64_t turn = loop_turns(li->loop);
	if (li->turn + 1 != turn)
		li->batch = 1;
	else if (li->batch < ACCEPT_BATCH)
		li->batch *= 2;
	for (int i = 0; i < li->batch; i++)
		if (!accept_one(li))
			return;
	li->turn = turn;
}

static void on_retry(void *arg)
{
	struct listener *li = arg;

	event_add(&li->rd, NULL);
}

struct listener *listener_open(struct loop *l, const struct addr *at, listener_accept_fn *fn, void *arg, int *ret_errno)
{
	int fd = open_socket(at, ret_errno);
	struct listener *li;

	if (fd < 0)
		return NULL;
	NEW_OBJ(li, LISTENER_MAGIC);
	li->loop = l;
	li->fd = fd;
	li->at = *at;
	li->fn = fn;
	li->arg = arg;
	timer_init(&li->retry, on_retry, li);
	event_assign(&li->rd, loop_base(l), fd, EV_READ | EV_PERSIST, on_acceptable, li);
	/* Listening at once, so that no other process takes the port; connections wait in the queue until
	 * listener_start(). */
	if (listen(fd, BACKLOG) < 0) {
		*ret_errno = errno;
		close(fd);
		FREE_OBJ(li);
		return NULL;
	}
	return li;
}

void listener_start(struct listener *li)
{
	li->started = true;
	event_add(&li->rd, NULL);
}

void listener_close(struct listener *li)
{
	CHECK_OBJ(li, LISTENER_MAGIC);
	for (int i = 0; li->started && i < BACKLOG && accept_one(li); i++)
		;
	timer_stop(&li->retry);
	if (li->started)
		event_del(&li->rd);
	close(li->fd);
	FREE_OBJ(li);
}

const struct addr *listener_addr(const struct listener *li)
{
	return &li->at;
}

int listener_probe(const struct addr *at)
{
	int err = 0, fd = open_socket(at, &err);

	if (fd < 0)
		return err;
	close(fd); /* never listening: a socket of the group that nobody accepts from would swallow connections */
	return 0;
}

bool listener_is_local(const struct addr *a)
{
	struct addr any_port = *a;
	int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return false;
	addr_set_port(&any_port, 0);
	bool local = bind(fd, &any_port.sa, addr_len(&any_port)) == 0;
	close(fd);
	return local;
}
