/* SPDX-License-Identifier: Apache-2.0
 * A c-ares channel that lives on a loop: its sockets, its timeouts, and the file it was made from. For resolver.c
 * alone.
 */
#ifndef POSTROAD_NET_RESOLVER_CHANNEL_H
#define POSTROAD_NET_RESOLVER_CHANNEL_H

#define CARES_NO_DEPRECATED /* ares_query and the SRV parser: their successors are not in every c-ares we build with   \
			     */
#include <ares.h>
#include <time.h>

#include "daemon/net/loop.h"

#define RESOLVER_SOCKETS_MAX 64

struct resolver_channel {
	ares_channel ares;
	struct loop *loop;
	struct timer timer; /* c-ares' own timeouts */
	char *servers;      /* NULL = those of conf_file */
	const char *conf_file;
	struct timespec conf_time; /* of the file when the channel was made; 0 = there was none */
	struct resolver_socket {
		ares_socket_t fd;
		struct event *event; /* NULL = free */
	} sockets[RESOLVER_SOCKETS_MAX];
};

/* False: servers cannot be parsed, or c-ares fails. conf_file: "/etc/resolv.conf", but in tests. */
bool resolver_channel_open(struct resolver_channel *c, struct loop *l, const char *servers,
			   const char *conf_file) MUST_CHECK;
/* c-ares calls back for all that is out. */
void resolver_channel_close(struct resolver_channel *c);
/* After each call that asks something. */
void resolver_channel_arm(struct resolver_channel *c);
/* While nothing is out: takes over what changed in the file. Call it before asking. */
void resolver_channel_refresh(struct resolver_channel *c);

#endif
