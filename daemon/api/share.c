/* SPDX-License-Identifier: Apache-2.0
 * The turn of each second: hear, act, say; and in between, hear and act.
 *
 * The hard thing is not to hear oneself: what this node took over from others it does not say as its own, or two nodes
 * that both know nothing would confirm one another for ever.
 */
#include "daemon/api/share.h"

#include <openssl/crypto.h>
#include <stdlib.h>

#include "daemon/base/clock.h"
#include "daemon/base/hash.h"
#include "daemon/base/log.h"

#define SHARE_MAGIC 0x53484152u
#define TURN_MS 1000
#define LISTEN_MS 250 /* a report that lies about makes its sender's clock look slow */
#define ROTATE_S (TLS_TICKETS_LIFETIME_S / (TLS_TICKETS_MAX - 1))
#define ALONE_ID 1

_Static_assert((int)TICKET_KEYS_MAX == (int)TLS_TICKETS_MAX && (int)TICKET_KEY_LEN == (int)TLS_TICKET_KEY_LEN,
	       "both sides of the keys agree");

struct alarm {
	char *text;
	bool seen; /* in this turn */
};

struct told {
	uint32_t id;
	enum report_state state;
};

struct share {
	uint32_t magic;
	struct share_env env;
	struct share_net net;
	bool has_net;
	uint64_t sequence;
	struct ticket_keys keys;
	struct map *alarms; /* key → struct alarm */
	struct told told[CORE_MEMBERS_MAX];
	size_t n_told;
	struct report_member unreadable[CORE_MEMBERS_MAX]; /* in this turn */
	size_t n_unreadable;
	struct report_member members[CORE_MEMBERS_MAX]; /* as of the last turn */
	size_t n_members;
	int64_t turn_ms; /* when it was */
	struct timer timer;
};

static uint32_t own_id(const struct share *s)
{
	return s->has_net ? s->net.id(s->net.arg) : ALONE_ID;
}

/* ---- verdicts ---- */

static const struct {
	enum server_state server;
	enum report_verdict_state verdict;
} states[] = {
	{ SERVER_UNKNOWN, REPORT_UNKNOWN }, { SERVER_UP, REPORT_UP },           { SERVER_STARTING, REPORT_WARMING },
	{ SERVER_BUSY, REPORT_BUSY },       { SERVER_EJECTED, REPORT_EJECTED }, { SERVER_DOWN, REPORT_DOWN },
	{ SERVER_DRAIN, REPORT_DRAINED },   { SERVER_MAINT, REPORT_MAINT },
};
_Static_assert(ARRAY_LEN(states) == SERVER_STATE_COUNT && ARRAY_LEN(states) == REPORT_VERDICT_COUNT,
	       "each has its row");

const char *share_verdict_name(enum report_verdict_state state)
{
	for (size_t i = 0; i < ARRAY_LEN(states); i++)
		if (states[i].verdict == state)
			return server_state_names[states[i].server];
	return server_state_names[SERVER_UNKNOWN];
}

static enum report_verdict_state verdict_of(const struct server_info *info)
{
	/* Not what it was told, only what it saw: traffic may have seen trouble before the first check ends. */
	if (info->borrowed && (info->state == SERVER_UP || info->state == SERVER_STARTING))
		return REPORT_UNKNOWN;
	for (size_t i = 0; i < ARRAY_LEN(states); i++)
		if (states[i].server == info->state)
			return states[i].verdict;
	return REPORT_UNKNOWN;
}

static void add_server(const struct server_info *info, void *arg)
{
	struct node_report *r = arg;

	r->transactions += atomic_load(&info->server->n_txns);
	report_add_verdict(r, report_server_key(info->server->pool, info->server->name), verdict_of(info),
			   info->weight);
}

struct pools_walk {
	struct registry *registry;
	struct node_report *report;
};

static void add_pool(const struct pool_config *config, unsigned waiting, void *arg)
{
	struct pools_walk *w = arg;

	UNUSED(waiting);
	registry_each_server(w->registry, config->name, add_server, w->report);
}

static bool others_can_use(const struct server *server, void *arg)
{
	struct share *s = arg;

	return report_view_usable(s->env.view, report_server_key(server->pool, server->name), loop_now_ms(s->env.loop));
}

/* ---- ticket keys ---- */

/* What seals and opens tickets becomes what the set holds. */
static void use_keys(struct share *s)
{
	uint8_t bytes[TLS_TICKETS_EXPORT_MAX];

	(void)tls_tickets_export(s->env.tickets, bytes); /* for its head */
	bytes[1] = (uint8_t)s->keys.n;
	for (size_t i = 0; i < s->keys.n; i++)
		memcpy(bytes + TLS_TICKETS_HEAD_LEN + i * TICKET_KEY_LEN, s->keys.list[i].bytes, TICKET_KEY_LEN);
	ASSERT(tls_tickets_import(s->env.tickets, bytes, TLS_TICKETS_HEAD_LEN + s->keys.n * TICKET_KEY_LEN));
	OPENSSL_cleanse(bytes, sizeof(bytes));
}

/* The key that seals now is one that this node made. */
static void take_own_key(struct share *s)
{
	uint8_t bytes[TLS_TICKETS_EXPORT_MAX];

	(void)tls_tickets_export(s->env.tickets, bytes);
	ticket_keys_made(&s->keys, own_id(s), bytes + TLS_TICKETS_HEAD_LEN, loop_now_ms(s->env.loop));
	OPENSSL_cleanse(bytes, sizeof(bytes));
}

static void share_keys(struct share *s, int64_t now)
{
	if (report_view_merge_keys(s->env.view, &s->keys, now))
		use_keys(s);
	if (!ticket_keys_due(&s->keys, report_view_makes_keys(s->env.view, now), ROTATE_S, now))
		return;
	tls_tickets_rotate(s->env.tickets);
	take_own_key(s);
	use_keys(s);
}

/* ---- hearing ---- */

static void hear_one(struct share *s, const struct report_member *m, int64_t now)
{
	struct str bytes = s->net.heard(s->net.arg, m->id);

	if (bytes.n > 0 && report_view_heard(s->env.view, m->id, bytes, now, clock_wall()) != 0)
		s->unreadable[s->n_unreadable++] = *m;
}

/* The members, this node among them whatever the table says: it may be about to join. */
static size_t list_members(struct share *s, struct report_member *list, size_t max)
{
	size_t n = s->has_net ? s->net.members(s->net.arg, list, max) : 0;

	for (size_t i = 0; i < n; i++)
		if (list[i].id == own_id(s))
			return n;
	n = n < max ? n : max - 1;
	list[n].id = own_id(s);
	report_text(list[n].name, sizeof(list[n].name), s->env.node);
	return n + 1;
}

static void hear(struct share *s, int64_t now)
{
	uint32_t own = own_id(s);

	s->n_unreadable = 0;
	for (size_t i = 0; s->has_net && i < s->n_members; i++)
		if (s->members[i].id != own)
			hear_one(s, &s->members[i], now);
}

static void meet(struct share *s, int64_t now)
{
	s->n_members = list_members(s, s->members, ARRAY_LEN(s->members));
	report_view_members(s->env.view, own_id(s), s->members, s->n_members, now);
	report_view_forget(s->env.view);
}

/* ---- saying ---- */

static void say(struct share *s, int64_t now)
{
	struct node_report r = { .id = own_id(s),
				 .features_low = CORE_FEATURES_LOW,
				 .features_high = CORE_FEATURES_HIGH,
				 .started_ms = (uint64_t)(s->env.started_wall * 1000),
				 .sequence = ++s->sequence,
				 .wall_ms = (uint64_t)(clock_wall() * 1000) };
	struct pools_walk w = { s->env.registry, &r };
	struct sbuf bytes = { 0 };

	report_text(r.node, sizeof(r.node), s->env.node);
	report_text(r.version, sizeof(r.version), POSTROAD_VERSION);
	s->env.fill(&r, s->env.arg);
	registry_each_pool(s->env.registry, add_pool, &w);
	if (s->has_net && s->net.fill != NULL)
		s->net.fill(s->net.arg, &r);
	report_view_own(s->env.view, &r, now, clock_wall());
	if (s->has_net && s->n_members > 1) {
		ticket_keys_send(&s->keys, &r.keys, now);
		report_encode(&r, &bytes);
		/* One that does not get out is made up for by the next. */
		(void)s->net.send(s->net.arg, (struct str) { bytes.p, bytes.n });
	}
	report_wipe(&bytes);
	report_fini(&r);
}

/* ---- telling ---- */

static void on_alarm(const char *key, const char *text, void *arg)
{
	struct share *s = arg;
	struct alarm *a = map_get(s->alarms, str_from(key));

	if (a == NULL) {
		a = xcalloc(1, sizeof(*a));
		map_put(s->alarms, str_from(key), a);
	}
	a->seen = true;
	if (a->text != NULL && strcmp(a->text, text) == 0)
		return;
	free(a->text);
	a->text = xstrdup(text);
	s->env.warn(key, text, s->env.arg);
}

static void tell_unreadable(struct share *s)
{
	for (size_t i = 0; i < s->n_unreadable; i++) {
		char *key = xasprintf("report/%s", s->unreadable[i].name);
		char *text = xasprintf("what node %s says of itself cannot be read here", s->unreadable[i].name);
		on_alarm(key, text, s);
		free(key);
		free(text);
	}
}

/* One that is over, taken out; NULL = there is none. Caller frees. */
static char *take_ended(struct share *s)
{
	size_t pos = 0;
	struct str key;
	void *value;

	while (map_next(s->alarms, &pos, &key, &value)) {
		struct alarm *a = value;
		if (a->seen)
			continue;
		char *name = xstrndup(key.p, key.n);
		map_remove(s->alarms, str_from(name));
		free(a->text);
		free(a);
		return name;
	}
	return NULL;
}

static void tell_alarms(struct share *s, int64_t now)
{
	size_t pos = 0;
	struct str key;
	void *value;
	char *ended;

	while (map_next(s->alarms, &pos, &key, &value))
		((struct alarm *)value)->seen = false;
	report_view_alarms(s->env.view, now, on_alarm, s);
	tell_unreadable(s);
	while ((ended = take_ended(s)) != NULL) {
		s->env.warn(ended, NULL, s->env.arg);
		free(ended);
	}
}

struct told_walk {
	struct share *share;
	struct told list[CORE_MEMBERS_MAX];
	size_t n;
};

/* A node that was never heard is told of when it is: until then it is merely expected. */
static void tell_row(const struct report_row *row, void *arg)
{
	struct told_walk *w = arg;
	enum report_state before = REPORT_GONE;

	if (row->own || row->report == NULL || w->n == ARRAY_LEN(w->list))
		return;
	for (size_t i = 0; i < w->share->n_told; i++)
		if (w->share->told[i].id == row->id)
			before = w->share->told[i].state;
	w->list[w->n++] = (struct told) { row->id, row->state };
	if (before != row->state)
		w->share->env.node_changed(row, before, w->share->env.arg);
}

static void tell_nodes(struct share *s, int64_t now)
{
	struct told_walk w = { .share = s };

	report_view_each(s->env.view, now, tell_row, &w);
	memcpy(s->told, w.list, sizeof(w.list));
	s->n_told = w.n;
}

/* ---- life ---- */

static void take_in(struct share *s, int64_t now)
{
	hear(s, now);
	share_keys(s, now);
	(void)registry_borrow(s->env.registry, others_can_use, s);
}

void share_turn(struct share *s)
{
	CHECK_OBJ(s, SHARE_MAGIC);
	int64_t now = loop_now_ms(s->env.loop);

	s->turn_ms = now;
	meet(s, now);
	take_in(s, now);
	say(s, now);
	tell_nodes(s, now);
	tell_alarms(s, now);
	timer_set_in(s->env.loop, &s->timer, LISTEN_MS);
}

static void on_timer(void *arg)
{
	struct share *s = arg;
	int64_t now = loop_now_ms(s->env.loop);

	CHECK_OBJ(s, SHARE_MAGIC);
	if (now - s->turn_ms >= TURN_MS) {
		share_turn(s);
		return;
	}
	take_in(s, now);
	timer_set_in(s->env.loop, &s->timer, LISTEN_MS);
}

struct share *share_new(const struct share_env *env)
{
	struct share *s;

	NEW_OBJ(s, SHARE_MAGIC);
	s->env = *env;
	s->alarms = map_new();
	timer_init(&s->timer, on_timer, s);
	take_own_key(s);
	share_turn(s);
	return s;
}

static void free_alarm(void *value)
{
	struct alarm *a = value;

	free(a->text);
	free(a);
}

void share_free(struct share *s)
{
	if (s == NULL)
		return;
	CHECK_OBJ(s, SHARE_MAGIC);
	timer_stop(&s->timer);
	map_free(s->alarms, free_alarm);
	ticket_keys_wipe(&s->keys);
	FREE_OBJ(s);
}

void share_set_net(struct share *s, const struct share_net *net)
{
	CHECK_OBJ(s, SHARE_MAGIC);
	s->has_net = net != NULL;
	s->net = net != NULL ? *net : (struct share_net) { 0 };
	share_turn(s);
}
