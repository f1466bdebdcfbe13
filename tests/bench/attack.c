/* SPDX-License-Identifier: Apache-2.0
 * postroad-attack: clients that mean harm, to see what they cost a server and those beside them.
 *
 * The hard thing is to be a nuisance cheaply: on one machine attacker and server share the cores, so an attacker that
 * works much proves little. One thread; time is cut into ticks, and each client has its turn once a second, at a tick
 * of its own. Who is thrown out comes back at his next turn.
 */
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/base/addr.h"
#include "daemon/base/clock.h"
#include "daemon/base/obj.h"
#include "daemon/base/str.h"
#include "tests/bench/arguments.h"

#define EVENTS_MAX 512
#define TICKS 100        /* a second */
#define OPEN_PER_TICK 30 /* new connections, but for --mode hangup: 3,000 a second are enough to fill any server */

enum mode { MODE_IDLE, MODE_DRIP, MODE_CRAWL, MODE_HOLD, MODE_DEAF, MODE_AUTH, MODE_HANGUP, MODE_COUNT };

static const char *const mode_names[MODE_COUNT] = { "idle", "drip", "crawl", "hold", "deaf", "auth", "hangup" };

const char argument_program[] = "postroad-attack";
const char argument_usage[] =
	"usage: postroad-attack --to ADDR:PORT --mode MODE [options]\n"
	"  --mode idle      connect, read the greeting, stay\n"
	"  --mode drip      send commands, one byte a second\n"
	"  --mode crawl     send an envelope at once, then the message, one byte a second\n"
	"  --mode hold      send MAIL and RCPT, then nothing\n"
	"  --mode deaf      send commands as fast as they are taken, and never read an answer\n"
	"  --mode auth      guess passwords with AUTH PLAIN, each as soon as the last one was refused\n"
	"  --mode hangup    --rate connections a second that hang up at the greeting\n"
	"  --clients N      connections at a time (default 1000); who is thrown out comes back within a second\n"
	"  --rate R         of --mode hangup (default 1000)\n"
	"  --sources K      come from K addresses, 127.66.0.1 and up (default 1); needs a target on the loopback\n"
	"  --user NAME      whose password to guess (default user)\n"
	"Prints a line of JSON when all clients have had their first turn, and one with the counts at TERM or INT.\n";

#define CLIENT_MAGIC 0xa77ac001u

struct client {
	uint32_t magic;
	int fd; /* -1 = none */
	unsigned number;
	bool greeted, had_turn;
	unsigned step; /* of an exchange: replies read */
	size_t sent;   /* drip and crawl: bytes of the text */
};

/* Written by main() before anything runs; all of it belongs to the one thread. */
static struct addr to;
static enum mode mode = MODE_COUNT;
static unsigned n_clients = 1000, rate = 1000, sources = 1;
static const char *user = "user";
static struct client *clients;
static int epoll_fd;
static volatile sig_atomic_t ending;

static struct {
	unsigned long connections, greeted, refused, thrown_out, failed, attempts, bytes;
	unsigned long standing, had_turn;
} counts; /* refused: closed or answered 4xx and 5xx instead of a greeting; failed: no connection came about */

static const char drip_text[] = "EHLO drip.test\r\nMAIL FROM:<drip@load.test>\r\nRCPT TO:<drip@sink.test>\r\nDATA\r\n"
				"Subject: drip\r\n\r\n";
static const char crawl_text[] =
	"EHLO crawl.test\r\nMAIL FROM:<crawl@load.test>\r\nRCPT TO:<crawl@sink.test>\r\nDATA\r\n";

static const char hold_text[] = "EHLO hold.test\r\nMAIL FROM:<hold@load.test>\r\nRCPT TO:<hold@sink.test>\r\n";

/* ---- one client ---- */

static void had_turn(struct client *c)
{
	counts.had_turn += !c->had_turn;
	c->had_turn = true;
}

static void hang_up(struct client *c, unsigned long *why)
{
	if (why != NULL)
		(*why)++;
	had_turn(c);
	counts.standing -= c->greeted;
	close(c->fd);
	c->fd = -1;
}

/* By the server: before its greeting it failed, behind it that is its answer to the attack. */
static void lose(struct client *c)
{
	hang_up(c, c->greeted ? &counts.thrown_out : &counts.failed);
}

static void greeted(struct client *c)
{
	c->greeted = true;
	counts.greeted++;
	counts.standing++;
	had_turn(c);
}

static bool bind_source(const struct client *c)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	unsigned n = c->number % sources;

	if (sources == 1)
		return true;
	sin.sin_addr.s_addr = htonl(127u << 24 | 66u << 16 | n / 250 << 8 | (n % 250 + 1));
	setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &(int) { 1 }, sizeof(int));
	return bind(c->fd, (struct sockaddr *)&sin, sizeof(sin)) == 0;
}

static void call(struct client *c)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = c };

	if (mode == MODE_DEAF)
		ev.events = EPOLLOUT | EPOLLRDHUP | EPOLLET;
	counts.connections++;
	c->greeted = false;
	c->step = 0;
	c->sent = 0;
	c->fd = socket(to.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0) {
		counts.failed++;
		return;
	}
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int) { 1 }, sizeof(int));
	if (mode == MODE_DEAF) { /* or the machine does nothing but copy what nobody reads */
		setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &(int) { 2048 }, sizeof(int));
		setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &(int) { 8192 }, sizeof(int));
	}
	if (!bind_source(c) || (connect(c->fd, &to.sa, addr_len(&to)) != 0 && errno != EINPROGRESS) ||
	    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &ev) != 0)
		hang_up(c, &counts.failed);
}

/* What is not taken at once is left out: an attacker does not care. False = the connection is gone. */
static bool say(struct client *c, const char *p, size_t n)
{
	ssize_t sent = send(c->fd, p, n, MSG_NOSIGNAL);

	if (sent > 0)
		counts.bytes += (unsigned long)sent;
	if (sent >= 0 || errno == EAGAIN)
		return true;
	lose(c);
	return false;
}

static void guess(struct client *c)
{
	unsigned char plain[320], encoded[480];
	char text[512];
	int n = snprintf((char *)plain, sizeof(plain), "%c%.200s%cwrong%lu", 1, user, 1, counts.attempts);

	plain[0] = plain[1 + strnlen(user, 200)] = '\0';
	EVP_EncodeBlock(encoded, plain, n);
	n = snprintf(text, sizeof(text), "AUTH PLAIN %s\r\n", (const char *)encoded);
	counts.attempts++;
	say(c, text, (size_t)n);
}

/* A whole reply was read. */
static void answer(struct client *c)
{
	c->step++;
	if (mode == MODE_HANGUP)
		hang_up(c, NULL);
	else if (mode == MODE_AUTH && c->step == 1)
		say(c, "EHLO guess.test\r\n", 17);
	else if (mode == MODE_AUTH)
		guess(c);
	else if (mode == MODE_CRAWL && c->step == 1)
		say(c, crawl_text, sizeof(crawl_text) - 1);
	else if (mode == MODE_HOLD && c->step == 1)
		say(c, hold_text, sizeof(hold_text) - 1);
}

/* A reply is over with a line whose fourth character is no hyphen. */
static bool ends_a_reply(const char *p, size_t n)
{
	if (p[n - 1] != '\n')
		return false;
	const char *before = n > 1 ? memrchr(p, '\n', n - 1) : NULL;
	const char *line = before != NULL ? before + 1 : p;

	return p + n - line < 4 || line[3] != '-';
}

static void on_input(struct client *c)
{
	char in[4096];

	while (c->fd >= 0) {
		ssize_t n = recv(c->fd, in, sizeof(in), 0);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0 || (!c->greeted && in[0] != '2')) {
			hang_up(c, c->greeted ? &counts.thrown_out : n < 0 ? &counts.failed : &counts.refused);
			return;
		}
		if (!c->greeted)
			greeted(c);
		if (ends_a_reply(in, (size_t)n))
			answer(c);
	}
}

/* --mode deaf: whatever the server takes. */
static void shout(struct client *c)
{
	static char text[8192];

	if (text[0] == '\0')
		for (size_t i = 0; i + 16 <= sizeof(text); i += 16)
			memcpy(text + i, "EHLO deaf.test\r\n", 16);
	if (!c->greeted)
		greeted(c);
	for (;;) {
		ssize_t n = send(c->fd, text, sizeof(text), MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			hang_up(c, &counts.thrown_out);
			return;
		}
		counts.bytes += (unsigned long)n;
	}
}

static void on_event(struct client *c, unsigned events)
{
	CHECK_OBJ(c, CLIENT_MAGIC);
	if (c->fd < 0)
		return;
	if (mode != MODE_DEAF)
		on_input(c);
	else if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
		lose(c);
	else
		shout(c);
}

/* Once a second. */
static void turn(struct client *c)
{
	if (mode == MODE_DRIP && c->greeted) {
		bool more = c->sent < sizeof(drip_text) - 1;

		say(c, more ? drip_text + c->sent : "x", 1);
		c->sent += more;
	} else if (mode == MODE_CRAWL && c->step > 1) {
		say(c, "x", 1);
	}
}

/* ---- the loop ---- */

static void tick(unsigned number)
{
	static unsigned next; /* of --mode hangup */
	unsigned budget = mode == MODE_HANGUP ? rate * (number % TICKS + 1) / TICKS - rate * (number % TICKS) / TICKS
					      : OPEN_PER_TICK;

	for (unsigned i = number % TICKS; mode != MODE_HANGUP && i < n_clients; i += TICKS) {
		struct client *c = &clients[i];

		if (c->fd >= 0) {
			turn(c);
		} else if (budget > 0) {
			budget--;
			call(c);
		}
	}
	for (unsigned i = 0; mode == MODE_HANGUP && i < n_clients && budget > 0; i++) {
		struct client *c = &clients[next++ % n_clients];

		if (c->fd < 0) {
			budget--;
			call(c);
		}
	}
}

static void print_counts(const char *word)
{
	printf("{\"%s\": \"%s\", \"standing\": %lu, \"connections\": %lu, \"greeted\": %lu, \"refused\": %lu, "
	       "\"thrown_out\": %lu, \"failed\": %lu, \"attempts\": %lu, \"bytes\": %lu}\n",
	       word, mode_names[mode], counts.standing, counts.connections, counts.greeted, counts.refused,
	       counts.thrown_out, counts.failed, counts.attempts, counts.bytes);
	fflush(stdout);
}

static void run(void)
{
	struct epoll_event events[EVENTS_MAX];
	int64_t start = clock_mono_us();
	unsigned ticks = 0;
	bool said = false;

	while (!ending) {
		int64_t due = start + (int64_t)ticks * (1000000 / TICKS), wait = due - clock_mono_us();
		int n = epoll_wait(epoll_fd, events, EVENTS_MAX, wait > 0 ? (int)((wait + 999) / 1000) : 0);

		for (int i = 0; i < n; i++)
			on_event(events[i].data.ptr, events[i].events);
		if (clock_mono_us() >= due)
			tick(ticks++);
		if (!said && (counts.had_turn == n_clients || (mode == MODE_HANGUP && ticks > TICKS))) {
			print_counts("begun");
			said = true;
		}
	}
	print_counts("ended");
}

/* ---- start ---- */

static void on_signal(int sig)
{
	UNUSED(sig);
	ending = true;
}

static void set_mode(const char *value)
{
	for (unsigned i = 0; i < MODE_COUNT; i++)
		if (strcmp(value, mode_names[i]) == 0)
			mode = (enum mode)i;
	if (mode == MODE_COUNT)
		argument_refuse("mode", value);
}

static const struct option longs[] = {
	{ "to", 1, NULL, 't' },      { "mode", 1, NULL, 'm' }, { "clients", 1, NULL, 'c' }, { "rate", 1, NULL, 'r' },
	{ "sources", 1, NULL, 's' }, { "user", 1, NULL, 'u' }, { "help", 0, NULL, 'h' },    { NULL, 0, NULL, 0 },
};

static void set(int ch)
{
	switch (ch) {
	case 't':
		if (!addr_parse(optarg, 25, &to))
			argument_refuse("to", optarg);
		break;
	case 'm':
		set_mode(optarg);
		break;
	case 'c':
		n_clients = (unsigned)argument_number("clients", optarg, 1, 100000);
		break;
	case 'r':
		rate = (unsigned)argument_number("rate", optarg, 1, 100000);
		break;
	case 's':
		sources = (unsigned)argument_number("sources", optarg, 1, 60000);
		break;
	case 'u':
		user = optarg;
		break;
	case 'h':
		argument_help();
	default:
		argument_unknown();
	}
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_signal };
	struct rlimit r;
	int ch;

	while ((ch = getopt_long(argc, argv, "", longs, NULL)) != -1)
		set(ch);
	if (optind < argc || to.sa.sa_family == 0)
		argument_refuse("to", optind < argc ? argv[optind] : "(absent)");
	if (mode == MODE_COUNT)
		argument_refuse("mode", "(absent)");
	if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
		r.rlim_cur = r.rlim_max;
		setrlimit(RLIMIT_NOFILE, &r);
	}
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	clients = xcalloc(n_clients, sizeof(*clients));
	for (unsigned i = 0; i < n_clients; i++)
		clients[i] = (struct client) { .magic = CLIENT_MAGIC, .fd = -1, .number = i };
	run();
	free(clients);
	return 0;
}
