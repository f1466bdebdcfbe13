/* SPDX-License-Identifier: Apache-2.0
 * Turns to write: whoever waits gets one, however the write in front of it ends. And what a write is answered where
 * other nodes write, too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <event2/http.h>
#include <event2/http_struct.h>
#include <semaphore.h>
#include <sys/syscall.h>

#include "cluster/core/voters.h"
#define identity journal_identity /* the api's is another one */
#include "cluster/store/store_private.h"
#undef identity
#include "daemon/api/api_private.h"
#include "daemon/base/log.h"

enum { WAIT_MS = 20000, TURN_MS = 5000 };

static unsigned n_looked_at;

/* ---- a disk that can be held, in place of the C library's ---- */

static _Atomic bool held;
static sem_t let_go;

int fdatasync(int fd)
{
	if (held)
		assert_int_equal(sem_wait(&let_go), 0);
	return (int)syscall(SYS_fdatasync, fd);
}

/* A handler that waits its turn and then wants nothing more. */
static void look(struct call *c)
{
	n_looked_at++;
	call_free(c);
}

static const struct resource looking = { .fn = look };

static char here_name[] = "n1";
static const struct node_config here = { .node = here_name };

struct bench {
	char *dir;
	struct store *store;
	struct api api;
};

static void bench_open(struct bench *b)
{
	char *why, *warning;

	memset(b, 0, sizeof(*b));
	b->dir = xasprintf("%s/postroad-write-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	assert_non_null(mkdtemp(b->dir));
	b->store = store_open(b->dir, "n1", &why, &warning);
	assert_non_null(b->store);
	assert_int_equal(store_start(b->store), 0);
	assert_true(store_wait(b->store, WAIT_MS));
	b->api.magic = API_MAGIC;
	b->api.env.store = b->store;
	b->api.env.loop = loop_new();
	b->api.env.node = &here;
	list_init(&b->api.calls);
	list_init(&b->api.waiting);
	timer_init(&b->api.write_again, write_wake, &b->api);
	timer_init(&b->api.prune_again, runtime_prune_again, &b->api);
	loop_flush_init(&b->api.write_next, write_wake, &b->api);
	b->api.m_commit = metrics_series(METRIC_CLUSTER_COMMIT_SECONDS, NULL);
	n_looked_at = 0;
}

static void bench_close(struct bench *b)
{
	write_end_all(&b->api);
	store_close(b->store);
	loop_free(b->api.env.loop);
	static const char *const names[] = { "store.log", "store.lock", "identity" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char *path = xasprintf("%s/%s", b->dir, names[i]);
		unlink(path);
		free(path);
	}
	assert_int_equal(rmdir(b->dir), 0);
	free(b->dir);
}

/* A call whose client does not listen: what is seen of it is whether its turn came. */
static struct call *call_waiting(struct bench *b)
{
	struct call *c;

	NEW_OBJ(c, CALL_MAGIC);
	c->api = &b->api;
	c->resource = &looking;
	list_append(&b->api.calls, &c->link);
	assert_false(write_turn(c));
	return c;
}

static bool on_committed(struct api *a, struct call *c, const struct store_result *r, void *arg)
{
	UNUSED(a);
	UNUSED(r);
	UNUSED(arg);
	if (c != NULL)
		call_free(c);
	return false;
}

static bool on_failed(struct api *a, struct call *c, const struct store_result *r, void *arg)
{
	UNUSED(c);
	*(enum core_result *)arg = r->result;
	assert_null(a->write);
	return false;
}

static void ignore(const struct store_result *r, void *arg)
{
	UNUSED(r);
	UNUSED(arg);
}

static struct store_write write_of(const char *document)
{
	return (struct store_write) {
		.kind = ENTRY_RUNTIME, .author = "ops", .comment = "test", .document = str_from(document)
	};
}

/* Somebody else's write takes the place, and this node's is late. */
static void propose_late(struct bench *b, const struct write_then *then)
{
	struct store_write other = write_of("theirs"), own = write_of("ours");

	assert_int_equal(store_propose(b->store, &other, ignore, NULL), 0);
	write_propose(&b->api, NULL, &own, then);
	assert_non_null(b->api.write);
}

static void on_end(void *arg)
{
	*(bool *)arg = true;
}

static void assert_turn_comes(struct bench *b)
{
	bool over = false;
	struct timer end;

	assert_true(store_wait(b->store, WAIT_MS));
	assert_int_equal(n_looked_at, 0); /* not while the store tells: more may be in force behind this */
	timer_init(&end, on_end, &over);
	timer_set_in(b->api.env.loop, &end, TURN_MS);
	loop_turn(b->api.env.loop, false);
	while (n_looked_at == 0 && !over)
		loop_turn(b->api.env.loop, true);
	timer_stop(&end);
	assert_int_equal(n_looked_at, 1);
}

static void a_turn_comes_after_a_late_write_whose_client_is_gone(void **state)
{
	UNUSED(state);
	struct write_then then = { .committed = on_committed };
	struct bench b;

	bench_open(&b);
	propose_late(&b, &then);
	call_waiting(&b);
	assert_turn_comes(&b);
	bench_close(&b);
}

static void a_turn_comes_after_a_late_write_that_has_its_own_word_for_it(void **state)
{
	UNUSED(state);
	enum core_result result = CORE_COMMITTED;
	struct write_then then = { .committed = on_committed, .failed = on_failed, .arg = &result };
	struct bench b;

	bench_open(&b);
	propose_late(&b, &then);
	call_waiting(&b);
	assert_turn_comes(&b);
	assert_int_equal(result, CORE_STALE);
	bench_close(&b);
}

/* ---- answers ---- */

struct asked {
	struct evhttp_request *req;
	struct resource resource;
};

/* A request without a connection: evhttp keeps the answer in it. */
static struct call *call_asking(struct bench *b, struct asked *q)
{
	struct call *c;

	*q = (struct asked) { .req = evhttp_request_new(NULL, NULL) };
	q->req->flags |= EVHTTP_REQ_DEFER_FREE;
	q->req->uri = xstrdup("/api/v1/config");
	NEW_OBJ(c, CALL_MAGIC);
	c->api = &b->api;
	c->req = q->req;
	c->resource = &q->resource;
	snprintf(c->who.author, sizeof(c->who.author), "ops");
	list_append(&b->api.calls, &c->link);
	assert_true(write_turn(c));
	return c;
}

static void asked_free(struct asked *q)
{
	q->req->flags &= ~EVHTTP_REQ_DEFER_FREE;
	evhttp_request_free(q->req);
}

static bool yes(struct conf *conf, struct errors *errors, void *arg)
{
	UNUSED(conf);
	UNUSED(errors);
	UNUSED(arg);
	return true;
}

static struct conf *conf_saying(struct bench *b, const char *comment, json_t **ret_document)
{
	struct errors errors = { 0 };
	json_t *document = json_pack("{s:i, s:s}", "version", 1, "comment", comment);
	struct conf *conf = conf_parse(document, &b->api.env.conf_env, &errors);

	assert_non_null(conf);
	*ret_document = document;
	return conf;
}

static void write_config(struct bench *b, const char *document)
{
	struct store_write w = write_of(document);

	w.kind = ENTRY_CONFIG;
	w.expect_position = UINT64_MAX;
	assert_int_equal(store_propose(b->store, &w, ignore, NULL), 0);
}

/* The first revision is in force; returns its document, which is the caller's. */
static json_t *put_first_in_force(struct bench *b)
{
	json_t *document;

	b->api.env.conf_env = (struct conf_env) { .node = "n1" };
	b->api.env.check = yes;
	b->api.conf = conf_saying(b, "first", &document);
	b->api.conf->revision = 1;
	write_config(b, "{\"version\":1,\"comment\":\"first\"}");
	assert_true(store_wait(b->store, WAIT_MS));
	return document;
}

static void what_another_node_replaced_is_not_said_to_be_in_force(void **state)
{
	UNUSED(state);
	struct bench b;
	struct asked q;

	bench_open(&b);
	json_t *document = put_first_in_force(&b);
	write_config(&b, "{\"version\":99}"); /* of a newer version: this node stays with what it has */
	assert_true(store_wait(b.store, WAIT_MS));
	config_commit(call_asking(&b, &q),
		      &(struct config_write) { .next = document, .operation = "PUT", .status = 200 });
	assert_true(store_wait(b.store, WAIT_MS));
	assert_int_equal(q.req->response_code, 409);
	assert_int_equal(store_revision_number(b.store), 2);
	asked_free(&q);
	conf_unref(b.api.conf);
	bench_close(&b);
}

/* Two are committed by one acknowledgement, and the second is not the asker's: its tag would let the asker replace what
 * it never saw. */
static void the_tag_answered_is_of_what_was_written_and_not_of_what_came_after(void **state)
{
	UNUSED(state);
	struct store_write first = write_of("{}");
	char own[64], newest[64];
	json_t *document;
	struct bench b;
	struct asked q;

	bench_open(&b);
	json_decref(put_first_in_force(&b));
	conf_unref(conf_saying(&b, "ours", &document));
	held = true;
	first.expect_position = UINT64_MAX;
	assert_int_equal(store_propose(b.store, &first, ignore, NULL), 0);
	store_dispatch(b.store); /* its write is under way: what follows goes with the next */
	config_commit(call_asking(&b, &q),
		      &(struct config_write) { .next = document, .operation = "PUT", .status = 200 });
	write_config(&b, "{\"version\":1,\"comment\":\"theirs\"}");
	store_dispatch(b.store);
	held = false;
	assert_int_equal(sem_post(&let_go), 0);
	assert_true(store_wait(b.store, WAIT_MS));
	assert_int_equal(q.req->response_code, 200);
	const struct entry *e = store_revision(b.store, 2);
	etag_of_entry(&b.api, 2, e->hash, own);
	etag_of_document(&b.api, newest);
	assert_string_not_equal(own, newest);
	assert_string_equal(evhttp_find_header(evhttp_request_get_output_headers(q.req), "ETag"), own);
	asked_free(&q);
	conf_unref(b.api.conf);
	bench_close(&b);
}

/* ---- run-time state ---- */

static void write_entry(struct bench *b, enum entry_kind kind, const char *document)
{
	struct store_write w = write_of(document);

	w.kind = kind;
	w.expect_position = UINT64_MAX;
	assert_int_equal(store_propose(b->store, &w, ignore, NULL), 0);
	assert_true(store_wait(b->store, WAIT_MS));
}

static void write_runtime(struct bench *b, const char *document)
{
	write_entry(b, ENTRY_RUNTIME, document);
}

/* A newer version wrote it: it is no empty one, and a write here would end all that it says. */
static void a_run_time_state_that_cannot_be_read_stays_and_is_not_replaced(void **state)
{
	UNUSED(state);
	struct write_then then = { .committed = on_committed };
	char own[] = "n1";
	struct bench b;
	struct asked q;

	bench_open(&b);
	b.api.env.node = &(struct node_config) { .node = own };
	list_init(&b.api.streams);
	b.api.events = events_new();
	b.api.runtime = json_pack("{s:{s:{s:s}}}", "nodes", "n1", "admin", "drain");
	write_runtime(&b, "[1");
	json_t *document = runtime_document(&b.api);
	assert_true(json_equal(document, b.api.runtime));
	assert_non_null(b.api.warnings);
	runtime_store(call_asking(&b, &q), document, "x", &then);
	assert_true(store_wait(b.store, WAIT_MS));
	assert_int_equal(q.req->response_code, 409);
	asked_free(&q);
	assert_memory_equal(store_last(b.store, ENTRY_RUNTIME)->document.p, "[1", 2);
	assert_null(runtime_prune(&b.api, b.api.runtime, b.api.runtime));
	write_runtime(&b, "{}");
	json_decref(runtime_document(&b.api));
	assert_null(b.api.warnings);
	json_decref(b.api.runtime);
	events_free(b.api.events);
	bench_close(&b);
}

static int drains = -1;

static void set_drain(bool drain, void *arg)
{
	UNUSED(arg);
	drains = drain;
}

static void open_with_drains(struct bench *b)
{
	bench_open(b);
	b->api.env.set_node_drain = set_drain;
	list_init(&b->api.streams);
	b->api.events = events_new();
}

/* What a log that is void had said stays in force as long as its configuration: a server that is drained gets no mail
 * in between. */
static void a_drain_of_a_log_that_is_void_ends_with_the_next_configuration(void **state)
{
	UNUSED(state);
	struct bench b;

	open_with_drains(&b);
	b.api.runtime = json_pack("{s:{s:{s:s}}}", "nodes", "n1", "admin", "drain");
	api_reset(&b.api);
	assert_int_equal(drains, -1);
	write_entry(&b, ENTRY_CONFIG, "{}");
	runtime_config_applied(&b.api, store_last(b.store, ENTRY_CONFIG));
	assert_int_equal(drains, 0);
	assert_int_equal(json_object_size(b.api.runtime), 0);
	json_decref(b.api.runtime);
	events_free(b.api.events);
	bench_close(&b);
}

#define IN_FORCE                                                                                                       \
	"{\"pools\":{\"p\":{\"servers\":{\"s\":{\"admin\":\"drain\"}}}},\"nodes\":{\"n1\":{\"admin\":\"drain\"},"      \
	"\"n2\":{\"admin\":\"drain\"}},\"vips\":{\"a\":{\"node\":\"n1\",\"time\":1}}}"
#define OWN "{\"pools\":{\"p\":{\"servers\":{\"s\":{\"admin\":\"drain\"}}}},\"nodes\":{\"n1\":{\"admin\":\"drain\"}}}"

static void a_node_that_leaves_keeps_drains_and_its_own_and_no_move(void **state)
{
	UNUSED(state);
	struct bench b;

	open_with_drains(&b);
	b.api.runtime = json_loads(IN_FORCE, 0, NULL);
	json_t *kept = api_own_runtime(&b.api), *wanted = json_loads(OWN, 0, NULL);
	assert_true(json_equal(kept, wanted));
	/* It is written first, and nothing changes by it. */
	drains = -1;
	api_reset(&b.api);
	write_runtime(&b, OWN);
	runtime_applied(&b.api, store_last(b.store, ENTRY_RUNTIME));
	write_entry(&b, ENTRY_CONFIG, "{}");
	runtime_config_applied(&b.api, store_last(b.store, ENTRY_CONFIG));
	assert_int_equal(drains, -1);
	assert_true(json_equal(b.api.runtime, wanted));
	json_decref(kept);
	json_decref(wanted);
	json_decref(b.api.runtime);
	b.api.runtime = json_object();
	assert_null(api_own_runtime(&b.api));
	json_decref(b.api.runtime);
	events_free(b.api.events);
	bench_close(&b);
}

static json_t *with_weight(int weight)
{
	json_t *server = json_pack("{s:s}", "address", "127.0.0.1:25");

	if (weight > 0)
		json_object_set_new(server, "weight", json_integer(weight));
	return json_pack("{s:i, s:{s:{s:{s:o}}}}", "version", 1, "pools", "p", "servers", "s", server);
}

#define OVERRIDE "{\"pools\":{\"p\":{\"servers\":{\"s\":{\"weight\":7}}}},\"nodes\":{\"n2\":{\"admin\":\"drain\"}}}"

/* Another node's write comes between. */
static void an_override_that_ends_too_late_ends_all_the_same(void **state)
{
	UNUSED(state);
	struct errors errors = { 0 };
	json_t *before = with_weight(0), *after = with_weight(50);
	struct bench b;

	bench_open(&b);
	b.api.conf = conf_parse(after, &(struct conf_env) { .node = "n1" }, &errors);
	assert_non_null(b.api.conf);
	write_runtime(&b, OVERRIDE);
	runtime_prune_later(&b.api, before, true);
	/* It is tried, and comes too late; then again. */
	struct store_write other = write_of(OVERRIDE);
	other.expect_position = UINT64_MAX;
	assert_int_equal(store_propose(b.store, &other, ignore, NULL), 0);
	runtime_prune_again(&b.api);
	assert_non_null(b.api.write);
	assert_true(store_wait(b.store, WAIT_MS));
	assert_non_null(b.api.unpruned);
	while (b.api.unpruned != NULL) {
		loop_turn(b.api.env.loop, true);
		assert_true(store_wait(b.store, WAIT_MS));
	}
	json_t *now = runtime_document(&b.api);
	json_t *server =
		json_object_get(json_object_get(json_object_get(json_object_get(now, "pools"), "p"), "servers"), "s");
	assert_non_null(server);
	assert_null(json_object_get(server, "weight"));
	assert_non_null(json_object_get(json_object_get(now, "nodes"), "n2")); /* what the other wrote stays */
	json_decref(now);
	json_decref(before);
	json_decref(after);
	conf_unref(b.api.conf);
	bench_close(&b);
}

/* This node was given the log in short: it knows that the key was used and by which request, and not what came of it.
 */
static void forget_answers(struct store *s)
{
	answers_fini(&s->applied.answers);
	answers_init(&s->applied.answers);
}

static struct call *call_with_key(struct bench *b, struct asked *q, const char *uri)
{
	struct call *c = call_asking(b, q);

	free(q->req->uri);
	q->req->uri = xstrdup(uri);
	evhttp_add_header(evhttp_request_get_input_headers(q->req), "Idempotency-Key", "k");
	return c;
}

static void a_key_of_another_request_is_refused_where_its_answer_is_not_known(void **state)
{
	UNUSED(state);
	json_t *document;
	struct bench b;
	struct asked q;

	bench_open(&b);
	json_decref(put_first_in_force(&b));
	conf_unref(conf_saying(&b, "ours", &document));
	config_commit(call_with_key(&b, &q, "/api/v1/config"),
		      &(struct config_write) { .next = document, .operation = "PUT", .status = 200 });
	assert_true(store_wait(b.store, WAIT_MS));
	assert_int_equal(q.req->response_code, 200);
	asked_free(&q);
	forget_answers(b.store);
	struct call *again = call_with_key(&b, &q, "/api/v1/config");
	assert_false(write_replayed(again)); /* the log tells */
	call_free(again);
	asked_free(&q);
	assert_true(write_replayed(call_with_key(&b, &q, "/api/v1/other")));
	assert_int_equal(q.req->response_code, 422);
	asked_free(&q);
	conf_unref(b.api.conf);
	bench_close(&b);
}

static void found_cluster(struct bench *b)
{
	struct store_identity id = store_identity(b->store);
	struct voters table = { .n = 1, .list[0] = { .id = id.id, .instance = id.instance, .votes = 1, .name = "n1" } };
	struct sbuf document = { 0 };

	voters_encode(&table, &document);
	assert_int_equal(store_found(b->store, 77, (struct str) { document.p, document.n }, ignore, NULL), 0);
	assert_true(store_wait(b->store, WAIT_MS));
	sbuf_fini(&document);
}

static json_t *again;

static void put_again(struct call *c)
{
	if (write_turn(c))
		config_commit(c,
			      &(struct config_write) { .next = json_incref(again), .operation = "PUT", .status = 200 });
}

/* Of a member what is in force may be old: another one may have replaced it since. */
static void nothing_to_change_is_only_said_of_what_was_in_force_after_the_question(void **state)
{
	UNUSED(state);
	struct bench b;
	struct asked q;

	bench_open(&b);
	found_cluster(&b);
	again = put_first_in_force(&b);
	uint64_t before = store_position(b.store);
	struct call *c = call_asking(&b, &q);
	q.resource.fn = put_again;
	put_again(c);
	assert_int_equal(q.req->response_code, 0);
	assert_true(store_wait(b.store, WAIT_MS));
	for (int turns = 0; turns < 10 && q.req->response_code == 0; turns++)
		loop_turn(b.api.env.loop, false);
	assert_int_equal(q.req->response_code, 200);
	assert_int_equal(store_position(b.store), before + 1);
	assert_int_equal(store_revision_number(b.store), 1);
	asked_free(&q);
	json_decref(again);
	conf_unref(b.api.conf);
	bench_close(&b);
}

static void put_with_old_tag(struct call *c)
{
	if (write_turn(c) && write_precondition(c, "\"newer\""))
		fail();
}

/* The tag may be of what another node has in force already. */
static void a_member_makes_sure_that_a_tag_is_old(void **state)
{
	UNUSED(state);
	struct bench b;
	struct asked q;

	bench_open(&b);
	found_cluster(&b);
	uint64_t before = store_position(b.store);
	struct call *c = call_asking(&b, &q);
	evhttp_add_header(evhttp_request_get_input_headers(q.req), "If-Match", "\"older\"");
	q.resource.fn = put_with_old_tag;
	put_with_old_tag(c);
	assert_int_equal(q.req->response_code, 0);
	assert_true(store_wait(b.store, WAIT_MS));
	for (int turns = 0; turns < 10 && q.req->response_code == 0; turns++)
		loop_turn(b.api.env.loop, false);
	assert_int_equal(q.req->response_code, 412);
	assert_int_equal(store_position(b.store), before + 1);
	asked_free(&q);
	bench_close(&b);
}

/* An "unknown" would name an operation that says "committed" later, of a write that was never asked for. */
static void what_could_not_be_made_sure_of_is_refused(void **state)
{
	UNUSED(state);
	struct bench b;
	struct asked q;

	bench_open(&b);
	found_cluster(&b);
	struct call *c = call_asking(&b, &q);
	evhttp_add_header(evhttp_request_get_input_headers(q.req), "If-Match", "\"older\"");
	q.resource.fn = put_with_old_tag;
	while (sem_trywait(&let_go) == 0) /* of a disk that was not held any more when it was let go */
		;
	held = true;
	put_with_old_tag(c);
	store_dispatch(b.store);
	store_tick(b.store, (uint64_t)clock_mono_ms() + CORE_DEADLINE_MS + 1);
	store_dispatch(b.store);
	held = false;
	assert_int_equal(sem_post(&let_go), 0);
	assert_true(store_wait(b.store, WAIT_MS));
	assert_int_equal(q.req->response_code, 503);
	asked_free(&q);
	bench_close(&b);
}

/* It may be right as it is: "read it again" would help nobody, least of all one that had nothing to read. */
static void who_was_late_all_the_time_may_try_again(void **state)
{
	UNUSED(state);
	struct bench b;
	struct asked q;

	bench_open(&b);
	struct call *c = call_asking(&b, &q);
	c->was_late = true;
	c->waits_since_ms = loop_now_ms(b.api.env.loop) - CORE_DEADLINE_MS - 1;
	list_append(&b.api.waiting, &c->waiting);
	write_wake(&b.api);
	assert_int_equal(q.req->response_code, 503);
	asked_free(&q);
	bench_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_turn_comes_after_a_late_write_whose_client_is_gone),
		cmocka_unit_test(a_turn_comes_after_a_late_write_that_has_its_own_word_for_it),
		cmocka_unit_test(what_another_node_replaced_is_not_said_to_be_in_force),
		cmocka_unit_test(a_run_time_state_that_cannot_be_read_stays_and_is_not_replaced),
		cmocka_unit_test(a_drain_of_a_log_that_is_void_ends_with_the_next_configuration),
		cmocka_unit_test(a_node_that_leaves_keeps_drains_and_its_own_and_no_move),
		cmocka_unit_test(an_override_that_ends_too_late_ends_all_the_same),
		cmocka_unit_test(a_key_of_another_request_is_refused_where_its_answer_is_not_known),
		cmocka_unit_test(the_tag_answered_is_of_what_was_written_and_not_of_what_came_after),
		cmocka_unit_test(who_was_late_all_the_time_may_try_again),
		cmocka_unit_test(a_member_makes_sure_that_a_tag_is_old),
		cmocka_unit_test(what_could_not_be_made_sure_of_is_refused),
		cmocka_unit_test(nothing_to_change_is_only_said_of_what_was_in_force_after_the_question),
	};

	assert_int_equal(sem_init(&let_go, 0, 0), 0);
	log_init(LOG_TARGET_STDERR, LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
