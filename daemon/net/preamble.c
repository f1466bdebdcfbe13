/* SPDX-License-Identifier: Apache-2.0
 * The beginning of a connection, read to its last byte and not one further.
 *
 * The hard thing is where it ends, which only its bytes tell: they are looked at first (MSG_PEEK) and taken when it is
 * known that they belong to it. While it is incomplete all of them do, so nothing is left to wake us for nothing.
 */
#include "daemon/net/preamble.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/socket.h>

/* False: what was seen is not there any more, which a peer can bring about by urgent data (tcp(7)); it has failed. */
static bool take(struct preamble *p, size_t n)
{
	if (n > 0 && recv(p->fd, p->buf + p->n, n, MSG_DONTWAIT) != (ssize_t)n) {
		p->ops->on_failed(ECONNRESET, p->owner);
		return false;
	}
	p->n += n;
	return true;
}

static void look(struct preamble *p, size_t seen)
{
	size_t len = 0;

	switch (p->ops->judge(p->buf, p->n + seen, &len, p->owner)) {
	case PREAMBLE_MORE:
		if (p->n + seen == p->max)
			break;
		(void)take(p, seen);
		return;
	case PREAMBLE_DONE:
		ASSERT(len >= p->n && len <= p->n + seen);
		if (take(p, len - p->n))
			p->ops->on_done(p->buf, p->n, p->owner);
		return;
	case PREAMBLE_BAD:
		break;
	}
	p->ops->on_failed(0, p->owner);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct preamble *p = arg;

	UNUSED(what);
	ssize_t n = recv(fd, p->buf + p->n, p->max - p->n, MSG_PEEK | MSG_DONTWAIT);
	if (n > 0)
		look(p, (size_t)n);
	else if (n == 0)
		p->ops->on_failed(ECONNRESET, p->owner);
	else if (errno != EAGAIN && errno != EINTR)
		p->ops->on_failed(errno, p->owner);
}

void preamble_start(struct preamble *p, struct loop *l, int fd, size_t max, const struct preamble_ops *ops, void *owner)
{
	*p = (struct preamble) { .fd = fd, .ops = ops, .owner = owner, .buf = xmalloc(max), .max = max };
	event_assign(&p->rd, loop_base(l), fd, EV_READ | EV_PERSIST, on_readable, p);
	event_add(&p->rd, NULL);
}

void preamble_end(struct preamble *p)
{
	if (p->buf == NULL)
		return;
	event_del(&p->rd);
	free(p->buf);
	p->buf = NULL;
}
