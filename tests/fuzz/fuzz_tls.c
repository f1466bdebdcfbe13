/* SPDX-License-Identifier: Apache-2.0
 * Fuzz: TLS on a server's stream against whatever a peer sends. Invariants: the owner sees no byte before a handshake
 * is complete, is told of at most one end, and the stream can be closed at any moment; nothing waits or leaks.
 *
 * The first byte chooses: how TLS begins (bit 0), whether reading is paused in between (bit 1), whether the peer closes
 * at the end (bit 2), and into how many pieces the rest is cut (the upper bits).
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/net/stream_tls.h"
#include "tests/unit/net/tls_made.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct owner {
	unsigned ends;
	bool tls;
};

static size_t on_data(struct stream *st, const char *p, size_t n, void *owner)
{
	struct owner *o = owner;

	ASSERT(p != NULL && n > 0 && o->ends == 0);
	ASSERT(o->tls && stream_tls_is_on(st));
	return n;
}

static void on_gone(struct stream *st, int err, void *owner)
{
	struct owner *o = owner;

	ASSERT(o->tls || err == 0 || stream_tls_error(st) != NULL || err != EPROTO);
	ASSERT(++o->ends == 1);
}

static void on_tls(struct stream *st, void *owner)
{
	struct owner *o = owner;
	struct stream_tls_info info;

	ASSERT(!o->tls && o->ends == 0 && stream_tls_info(st, &info));
	o->tls = true;
}

static const struct stream_ops ops = { .on_data = on_data, .on_gone = on_gone, .on_tls = on_tls };

static struct tls_server *server(void)
{
	static struct tls_server *context;
	char *why = NULL;

	if (context != NULL)
		return context;
	struct made m = made((struct made_like) { .cn = "fuzz.test" });
	struct tls_certificate *c = made_certificate(&m);
	struct tls_server_conf cf = { .id = "fuzz", .certificates = &c, .n_certificates = 1 };
	context = tls_server_new(&cf, &why);
	ASSERT(context != NULL);
	tls_certificate_unref(c);
	made_free(&m);
	return context;
}

static void turn(struct loop *l)
{
	for (int i = 0; i < 3; i++)
		loop_turn(l, false);
}

static void play(struct loop *l, uint8_t how, struct str bytes)
{
	enum stream_tls_when when = how & 1 ? STREAM_TLS_STARTTLS : STREAM_TLS_IMPLICIT;
	size_t pieces = (how >> 3) + 1u, at = 0;
	struct owner o = { 0 };
	struct stream st;
	int fd[2];

	ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd) == 0);
	stream_open(&st, l, fd[0], &ops, &o);
	ASSERT(stream_tls_server(&st, server(), when));
	for (size_t i = 0; i < pieces && stream_is_open(&st) && o.ends == 0; i++) {
		size_t n = i + 1 == pieces ? bytes.n - at : bytes.n / pieces;
		ssize_t unused = n > 0 ? send(fd[1], bytes.p + at, n, MSG_NOSIGNAL) : 0;
		UNUSED(unused);
		at += n;
		if (how & 2 && i % 2 == 0)
			stream_pause(&st);
		turn(l);
		stream_resume(&st);
		turn(l);
	}
	if (how & 4)
		shutdown(fd[1], SHUT_WR);
	turn(l);
	stream_close(&st);
	close(fd[1]);
	turn(l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct loop *l;

	if (l == NULL)
		l = loop_new();
	if (size > 0 && size <= 64 * 1024)
		play(l, data[0], (struct str) { (const char *)data + 1, size - 1 });
	return 0;
}
