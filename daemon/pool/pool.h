/* SPDX-License-Identifier: Apache-2.0
 * Pools: servers and their run-time state, the choice among them, health, and waiting for a free connection.
 *
 * Three kinds of object:
 *  - struct pool_config / server_config: what the configuration says. Immutable, owned by the configuration.
 *  - struct server: one address of one server, with its run-time state. Reference-counted, keyed by pool, name and
 * address in the registry; it outlives configurations, so health, admin state, counters survive a reload. A changed
 * port is another address, hence another server.
 *  - struct pool: one immutable view: a configuration plus the servers it has just now. Reference-counted; a new one is
 * made for each configuration and each change of a resolved name. What must outlive views (waiters, the round-robin
 * position) is in a struct shared by all views of the same pool name.
 *
 * Threads: the registry and everything about health belongs to the control thread. Functions marked [worker] may be
 * called from any worker at the same time; they touch atomics only, or a lock where said.
 */
#ifndef POSTROAD_POOL_POOL_H
#define POSTROAD_POOL_POOL_H

#include <stdatomic.h>

#include "daemon/base/addr.h"
#include "daemon/base/list.h"
#include "daemon/base/metrics.h"
#include "daemon/base/str.h"
#include "daemon/net/loop.h"
#include "daemon/net/tls.h"
#include "daemon/smtp/sasl.h"
#include "daemon/smtp/smtp.h"

/* ---- configuration ---- */

enum balance {
	BALANCE_ROUNDROBIN,
	BALANCE_LEASTCONN,
	BALANCE_FIRST,
	BALANCE_RANDOM,
	BALANCE_LATENCY,
	BALANCE_SOURCE,
	BALANCE_SENDER_DOMAIN,
	BALANCE_RECIPIENT_DOMAIN,
	BALANCE_USER,
	BALANCE_COUNT
};
extern const char *const balance_names[BALANCE_COUNT];

enum health_type { HEALTH_SMTP, HEALTH_TCP, HEALTH_TLS, HEALTH_NONE, HEALTH_TYPE_COUNT };
extern const char *const health_type_names[HEALTH_TYPE_COUNT];

enum server_source { SERVER_FROM_ADDRESS, SERVER_FROM_DNS, SERVER_FROM_SRV };

#define UNLIMITED UINT64_MAX

struct server_config {
	const char *name;
	enum server_source source;
	struct addr addr;     /* SERVER_FROM_ADDRESS */
	const char *dns_name; /* the name to look up otherwise */
	unsigned port;        /* SERVER_FROM_DNS */
	unsigned weight;      /* 0..1000 */
	bool weight_set;      /* the configuration says it itself: ends a run-time override */
	unsigned priority;    /* 1 is used first */
	uint64_t max_connections;
};

struct health_config {
	enum health_type type;
	int64_t interval_ms, fast_interval_ms, down_interval_ms, timeout_ms;
	unsigned rise, fall;
	const char *mail_from; /* NULL = no MAIL/RCPT probe; "" = the null sender */
	const char *rcpt_to;   /* NULL = the probe ends after MAIL */
	bool starttls;         /* checks use STARTTLS although the pool's mail does not */
	bool relay_check;      /* servers that inbound mail reaches are asked whether they relay for us */
};

/* Towards servers. */
enum pool_tls {
	POOL_TLS_NONE,
	POOL_TLS_MAY,     /* if the server offers it */
	POOL_TLS_ENCRYPT, /* with any certificate */
	POOL_TLS_VERIFY,  /* chain and name */
	POOL_TLS_COUNT
};
extern const char *const pool_tls_names[POOL_TLS_COUNT];

struct pool_tls_config {
	enum pool_tls mode;
	bool implicit; /* TLS from the first byte instead of STARTTLS */
	const char *ca_file, *server_name;
	struct tls_client *client; /* NULL while neither mail nor checks need it; a reference of the configuration */
};

/* Our own login at the servers. */
struct pool_auth_config {
	const char *user;     /* NULL = none */
	const char *password; /* a secret; read from password_file where that is set */
	const char *password_file;
	enum sasl_mechanism mechanism; /* SASL_PLAIN or SASL_LOGIN */
	bool plaintext;                /* without TLS too */
};

/* Who the client is, told to the servers. The first two are said once for a connection, which then belongs to one
 * session; XFORWARD for each transaction. */
enum identity_proxy { IDENTITY_PROXY_NONE, IDENTITY_PROXY_V1, IDENTITY_PROXY_V2, IDENTITY_PROXY_COUNT };
extern const char *const identity_proxy_names[IDENTITY_PROXY_COUNT];

struct identity_config {
	enum identity_proxy proxy;
	unsigned xclient; /* SMTP_XATTR_* to be told where offered; 0 = none */
	bool xforward;
};

/* Its connections say who the client is, and serve nobody else. */
static inline bool identity_pins(const struct identity_config *i)
{
	return i->proxy != IDENTITY_PROXY_NONE || i->xclient != 0;
}

struct outlier_config {
	unsigned consecutive; /* 0 = never eject */
	int64_t eject_ms;     /* first ejection; grows with each further one */
	unsigned max_ejected_pct;
	int64_t busy_ms, busy_max_ms;
};

struct reuse_config {
	uint64_t idle; /* kept per server and node; 0 = no reuse */
	int64_t idle_timeout_ms, max_age_ms;
	unsigned max_errors;
};

struct retry_config {
	unsigned attempts; /* servers tried, the first included; at least 1 */
	int64_t budget_ms;
	uint64_t replay_buffer; /* bytes of body kept for another server */
};

struct back_timeouts {
	int64_t connect_ms, tls_ms, banner_ms, ehlo_ms, mail_ms, rcpt_ms, data_ms, block_ms, dot_ms, quit_ms;
};

/* Content to servers by BDAT, where they announce CHUNKING. */
enum pool_chunking {
	POOL_CHUNKING_CLIENT, /* if the client used it */
	POOL_CHUNKING_ALWAYS,
	POOL_CHUNKING_NEVER,
	POOL_CHUNKING_COUNT
};
extern const char *const pool_chunking_names[POOL_CHUNKING_COUNT];

struct pool_config {
	const char *name;
	enum balance balance;
	struct server_config *servers;
	size_t n_servers;
	struct health_config health;
	struct outlier_config outlier;
	unsigned caps_off, caps_force; /* SMTP_EXT_* */
	enum pool_chunking chunking;
	const char *helo; /* NULL = own (the listener's hostname) */
	bool helo_client; /* what the client said */
	struct reuse_config reuse;
	struct retry_config retry;
	struct pool_tls_config tls;
	struct pool_auth_config auth;
	struct identity_config identity;
	struct back_timeouts timeouts;
	uint64_t queue; /* transactions that may wait */
	int64_t queue_timeout_ms;
	int64_t slow_start_ms;
	unsigned priority_activation;
	struct addr source_v4, source_v6; /* family 0 = any */
	const char *check_helo;           /* name to greet with in checks: the node's host name */
	const char *inbound; /* "listener in", in words: those of direction inbound that lead here; NULL = none */
};

/* ---- servers ---- */

enum server_state {
	SERVER_UNKNOWN, /* not checked yet: not usable */
	SERVER_UP,
	SERVER_STARTING, /* slow start: usable with a growing weight */
	SERVER_BUSY,     /* it said 421 or 4.3.x: used last */
	SERVER_EJECTED,  /* by traffic: not used until the ejection ends */
	SERVER_DOWN,     /* by checks */
	SERVER_DRAIN,    /* by the administrator (or its address vanished from DNS): finishes, takes nothing new */
	SERVER_MAINT,    /* by the administrator: drain, and no checks */
	SERVER_STATE_COUNT
};
extern const char *const server_state_names[SERVER_STATE_COUNT];

enum server_admin { SERVER_ADMIN_READY, SERVER_ADMIN_DRAIN, SERVER_ADMIN_MAINT, SERVER_ADMIN_COUNT };
extern const char *const server_admin_names[SERVER_ADMIN_COUNT];

struct server {
	uint32_t magic;
	/* constant for the server's life */
	char *pool, *name; /* name: "mta1", or "mta2@10.0.0.12:25" for an address of a looked-up name */
	char *config_name; /* "mta2": what admin state and weight are set on */
	struct addr addr;
	series_id m_replies[16][4]; /* [enum reply_stage][class 2..5 minus 2] */
	struct pool_shared *shared; /* of the one pool name it belongs to; referenced */
	struct loop *control;       /* the control thread's loop, told of each change of state; NULL in tests */
	/* written by any thread, each on its own cache line */
	_Alignas(64) _Atomic uint64_t word;    /* state, effective weight, epoch: see server_word.c */
	_Alignas(64) _Atomic uint32_t n_txns;  /* open transactions, node-wide */
	_Alignas(64) _Atomic uint32_t n_conns; /* connections: in use + idle, node-wide */
	_Atomic uint32_t n_frees; /* counts releases and connections gone idle: what a waiter may have missed */
	_Atomic uint32_t n_idle; /* of these, idle ones, lent again or ended for who waits; counted by the session room:
				    add, then server_idle_available() */
	_Alignas(64) _Atomic uint32_t caps; /* SMTP_EXT_* last seen; meaningful when caps_known */
	_Atomic uint64_t size;              /* SIZE last seen, 0 = none */
	_Atomic uint64_t mechanisms;        /* of AUTH, last seen: mechanisms.h */
	_Atomic bool caps_known;
	_Atomic uint64_t max_connections;
	_Atomic uint64_t latency_us; /* peak EWMA of the final reply, as of latency_at_ms */
	_Atomic int64_t latency_at_ms;
	_Atomic uint32_t bad_streak;              /* consecutive failures by traffic */
	_Atomic uint32_t eject_times, busy_times; /* holds in a row: each is longer than the one before */
	_Atomic int64_t ejected_until_ms, busy_until_ms;
	_Atomic bool xclient_denied; /* the last XCLIENT was */
	_Atomic bool notify_pending; /* a message to the control thread is on its way */
	struct server_private *priv; /* control thread; NULL = the registry has forgotten it */
	_Atomic uint32_t refs;
};

/* [worker] */
enum server_state server_state(const struct server *s);
unsigned server_weight(const struct server *s); /* effective: override, slow start and the like included */
/* [worker] A view onto another thread's object: hold one ref per pointer kept. */
struct server *server_ref(struct server *s);
void server_unref(struct server *s);

/* [worker] A slot for one connection under max_connections; false = at the cap. Each take needs one release, which
 * wakes a waiter of the pools that use the server. */
bool server_slot_take(struct server *s) MUST_CHECK;
void server_slot_release(struct server *s);
/* [worker] A connection to s became free (idle; n_idle already counts it): wakes a waiter if any. */
void server_idle_available(struct server *s);

/* [worker] What traffic saw. fault: connect or TLS failure, hang, EOF, malformed reply, 4.3.x. Ejects or marks busy at
 * once where the pool's outlier rules say so, within max_ejected_pct. */
enum server_verdict {
	SERVER_SAW_SUCCESS, /* any proper reply */
	SERVER_SAW_FAULT,   /* it broke */
	SERVER_SAW_BUSY     /* 421 or 4.3.x: in trouble by its own word */
};
struct pool;
void server_report(struct pool *p, struct server *s, enum server_verdict v, int64_t now_ms);
/* [worker] Time from the final dot to its reply. */
void server_report_latency(struct server *s, int64_t us);
/* [worker] Capabilities learned from a live EHLO as well as from checks. */
void server_learn(struct server *s, unsigned exts, uint64_t size);
/* [worker] Its answer to XCLIENT: denied = 500 to 503, or 550 5.7.0, this node may not speak for others (Postfix's
 * XCLIENT_README).
 * Told as FINDING_XCLIENT when it changes. */
void server_xclient(struct server *s, bool denied);
/* [worker] The mechanisms of its AUTH line, as mechanisms_of() gives them; to be called before server_learn(). */
void server_learn_mechanisms(struct server *s, uint64_t mechanisms);

/* ---- one view of a pool ---- */

struct pool {
	uint32_t magic;
	const struct pool_config *config;            /* lives as long as the pool: see pool_config_owner */
	struct server **servers;                     /* referenced; those with state drain/maint too */
	struct server_config const **server_configs; /* same index: weight, priority, max_connections as configured */
	unsigned *priorities;                        /* same index: configured priority plus SRV priority */
	unsigned *weights; /* same index: configured weight scaled by SRV weight, or a run-time override */
	unsigned *order;   /* indexes sorted by priority, then as configured */
	size_t n_servers;
	struct pool_shared *shared; /* what outlives views */
	struct ring *ring;          /* consistent hash ring, for the balance values that need one */
	void *owner;                /* of config; one reference */
	void (*owner_unref)(void *);
	struct pool_series {                 /* for the session's counters */
		series_id reply_seconds[16]; /* by enum reply_stage */
		series_id retries[16][2];    /* by stage; [0] failed, [1] succeeded */
		series_id recipients[3];     /* accepted, tempfail, permfail */
	} series;
	_Atomic uint32_t refs;
};

enum reply_stage {
	STAGE_CONNECT,
	STAGE_BANNER,
	STAGE_EHLO,
	STAGE_MAIL,
	STAGE_RCPT,
	STAGE_DATA,
	STAGE_DOT,
	STAGE_COUNT
};
extern const char *const reply_stage_names[STAGE_COUNT];

/* [worker] */
struct pool *pool_ref(struct pool *p);
void pool_unref(struct pool *p);

/* What the listener's EHLO may offer: extensions that every server outside maint had when last seen (with caps_off and
 * caps_force applied), SIZE = the smallest within the pool (0 = no limit). known = at least one server was ever seen.
 * [worker] */
struct pool_caps {
	bool known;
	unsigned exts;
	uint64_t size;
	uint64_t mechanisms; /* of AUTH, that all have: mechanisms.h */
};
void pool_caps(const struct pool *p, struct pool_caps *ret);
/* [worker] Number of servers that could be chosen now. */
unsigned pool_usable(const struct pool *p);

/* The name by which TLS calls a server: `tls.server_name`, or the name that was looked up; NULL = only its address. */
const char *pool_tls_name(const struct pool_config *cf, const struct server *s);
/* Connections made under one may be used under the other. */
bool pool_tls_same(const struct pool_tls_config *a, const struct pool_tls_config *b);

/* Connections logged in under one may be used under the other. */
bool pool_auth_same(const struct pool_auth_config *a, const struct pool_auth_config *b);
/* Why the login is not to be tried on this connection, static text for the log: it is not protected, or `offered`
 * (SMTP_AUTH_* of its EHLO) lacks the mechanism. NULL = it may. */
const char *pool_auth_hindrance(const struct pool_auth_config *a, const struct addr *server, bool secure,
				unsigned offered) MUST_CHECK;
/* The config must live as long as the exchange. */
void pool_auth_begin(const struct pool_auth_config *a, struct sasl_client *ret);

/* ---- choosing ---- */

#define PICK_TRIED_MAX 16
#define POOL_SERVERS_MAX 256 /* addresses in one view; more are left out, with a warning in the log */

struct pick_query {
	uint64_t hash;      /* for the hash algorithms: hash_stable() of the key */
	unsigned need_exts; /* SMTP_EXT_* that MAIL and RCPT asked for */
	uint64_t need_size;
	const struct server *tried[PICK_TRIED_MAX]; /* not these again */
	unsigned n_tried;
	/* It has a connection for this already: taken if it can be used at all, also when full. NULL = none. */
	const struct server *prefer;
	bool skip_full; /* servers at their cap count as not usable: the waiting is over */
	int64_t now_ms;
};

enum pick {
	PICK_OK,        /* *ret_server, referenced, its n_txns already counted: end with pool_txn_end() */
	PICK_FULL,      /* servers are usable, all at max_connections: wait */
	PICK_INCAPABLE, /* servers are usable, none can do what MAIL asked */
	PICK_TOO_BIG,   /* no usable server takes a message of that size */
	PICK_NONE       /* none usable */
};

/* [worker] Chooses by state, priority group, capability, then by the pool's algorithm over node-wide counts. A server
 * at its cap is skipped unless it has idle connections (n_idle > 0) that could be lent. */
enum pick pool_pick(struct pool *p, const struct pick_query *q, struct server **ret_server) MUST_CHECK;
/* [worker] Counts a transaction at s for who has a connection to it and can go nowhere else: ejected, busy or full, it
 * is asked all the same. False: it drains, or is down or under maintenance; else end with pool_txn_end(). */
bool pool_claim(struct server *s) MUST_CHECK;
/* [worker] Drops the transaction count and the reference of a PICK_OK or a pool_claim(). */
void pool_txn_end(struct server *s);
/* Explains a choice without making one: the candidates in order with their state and why each is in or out. Control
 * thread. */
typedef void pool_candidate_fn(const struct server *s, bool usable, const char *why, void *arg);
void pool_explain(const struct pool *p, const struct pick_query *q, pool_candidate_fn *fn, void *arg);

/* ---- waiting ---- */

/* What a client has of servers, in one number that compares: the transactions to which a connection is lent, in units
 * of POOL_LOAD_HELD, and those that wait for one, in units of 1. */
typedef _Atomic uint64_t pool_load;
#define POOL_LOAD_HELD (1ull << 32)

/* One transaction that waits for a free connection. Woken through its own loop: of those that wait, one whose client
 * has least (pool_load); among equals in the order of arrival. So a client that holds many slots, however slowly it
 * uses them, gets no more while others want one (max-min fairness). To be zeroed for each transaction: one that is
 * woken, finds nothing and waits again keeps its place. */
struct pool_waiter {
	struct list link; /* private, under the pool's lock */
	struct loop *loop;
	loop_fn *fn; /* called on the loop's thread, once; the waiter has left the queue then */
	void *arg;
	const pool_load *load; /* its client's, read by any thread while the waiter is queued; NULL = 0 */
	bool evicted;          /* set before fn: no slot, another client's waiter took its place in a full queue */
	uint64_t ticket;       /* private: its place in the order of arrival; 0 = never queued */
	uint64_t offer;        /* private: the newest release that it was woken for */
	struct pool_shared *queued_in; /* private; NULL = in no queue */
	struct pool_wake *wake;        /* private: the wake-up on its way; NULL = none */
};
/* [worker] False: the queue is full (pool_config.queue) of waiters whose clients have no more than this one's; else the
 * last of a client that has most leaves for it. To be called in the same turn as the pool_pick() on this view that led
 * to it, with no other pick in between: what was released since that pick wakes at once. */
bool pool_wait(struct pool *p, struct pool_waiter *w) MUST_CHECK;
/* [worker] Leaves the queue. The wake-up that was already on its way is passed to the next waiter and never arrives.
 * Call it on the waiter's own thread. */
void pool_wait_cancel(struct pool_waiter *w);
/* [worker] How many wait: one relaxed load. */
unsigned pool_waiting(const struct pool *p);
/* [worker] Whether anybody waits in any pool: one relaxed load. */
bool pool_anybody_waits(void);
/* [worker] The least load among those that wait; UINT64_MAX = nobody does. */
uint64_t pool_waiting_least(const struct pool *p);

/* ---- the registry: control thread ---- */

struct registry;

/* What is wrong with a server although it may be up, or why it may be down. */
enum server_finding {
	FINDING_IDENTITY, /* it cannot be told who clients are, as the pool wants it */
	FINDING_XCLIENT,  /* it offers XCLIENT and denies it to us */
	FINDING_BANNER,   /* it has never greeted */
	FINDING_RELAY,    /* it takes mail for everybody from this node */
	FINDING_COUNT
};
extern const char *const server_finding_names[FINDING_COUNT];

struct registry_hooks {
	/* A server changed its state. */
	void (*on_transition)(const struct server *s, enum server_state from, enum server_state to, const char *why,
			      void *arg);
	/* The set of servers of a pool changed (a name resolved differently): make and publish a new view with
	 * registry_view(). */
	void (*on_servers_changed)(const char *pool, void *arg);
	/* Every server has had its first verdict. Once. */
	void (*on_first_round)(void *arg);
	/* A connection to this address would reach our own listener: refuse it (a loop). May be NULL. */
	bool (*is_own_address)(const struct addr *a, void *arg);
	void *arg;
	/* A new configuration set the weight of this server itself and so ended its run-time override: forget the
	 * stored one too. Called from registry_apply(). May be NULL, as any hook. */
	void (*on_weight_override_ended)(const char *pool, const char *server, void *arg);
	/* Something was found, or is another than before; text NULL = it is over. */
	void (*on_finding)(const struct server *s, enum server_finding what, const char *text, void *arg);
};

/* learned_file: where capabilities last seen are kept over restarts (NULL = nowhere). dns_servers: for tests, NULL =
 * system. */
struct registry *registry_new(struct loop *l, const struct registry_hooks *hooks, const char *learned_file,
			      const char *dns_servers);
void registry_free(struct registry *r);

/* Takes over a new set of pools: servers that stay keep their state, new ones start checks (fast_interval until the
 * first verdict), those gone end theirs. config must stay alive until owner_unref(owner) is called: the registry and
 * each view hold one reference. */
void registry_apply(struct registry *r, const struct pool_config *const *pools, size_t n, void *owner,
		    void (*owner_ref)(void *), void (*owner_unref)(void *));
/* A new view of one pool, referenced for the caller; NULL = no such pool. */
struct pool *registry_view(struct registry *r, const char *pool);

/* Run-time state; replicated and stored by the caller. server = a configured name (all its addresses) or one address's
 * own name; of two admin states that apply to an address the stricter one holds, of two weights its own. 0, or -ENOENT:
 * nothing has this name at present; the setting is kept and applies when the name appears. -ENOSPC: too many are kept
 * already. */
int registry_set_admin(struct registry *r, const char *pool, const char *server, enum server_admin admin);
/* weight < 0 ends the override. */
int registry_set_weight(struct registry *r, const char *pool, const char *server, int weight);

/* Asks of each server that no check of this process has judged yet whether other nodes can use it. Where they can, it
 * is up until the first own check ends, which decides alone. Returns how many were taken over. */
typedef bool registry_word_fn(const struct server *s, void *arg);
unsigned registry_borrow(struct registry *r, registry_word_fn *fn, void *arg);

/* Everything the API shows of one server. Views are valid during the callback only. */
struct server_info {
	const struct server *server;
	const struct server_config *config; /* of a server that is gone and drains: a copy without dns_name */
	enum server_state state;
	enum server_admin admin;
	int weight_override; /* -1 = none */
	unsigned weight, priority;
	const char *last_check; /* text: "250 ok", "connection refused" … */
	double last_check_wall, last_change_wall;
	int64_t last_check_us;
	double ejected_until_wall, busy_until_wall; /* 0 = not */
	const char *why;                            /* of the present state */
	bool borrowed;                              /* up by the word of other nodes, and not checked by this one yet */
};
typedef void registry_server_fn(const struct server_info *info, void *arg);
void registry_each_server(struct registry *r, const char *pool, registry_server_fn *fn, void *arg);
/* Configured servers whose name stands for no address: they are in no other list. why: what the last look-up said. */
typedef void registry_unresolved_fn(const char *server, const char *dns_name, const char *why, void *arg);
void registry_each_unresolved(struct registry *r, const char *pool, registry_unresolved_fn *fn, void *arg);
typedef void registry_pool_fn(const struct pool_config *config, unsigned waiting, void *arg);
void registry_each_pool(struct registry *r, registry_pool_fn *fn, void *arg);

#endif
