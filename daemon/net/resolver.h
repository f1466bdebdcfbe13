/* SPDX-License-Identifier: Apache-2.0
 * Asynchronous name resolution (c-ares) for the control thread. Results carry the TTL; nothing is cached here.
 */
#ifndef POSTROAD_NET_RESOLVER_H
#define POSTROAD_NET_RESOLVER_H

#include "daemon/base/addr.h"
#include "daemon/net/loop.h"

struct resolver;

struct resolver_host {
	struct addr addr;  /* with the port of the query, or of the SRV record */
	unsigned priority; /* SRV priority; 0 for A/AAAA */
	unsigned weight;   /* SRV weight; 0 for A/AAAA */
};

struct resolver_answer {
	int status;                  /* 0, or an ARES_E… code; resolver_strerror() names it */
	struct resolver_host *hosts; /* sorted by address, without duplicates */
	size_t n_hosts;
	unsigned ttl; /* seconds, the smallest of all records seen */
	/* Some of what was asked could not be found out (one address family, one SRV target): hosts are right but
	 * perhaps not all. An address that is missing from such an answer is not known to be gone. */
	bool partial;
};

typedef void resolver_fn(const struct resolver_answer *answer, void *arg);
struct resolver_query;

/* servers: "127.0.0.1:5353,…", NULL = the system's. /etc/hosts is honoured for A/AAAA. NULL on failure. */
struct resolver *resolver_new(struct loop *l, const char *servers);
/* Cancels everything: no callback comes afterwards. */
void resolver_free(struct resolver *r);
/* All A and AAAA addresses of name. The callback never comes from inside the call. */
struct resolver_query *resolver_lookup_host(struct resolver *r, const char *name, unsigned port, resolver_fn *fn,
					    void *arg);
/* All SRV targets (RFC 2782) with their addresses; a single target "." (the service is decidedly not there) is
 * ARES_ENODATA. */
struct resolver_query *resolver_lookup_srv(struct resolver *r, const char *name, resolver_fn *fn, void *arg);
/* No callback comes afterwards. Not after the callback came. */
void resolver_cancel(struct resolver_query *q);
const char *resolver_strerror(int status);

#endif
