/* SPDX-License-Identifier: Apache-2.0
 * Name resolution: c-ares driven by a loop.
 *
 * One question of ours is several of DNS: A and AAAA, and for SRV the same again for each target. They are asked apart,
 * because the joint look-up of c-ares calls an answer whole when one of the two families failed, and an address family
 * that "vanished" would take servers out. What failed for now is told from what is decidedly not there: the first makes
 * the answer partial.
 *
 * c-ares may call back from inside the call that asks, and calls back once for every question even at its destruction;
 * so an answer is delivered by a timer of its own, and a cancelled query lives until its last question has come back.
 */
#define CARES_NO_DEPRECATED /* ares_query and the SRV parser: their successors are not in every c-ares we build with   \
			     */
#include "daemon/net/resolver.h"

#include "daemon/net/resolver_channel.h"

#include <arpa/nameser.h>
#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define RESOLVER_MAGIC 0x7265736cu
#define QUERY_MAGIC 0x71756572u
#define CONF_FILE "/etc/resolv.conf"
#define SRV_TARGETS_MAX 32
#define HOSTS_MAX 1024 /* taken from one answer */

struct resolver {
	uint32_t magic;
	struct loop *loop;
	struct resolver_channel channel;
	struct list queries;
	unsigned n_out; /* questions that c-ares has */
};

struct resolver_query {
	uint32_t magic;
	struct resolver *resolver;
	struct list link;
	resolver_fn *fn; /* NULL = cancelled */
	void *arg;
	unsigned pending; /* questions out */
	struct timer deliver;
	int failure;  /* of what failed for now; 0 = nothing did */
	int negative; /* of what is decidedly not there */
	struct resolver_host *hosts;
	size_t n_hosts, cap_hosts;
	bool has_ttl;
	unsigned ttl;
};

/* One question about addresses. */
struct question {
	struct resolver_query *query;
	struct resolver_host like; /* port, priority, weight of what it finds */
};

/* ---- delivering ---- */

static int host_cmp(const void *a, const void *b)
{
	const struct resolver_host *x = a, *y = b;

	if (x->addr.sa.sa_family != y->addr.sa.sa_family)
		return x->addr.sa.sa_family == AF_INET ? -1 : 1;
	int cmp = x->addr.sa.sa_family == AF_INET
			  ? memcmp(&x->addr.in.sin_addr, &y->addr.in.sin_addr, sizeof(x->addr.in.sin_addr))
			  : memcmp(&x->addr.in6.sin6_addr, &y->addr.in6.sin6_addr, sizeof(x->addr.in6.sin6_addr));
	if (cmp != 0)
		return cmp;
	if (addr_port(&x->addr) != addr_port(&y->addr))
		return addr_port(&x->addr) < addr_port(&y->addr) ? -1 : 1;
	/* Of two records for one address the one that is used first is kept. */
	return x->priority < y->priority ? -1 : x->priority > y->priority;
}

static void sort_hosts(struct resolver_query *q)
{
	size_t n = 0;

	if (q->n_hosts > 0)
		qsort(q->hosts, q->n_hosts, sizeof(*q->hosts), host_cmp);
	for (size_t i = 0; i < q->n_hosts; i++)
		if (n == 0 || !addr_eq(&q->hosts[n - 1].addr, &q->hosts[i].addr))
			q->hosts[n++] = q->hosts[i];
	q->n_hosts = n;
}

static void free_query(struct resolver_query *q)
{
	ASSERT(q->pending == 0);
	timer_stop(&q->deliver);
	list_remove(&q->link);
	free(q->hosts);
	FREE_OBJ(q);
}

static void on_deliver(void *arg)
{
	struct resolver_query *q = arg;

	CHECK_OBJ(q, QUERY_MAGIC);
	sort_hosts(q);
	struct resolver_answer answer = { .hosts = q->hosts, .n_hosts = q->n_hosts, .ttl = q->ttl };

	if (q->n_hosts == 0)
		answer.status = q->failure != 0 ? q->failure : q->negative != 0 ? q->negative : ARES_ENODATA;
	else
		answer.partial = q->failure != 0;
	if (q->fn != NULL)
		q->fn(&answer, q->arg);
	free_query(q);
}

/* A question has come back. */
static void settle(struct resolver_query *q)
{
	ASSERT(q->pending > 0);
	if (--q->pending > 0)
		return;
	if (q->fn == NULL)
		free_query(q);
	else
		timer_set_in(q->resolver->loop, &q->deliver, 0);
}

/* ---- what comes back ---- */

static void note_ttl(struct resolver_query *q, int64_t ttl)
{
	unsigned seconds = ttl < 0 ? 0 : (unsigned)ttl;

	if (!q->has_ttl || seconds < q->ttl)
		q->ttl = seconds;
	q->has_ttl = true;
}

static void note_failure(struct resolver_query *q, int status)
{
	if (status == ARES_ENODATA || status == ARES_ENOTFOUND)
		q->negative = status;
	else
		q->failure = status;
}

static void add_host(struct resolver_query *q, const struct resolver_host *like, const struct addr *a)
{
	struct resolver_host *h;

	if (q->n_hosts == HOSTS_MAX)
		return;
	if (q->n_hosts == q->cap_hosts) {
		q->cap_hosts = q->cap_hosts == 0 ? 8 : q->cap_hosts * 2;
		q->hosts = xrealloc(q->hosts, q->cap_hosts * sizeof(*q->hosts));
	}
	h = &q->hosts[q->n_hosts++];
	*h = *like;
	h->addr = *a;
	addr_set_port(&h->addr, addr_port(&like->addr));
}

static void add_node(struct question *question, const struct ares_addrinfo_node *node)
{
	struct addr a = { 0 };

	if (node->ai_addrlen > sizeof(a))
		return;
	memcpy(&a, node->ai_addr, node->ai_addrlen);
	add_host(question->query, &question->like, &a);
	note_ttl(question->query, node->ai_ttl);
}

static void on_addresses(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
	struct question *question = arg;
	struct resolver_query *q = question->query;

	UNUSED(timeouts);
	CHECK_OBJ(q, QUERY_MAGIC);
	q->resolver->n_out--;
	if (status != ARES_SUCCESS || info == NULL) {
		note_failure(q, status);
	} else {
		for (const struct ares_addrinfo_cname *c = info->cnames; c != NULL; c = c->next)
			note_ttl(q, c->ttl);
		for (const struct ares_addrinfo_node *node = info->nodes; node != NULL; node = node->ai_next)
			add_node(question, node);
	}
	if (info != NULL)
		ares_freeaddrinfo(info);
	free(question);
	settle(q);
}

/* The smallest TTL in the answer section; the parser of c-ares keeps none. Malformed answers have been refused before.
 */
static void note_srv_ttl(struct resolver_query *q, const unsigned char *p, int len)
{
	const unsigned char *at = p + NS_HFIXEDSZ, *stop = p + len;
	unsigned n = len >= NS_HFIXEDSZ ? (unsigned)(p[6] << 8 | p[7]) : 0; /* ANCOUNT, RFC 1035 4.1.1 */
	char *name;
	long used;

	if (n == 0 || ares_expand_name(at, p, len, &name, &used) != ARES_SUCCESS)
		return;
	ares_free_string(name);
	at += used + NS_QFIXEDSZ;
	for (; n > 0 && at < stop && ares_expand_name(at, p, len, &name, &used) == ARES_SUCCESS; n--) {
		ares_free_string(name);
		at += used;
		if (stop - at < NS_RRFIXEDSZ)
			return;
		uint32_t ttl = (uint32_t)at[4] << 24 | (uint32_t)at[5] << 16 | (uint32_t)at[6] << 8 | at[7];
		note_ttl(q, ttl > INT32_MAX ? 0 : ttl); /* RFC 2181 8 */
		at += NS_RRFIXEDSZ + (at[8] << 8 | at[9]);
	}
}

/* ---- asking ---- */

static const int families[] = { AF_INET, AF_INET6 };

static void add_hostent(struct resolver_query *q, const struct resolver_host *like, const struct hostent *host)
{
	for (char **at = host->h_addr_list; *at != NULL; at++) {
		struct addr a = { 0 };
		a.sa.sa_family = (sa_family_t)host->h_addrtype;
		if (host->h_addrtype == AF_INET6)
			memcpy(&a.in6.sin6_addr, *at, sizeof(a.in6.sin6_addr));
		else
			memcpy(&a.in.sin_addr, *at, sizeof(a.in.sin_addr));
		add_host(q, like, &a);
	}
}

/* What stands in /etc/hosts, in whichever family, is the whole answer, and holds for no time at all: it may be edited.
 */
static bool find_in_hosts_file(struct resolver_query *q, const char *name, const struct resolver_host *like)
{
	struct hostent *host;
	bool found = false;

	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		if (ares_gethostbyname_file(q->resolver->channel.ares, name, families[i], &host) != ARES_SUCCESS)
			continue;
		add_hostent(q, like, host);
		note_ttl(q, 0);
		ares_free_hostent(host);
		found = true;
	}
	return found;
}

static void ask_addresses(struct resolver_query *q, const char *name, const struct resolver_host *like)
{
	if (find_in_hosts_file(q, name, like))
		return;
	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		struct ares_addrinfo_hints hints = { .ai_family = families[i], .ai_flags = ARES_AI_NOSORT };
		struct question *question = xcalloc(1, sizeof(*question));
		question->query = q;
		question->like = *like;
		q->pending++;
		q->resolver->n_out++;
		ares_getaddrinfo(q->resolver->channel.ares, name, NULL, &hints, on_addresses, question);
	}
}

static void ask_targets(struct resolver_query *q, const struct ares_srv_reply *list)
{
	unsigned n = 0;

	for (const struct ares_srv_reply *srv = list; srv != NULL && n < SRV_TARGETS_MAX; srv = srv->next, n++) {
		struct resolver_host like = { .priority = srv->priority, .weight = srv->weight };
		/* RFC 2782: a target of "." means that the service is decidedly not there. */
		if (srv->host == NULL || srv->host[0] == '\0' || strcmp(srv->host, ".") == 0)
			continue;
		like.addr.sa.sa_family = AF_INET;
		addr_set_port(&like.addr, srv->port);
		ask_addresses(q, srv->host, &like);
	}
}

static void on_srv(void *arg, int status, int timeouts, unsigned char *answer, int len)
{
	struct resolver_query *q = arg;
	struct ares_srv_reply *list = NULL;

	UNUSED(timeouts);
	CHECK_OBJ(q, QUERY_MAGIC);
	q->resolver->n_out--;
	if (status == ARES_SUCCESS)
		status = ares_parse_srv_reply(answer, len, &list);
	if (status != ARES_SUCCESS) {
		note_failure(q, status);
	} else if (q->fn != NULL) {
		note_srv_ttl(q, answer, len);
		ask_targets(q, list);
	}
	if (list != NULL)
		ares_free_data(list);
	settle(q);
}

static struct resolver_query *new_query(struct resolver *r, resolver_fn *fn, void *arg)
{
	struct resolver_query *q;

	CHECK_OBJ(r, RESOLVER_MAGIC);
	if (r->n_out == 0)
		resolver_channel_refresh(&r->channel);
	NEW_OBJ(q, QUERY_MAGIC);
	q->resolver = r;
	q->fn = fn;
	q->arg = arg;
	timer_init(&q->deliver, on_deliver, q);
	list_append(&r->queries, &q->link);
	return q;
}

struct resolver_query *resolver_lookup_host(struct resolver *r, const char *name, unsigned port, resolver_fn *fn,
					    void *arg)
{
	struct resolver_query *q = new_query(r, fn, arg);
	struct resolver_host like = { 0 };

	like.addr.sa.sa_family = AF_INET;
	addr_set_port(&like.addr, port);
	q->pending++; /* held over the asking: answers may come from inside it */
	ask_addresses(q, name, &like);
	settle(q);
	resolver_channel_arm(&r->channel);
	return q;
}

struct resolver_query *resolver_lookup_srv(struct resolver *r, const char *name, resolver_fn *fn, void *arg)
{
	struct resolver_query *q = new_query(r, fn, arg);

	q->pending++;
	r->n_out++;
	ares_query(r->channel.ares, name, ns_c_in, ns_t_srv, on_srv, q);
	resolver_channel_arm(&r->channel);
	return q;
}

void resolver_cancel(struct resolver_query *q)
{
	CHECK_OBJ(q, QUERY_MAGIC);
	q->fn = NULL;
	if (q->pending == 0)
		free_query(q);
}

const char *resolver_strerror(int status)
{
	return ares_strerror(status);
}

/* ---- life ---- */

static pthread_once_t library_once = PTHREAD_ONCE_INIT;

static void init_library(void)
{
	int err = ares_library_init(ARES_LIB_INIT_ALL);

	ASSERT(err == ARES_SUCCESS);
}

struct resolver *resolver_new(struct loop *l, const char *servers)
{
	struct resolver *r;

	pthread_once(&library_once, init_library);
	NEW_OBJ(r, RESOLVER_MAGIC);
	r->loop = l;
	list_init(&r->queries);
	if (!resolver_channel_open(&r->channel, l, servers, CONF_FILE))
		FREE_OBJ(r);
	return r;
}

void resolver_free(struct resolver *r)
{
	struct resolver_query *q;
	struct list *tmp;

	if (r == NULL)
		return;
	CHECK_OBJ(r, RESOLVER_MAGIC);
	LIST_FOR_EACH(q, tmp, &r->queries, link)
		resolver_cancel(q);
	resolver_channel_close(&r->channel); /* calls back for all that is out, which frees the queries */
	ASSERT(list_empty(&r->queries));
	FREE_OBJ(r);
}
