/* SPDX-License-Identifier: Apache-2.0
 * Turns to write: whoever waits gets one, however the write in front of it ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/api/api_private.h"
#include "daemon/base/log.h"

enum { WAIT_MS = 20000, TURN_MS = 5000 };

static unsigned n_looked_at;

/* A handler that waits its turn and then wants nothing more. */
static void look(struct call *c)
{
	n_looked_at++;
	call_free(c);
}

static const struct resource looking = { .fn = look };

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
	list_init(&b->api.calls);
	list_init(&b->api.waiting);
	timer_init(&b->api.write_again, write_wake, &b->api);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_turn_comes_after_a_late_write_whose_client_is_gone),
		cmocka_unit_test(a_turn_comes_after_a_late_write_that_has_its_own_word_for_it),
	};

	log_init(LOG_TARGET_STDERR, LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
