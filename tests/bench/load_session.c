/* SPDX-License-Identifier: Apache-2.0
 * One session of postroad-load: the client's side of SMTP, up to the reading of replies.
 *
 * Answers come in the order of the commands, so with and without pipelining the stage says which answer is due; only
 * what is sent when differs. A transaction that is refused half-way is read to its end (the answers to what was
 * pipelined are still to come), then the connection is closed: the next message begins a new one.
 * Sockets are edge-triggered, and in the poll set for reading and writing at once, so that no message costs an
 * epoll_ctl().
 */
#include "tests/bench/load.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include "daemon/base/clock.h"

static void enter(struct session *s, int stage, int64_t now)
{
	s->stage = stage;
	s->since_us = now;
	s->deadline_us = now + (int64_t)options.timeout_ms * 1000;
}

static enum outcome outcome_of(unsigned code)
{
	if (code < 200)
		return OUTCOME_LOST;
	return code < 300 ? OUTCOME_ACCEPTED : code < 500 ? OUTCOME_TEMPFAIL : OUTCOME_PERMFAIL;
}

static void end_message(struct session *s, unsigned code)
{
	if (!s->has_message)
		return;
	s->has_message = false;
	messages_done(&s->m, outcome_of(code), code);
}

static void drop(struct session *s, unsigned code)
{
	load_tls_end(s);
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	if (s->has_message && code <= 1 && s->stage < STAGE_COUNT) {
		results.lost_at[s->stage]++;
		s->m.unanswered += s->stage == STAGE_DOT && s->body_size == 0;
	}
	s->body_size = 0;
	if (s->has_message || s->held)
		results.codes[code]++;
	end_message(s, code);
	load_session_closed(s);
	s->held = false;
	s->stage = STAGE_FREE;
}

static bool send_text(struct session *s, const char *p, size_t n)
{
	ssize_t sent = s->tls != NULL ? load_tls_send(s, p, n) : send(s->fd, p, n, MSG_NOSIGNAL);

	if (sent == (ssize_t)n)
		return true;
	drop(s, 0);
	return false;
}

/* ---- sending ---- */

/* Commands from..to of the envelope in one write. */
static bool send_commands(struct session *s, unsigned from, unsigned to)
{
	struct sbuf out = { 0 };

	for (unsigned i = from; i <= to; i++)
		messages_command(&s->m, i, &out);
	bool ok = send_text(s, out.p, out.n);

	sbuf_fini(&out);
	return ok;
}

static void begin_transaction(struct session *s, int64_t now)
{
	s->failure = 0;
	s->accepted_rcpts = 0;
	s->index = 0;
	enter(s, STAGE_MAIL, now);
	send_commands(s, 0, options.pipelining ? options.rcpts + 1 : 0);
}

/* The next piece of header and body. */
static ssize_t send_piece(struct session *s)
{
	static char record[16384]; /* TLS: one record, not one for each half */
	struct str body = messages_body();
	size_t skip = s->body_sent < s->header.n ? s->body_sent : s->header.n;
	size_t past = s->body_sent - skip, head = s->header.n - skip, rest = body.n - past;

	if (s->tls == NULL) {
		struct iovec v[2] = { { s->header.p + skip, head }, { (void *)(uintptr_t)(body.p + past), rest } };
		struct msghdr msg = { .msg_iov = v, .msg_iovlen = 2 };

		return sendmsg(s->fd, &msg, MSG_NOSIGNAL);
	}
	if (rest > sizeof(record) - head)
		rest = sizeof(record) - head;
	if (head > 0)
		memcpy(record, s->header.p + skip, head);
	memcpy(record + head, body.p + past, rest);
	return load_tls_send(s, record, head + rest);
}

/* Writes header and body until the socket is full or all is out. */
static void send_body(struct session *s)
{
	while (s->body_sent < s->body_size) {
		ssize_t n = send_piece(s);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			drop(s, 0);
			return;
		}
		s->body_sent += (size_t)n;
		results.bytes += (uint64_t)n;
		s->deadline_us = clock_mono_us() + (int64_t)options.timeout_ms * 1000;
	}
	s->body_size = 0;
	s->since_us = clock_mono_us(); /* the wait for the answer to the dot begins */
}

static void begin_body(struct session *s, int64_t now)
{
	enter(s, STAGE_DOT, now);
	sbuf_reset(&s->header);
	messages_header(&s->m, &s->header);
	s->body_sent = 0;
	s->body_size = s->header.n + messages_body().n;
	send_body(s);
}

void session_quit(struct session *s)
{
	CHECK_OBJ(s, SESSION_MAGIC);
	if (s->stage == STAGE_FREE)
		return;
	if (s->stage < STAGE_EHLO) {
		drop(s, 0);
		return;
	}
	enter(s, STAGE_QUIT, clock_mono_us());
	send_text(s, "QUIT\r\n", 6);
}

/* ---- answers ---- */

static void refuse(struct session *s, unsigned code)
{
	if (s->failure == 0) {
		s->failure = code;
		results.codes[code]++;
	}
}

static void give_up(struct session *s)
{
	end_message(s, s->failure);
	session_quit(s);
}

static void say_ehlo(struct session *s, int64_t now)
{
	struct sbuf out = { 0 };

	enter(s, STAGE_EHLO, now);
	sbuf_printf(&out, "EHLO %s\r\n", options.helo);
	send_text(s, out.p, out.n);
	sbuf_fini(&out);
}

/* Goes on with the handshake; the answer that is due behind it is the greeting (port 465) or that to EHLO. */
static void shake_hands(struct session *s)
{
	enum tls_step step = load_tls_handshake(s);

	if (step == TLS_AGAIN)
		return;
	if (step == TLS_FAILED) {
		drop(s, 0);
		return;
	}
	int64_t now = clock_mono_us();

	histogram_add(&results.stages[STAGE_TLS], now - s->since_us);
	if (options.tls == TLS_STARTTLS)
		say_ehlo(s, now);
	else
		enter(s, STAGE_BANNER, now);
}

static void begin_tls(struct session *s, int64_t now)
{
	enter(s, STAGE_TLS, now);
	if (load_tls_begin(s))
		shake_hands(s);
	else
		drop(s, 0);
}

/* --handshakes: the server has spoken or closed behind the handshake, so it has done its part. */
static void end_handshake(struct session *s)
{
	histogram_add(&results.transaction, clock_mono_us() - s->m.due_us);
	end_message(s, 250);
	drop(s, 0);
}

static bool only_handshake_is_over(const struct session *s)
{
	return options.handshakes && s->tls != NULL && s->stage != STAGE_TLS;
}

static void on_ready(struct session *s, int64_t now)
{
	if (options.idle > 0) {
		s->held = true;
		enter(s, STAGE_READY, now);
		load_session_idle(s);
	} else if (s->has_message) {
		begin_transaction(s, now);
	}
}

/* EHLO was answered: TLS, then the login, then mail. */
static void on_ehlo(struct session *s, int64_t now)
{
	static size_t next;

	if (options.tls == TLS_STARTTLS && s->tls == NULL) {
		enter(s, STAGE_STARTTLS, now);
		send_text(s, "STARTTLS\r\n", 10);
	} else if (options.n_logins > 0) {
		const char *login = options.logins[next++ % options.n_logins];

		enter(s, STAGE_AUTH, now);
		send_text(s, login, strlen(login));
	} else {
		on_ready(s, now);
	}
}

static void on_mail(struct session *s, unsigned code, int64_t now)
{
	if (code / 100 != 2)
		refuse(s, code);
	if (!options.pipelining && s->failure != 0) {
		give_up(s);
		return;
	}
	enter(s, STAGE_RCPT, now);
	if (!options.pipelining)
		send_commands(s, 1, 1);
}

static void on_rcpt(struct session *s, unsigned code, int64_t now)
{
	if (code / 100 == 2)
		s->accepted_rcpts++;
	else
		refuse(s, code);
	if (++s->index < options.rcpts) {
		enter(s, STAGE_RCPT, now);
		if (!options.pipelining)
			send_commands(s, s->index + 1, s->index + 1);
		return;
	}
	if (!options.pipelining && s->failure != 0) {
		give_up(s);
		return;
	}
	enter(s, STAGE_DATA, now);
	if (!options.pipelining)
		send_commands(s, options.rcpts + 1, options.rcpts + 1);
}

static void on_data(struct session *s, unsigned code, int64_t now)
{
	if (code != 354)
		refuse(s, code);
	if (s->failure == 0)
		begin_body(s, now);
	else if (code == 354)
		drop(s, s->failure); /* some recipients were refused: the message must not go out */
	else
		give_up(s);
}

static void on_dot(struct session *s, unsigned code, int64_t now)
{
	if (code / 100 == 2)
		histogram_add(&results.transaction, now - s->m.due_us);
	else
		results.codes[code]++;
	end_message(s, code);
	s->sent_messages++;
	if (options.per_connection > 0 && s->sent_messages >= options.per_connection) {
		session_quit(s);
		return;
	}
	enter(s, STAGE_READY, now);
	load_session_idle(s);
}

static void on_reply(struct session *s, unsigned code)
{
	int64_t now = clock_mono_us();
	int stage = s->stage;

	if (stage < STAGE_COUNT)
		histogram_add(&results.stages[stage], now - s->since_us);
	if (stage == STAGE_QUIT) {
		drop(s, 0);
		return;
	}
	s->m.put_off += stage == STAGE_DOT && code / 100 == 4;
	if (code == 421 || stage >= STAGE_COUNT || (stage <= STAGE_AUTH && code / 100 != 2)) {
		drop(s, code);
		return;
	}
	switch (stage) {
	case STAGE_BANNER:
		say_ehlo(s, now);
		break;
	case STAGE_EHLO:
		on_ehlo(s, now);
		break;
	case STAGE_STARTTLS:
		begin_tls(s, now);
		break;
	case STAGE_AUTH:
		on_ready(s, now);
		break;
	case STAGE_MAIL:
		on_mail(s, code, now);
		break;
	case STAGE_RCPT:
		on_rcpt(s, code, now);
		break;
	case STAGE_DATA:
		on_data(s, code, now);
		break;
	case STAGE_DOT:
		on_dot(s, code, now);
		break;
	}
}

/* Returns the code when line [p, p+n) ends a reply, 0 when more lines follow, 1 when it is no reply. */
static unsigned line_code(const char *p, size_t n)
{
	if (n < 3 || p[0] < '2' || p[0] > '5' || p[1] < '0' || p[1] > '9' || p[2] < '0' || p[2] > '9')
		return 1;
	if (n > 3 && p[3] == '-')
		return 0;
	return (unsigned)((p[0] - '0') * 100 + (p[1] - '0') * 10 + (p[2] - '0'));
}

static void consume(struct session *s)
{
	size_t used = 0;
	char *lf;

	while (s->fd >= 0 && (lf = memchr(s->in + used, '\n', s->n_in - used)) != NULL) {
		unsigned code = line_code(s->in + used, (size_t)(lf - s->in) - used);

		used = (size_t)(lf - s->in) + 1;
		if (s->stage == STAGE_STARTTLS && used < s->n_in) {
			drop(s, 0); /* what stands in clear behind the answer is not the server's */
			break;
		}
		if (code != 0)
			on_reply(s, code);
	}
	if (s->fd < 0) {
		s->n_in = 0;
		return;
	}
	s->n_in -= used;
	memmove(s->in, s->in + used, s->n_in);
	if (s->n_in == sizeof(s->in))
		drop(s, 0); /* no reply line is that long */
}

/* ---- the socket ---- */

static bool open_socket(struct session *s)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = s };

	s->fd = socket(options.to.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->fd < 0)
		return false;
	setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &(int) { 1 }, sizeof(int));
	if (options.source.sa.sa_family != 0 && bind(s->fd, &options.source.sa, addr_len(&options.source)) != 0)
		return false;
	if (connect(s->fd, &options.to.sa, addr_len(&options.to)) != 0 && errno != EINPROGRESS)
		return false;
	return epoll_ctl(load_epoll_fd(), EPOLL_CTL_ADD, s->fd, &ev) == 0;
}

void session_start(struct session *s, const struct message *m, int64_t now)
{
	CHECK_OBJ(s, SESSION_MAGIC);
	if (m != NULL) {
		s->m = *m;
		s->has_message = true;
	}
	if (s->stage == STAGE_READY) {
		begin_transaction(s, now);
		return;
	}
	s->n_in = 0;
	s->sent_messages = 0;
	enter(s, STAGE_CONNECT, now);
	results.connections++;
	if (!open_socket(s))
		drop(s, 0);
}

static bool connected(struct session *s)
{
	int err = 0;
	socklen_t len = sizeof(err);

	getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &err, &len);
	if (err != 0) {
		drop(s, 0);
		return false;
	}
	int64_t now = clock_mono_us();

	histogram_add(&results.stages[STAGE_CONNECT], now - s->since_us);
	if (options.tls == TLS_IMPLICIT)
		begin_tls(s, now);
	else
		enter(s, STAGE_BANNER, now);
	return s->fd >= 0;
}

/* Reads once. False = nothing is left to be read now, or the session has another socket or none. */
static bool read_some(struct session *s, bool hangup)
{
	size_t room = sizeof(s->in) - s->n_in;
	ssize_t n = s->tls != NULL ? load_tls_recv(s, s->in + s->n_in, room) : recv(s->fd, s->in + s->n_in, room, 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (only_handshake_is_over(s)) {
		end_handshake(s);
		return false;
	}
	if (n <= 0) {
		drop(s, 0);
		return false;
	}
	s->n_in += (size_t)n;
	consume(s);
	/* A session that was closed and begun anew meanwhile has another socket, with events of its own. libssl may
	 * hold more than it gave, and may have begun in this very call. */
	return s->fd >= 0 && s->stage != STAGE_CONNECT && (hangup || s->tls != NULL || (size_t)n == room);
}

void session_event(struct session *s, unsigned events)
{
	CHECK_OBJ(s, SESSION_MAGIC);
	bool hangup = (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;

	if (s->fd < 0 || (s->stage == STAGE_CONNECT && !connected(s)))
		return;
	if (s->body_size > 0 && (events & EPOLLOUT) != 0)
		send_body(s);
	if (s->stage == STAGE_TLS && s->tls != NULL)
		shake_hands(s);
	/* Edge-triggered: read until it would block, or until a short read shows that nothing is left. */
	if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) == 0)
		return;
	while (s->fd >= 0 && s->stage != STAGE_TLS && read_some(s, hangup))
		;
}

void session_timeout(struct session *s)
{
	CHECK_OBJ(s, SESSION_MAGIC);
	drop(s, 1);
}
