/* SPDX-License-Identifier: Apache-2.0
 * The registry's own structs: control thread only. Private to this room.
 *
 *	registry ─ reg_pool, one per pool name
 *	             └ origin, one per configured server
 *	                 └ server_private, one per address ─ server, which workers see
 *
 * A server_private whose origin is NULL is gone: its address vanished or the configuration dropped it. It drains, is
 * forgotten when its transactions are done, and comes back to life when the address reappears before that.
 */
#ifndef POSTROAD_POOL_REGISTRY_H
#define POSTROAD_POOL_REGISTRY_H

#include "daemon/base/hash.h"
#include "daemon/net/resolver.h"
#include "daemon/pool/pool_private.h"

#define REGISTRY_MAGIC 0x72656773u
#define REG_POOL_MAGIC 0x72706f6fu
#define ORIGIN_MAGIC 0x6f726967u
#define SERVER_PRIVATE_MAGIC 0x73727670u

#define ORIGIN_HOSTS_MAX 64 /* addresses taken from one name */

/* No mail can ever be meant for it (RFC 2606 2). */
#define RELAY_CHECK_RCPT "probe@relay-check.invalid"

/* Text of a check's outcome, bounded: most of it comes from a server. */
#define CHECK_TEXT_MAX 160

struct override {
	enum server_admin admin;
	int weight; /* -1 = none */
};

struct registry {
	uint32_t magic;
	struct loop *loop;
	struct registry_hooks hooks;
	struct resolver *resolver;
	struct list pools;   /* struct reg_pool.link, in no order that matters */
	struct map *by_name; /* the same: name → struct reg_pool */
	struct reg_pool **configured;
	size_t n_configured;   /* those of the configuration in force, in its order */
	struct list probes;    /* all running, also those whose server was forgotten */
	struct map *overrides; /* "pool/server" → struct override, for names not present too */
	struct learned *learned;
	struct timer tick;    /* each second */
	struct timer changes; /* delivers what must not be delivered from inside a call */
	void *owner;          /* of the configuration in force */
	void (*owner_ref)(void *);
	void (*owner_unref)(void *);
	series_id resolver_failures;
	bool applied, first_round_told;
};

struct reg_pool {
	uint32_t magic;
	struct registry *registry;
	struct list link;
	const struct pool_config *config; /* NULL = no longer configured; waits for its last server to be forgotten */
	struct pool_shared *shared;
	struct list origins; /* as configured */
	struct list servers; /* struct server_private.link, those gone too */
	struct pool *view;   /* the present one, kept for the next caller; NULL = to be made */
	bool changed;        /* on_servers_changed is due */
	bool seen;           /* while a configuration is taken over */
};

struct origin {
	uint32_t magic;
	struct reg_pool *pool;
	struct list link;
	const struct server_config *config;
	bool seen;
	/* what the name stands for just now; a fixed address is a set of one */
	struct resolver_host *hosts;
	size_t n_hosts;
	unsigned max_weight; /* largest SRV weight */
	/* looked-up names */
	char *hosts_of; /* the name and port that hosts are the answer to */
	struct resolver_query *query;
	struct timer retry;
	unsigned failures; /* in a row */
	int failure;       /* the last one: an ARES_E… code, 0 = no address in the answer */
	bool answered;     /* at least once, well or badly */
};

struct server_metrics {
	series_id plain[6]; /* server_metrics.c names them */
	series_id states[SERVER_STATE_COUNT], transitions[SERVER_STATE_COUNT];
	struct state_series {
		const struct server *server;
		enum server_state state;
	} state_args[SERVER_STATE_COUNT];
	series_id check_seconds;
	bool live;
};

struct server_private {
	uint32_t magic;
	struct server *server; /* one reference */
	struct reg_pool *pool;
	struct origin *origin; /* NULL = gone */
	struct list link;
	unsigned weight, priority; /* SRV included */
	/* administration */
	enum server_admin admin;
	int weight_override; /* -1 = none */
	/* checks (health.c) */
	struct probe *probe;  /* the one whose verdict is awaited */
	unsigned n_lingering; /* probes that go on after their verdict */
	struct timer check;
	unsigned passes, fails; /* in a row */
	bool checking;
	bool was_well;  /* at least one check since they began was good, not merely busy */
	bool borrowed;  /* up by the word of other nodes; ends with the first check's verdict */
	bool come_back; /* slow start with the next up */
	char last_check[CHECK_TEXT_MAX];
	double last_check_wall;
	int64_t last_check_us;
	/* state */
	int64_t started_ms; /* slow start began */
	struct timer hold;  /* end of an ejection or a busy hold */
	enum server_state told;
	double last_change_wall;
	char why[CHECK_TEXT_MAX];
	char *findings[FINDING_COUNT]; /* as last told; NULL = none */
	bool has_greeted;              /* at least once */
	int64_t relay_due_ms;          /* the next check whether it relays; 0 = with the next check */
	/* gone */
	int64_t gone_ms;
	struct server_config gone_config;
	bool from_dns;
	bool seen; /* while an origin is synchronised */
	/* capabilities as last written down (registry_learned.c) */
	double noted_wall; /* 0 = never in this process */
	unsigned noted_exts;
	uint64_t noted_size, noted_mechanisms;
	struct server_metrics metrics;
};

/* ---- registry.c ---- */

/* Views made from now on are new ones; on_servers_changed for this pool comes soon. */
void reg_pool_changed(struct reg_pool *rp);
/* A verdict or an answer came: perhaps it was the last one missing. */
void registry_check_first_round(struct registry *r);
/* NULL = there is none of that name. */
struct reg_pool *registry_find_pool(struct registry *r, const char *pool);

/* ---- registry_servers.c ---- */

/* Makes servers of what the origin stands for now; those that it stands for no longer are let go. */
void origin_sync(struct origin *o);
/* Lets go of all its servers. */
void origin_drop_servers(struct origin *o);
/* Gone, and nothing left to finish: no longer shown. */
bool server_private_is_forgotten(const struct server_private *sp);
/* Forgets what is gone and done, frees what nothing shows any more. */
void reg_pool_sweep(struct reg_pool *rp, int64_t now_ms);
void server_private_free(struct server_private *sp);
struct pool *reg_pool_make_view(struct reg_pool *rp);

/* ---- registry_state.c ---- */

/* Looks at a server whose facts changed: tells the hook, wakes waiters, arms timers. */
void registry_server_changed(struct server_private *sp);
/* Admin state and weight from overrides and configuration; starts and stops checks accordingly. */
void server_private_settle(struct server_private *sp);
/* Enters slow start, where the pool has one. */
void server_private_slow_start(struct server_private *sp);
void server_private_apply_weight(struct server_private *sp);
/* Each second. */
void server_private_tick(struct server_private *sp);
/* Waiters may find something now: wakes as many as there is room for. */
void server_private_wake(struct server_private *sp);
/* A new configuration ended the override of this configured server, if it had one. */
void registry_end_weight_override(struct reg_pool *rp, const struct server_config *sc);

/* ---- findings.c ---- */

/* Tells the hook, when it is another than before. NULL = it is over. */
void finding_set(struct server_private *sp, enum server_finding what, const char *text);
/* All are over: it is not checked any more, or gone. */
void findings_end(struct server_private *sp);
/* Those that the configuration in force has no place for are over. `before` = the one before it, NULL = none. */
void findings_reconfigure(struct server_private *sp, const struct pool_config *before);
/* The next check is to go on to the question whether it relays. */
bool relay_is_due(const struct server_private *sp);
/* It is being asked. */
void relay_asked(struct server_private *sp);
/* It said yes or no. */
void relay_answered(struct server_private *sp, bool relays);

/* ---- health.c ---- */

void health_start(struct server_private *sp);
void health_stop(struct server_private *sp);
/* Nothing is known of it, as no check of it has ended in this process. */
bool health_knows_nothing(const struct server_private *sp);
/* It is up until the first check says what it is. */
void health_borrow(struct server_private *sp);
/* Before holds that are over are taken off: a server that was never well falls back to unknown. */
void health_hold_ends(struct server_private *sp);
/* The configuration is another: a running check starts over, the next one comes no later than it asks for. `before` is
 * the one until now, NULL = none. */
void health_reconfigure(struct server_private *sp, const struct pool_config *before);

/* ---- probe.c ---- */

/* NONE: it could not be asked, for a lack of our own; nothing is known beyond what was. */
enum probe_outcome { PROBE_PASS, PROBE_BUSY, PROBE_FAIL, PROBE_NONE };
struct probe_result {
	enum probe_outcome outcome;
	char text[CHECK_TEXT_MAX];
	int64_t us;
};

/* Starts a check of sp's server; its verdict comes to health_verdict(), never from inside this call. */
struct probe *probe_start(struct server_private *sp);
/* Ends it without a verdict. */
void probe_abort(struct probe *pr);
void probe_abort_all(struct list *probes);
void health_verdict(struct server_private *sp, const struct probe_result *result);

/* ---- discovery.c ---- */

void discovery_start(struct origin *o);
void discovery_stop(struct origin *o);

/* ---- registry_learned.c ---- */

struct learned;
struct learned *learned_open(const char *file); /* NULL file = remembers nothing */
void learned_close(struct learned *l);
/* A server appeared: gives it what it had when last seen. */
void learned_apply(struct learned *l, struct server_private *sp);
/* Notes what changed. */
void learned_note(struct learned *l, struct server_private *sp);
/* Writes the file when something was noted and the last write is some seconds ago. */
void learned_write(struct learned *l, int64_t now_ms, bool now);

/* ---- pool_metrics.c ---- */

void pool_metrics_create(struct pool_shared *sh);
void pool_metrics_retire(struct pool_shared *sh);
/* Idempotent. A gone server of the same name (another address) loses its series to this one. */
void server_metrics_create(struct server_private *sp);
void server_metrics_retire(struct server_private *sp);

#endif
