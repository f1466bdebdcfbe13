/* SPDX-License-Identifier: Apache-2.0
 * c-ares driven by a loop.
 *
 * c-ares reads /etc/resolv.conf once. A balancer that starts before the network is there would ask the wrong servers
 * for ever; so the channel is made anew when the file has changed. c-ares can do that itself in later versions than the
 * oldest we build with.
 */
#include "daemon/net/resolver_channel.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TRY_TIMEOUT_MS 2000
#define TRIES 3

/* ---- sockets and timeouts ---- */

void resolver_channel_arm(struct resolver_channel *c)
{
	struct timeval tv, *next = ares_timeout(c->ares, NULL, &tv);

	if (next == NULL)
		timer_stop(&c->timer);
	else
		timer_set_in(c->loop, &c->timer, (int64_t)next->tv_sec * 1000 + next->tv_usec / 1000 + 1);
}

static void on_timer(void *arg)
{
	struct resolver_channel *c = arg;

	ares_process_fd(c->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	resolver_channel_arm(c);
}

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
	struct resolver_channel *c = arg;

	ares_process_fd(c->ares, what & EV_READ ? fd : ARES_SOCKET_BAD, what & EV_WRITE ? fd : ARES_SOCKET_BAD);
	resolver_channel_arm(c);
}

static struct resolver_socket *socket_slot(struct resolver_channel *c, ares_socket_t fd)
{
	struct resolver_socket *free_slot = NULL;

	for (size_t i = 0; i < RESOLVER_SOCKETS_MAX; i++) {
		struct resolver_socket *rs = &c->sockets[i];
		if (rs->event != NULL && rs->fd == fd)
			return rs;
		if (rs->event == NULL && free_slot == NULL)
			free_slot = rs;
	}
	return free_slot;
}

/* Without a slot the socket is not watched and its question times out: bounded, and far from any real number. */
static void on_socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
	struct resolver_channel *c = arg;
	struct resolver_socket *rs = socket_slot(c, fd);
	short what = (short)(EV_PERSIST | (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0));

	if (rs == NULL)
		return;
	if (rs->event != NULL)
		event_free(rs->event);
	rs->event = NULL;
	if (!readable && !writable)
		return;
	rs->fd = fd;
	rs->event = event_new(loop_base(c->loop), fd, what, on_socket, c);
	ASSERT(rs->event != NULL);
	event_add(rs->event, NULL);
}

/* ---- making and remaking ---- */

static struct timespec time_of(const char *file)
{
	struct stat st;

	return stat(file, &st) == 0 ? st.st_mtim : (struct timespec) { 0 };
}

static bool make(struct resolver_channel *c, ares_channel *ret_ares)
{
	static char lookups[] = "b"; /* DNS alone: /etc/hosts is read by resolver.c */
	char *conf_file = xstrdup(c->conf_file);
	struct ares_options options = {
		.timeout = TRY_TIMEOUT_MS,
		.tries = TRIES,
		.lookups = lookups,
		.resolvconf_path = conf_file,
		.sock_state_cb = on_socket_state,
		.sock_state_cb_data = c,
	};
	int mask =
		ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB | ARES_OPT_RESOLVCONF;
	int err = ares_init_options(ret_ares, &options, mask);

	free(conf_file);
	if (err != ARES_SUCCESS)
		return false;
	if (c->servers == NULL || ares_set_servers_ports_csv(*ret_ares, c->servers) == ARES_SUCCESS)
		return true;
	ares_destroy(*ret_ares);
	return false;
}

void resolver_channel_refresh(struct resolver_channel *c)
{
	struct timespec now = time_of(c->conf_file);
	ares_channel next;

	if (c->servers != NULL || (now.tv_sec == c->conf_time.tv_sec && now.tv_nsec == c->conf_time.tv_nsec))
		return;
	/* A file that cannot be used is tried again when it changes; until then the old servers are asked. */
	c->conf_time = now;
	if (!make(c, &next))
		return;
	ares_destroy(c->ares);
	c->ares = next;
	timer_stop(&c->timer);
}

bool resolver_channel_open(struct resolver_channel *c, struct loop *l, const char *servers, const char *conf_file)
{
	*c = (struct resolver_channel) { .loop = l, .conf_file = conf_file };
	c->servers = servers == NULL ? NULL : xstrdup(servers);
	c->conf_time = time_of(conf_file);
	timer_init(&c->timer, on_timer, c);
	if (make(c, &c->ares))
		return true;
	free(c->servers);
	return false;
}

void resolver_channel_close(struct resolver_channel *c)
{
	ares_destroy(c->ares);
	for (size_t i = 0; i < RESOLVER_SOCKETS_MAX; i++)
		if (c->sockets[i].event != NULL)
			event_free(c->sockets[i].event);
	timer_stop(&c->timer);
	free(c->servers);
}
