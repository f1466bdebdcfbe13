/* SPDX-License-Identifier: Apache-2.0
 * postroadd's side of the socket to postroad-ha.
 *
 * The hard thing: postroad-ha may be restarted at any moment, and forgets. So table and health are states here, not
 * messages: whatever was sent, they are sent again until a report shows that they hold.
 */
#include "cluster/vip/ha_client.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define HA_CLIENT_MAGIC 0x48414331

/* A message that waits for room in the socket. */
struct waiting {
	struct waiting *next;
	size_t n;
	char bytes[];
};

struct ha_client {
	uint32_t magic;
	struct sockaddr_un path;
	char node[HA_NAME_MAX + 1];
	struct ha_client_events events;
	int fd;
	bool greeted;
	bool have_table, have_health, table_due, health_due;
	struct ha_message *table, *health, *in;
	struct ha_report *report;
	int64_t report_at; /* 0 = none on this connection */
	int64_t connect_at, health_at;
	uint64_t beats;
	bool beat_due;
	struct waiting *first, **last;
	size_t n_waiting;
	char *buffer; /* [HA_MESSAGE_MAX + 1] */
};

struct ha_client *ha_client_new(const char *run_dir, const char *node, const struct ha_client_events *events)
{
	struct ha_client *c;

	NEW_OBJ(c, HA_CLIENT_MAGIC);
	c->fd = -1;
	c->events = *events;
	c->path.sun_family = AF_UNIX;
	/* Too long a path is cut, and the connection then fails and says so. */
	snprintf(c->path.sun_path, sizeof(c->path.sun_path), "%s/" HA_SOCKET_NAME, run_dir);
	snprintf(c->node, sizeof(c->node), "%s", node);
	c->table = xcalloc(1, sizeof(*c->table));
	c->health = xcalloc(1, sizeof(*c->health));
	c->in = xcalloc(1, sizeof(*c->in));
	c->report = xcalloc(1, sizeof(*c->report));
	c->buffer = xmalloc(HA_MESSAGE_MAX + 1);
	c->last = &c->first;
	return c;
}

static void drop_waiting(struct ha_client *c)
{
	struct waiting *w;

	while ((w = c->first) != NULL) {
		c->first = w->next;
		OPENSSL_cleanse(w->bytes, w->n);
		free(w);
	}
	c->last = &c->first;
	c->n_waiting = 0;
}

void ha_client_free(struct ha_client *c)
{
	if (c == NULL)
		return;
	CHECK_OBJ(c, HA_CLIENT_MAGIC);
	if (c->fd >= 0)
		close(c->fd);
	drop_waiting(c);
	free(c->table);
	free(c->health);
	free(c->in);
	free(c->report);
	free(c->buffer);
	FREE_OBJ(c);
}

int ha_client_fd(const struct ha_client *c)
{
	return c->fd;
}

static void disconnect(struct ha_client *c, const char *why, int64_t now_ms)
{
	bool told = c->greeted;

	close(c->fd);
	c->fd = -1;
	c->greeted = false;
	c->report_at = 0;
	c->connect_at = now_ms + HA_CLIENT_RETRY_MS;
	drop_waiting(c);
	if (told && c->events.connected != NULL)
		c->events.connected(false, why, c->events.arg);
}

/* ---- sending ---- */

/* 0, -EAGAIN, or an error that ends the connection. */
static int send_bytes(struct ha_client *c, const char *p, size_t n)
{
	return send(c->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 ? 0 : -errno;
}

/* True = sent. An error shows at the next read. */
static bool try_send(struct ha_client *c, struct ha_message *m)
{
	struct sbuf bytes = { 0 };
	bool sent = ha_encode(m, &bytes) == NULL && send_bytes(c, bytes.p, bytes.n) == 0;

	sbuf_fini(&bytes);
	return sent;
}

static void send_waiting(struct ha_client *c)
{
	while (c->first != NULL && send_bytes(c, c->first->bytes, c->first->n) == 0) {
		struct waiting *w = c->first;
		c->first = w->next;
		c->n_waiting--;
		OPENSSL_cleanse(w->bytes, w->n);
		free(w);
	}
	if (c->first == NULL)
		c->last = &c->first;
}

static void send_beat(struct ha_client *c)
{
	struct ha_message m = { .type = HA_BEAT };

	m.beat.sequence = ++c->beats;
	c->beat_due = !try_send(c, &m);
}

/* States before requests: a request may be about them. */
static void send_due(struct ha_client *c, int64_t now_ms)
{
	if (!c->greeted)
		return;
	if (c->beat_due)
		send_beat(c);
	if (c->table_due)
		c->table_due = !try_send(c, c->table);
	if (c->have_health && !c->table_due && (c->health_due || now_ms >= c->health_at)) {
		c->health_due = !try_send(c, c->health);
		c->health_at = now_ms + HA_CLIENT_HEALTH_MS;
	}
	if (!c->table_due && !c->health_due)
		send_waiting(c);
}

const char *ha_client_set_table(struct ha_client *c, const struct ha_table *t)
{
	const char *why = ha_table_check(t);

	if (why != NULL)
		return why;
	c->table->type = HA_TABLE;
	memcpy(&c->table->table, t, sizeof(*t));
	c->have_table = c->table_due = true;
	return NULL;
}

const char *ha_client_set_health(struct ha_client *c, const struct ha_health *h)
{
	struct ha_message *m = xcalloc(1, sizeof(*m));
	struct sbuf bytes = { 0 };

	m->type = HA_HEALTH;
	memcpy(&m->health, h, sizeof(*h));
	const char *why = ha_encode(m, &bytes);
	sbuf_fini(&bytes);
	if (why == NULL) {
		/* Said at once only where it is news. */
		c->health_due |= !c->have_health || memcmp(&c->health->health, h, sizeof(*h)) != 0;
		memcpy(c->health, m, sizeof(*m));
		c->have_health = true;
	}
	free(m);
	return why;
}

void ha_client_beat(struct ha_client *c)
{
	if (c->greeted)
		send_beat(c);
}

const char *ha_client_request(struct ha_client *c, struct ha_message *m)
{
	struct sbuf bytes = { 0 };
	const char *why = !c->greeted                           ? "postroad-ha is not connected"
			  : c->n_waiting == HA_CLIENT_QUEUE_MAX ? "postroad-ha does not read"
								: ha_encode(m, &bytes);

	if (why == NULL) {
		struct waiting *w = xmalloc(sizeof(*w) + bytes.n);
		w->next = NULL;
		w->n = bytes.n;
		memcpy(w->bytes, bytes.p, bytes.n);
		*c->last = w;
		c->last = &w->next;
		c->n_waiting++;
		if (!c->table_due && !c->health_due)
			send_waiting(c);
	}
	if (bytes.p != NULL)
		OPENSSL_cleanse(bytes.p, bytes.cap);
	sbuf_fini(&bytes);
	return why;
}

/* ---- receiving ---- */

static void take_welcome(struct ha_client *c)
{
	c->greeted = true;
	c->table_due = c->have_table;
	c->health_due = c->have_health;
	c->beat_due = true;
	if (c->events.connected != NULL)
		c->events.connected(true, NULL, c->events.arg);
}

/* A VIP that is at fault there and not here was silenced: it is said again. */
static bool health_holds(const struct ha_client *c)
{
	const struct ha_health *h = &c->health->health;

	for (size_t i = 0; i < h->n; i++)
		for (size_t k = 0; k < c->report->n; k++)
			if (strcmp(h->vips[i].name, c->report->vips[k].name) == 0 &&
			    h->vips[i].up != c->report->vips[k].up)
				return false;
	return true;
}

static void take(struct ha_client *c, int64_t now_ms)
{
	switch (c->in->type) {
	case HA_WELCOME:
		take_welcome(c);
		break;
	case HA_REPORT:
		memcpy(c->report, &c->in->report, sizeof(*c->report));
		c->report_at = now_ms;
		c->health_due |= c->have_health && !health_holds(c);
		if (c->events.report != NULL)
			c->events.report(c->report, c->events.arg);
		break;
	default:
		if (c->events.answer != NULL)
			c->events.answer(c->in, c->events.arg);
	}
}

void ha_client_dispatch(struct ha_client *c, int64_t now_ms)
{
	CHECK_OBJ(c, HA_CLIENT_MAGIC);
	for (int i = 0; i < 64 && c->fd >= 0; i++) {
		ssize_t n = recv(c->fd, c->buffer, HA_MESSAGE_MAX + 1, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		const char *why =
			n <= 0 ? "postroad-ha has gone" : ha_decode((struct str) { c->buffer, (size_t)n }, c->in);
		if (why == NULL && c->in->type < HA_WELCOME)
			why = "postroad-ha sends requests";
		if (why != NULL) {
			disconnect(c, why, now_ms);
			return;
		}
		take(c, now_ms);
	}
	send_due(c, now_ms);
}

static void try_connect(struct ha_client *c, int64_t now_ms)
{
	struct ha_message m = { .type = HA_HELLO };

	c->connect_at = now_ms + HA_CLIENT_RETRY_MS;
	c->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return;
	memcpy(m.hello.node, c->node, sizeof(m.hello.node));
	if (connect(c->fd, (const struct sockaddr *)&c->path, sizeof(c->path)) == 0 && try_send(c, &m))
		return;
	close(c->fd);
	c->fd = -1;
}

int64_t ha_client_tick(struct ha_client *c, int64_t now_ms)
{
	CHECK_OBJ(c, HA_CLIENT_MAGIC);
	if (c->fd < 0 && now_ms >= c->connect_at)
		try_connect(c, now_ms);
	if (c->fd < 0)
		return c->connect_at;
	/* It greets at once, or it is stuck. */
	if (!c->greeted && now_ms >= c->connect_at + 4 * HA_CLIENT_RETRY_MS)
		disconnect(c, "postroad-ha does not greet", now_ms);
	send_due(c, now_ms);
	return now_ms + HA_BEAT_MS;
}

const struct ha_report *ha_client_report(const struct ha_client *c, int64_t now_ms, int64_t *ret_age_ms)
{
	if (c->report_at == 0)
		return NULL;
	*ret_age_ms = now_ms - c->report_at;
	return c->report;
}
