/* SPDX-License-Identifier: Apache-2.0
 * Connections from proxies: reading the PROXY header.
 *
 * The hard thing is trust: the header decides who the client is, so it is believed only because the peer is in
 * `accept_proxy`, and of such a peer it is required; what is no header ends the connection without a word. The source
 * is "The PROXY protocol, versions 1 & 2", 2.
 */
#include "daemon/session/proxied.h"

#include <stdlib.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/net/preamble.h"
#include "daemon/session/session.h"
#include "daemon/session/worker_private.h"
#include "daemon/smtp/proxy.h"

#define PROXIED_MAGIC 0x50525859u

struct proxied {
	uint32_t magic;
	struct list link;
	struct worker *w;
	struct listener_runtime *run; /* referenced */
	struct addr peer;
	int fd; /* -1 = handed on */
	struct preamble preamble;
	struct timer timer;
	struct proxy_header header;
	const char *why; /* of a header that is none */
};

bool proxied_is_due(const struct listener_config *cf, const struct addr *peer)
{
	return cf->accept_proxy.present && cidr_match_any(cf->accept_proxy.v, cf->accept_proxy.n, peer);
}

static void free_proxied(void *arg)
{
	struct proxied *px = arg;

	listener_runtime_unref(px->run);
	FREE_OBJ(px);
}

static void end(struct proxied *px)
{
	preamble_end(&px->preamble);
	timer_stop(&px->timer);
	list_remove(&px->link);
	px->w->n_proxied--;
	if (px->fd >= 0) {
		close(px->fd);
		atomic_fetch_sub_explicit(&px->run->connections, 1, memory_order_relaxed);
	}
	px->fd = -1;
	loop_defer(px->w->loop, free_proxied, px);
}

/* No header: the connection ends without a word (2.1, 2.2). */
static void refuse(struct proxied *px, const char *why)
{
	struct logline l;

	metrics_add(px->run->m_connections[ACCEPT_NO_PROXY], 1);
	log_begin(&l, LOG_LEVEL_INFO, "proxy_refused");
	log_cstr(&l, "listener", px->run->name);
	log_addr(&l, "peer", &px->peer);
	log_cstr(&l, "why", why);
	log_end(&l);
	end(px);
}

static enum preamble_verdict judge(const char *p, size_t n, size_t *ret_len, void *owner)
{
	struct proxied *px = owner;

	switch (proxy_parse(p, n, &px->header, ret_len, &px->why)) {
	case SMTP_PARSE_MORE:
		return PREAMBLE_MORE;
	case SMTP_PARSE_OK:
		return PREAMBLE_DONE;
	case SMTP_PARSE_BAD:
		break;
	}
	return PREAMBLE_BAD;
}

static void on_done(const char *p, size_t n, void *owner)
{
	struct proxied *px = owner;
	struct arrival a = { .fd = px->fd, .peer = px->peer, .client = px->peer, .is_proxied = true };

	CHECK_OBJ(px, PROXIED_MAGIC);
	UNUSED(p);
	UNUSED(n);
	if (px->header.kind == PROXY_TCP) {
		a.client = px->header.src;
		a.local = px->header.dst;
	}
	a.is_own = px->header.kind == PROXY_LOCAL;
	px->fd = -1;
	worker_admit(px->w, px->run, &a);
	end(px);
}

static void on_failed(int err, void *owner)
{
	struct proxied *px = owner;

	CHECK_OBJ(px, PROXIED_MAGIC);
	refuse(px, err != 0 ? "the peer has left" : px->why != NULL ? px->why : "too long");
}

static void on_timer(void *arg)
{
	struct proxied *px = arg;

	CHECK_OBJ(px, PROXIED_MAGIC);
	refuse(px, "no header in time");
}

static const struct preamble_ops ops = { judge, on_done, on_failed };

void proxied_await(struct worker *w, const struct listener_view *lv, int fd, const struct addr *peer)
{
	struct proxied *px;

	NEW_OBJ(px, PROXIED_MAGIC);
	px->w = w;
	px->run = listener_runtime_ref(lv->run);
	px->peer = *peer;
	px->fd = fd;
	list_append(&w->proxied, &px->link);
	w->n_proxied++;
	timer_init(&px->timer, on_timer, px);
	timer_set_in(w->loop, &px->timer, lv->config->timeouts.command_ms);
	preamble_start(&px->preamble, w->loop, fd, PROXY_RECEIVE_MAX, &ops, px);
}

void proxied_close_all(struct worker *w, const struct listener_runtime *run)
{
	struct proxied *px;
	struct list *tmp;

	LIST_FOR_EACH(px, tmp, &w->proxied, link)
		if (run == NULL || px->run == run)
			end(px);
}
