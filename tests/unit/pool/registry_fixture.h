/* SPDX-License-Identifier: Apache-2.0
 * A registry on a loop of its own, scripted SMTP servers on loopback, and a configuration that a test writes as a few
 * fields.
 */
#ifndef POSTROAD_TESTS_REGISTRY_FIXTURE_H
#define POSTROAD_TESTS_REGISTRY_FIXTURE_H

#include "tests/unit/net/dns_responder.h"

#include <errno.h>
#include <event2/listener.h>

#include "daemon/net/stream.h"
#include "daemon/pool/registry.h"

#define CONFIG_SERVERS_MAX 4
#define TRANSITIONS_MAX 64

/* ---- a scripted server ---- */

/* What it says; may be changed at any time. NULL = it never answers, "" = it closes. */
struct smtp_script {
	const char *banner, *ehlo, *helo, *mail, *rcpt, *rset, *quit;
};

static const struct smtp_script well_behaved = {
	.banner = "220-welcome\r\n220 mx.test ESMTP\r\n",
	.ehlo = "250-mx.test\r\n250-PIPELINING\r\n250-SIZE 1000000\r\n250 8BITMIME\r\n",
	.helo = "250 mx.test\r\n",
	.mail = "250 2.1.0 ok\r\n",
	.rcpt = "250 2.1.5 ok\r\n",
	.rset = "250 2.0.0 ok\r\n",
	.quit = "221 2.0.0 bye\r\n",
};

struct smtp_server {
	struct loop *loop;
	struct smtp_script script;
	struct addr addr;
	struct evconnlistener *listener;
	unsigned n_connections, n_open;
	bool jumped;       /* a client sent more than one command at a time */
	struct sbuf heard; /* "EHLO QUIT|EHLO QUIT": commands, connections apart */
};

struct smtp_client {
	struct smtp_server *server;
	struct stream stream;
};

static inline void client_gone(struct stream *st, int err, void *owner)
{
	struct smtp_client *c = owner;

	UNUSED(err);
	c->server->n_open--;
	stream_close(st);
	loop_defer(c->server->loop, free, c);
}

static inline void client_say(struct smtp_client *c, const char *text)
{
	if (text == NULL)
		return;
	if (text[0] == '\0')
		client_gone(&c->stream, 0, c);
	else
		stream_puts(&c->stream, text);
}

static inline const char *script_line(const struct smtp_script *sc, const char *verb)
{
	const struct {
		const char *verb, *says;
	} rows[] = { { "EHLO", sc->ehlo }, { "HELO", sc->helo }, { "MAIL", sc->mail },
		     { "RCPT", sc->rcpt }, { "RSET", sc->rset }, { "QUIT", sc->quit } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (memcmp(rows[i].verb, verb, 4) == 0)
			return rows[i].says;
	return "500 what\r\n";
}

static inline size_t client_data(struct stream *st, const char *p, size_t n, void *owner)
{
	struct smtp_client *c = owner;
	struct smtp_server *s = c->server;
	const char *eol = memchr(p, '\n', n);

	UNUSED(st);
	if (eol == NULL)
		return 0;
	assert_true(n >= 6);
	if (eol + 1 != p + n)
		s->jumped = true;
	if (s->heard.n > 0 && s->heard.p[s->heard.n - 1] != '|')
		sbuf_putc(&s->heard, ' ');
	sbuf_add(&s->heard, p, 4);
	client_say(c, script_line(&s->script, p));
	return n;
}

static inline void smtp_accept(struct evconnlistener *li, evutil_socket_t fd, struct sockaddr *from, int len, void *arg)
{
	static const struct stream_ops ops = { .on_data = client_data, .on_gone = client_gone };
	struct smtp_server *s = arg;
	struct smtp_client *c = xcalloc(1, sizeof(*c));

	UNUSED(li);
	UNUSED(from);
	UNUSED(len);
	c->server = s;
	if (s->n_connections++ > 0)
		sbuf_putc(&s->heard, '|');
	s->n_open++;
	stream_open(&c->stream, s->loop, fd, &ops, c);
	client_say(c, s->script.banner);
}

/* 127.0.0.1 and a port of the kernel's choice, or the one it had before it was stopped. */
static inline void smtp_start(struct smtp_server *s, struct loop *l)
{
	unsigned flags = LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE;

	s->loop = l;
	if (s->addr.sa.sa_family == 0) {
		s->script = well_behaved;
		assert_true(addr_parse_ip("127.0.0.1", &s->addr));
	}
	socklen_t size = sizeof(s->addr);
	s->listener =
		evconnlistener_new_bind(loop_base(l), smtp_accept, s, flags, 64, &s->addr.sa, (int)addr_len(&s->addr));
	assert_non_null(s->listener);
	assert_int_equal(getsockname(evconnlistener_get_fd(s->listener), &s->addr.sa, &size), 0);
}

/* Refuses connections from now on. */
static inline void smtp_stop(struct smtp_server *s)
{
	if (s->listener != NULL)
		evconnlistener_free(s->listener);
	s->listener = NULL;
}

/* ---- a configuration ---- */

struct test_config {
	struct pool_config pool;
	const struct pool_config *list[1];
	struct server_config servers[CONFIG_SERVERS_MAX];
	int refs;
};

static inline void config_ref(void *arg)
{
	((struct test_config *)arg)->refs++;
}

static inline void config_unref(void *arg)
{
	struct test_config *c = arg;

	assert_int_not_equal(c->refs, 0);
	c->refs--;
}

static inline void config_init(struct test_config *c)
{
	*c = (struct test_config) { .list = { &c->pool } };
	c->pool = (struct pool_config) {
		.name = "mta",
		.balance = BALANCE_ROUNDROBIN,
		.servers = c->servers,
		.health = { .type = HEALTH_SMTP,
			    .interval_ms = 40,
			    .fast_interval_ms = 20,
			    .down_interval_ms = 40,
			    .timeout_ms = 10000,
			    .rise = 2,
			    .fall = 3 },
		.outlier = { .consecutive = 5,
			     .eject_ms = 30000,
			     .max_ejected_pct = 50,
			     .busy_ms = 30000,
			     .busy_max_ms = 60000 },
		.queue = 10,
		.priority_activation = 1,
		.check_helo = "lb.test",
	};
}

static inline struct server_config *config_server(struct test_config *c, const char *name)
{
	struct server_config *sc = &c->servers[c->pool.n_servers++];

	*sc = (struct server_config) { .name = name, .weight = 100, .priority = 1, .max_connections = UNLIMITED };
	return sc;
}

static inline void config_add(struct test_config *c, const char *name, const struct addr *a)
{
	config_server(c, name)->addr = *a;
}

/* ---- the scene ---- */

struct scene {
	struct loop *loop;
	struct registry *registry;
	struct registry_hooks hooks;
	struct dns_responder dns;
	struct smtp_server smtp, other;
	struct test_config config, next;
	/* what the hooks heard */
	struct sbuf transitions; /* "a:unknown>up " … */
	char why[CHECK_TEXT_MAX];
	unsigned n_first_rounds, n_changes, n_ended;
	bool is_own;
};

static inline void scene_transition(const struct server *s, enum server_state from, enum server_state to,
				    const char *why, void *arg)
{
	struct scene *sc = arg;

	sbuf_printf(&sc->transitions, "%s:%s>%s ", s->name, server_state_names[from], server_state_names[to]);
	snprintf(sc->why, sizeof(sc->why), "%s", why);
}

static inline void scene_changed(const char *pool, void *arg)
{
	struct scene *sc = arg;

	assert_string_equal(pool, "mta");
	sc->n_changes++;
}

static inline void scene_first_round(void *arg)
{
	struct scene *sc = arg;

	sc->n_first_rounds++;
}

static inline bool scene_is_own(const struct addr *a, void *arg)
{
	struct scene *sc = arg;

	UNUSED(a);
	return sc->is_own;
}

static inline void scene_override_ended(const char *pool, const char *server, void *arg)
{
	struct scene *sc = arg;

	UNUSED(pool);
	UNUSED(server);
	sc->n_ended++;
}

static inline void scene_open_registry(struct scene *sc, const char *learned_file)
{
	sc->registry = registry_new(sc->loop, &sc->hooks, learned_file, sc->dns.servers);
	assert_non_null(sc->registry);
}

/* learned_file as for registry_new(). */
static inline void scene_init(struct scene *sc, const char *learned_file)
{
	memset(sc, 0, sizeof(*sc));
	sc->loop = loop_new();
	dns_start(&sc->dns, sc->loop);
	smtp_start(&sc->smtp, sc->loop);
	smtp_start(&sc->other, sc->loop);
	config_init(&sc->config);
	config_init(&sc->next);
	sc->hooks = (struct registry_hooks) { .on_transition = scene_transition,
					      .on_servers_changed = scene_changed,
					      .on_first_round = scene_first_round,
					      .is_own_address = scene_is_own,
					      .on_weight_override_ended = scene_override_ended,
					      .arg = sc };
	sbuf_puts(&sc->transitions, "");
	scene_open_registry(sc, learned_file);
}

static inline void scene_apply(struct scene *sc, struct test_config *c)
{
	registry_apply(sc->registry, c->list, 1, c, config_ref, config_unref);
}

static inline void scene_fini(struct scene *sc)
{
	registry_free(sc->registry);
	AWAIT(sc->loop, sc->smtp.n_open == 0 && sc->other.n_open == 0);
	smtp_stop(&sc->smtp);
	smtp_stop(&sc->other);
	dns_stop(&sc->dns);
	loop_free(sc->loop);
	assert_int_equal(sc->config.refs, 0);
	assert_int_equal(sc->next.refs, 0);
	sbuf_fini(&sc->transitions);
	sbuf_fini(&sc->smtp.heard);
	sbuf_fini(&sc->other.heard);
}

/* ---- looking ---- */

struct found {
	const char *name;
	struct server_info info;
	char last_check[CHECK_TEXT_MAX];
	bool found;
	unsigned n;
};

static inline void find_info(const struct server_info *info, void *arg)
{
	struct found *f = arg;

	f->n++;
	if (f->name == NULL || strcmp(info->server->name, f->name) != 0)
		return;
	f->found = true;
	f->info = *info;
	snprintf(f->last_check, sizeof(f->last_check), "%s", info->last_check);
}

static inline struct found scene_find(struct scene *sc, const char *name)
{
	struct found f = { .name = name };

	registry_each_server(sc->registry, "mta", find_info, &f);
	return f;
}

static inline enum server_state scene_state(struct scene *sc, const char *name)
{
	struct found f = scene_find(sc, name);

	return f.found ? f.info.state : SERVER_STATE_COUNT;
}

static inline unsigned scene_count(struct scene *sc)
{
	return scene_find(sc, NULL).n;
}

static inline bool scene_has_told(struct scene *sc, const char *name, enum server_state want)
{
	struct found f = scene_find(sc, name);

	return f.found && f.info.state == want && !atomic_load(&f.info.server->notify_pending);
}

/* The state, and the hook has been told of it. */
#define AWAIT_STATE(sc, name, want) AWAIT((sc)->loop, scene_has_told(sc, name, want))

#endif
