/* SPDX-License-Identifier: Apache-2.0
 * Questions by datagrams, and their answers.
 *
 * The hard thing: where nobody listens, the answer is an error of a later call. So each address has a connected socket.
 */
#include "daemon/cluster/reach.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define REACH_MAGIC 0x52454143u

/* Of equal length: nobody's traffic is multiplied by a forged sender. */
static const char QUESTION[] = "postroad reach ?", ANSWER[] = "postroad reach !";
_Static_assert(sizeof(QUESTION) == sizeof(ANSWER), "an answer is as long as its question");

struct attempt {
	struct reach *reach;
	int fd;
	struct event *event;
};

struct reach {
	uint32_t magic;
	struct loop *loop;
	struct timer timer;
	size_t n, open;
	unsigned sends;
	struct reach_pair pairs[PREFLIGHT_LINKS_MAX];
	struct attempt attempts[PREFLIGHT_LINKS_MAX];
	reach_done_fn *fn;
	void *arg;
};

static void end_attempt(struct attempt *a)
{
	if (a->fd < 0)
		return;
	if (a->event != NULL)
		event_free(a->event);
	close(a->fd);
	a->fd = -1;
	a->reach->open--;
}

void reach_cancel(struct reach *r)
{
	if (r == NULL)
		return;
	CHECK_OBJ(r, REACH_MAGIC);
	timer_stop(&r->timer);
	for (size_t i = 0; i < r->n; i++)
		end_attempt(&r->attempts[i]);
	FREE_OBJ(r);
}

static void judge(struct attempt *a, int error)
{
	struct reach *r = a->reach;
	struct reach_pair *p = &r->pairs[a - r->attempts];

	/* Whatever answers is a machine: a refused port, or one where somebody listens. */
	p->reached = error == 0 || error == ECONNREFUSED ? PREFLIGHT_YES : PREFLIGHT_NO;
	end_attempt(a);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct attempt *a = arg;
	char byte;

	UNUSED(what);
	CHECK_OBJ(a->reach, REACH_MAGIC);
	ssize_t n = recv((int)fd, &byte, 1, MSG_DONTWAIT);
	if (n >= 0 || (errno != EAGAIN && errno != EINTR))
		judge(a, n >= 0 ? 0 : errno);
	if (a->reach->open == 0)
		timer_set_in(a->reach->loop, &a->reach->timer, 1);
}

static void send_all(struct reach *r)
{
	for (size_t i = 0; i < r->n; i++) {
		struct attempt *a = &r->attempts[i];
		if (a->fd >= 0 && send(a->fd, QUESTION, sizeof(QUESTION), MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
		    errno != EAGAIN)
			judge(a, errno);
	}
}

static void on_timer(void *arg)
{
	struct reach *r = arg;

	CHECK_OBJ(r, REACH_MAGIC);
	if (r->open > 0 && r->sends++ < REACH_SENDS) {
		send_all(r);
		timer_set_in(r->loop, &r->timer, REACH_MS / REACH_SENDS);
		return;
	}
	for (size_t i = 0; i < r->n; i++)
		if (r->attempts[i].fd >= 0)
			r->pairs[i].reached = PREFLIGHT_NO;
	r->fn(r->pairs, r->n, r->arg);
	reach_cancel(r);
}

static socklen_t size_of(const struct addr *a)
{
	return a->sa.sa_family == AF_INET6 ? sizeof(a->in6) : sizeof(a->in);
}

static bool begin(struct attempt *a, const struct reach_pair *p)
{
	a->fd = socket(p->to.sa.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (a->fd < 0)
		return false;
	a->reach->open++;
	if (bind(a->fd, &p->from.sa, size_of(&p->from)) != 0 || connect(a->fd, &p->to.sa, size_of(&p->to)) != 0) {
		end_attempt(a);
		return false;
	}
	a->event = event_new(loop_base(a->reach->loop), a->fd, EV_READ | EV_PERSIST, on_readable, a);
	ASSERT(a->event != NULL && event_add(a->event, NULL) == 0);
	return true;
}

struct reach *reach_start(struct loop *l, const struct reach_pair *pairs, size_t n, reach_done_fn *fn, void *arg)
{
	struct reach *r;

	NEW_OBJ(r, REACH_MAGIC);
	r->loop = l;
	r->n = n < PREFLIGHT_LINKS_MAX ? n : PREFLIGHT_LINKS_MAX;
	r->fn = fn;
	r->arg = arg;
	timer_init(&r->timer, on_timer, r);
	for (size_t i = 0; i < r->n; i++) {
		r->pairs[i] = pairs[i];
		r->attempts[i] = (struct attempt) { .reach = r, .fd = -1 };
		r->pairs[i].reached = PREFLIGHT_UNKNOWN;
		if (!begin(&r->attempts[i], &pairs[i]))
			r->pairs[i].reached = PREFLIGHT_NO;
	}
	timer_set_in(l, &r->timer, 1);
	return r;
}

/* ---- who is asked ---- */

struct reach_answers {
	struct loop *loop;
	size_t n;
	struct answering {
		int fd;
		struct event *event;
	} at[PREFLIGHT_LINKS_MAX];
};

/* One for each readiness: a flood must not keep the loop. */
static void on_question(evutil_socket_t fd, short what, void *arg)
{
	struct addr from = { 0 };
	socklen_t len = sizeof(from.in6);
	char text[sizeof(QUESTION)];

	UNUSED(what);
	UNUSED(arg);
	ssize_t n = recvfrom((int)fd, text, sizeof(text), MSG_DONTWAIT | MSG_TRUNC, &from.sa, &len);
	if (n == (ssize_t)sizeof(text) && memcmp(text, QUESTION, sizeof(text)) == 0)
		(void)sendto((int)fd, ANSWER, sizeof(ANSWER), MSG_DONTWAIT | MSG_NOSIGNAL, &from.sa, len);
}

static void open_at(struct reach_answers *a, const struct addr *at)
{
	int fd = socket(at->sa.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	if (bind(fd, &at->sa, size_of(at)) != 0) {
		close(fd);
		return;
	}
	struct event *e = event_new(loop_base(a->loop), fd, EV_READ | EV_PERSIST, on_question, a);
	ASSERT(e != NULL && event_add(e, NULL) == 0);
	a->at[a->n++] = (struct answering) { .fd = fd, .event = e };
}

struct reach_answers *reach_answer(struct loop *l, const struct addr *at, size_t n)
{
	struct reach_answers *a = xcalloc(1, sizeof(*a));

	a->loop = l;
	for (size_t i = 0; i < n && i < PREFLIGHT_LINKS_MAX; i++)
		open_at(a, &at[i]);
	return a;
}

void reach_answer_end(struct reach_answers *a)
{
	if (a == NULL)
		return;
	for (size_t i = 0; i < a->n; i++) {
		event_free(a->at[i].event);
		close(a->at[i].fd);
	}
	free(a);
}
