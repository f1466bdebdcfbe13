/* SPDX-License-Identifier: Apache-2.0
 * What the files of this folder share: connections, calls, answers, the table of resources, streams, run-time
 * documents.
 *
 * A connection (struct conn) belongs to one HTTP server (struct front); a call is one request on its way to its answer.
 * A handler answers its call exactly once: with call_json(), call_problem(), call_text(), or by opening a stream on it.
 * After that the call is gone.
 */
#ifndef POSTROAD_API_PRIVATE_H
#define POSTROAD_API_PRIVATE_H

#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <openssl/ssl.h>

#include "daemon/api/api.h"
#include "daemon/api/path.h"
#include "daemon/api/problem.h"
#include "daemon/api/share.h"
#include "daemon/base/clock.h"
#include "daemon/base/hash.h"
#include "daemon/session/overload.h"

/* ---- bounds ---- */

#define API_CONNECTIONS_MAX 64         /* of the Unix socket, and of all TCP listeners together */
#define API_CONNECTIONS_PER_ADDRESS 16 /* over TCP: of one IPv4 address or IPv6 /64 */
#define API_BODY_MAX ((size_t)8 << 20)
#define API_READING_MAX ((size_t)64 << 20) /* of all requests being read */
#define API_HEADER_BYTES_MAX ((size_t)16 << 10)
#define API_HEADER_LINES_MAX 100
#define API_REQUEST_DEADLINE_MS 10000            /* from a request's first byte to its last … */
#define API_REQUEST_MIN_RATE ((int64_t)64 << 10) /* … and a second more for each so many bytes */
#define API_IDLE_SECONDS 60
#define API_STREAMS_MAX 16
#define API_STREAM_QUEUE_MAX ((size_t)1 << 20) /* more than all events kept */
#define API_EVENTS_KEPT 1024

/* ---- the api ---- */

struct api_warning {
	struct api_warning *next;
	char *key, *text;
};

struct etag_key {
	uint8_t bytes[API_SHARED_KEY_LEN];
};

struct node_series {
	struct api *api;
	enum report_state state;
	series_id id;
};

struct api {
	uint32_t magic;
	struct api_env env;
	struct conf *conf;        /* in force; NULL only until the first api_set_conf() */
	struct etag_key etag_key; /* of this node, where none is shared */
	struct overload overload; /* of this node */
	struct front *fronts;
	unsigned n_adopted[2]; /* connections under the cap, [is_unix] */
	size_t reading_bytes;
	int64_t accept_logged_ms; /* when it was last said that no connection could be accepted; 0 = never */
	SSL_CTX *tls;             /* NULL: admin.tls "off" */
	char fingerprint[3 * 32];
	struct list calls;   /* struct call: link */
	struct list waiting; /* struct call: waiting, for their turn to write */
	struct write *write; /* under way; NULL = none */
	struct timer write_again;
	struct loop_flush write_next;
	struct conf *proposed; /* by the write under way, as it was validated; its reference is that write's */
	json_t *runtime;       /* the run-time state in force */
	bool runtime_void;     /* it is of a log that is void, until something else is applied */
	json_t *unpruned; /* the configuration before those whose end of overrides is not stored yet; NULL = none */
	struct timer prune_again;
	bool drain_wanted; /* of this node; its engine drains when its virtual addresses have left */
	json_t *local;     /* what was set on this node alone without quorum: {pool: {server: true}}; NULL = nothing */
	bool local_node;   /* its own state, too */
	struct list streams; /* struct push: link */
	struct timer heartbeat;
	unsigned n_streams;
	struct events *events;
	struct api_warning *warnings;
	series_id m_revision, m_quorate, m_commit;
	struct node_series node_series[REPORT_STATE_COUNT];
	char instance[17]; /* random per process: begins each event id */
};

#define API_MAGIC 0x41504900u

/* ---- connections (conn.c) ---- */

struct front {
	uint32_t magic;
	struct front *next;
	struct api *api;
	struct evhttp *http;
	bool is_unix, is_tls;
	char *name; /* address or path */
	struct evconnlistener *listener;
	struct timer step_back; /* until it accepts again */
	struct list listening;
	struct list conns;
	struct event *adopt; /* takes over what was accepted in this turn */
};

struct conn {
	uint32_t magic;
	struct list link;
	struct front *front;
	struct bufferevent *bev; /* dies with evhttp's connection: never used after fd was seen closed */
	int fd;
	struct addr peer; /* over TCP */
	uint64_t inode;   /* of the socket: tells whether fd is still this connection's */
	struct timer deadline;
	int64_t started_ms;
	uint64_t bytes; /* of this request */
	bool reading, counted;
	bool told; /* evhttp will tell when the connection ends */
	struct call *call;
};

/* Opens the admin socket and the TCP listeners. False: *ret_why is a sentence the caller frees. */
bool conn_open_fronts(struct api *a, char **ret_why) MUST_CHECK;
void conn_close_fronts(struct api *a);
/* The connection a request came over. */
struct conn *conn_of(struct front *f, struct evhttp_request *req);
/* A whole request is there: no deadline until the next one starts. */
void conn_request_begin(struct conn *c, struct call *call);
void conn_request_end(struct conn *c);

/* ---- calls (http.c) ---- */

struct identity {
	enum token_role role;
	char author[128]; /* token name, or "local:USER" */
	bool is_owner; /* came over the Unix socket as root or the daemon's own user, who can read the files anyway */
};

struct call {
	uint32_t magic;
	struct list link;
	struct api *api; /* NULL: the api has ended, only the free is left */
	struct conn *conn;
	struct evhttp_request *req; /* NULL: the client is gone */
	const struct resource *resource;
	const char *params[PATH_PARAMS_MAX];
	struct path path;
	struct query query;
	struct identity who;
	struct push *push;      /* the stream opened on it */
	bool dropped;           /* its stream was cut: nothing is left but to see the connection end */
	void *arg;              /* the handler's */
	struct list waiting;    /* for its turn to write */
	int64_t waits_since_ms; /* since it wanted to write first; 0 = it does not */
	bool was_late;          /* another node's write was first */
	bool is_fresh;          /* what is in force here is not older than this call */
	/* The handler's, while it waits for something that it can call off: the client is gone. Frees the call. */
	void (*cancel)(struct call *c);
};

#define CALL_MAGIC 0x43414c4cu

void http_on_request(struct evhttp_request *req, void *front);
/* From conn.c: the client went away before the answer. */
void http_on_gone(struct call *c);

const char *call_header(const struct call *c, const char *name);
void call_set_header(struct call *c, const char *name, const char *value);
struct str call_body(const struct call *c);
/* A JSON document of one of the comma-separated media types. NULL: the call is answered. */
json_t *call_body_json(struct call *c, const char *types) MUST_CHECK;
/* As above, an object with no other keys than the comma-separated ones. */
json_t *call_body_object(struct call *c, const char *keys) MUST_CHECK;
/* "true" or "false" in the query (anything else was refused, http.c: its list has all flags); false where absent. */
bool call_flag(const struct call *c, const char *name);

/* Answers. json is stolen. */
void call_json(struct call *c, int status, json_t *json);
void call_text(struct call *c, int status, const char *type, struct str text);
void call_empty(struct call *c, int status);
void call_problem(struct call *c, enum problem p, const struct errors *errors, const char *detail_fmt, ...)
	PRINTF_LIKE(4, 5);
/* Ends a call whose client is gone, without an answer. */
void call_free(struct call *c);

/* ---- resources (resources.c) ---- */

typedef void resource_fn(struct call *c);

struct resource {
	enum evhttp_cmd_type method;
	const char *method_name, *pattern;
	enum token_role role; /* ROLE_NONE: open to everybody */
	resource_fn *fn;
	const char *operation, *query, *body, *summary; /* body: media types, "" = none */
};
extern const struct resource resources[];
extern const size_t resource_count;

#define RESOURCE(method, pattern, role, fn, query, body, summary) resource_fn fn;
#include "daemon/api/resources.tbl.h"
#undef RESOURCE

/* The row for a method and path, HEAD being GET. NULL: *ret_allow (bounded, may be "") lists the methods the path has.
 */
const struct resource *resource_find(enum evhttp_cmd_type method, const struct path *p,
				     const char *params[PATH_PARAMS_MAX], char *ret_allow, size_t allow_cap);

/* ---- who asks (auth.c) ---- */

/* Role and author of a request. False: it carries a token that is none (or is not of that form). */
bool auth_identify(struct call *c, struct identity *ret) MUST_CHECK;

/* ---- TLS (tls.c) ---- */

SSL_CTX *tls_admin_context(const struct node_config *n, char fingerprint[96], char **ret_why) MUST_CHECK;

/* ---- entity tags (etag.c) ---- */

/* The node's key, from the state directory, made there the first time. False: it could not be kept, and tags change
 * with the next start. */
bool etag_key_load(const char *state_dir, struct etag_key *ret);
/* The ETag of the document in force, of a revision, or of any JSON value, with quotes: the same on all members of a
 * cluster. What is in it that is secret cannot be guessed from it. */
void etag_of_document(const struct api *a, char out[64]);
void etag_of_entry(const struct api *a, uint64_t revision, const uint8_t *hash, char out[64]);
void etag_of_object(const struct api *a, const json_t *object, char out[64]);

/* ---- configuration (config_write.c) ---- */

/* Checks If-Match and If-None-Match of a write. current NULL = nothing is there. False: answered, or it waits (see
 * write_confirm()). */
bool write_precondition(struct call *c, const char *current) MUST_CHECK;
/* True: the same write was made before under this Idempotency-Key (or the key is of another one): answered. */
bool write_replayed(struct call *c);
/* Fills the idempotency fields of a store_write; the buffers live as long as w is used. */
struct write_key {
	char text[65];
	uint8_t hash[ENTRY_HASH_LEN];
};
void write_set_key(const struct call *c, struct write_key *key, struct store_write *w);

/* ---- writes under way (write.c) ---- */

/* Whether a call may work out a write now. False: another one is under way, and the handler is called anew when it is
 * this call's turn. */
bool write_turn(struct call *c) MUST_CHECK;
/* The handler is called anew when it is this call's turn again. */
void write_wait(struct call *c);
/* To be asked before a refusal that what is in force here gives reason for, or the answer that nothing is to change.
 * On a member it may be older than what another node has answered, even than what this caller read there. True: the
 * call waits; the run-time state is written as it is, behind which all is in force that was before, and the handler is
 * called anew. */
bool write_confirm(struct call *c) MUST_CHECK;
/* What follows. Each returns whether it took arg over; otherwise release is called. c: NULL = the client is gone. */
struct write_then {
	/* It is committed, and in force on this node. Answers. */
	bool (*committed)(struct api *a, struct call *c, const struct store_result *r, void *arg);
	/* NULL: the refusal is answered; a writer who was late is looked at anew. r may be NULL: it was not proposed.
	 */
	bool (*failed)(struct api *a, struct call *c, const struct store_result *r, void *arg);
	void (*release)(void *arg);
	void *arg;
};
/* Proposes a write and takes the turn until it is answered. author NULL: the call's, with its Idempotency-Key. */
void write_propose(struct api *a, struct call *c, struct store_write *sw, const struct write_then *then);
/* The answer to a write that was not committed, or not proposed: -errno of store_propose(). */
void write_answer(struct call *c, const struct store_result *r, const char *operation);
void write_refuse(struct call *c, int err);
/* The operation of the write under way, NULL = none. */
const char *write_operation(const struct api *a);
/* A timer's: whose turn is it? */
void write_wake(void *api);
/* The api ends: nobody waits any more. */
void write_end_all(struct api *a);

struct config_write {
	json_t *next;               /* the whole document, unmasked; stolen */
	const char *section, *name; /* the object the answer's ETag is of; NULL = the document */
	const char *operation;
	int status;
	bool keeps_overrides; /* rollback: run-time weights stay */
	json_t *runtime;      /* restore: the run-time state that is stored next; stolen */
};
/* Validates, proposes; answers once it is in force here. */
void config_commit(struct call *c, struct config_write *w);
/* A configuration was committed, by whomever: puts it in force on this node. */
void config_applied(struct api *a, const struct entry *e);
/* One object of a section, borrowed; NULL = none. */
json_t *config_object(json_t *document, const char *section, const char *name, size_t *ret_index);
bool config_has_section(const char *section);

/* ---- run-time state (runtime.c) ---- */

/* Applies the stored admin states and weights. */
void runtime_apply(struct api *a);
/* Sets the stored weights again: a configuration that was put in force has ended those it sets itself, but whether they
 * end is the run-time state's to say. */
void runtime_restore_weights(struct api *a);
/* Weights that a new configuration sets itself are no longer overridden; servers that are gone are forgotten. Returns
 * the run-time state to be stored (the caller's), NULL = nothing changed. */
json_t *runtime_prune(struct api *a, json_t *before, json_t *after) MUST_CHECK;
/* That could not be stored: tried again, soon where it came too late. before: as for runtime_prune(). */
void runtime_prune_later(struct api *a, json_t *before, bool late);
/* A timer's: tries. */
void runtime_prune_again(void *arg);
/* A run-time state was committed, by whomever. */
void runtime_applied(struct api *a, const struct entry *e);
/* The log is another one: what was in force by the old one ends with the next run-time state, or with the next
 * configuration where there is none then. */
void runtime_reset(struct api *a);
void runtime_config_applied(struct api *a, const struct entry *e);
/* The stored document, a new reference that may be changed. Where this node cannot read it (a newer version wrote it)
 * that is a warning, and this is what was in force before: it must not be stored then. */
json_t *runtime_document(struct api *a);
/* Stores it (stolen); then, or a refusal, answers. Refused where the one that is stored cannot be read. */
void runtime_store(struct call *c, json_t *document, const char *comment, const struct write_then *then);
/* ?scope=local: this node alone, not stored. False: answered. */
bool runtime_scope(struct call *c, bool *ret_local) MUST_CHECK;
/* Something was set on this node alone: without quorum it counts until quorum returns. pool NULL: the node itself. */
void runtime_note_local(struct api *a, const char *pool, const char *server);
/* Stored admin state of this node, "ready" or "drain". */
const char *runtime_node_admin(struct api *a);

/* ---- events and streams (events.c, push.c) ---- */

/* api_event() without the line in the log. */
void events_add(struct api *a, const char *type, json_t *data);

struct event_item {
	uint64_t seq;
	char *text; /* the whole SSE record */
};

struct events *events_new(void);
void events_free(struct events *e);

/* A stream of server-sent events on a call. */
struct push {
	uint32_t magic;
	struct list link;
	struct call *call;
	bool wants_events;
	void (*on_end)(struct push *p); /* may be NULL: frees what arg holds */
	void *arg;
};

/* Turns the call into a stream. NULL: too many are open, the call is answered. */
struct push *push_open(struct call *c) MUST_CHECK;
/* Sends a record. False: the reader is too slow or gone, the stream has ended. */
bool push_send(struct push *p, const char *text, size_t n);
void push_end(struct push *p);
/* From http.c: the client is gone. */
void push_gone(struct push *p);
void push_heartbeat_all(struct api *a);
/* Ends streams whose token is no longer valid. */
void push_reauthorize(struct api *a);

/* ---- the nodes (nodes.c) ---- */

/* All of them by name. */
json_t *nodes_json(struct api *a);
/* Each VIP any node speaks of: the names of those that have it. */
json_t *nodes_vip_owners(struct api *a);
/* What the other nodes think of a server, by node. */
json_t *nodes_verdicts(struct api *a, const struct server *s);
/* Whether a member has this name. */
bool nodes_have(struct api *a, const char *name);
void nodes_metrics_create(struct api *a);
void nodes_metrics_retire(struct api *a);

/* ---- answers shared by files ---- */

json_t *json_time(double wall);   /* RFC 3339, or null for 0 */
json_t *json_text(const char *s); /* null for NULL; bytes that are no UTF-8 are replaced */
json_t *status_warnings(struct api *a);
json_t *status_node(struct api *a);
/* Why this node should not be stopped now (static text), NULL = it may be. */
const char *status_stop_is_unsafe(struct api *a);
json_t *pools_json(struct api *a);
json_t *openapi_json(void);
/* Reasons of status_not_ready() with which mail goes on, but better elsewhere. */
#define STATUS_NO_POOL "no pool has a usable server"
#define STATUS_TAKEN "an address of a listener is taken: see the warnings"
/* The reasons why this node should not receive mail, as an array of strings; empty = ready. */
json_t *status_not_ready(struct api *a);
bool status_is_draining(struct api *a);
/* Wanted from now on, or no longer. */
void status_set_drain(struct api *a, bool drain);

#endif
