/* SPDX-License-Identifier: Apache-2.0
 * A view of a pool made by hand: servers named "a", "b", … that are up with weight 100 and priority 1.
 */
#ifndef POSTROAD_TESTS_VIEW_FIXTURE_H
#define POSTROAD_TESTS_VIEW_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "daemon/base/hash.h"
#include "daemon/pool/pool_private.h"

#define VIEW_MAX 16

struct view {
	struct pool_config config;
	struct server_config server_configs[VIEW_MAX];
	char names[VIEW_MAX][2];
	struct pool_shared *shared;
	struct server *servers[VIEW_MAX];
	unsigned weights[VIEW_MAX], priorities[VIEW_MAX];
	size_t n;
	struct pool *pool;
};

static inline void view_init(struct view *v, enum balance balance, size_t n)
{
	*v = (struct view) { .config = { .name = "p", .balance = balance, .priority_activation = 1, .queue = 100 },
			     .n = n };
	v->config.outlier = (struct outlier_config) {
		.consecutive = 3, .eject_ms = 1000, .max_ejected_pct = 50, .busy_ms = 1000, .busy_max_ms = 4000
	};
	v->shared = pool_shared_new("p");
	for (size_t i = 0; i < n; i++) {
		struct addr at;
		v->names[i][0] = (char)('a' + i);
		v->weights[i] = 100;
		v->priorities[i] = 1;
		assert_true(addr_parse("192.0.2.1", 25, &at));
		addr_set_port(&at, 1000 + (unsigned)i);
		struct server_identity id = { v->names[i], v->names[i], &at };
		v->servers[i] = server_new(v->shared, &id, NULL);
		server_set_health(v->servers[i], WORD_HEALTH_UP);
	}
}

/* Makes the view of what weights and priorities say now. */
static inline void view_make(struct view *v)
{
	pool_unref(v->pool);
	v->pool = pool_new(&v->config, v->shared, v->n);
	for (size_t i = 0; i < v->n; i++) {
		server_set_weight(v->servers[i], v->weights[i]);
		pool_add(v->pool, v->servers[i], &v->server_configs[i], v->priorities[i], v->weights[i]);
	}
	pool_finish(v->pool);
}

static inline void view_fini(struct view *v)
{
	pool_unref(v->pool);
	for (size_t i = 0; i < v->n; i++)
		server_unref(v->servers[i]);
	pool_shared_unref(v->shared);
}

static inline size_t view_index(const struct view *v, const struct server *s)
{
	for (size_t i = 0; i < v->n; i++)
		if (v->servers[i] == s)
			return i;
	fail_msg("not a server of this view");
	return 0;
}

/* Picks and leaves the transaction open. */
static inline size_t view_pick(struct view *v, const struct pick_query *q)
{
	struct server *s = NULL;

	assert_int_equal(pool_pick(v->pool, q, &s), PICK_OK);
	return view_index(v, s);
}

static inline size_t view_pick_and_end(struct view *v, const struct pick_query *q)
{
	size_t i = view_pick(v, q);

	pool_txn_end(v->servers[i]);
	return i;
}

static inline void view_end_all(struct view *v)
{
	for (size_t i = 0; i < v->n; i++)
		while (atomic_load(&v->servers[i]->n_txns) > 0)
			pool_txn_end(v->servers[i]);
}

#endif
