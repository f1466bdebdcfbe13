/* SPDX-License-Identifier: Apache-2.0
 * An SMTP server that throws mail away and counts it: the backend of the benchmarks, of `make run` and of tests.
 *
 * The hard thing is to be honest without being slow: it must never be the bottleneck, and where --store asks for it,
 * it must tell exactly which bytes arrived. So the end of data is found here with a scanner of its own (the balancer's
 * is what is being tested), and the digest is only computed when somebody wants to read it. A sink trusts its clients
 * more than a mail server may: one that does not read its replies is dropped.
 */
#include "tests/bench/sink.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/base/clock.h"

#define EVENTS_MAX 256
#define ACCEPT_BATCH 64

static volatile bool stopping; /* set once, before the workers' eventfds are written */

static void count(_Atomic uint64_t *counter, uint64_t by)
{
	/* One writer per counter: no locked instruction needed. */
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by, memory_order_relaxed);
}

/* ---- connections ---- */

static void conn_free(struct worker *w, struct conn *c)
{
	CHECK_OBJ(c, CONN_MAGIC);
	close(c->fd);
	store_fini(&c->store);
	free(c->held);
	count(&w->stats.closed, 1);
	FREE_OBJ(c);
}

/* Keeps what was read behind the last complete command until more comes, or until the delayed reply is out. */
static void hold(struct conn *c, const char *p, size_t n)
{
	if (n > c->cap_held) {
		c->held = xrealloc(c->held, n);
		c->cap_held = n;
	}
	if (n > 0)
		memcpy(c->held, p, n);
	c->n_held = n;
}

static bool flush(struct worker *w, const struct conn *c)
{
	size_t n = w->n_out;

	w->n_out = 0;
	return n == 0 || send(c->fd, w->out, n, MSG_NOSIGNAL) == (ssize_t)n;
}

void sink_reply(struct worker *w, struct conn *c, const char *text)
{
	size_t n = strlen(text);

	if (w->n_out + n > sizeof(w->out) && !flush(w, c)) {
		c->closing = true;
		return;
	}
	memcpy(w->out + w->n_out, text, n);
	w->n_out += n;
}

/* ---- the end of data ---- */

static const char eod_mark[] = "\r\n.\r\n";

/* Returns how many bytes belong to the message, its end mark included; c->eod = how much of the mark was seen. */
static size_t scan_eod(struct conn *c, const char *p, size_t n)
{
	size_t i = 0;

	while (i < n && c->eod < sizeof(eod_mark) - 1) {
		if (c->eod == 0) {
			const char *cr = memchr(p + i, '\r', n - i);

			if (cr == NULL)
				return n;
			i = (size_t)(cr - p) + 1;
			c->eod = 1;
		} else if (p[i] == eod_mark[c->eod]) {
			i++;
			c->eod++;
		} else {
			c->eod = p[i] == '\r' ? 1 : 0;
			i++;
		}
	}
	return i;
}

static void finish_message(struct worker *w, struct conn *c)
{
	char text[160];

	c->in_data = false;
	c->have_mail = false;
	c->n_rcpt = 0;
	if (!sink_fails(w, c, STAGE_DOT)) {
		if (options.store_fd >= 0)
			store_message(&c->store);
		count(&w->stats.messages, 1);
		snprintf(text, sizeof(text), "250 2.0.0 OK: queued as %u.%lu\r\n", w->index,
			 (unsigned long)atomic_load_explicit(&w->stats.messages, memory_order_relaxed));
		sink_reply(w, c, text);
	}
}

/* Takes the connection off the poll set and queues it: all delays are alike, so the queue is in order of time. */
static void delay_dot(struct worker *w, struct conn *c)
{
	epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
	c->waiting = true;
	c->due_us = clock_mono_us() + (int64_t)options.delay_dot_ms * 1000;
	c->next = NULL;
	*w->delayed_tail = c;
	w->delayed_tail = &c->next;
}

static size_t eat_data(struct worker *w, struct conn *c, const char *p, size_t n)
{
	size_t used = scan_eod(c, p, n);

	count(&w->stats.bytes, used);
	if (options.store_fd >= 0)
		store_feed(&c->store, p, used);
	if (c->eod < sizeof(eod_mark) - 1)
		return used;
	if (options.delay_dot_ms > 0)
		delay_dot(w, c);
	else
		finish_message(w, c);
	return used;
}

/* The connection begins here: what came before was about somebody else. */
static size_t eat_proxy(struct worker *w, struct conn *c, const char *p, size_t n)
{
	ssize_t used = sink_proxy(p, n, c->store.client);

	if (used < 0) {
		atomic_fetch_add_explicit(&w->stats.failed, 1, memory_order_relaxed);
		c->closing = true;
		return 0;
	}
	if (used > 0) {
		c->want_proxy = false;
		sink_reply(w, c, options.greeting);
	}
	return (size_t)used;
}

static size_t eat_line(struct worker *w, struct conn *c, char *p, size_t n)
{
	char *lf = memchr(p, '\n', n);

	if (lf == NULL) {
		if (n >= LINE_MAX_BYTES) {
			sink_reply(w, c, "500 5.5.2 line too long\r\n");
			c->closing = true;
		}
		return 0;
	}
	size_t len = (size_t)(lf - p);

	p[len] = '\0';
	if (len > 0 && p[len - 1] == '\r')
		p[len - 1] = '\0';
	sink_command(w, c, p);
	return len + 1;
}

/* Takes what it can from the begin of [p, p+n); 0 = more is needed. */
static size_t eat(struct worker *w, struct conn *c, char *p, size_t n)
{
	if (c->want_proxy)
		return eat_proxy(w, c, p, n);
	return c->in_data ? eat_data(w, c, p, n) : eat_line(w, c, p, n);
}

/* Executes what stands in w->in[0..n); frees the connection when it is over. */
static void run(struct worker *w, struct conn *c, size_t n)
{
	size_t used = 0;

	while (used < n && !c->closing && !c->waiting) {
		size_t step = eat(w, c, w->in + used, n - used);

		if (step == 0)
			break;
		used += step;
	}
	if (!flush(w, c) || c->closing) {
		conn_free(w, c);
		return;
	}
	hold(c, w->in + used, n - used);
}

static void on_readable(struct worker *w, struct conn *c)
{
	CHECK_OBJ(c, CONN_MAGIC);
	size_t n = c->n_held;

	if (n > 0)
		memcpy(w->in, c->held, n);
	ssize_t got = recv(c->fd, w->in + n, sizeof(w->in) - n, 0);

	if (got > 0)
		run(w, c, n + (size_t)got);
	else if (got == 0 || (errno != EAGAIN && errno != EINTR))
		conn_free(w, c);
}

/* Answers the delayed dots that are due, then what the clients had pipelined behind them. */
static void run_delayed(struct worker *w)
{
	int64_t now = clock_mono_us();

	while (w->delayed != NULL && w->delayed->due_us <= now) {
		struct conn *c = w->delayed;
		struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };

		CHECK_OBJ(c, CONN_MAGIC);
		w->delayed = c->next;
		if (w->delayed == NULL)
			w->delayed_tail = &w->delayed;
		c->waiting = false;
		epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, c->fd, &ev);
		finish_message(w, c);
		memcpy(w->in, c->held == NULL ? "" : c->held, c->n_held);
		run(w, c, c->n_held);
	}
}

static void accept_one(struct worker *w, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN };
	struct conn *c;

	NEW_OBJ(c, CONN_MAGIC);
	c->fd = fd;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int) { 1 }, sizeof(int));
	ev.data.ptr = c;
	count(&w->stats.connections, 1);
	c->want_proxy = options.proxy;
	if (!sink_fails(w, c, STAGE_CONNECT) && !c->want_proxy)
		sink_reply(w, c, options.greeting);
	if (!flush(w, c) || c->closing || epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0)
		conn_free(w, c);
}

static void on_acceptable(struct worker *w, int listen_fd)
{
	for (int i = 0; i < ACCEPT_BATCH; i++) {
		int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0)
			return;
		accept_one(w, fd);
	}
}

/* ---- workers ---- */

static int next_timeout_ms(const struct worker *w)
{
	if (w->delayed == NULL)
		return -1;
	int64_t wait_us = w->delayed->due_us - clock_mono_us();

	return wait_us <= 0 ? 0 : (int)((wait_us + 999) / 1000);
}

/* An event's pointer is a listener's slot inside the worker, the worker itself (stop), or a connection. */
static void on_event(struct worker *w, void *ptr)
{
	int *slot = ptr;

	if (slot >= w->listen_fds && slot < w->listen_fds + LISTEN_MAX)
		on_acceptable(w, *slot);
	else if (ptr != w)
		on_readable(w, ptr);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct epoll_event events[EVENTS_MAX];

	while (!stopping) {
		int n = epoll_wait(w->epoll_fd, events, EVENTS_MAX, next_timeout_ms(w));

		for (int i = 0; i < n; i++)
			on_event(w, events[i].data.ptr);
		run_delayed(w);
	}
	return NULL;
}

static bool worker_listen(struct worker *w, size_t index)
{
	const struct addr *a = &options.listen[index];
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = &w->listen_fds[index] };
	char text[ADDR_TEXT_MAX];
	int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	w->listen_fds[index] = fd;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int) { 1 }, sizeof(int));
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &(int) { 1 }, sizeof(int));
	if (fd >= 0 && bind(fd, &a->sa, addr_len(a)) == 0 && listen(fd, 4096) == 0)
		return epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, fd, &ev) == 0;
	fprintf(stderr, "postroad-sink: %s: %s\n", addr_format(a, text), strerror(errno));
	return false;
}

static bool worker_init(struct worker *w, unsigned index)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = w };

	w->index = index;
	w->random = 0x9e3779b97f4a7c15u * (index + 1);
	w->delayed_tail = &w->delayed;
	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	w->stop_fd = eventfd(0, EFD_CLOEXEC);
	epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, w->stop_fd, &ev);
	for (size_t i = 0; i < options.n_listen; i++)
		if (!worker_listen(w, i))
			return false;
	return true;
}

/* ---- main ---- */

static void print_stats(const struct worker *list)
{
	uint64_t connections = 0, closed = 0, messages = 0, bytes = 0, failed = 0;

	for (unsigned i = 0; i < options.threads; i++) {
		const struct stats *s = &list[i].stats;

		connections += atomic_load(&s->connections);
		closed += atomic_load(&s->closed);
		messages += atomic_load(&s->messages);
		bytes += atomic_load(&s->bytes);
		failed += atomic_load(&s->failed);
	}
	printf("{\"connections\": %lu, \"open\": %lu, \"messages\": %lu, \"bytes\": %lu, \"failed\": %lu}\n",
	       (unsigned long)connections, (unsigned long)(connections - closed), (unsigned long)messages,
	       (unsigned long)bytes, (unsigned long)failed);
	fflush(stdout);
}

static void raise_file_limit(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
		r.rlim_cur = r.rlim_max;
		setrlimit(RLIMIT_NOFILE, &r);
	}
}

/* SIGUSR1 prints the counters; TERM and INT print them and end. */
static void wait_for_signals(const sigset_t *set, const struct worker *list)
{
	int sig = 0;

	while (sigwait(set, &sig) == 0) {
		print_stats(list);
		if (sig != SIGUSR1)
			return;
	}
}

int main(int argc, char **argv)
{
	sigset_t set;

	sink_options_parse(argc, argv);
	raise_file_limit();
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);

	struct worker *list = xcalloc(options.threads, sizeof(*list));

	for (unsigned i = 0; i < options.threads; i++)
		if (!worker_init(&list[i], i))
			return 1;
	for (unsigned i = 0; i < options.threads; i++)
		if (pthread_create(&list[i].thread, NULL, worker_main, &list[i]) != 0)
			return 1;
	wait_for_signals(&set, list);
	stopping = true;
	for (unsigned i = 0; i < options.threads; i++) {
		if (write(list[i].stop_fd, &(uint64_t) { 1 }, sizeof(uint64_t)) > 0)
			pthread_join(list[i].thread, NULL);
		close(list[i].epoll_fd);
		close(list[i].stop_fd);
	}
	free(list);
	return 0;
}
