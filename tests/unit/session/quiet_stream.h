/* SPDX-License-Identifier: Apache-2.0
 * A stream over a pair of sockets whose owner does nothing about what comes.
 */
#ifndef POSTROAD_TESTS_UNIT_SESSION_QUIET_STREAM_H
#define POSTROAD_TESTS_UNIT_SESSION_QUIET_STREAM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "daemon/net/stream.h"

static size_t quiet_on_data(struct stream *st, const char *p, size_t n, void *owner)
{
	UNUSED(st);
	UNUSED(p);
	UNUSED(owner);
	return n;
}

static void quiet_on_gone(struct stream *st, int err, void *owner)
{
	UNUSED(st);
	UNUSED(err);
	UNUSED(owner);
}

static inline void quiet_timer(void *arg)
{
	UNUSED(arg);
}

/* Opens it; returns the other end, to be closed. */
static inline int quiet_stream_open(struct stream *st, struct loop *l, void *owner)
{
	static const struct stream_ops ops = { NULL, quiet_on_data, NULL, quiet_on_gone, NULL };
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	stream_open(st, l, fds[0], &ops, owner);
	return fds[1];
}

#endif
