/* SPDX-License-Identifier: Apache-2.0
 * Connections ended by us, until the peer has closed too.
 *
 * The hard thing is that nobody may be kept busy by them: what comes is thrown away in the kernel, a peer that sends
 * without end gets no more than its time.
 */
#include "daemon/net/linger.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* For one turn: MSG_TRUNC throws away without a buffer (tcp(7)). */
#define DISCARD (1 << 20)
#define ROUNDS 4

struct linger_one {
	struct list link;
	struct lingers *all;
	int fd;
	struct event rd;
	struct timer timer;
};

static void end(struct linger_one *o)
{
	event_del(&o->rd);
	timer_stop(&o->timer);
	list_remove(&o->link);
	o->all->n--;
	close(o->fd);
	free(o);
}

static void end_and_tell(struct linger_one *o)
{
	struct lingers *ls = o->all;

	end(o);
	if (ls->n == 0 && ls->empty != NULL)
		ls->empty(ls->arg);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	ssize_t n = 1;

	UNUSED(what);
	for (int i = 0; i < ROUNDS && n > 0; i++)
		n = recv(fd, NULL, DISCARD, MSG_TRUNC | MSG_DONTWAIT);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		end_and_tell(arg);
}

static void on_late(void *arg)
{
	end_and_tell(arg);
}

void lingers_init(struct lingers *ls, struct loop *loop, loop_fn *empty, void *arg)
{
	*ls = (struct lingers) { .loop = loop, .empty = empty, .arg = arg };
	list_init(&ls->list);
}

void lingers_add(struct lingers *ls, int fd)
{
	if (fd < 0)
		return;
	if (ls->n >= LINGER_MAX || shutdown(fd, SHUT_WR) != 0) {
		close(fd);
		return;
	}
	struct linger_one *o = xcalloc(1, sizeof(*o));
	o->all = ls;
	o->fd = fd;
	list_append(&ls->list, &o->link);
	ls->n++;
	timer_init(&o->timer, on_late, o);
	timer_set_in(ls->loop, &o->timer, LINGER_MS);
	event_assign(&o->rd, loop_base(ls->loop), fd, EV_READ | EV_PERSIST, on_readable, o);
	event_add(&o->rd, NULL);
}

size_t lingers_count(const struct lingers *ls)
{
	return ls->n;
}

void lingers_close_all(struct lingers *ls)
{
	struct linger_one *o;
	struct list *tmp;

	LIST_FOR_EACH(o, tmp, &ls->list, link)
		end(o);
}
