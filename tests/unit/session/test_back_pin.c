/* SPDX-License-Identifier: Apache-2.0
 * Connections of one session: which of them still tells the truth, which may rest, and what ends with which.
 */
#include "daemon/session/back_pin.h"

#include <stdlib.h>
#include <unistd.h>

#include "daemon/pool/pool_private.h"
#include "daemon/session/back_idle.h"
#include "daemon/session/back_private.h"
#include "daemon/session/session.h"
#include "tests/unit/session/quiet_stream.h"

#define CONNECTIONS 3

/* A session, two pools with a server each, and connections that rest: the first two at the first pool's. */
struct house {
	struct worker w;
	struct session s;
	struct pool_config config, other_config;
	struct pool pool, other;
	struct pool_shared *shared, *other_shared;
	struct server *server, *other_server;
	struct back backs[CONNECTIONS];
	int peers[CONNECTIONS];
};

static void open_back(struct house *h, size_t i, struct pool *p, struct server *server)
{
	struct back *b = &h->backs[i];

	b->magic = BACK_MAGIC;
	b->w = &h->w;
	b->pool = p;
	b->server = server;
	b->state = BACK_READY;
	b->opened_ms = loop_now_ms(h->w.loop);
	list_init(&b->link);
	list_init(&b->pin_link);
	list_append(&h->w.backs, &b->link);
	timer_init(&b->timer, quiet_timer, b);
	h->peers[i] = quiet_stream_open(&b->st, h->w.loop, b);
}

static struct server *a_server(struct pool_shared *shared)
{
	struct addr at;

	assert_true(addr_parse("192.0.2.1", 25, &at));
	struct server_identity id = { "b", "b", &at };
	struct server *s = server_new(shared, &id, NULL);
	atomic_store(&s->word, WORD_HEALTH_UP);
	return s;
}

static void set_up(struct house *h)
{
	memset(h, 0, sizeof(*h));
	h->w.loop = loop_new();
	list_init(&h->w.backs);
	h->s.magic = SESSION_MAGIC;
	h->s.w = &h->w;
	list_init(&h->s.pinned);
	h->config = (struct pool_config) { .name = "one", .identity.proxy = IDENTITY_PROXY_V2 };
	h->config.reuse = (struct reuse_config) { .idle = 4, .idle_timeout_ms = 60000, .max_age_ms = 60000 };
	h->config.timeouts.quit_ms = 5000;
	h->other_config = h->config;
	h->other_config.name = "two";
	h->pool.config = &h->config;
	h->other.config = &h->other_config;
	h->shared = pool_shared_new("one");
	h->other_shared = pool_shared_new("two");
	h->server = a_server(h->shared);
	h->other_server = a_server(h->other_shared);
	back_idle_init(&h->w);
	open_back(h, 0, &h->pool, h->server);
	open_back(h, 1, &h->pool, h->server);
	open_back(h, 2, &h->other, h->other_server);
}

static void tear_down(struct house *h)
{
	back_idle_fini(&h->w);
	for (size_t i = 0; i < CONNECTIONS; i++) {
		timer_stop(&h->backs[i].timer);
		stream_close(&h->backs[i].st);
		close(h->peers[i]);
	}
	free(h->s.login_pool);
	server_unref(h->server);
	server_unref(h->other_server);
	pool_shared_unref(h->shared);
	pool_shared_unref(h->other_shared);
	loop_free(h->w.loop);
}

static struct back *pinned_and_resting(struct house *h, size_t i)
{
	back_pin(&h->backs[i], &h->s);
	back_pin_rest(&h->backs[i]);
	assert_true(h->backs[i].resting && h->backs[i].reserved);
	return &h->backs[i];
}

static struct back *with_login(struct house *h, size_t i)
{
	back_pin_login(&h->backs[i], &h->s);
	assert_true(h->backs[i].login && h->backs[i].resting);
	return &h->backs[i];
}

static bool was_let_go(const struct back *b)
{
	return b->state == BACK_QUIT && b->session == NULL && !b->resting && b->reserved;
}

/* ---- what was said must stay true ---- */

enum change {
	NOTHING,
	ELDER,
	OTHER_TLS,
	OTHER_LOGIN_OF_OURS,
	OTHER_HEADER,
	XCLIENT_TOO,
	NOBODY_IS_TOLD,
	OTHER_CLIENT,
	OTHER_CLIENT_WHOM_NOBODY_TELLS,
	CHANGES
};

/* The configuration that the next transaction comes with. */
static struct pool_config changed(struct house *h, enum change what)
{
	struct pool_config next = h->config;

	if (what == ELDER)
		next.reuse.max_age_ms = 0;
	else if (what == OTHER_TLS)
		next.tls.mode = POOL_TLS_ENCRYPT;
	else if (what == OTHER_LOGIN_OF_OURS)
		next.auth.user = "relay";
	else if (what == OTHER_HEADER)
		next.identity.proxy = IDENTITY_PROXY_V1;
	else if (what == XCLIENT_TOO)
		next.identity.xclient = SMTP_XATTR_ADDR;
	else if (what == NOBODY_IS_TOLD)
		next.identity.proxy = IDENTITY_PROXY_NONE;
	h->s.epoch += what == OTHER_CLIENT || what == OTHER_CLIENT_WHOM_NOBODY_TELLS;
	return next;
}

static void expect_kept(enum change what, bool login, bool kept)
{
	struct house h;

	set_up(&h);
	if (what == OTHER_CLIENT_WHOM_NOBODY_TELLS)
		h.config.identity.proxy = IDENTITY_PROXY_NONE;
	struct back *b = login ? with_login(&h, 0) : pinned_and_resting(&h, 0);
	struct pool_config next = changed(&h, what);
	struct pool newer = { .config = &next };
	assert_ptr_equal(back_pin_take(&h.s, &newer, h.server), kept ? b : NULL);
	b->resting = true; /* as before it was taken */
	assert_ptr_equal(back_pinned_server(&h.s, &newer), kept ? h.server : NULL);
	assert_int_equal(was_let_go(b), !kept);
	assert_int_equal(h.s.login_lost, login && !kept);
	tear_down(&h);
}

static void a_connection_serves_while_what_the_server_was_told_is_true(void **state)
{
	static const bool kept[CHANGES] = { [NOTHING] = true, [OTHER_CLIENT_WHOM_NOBODY_TELLS] = true };

	UNUSED(state);
	for (enum change what = NOTHING; what < CHANGES; what++)
		expect_kept(what, false, kept[what]);
}

static void one_with_a_login_is_kept_through_what_another_could_make_good(void **state)
{
	static const bool kept[CHANGES] = { [NOTHING] = true,
					    [ELDER] = true,
					    [OTHER_TLS] = true,
					    [OTHER_LOGIN_OF_OURS] = true,
					    [OTHER_CLIENT_WHOM_NOBODY_TELLS] = true };

	UNUSED(state);
	for (enum change what = NOTHING; what < CHANGES; what++)
		expect_kept(what, true, kept[what]);
}

static void one_at_work_or_at_another_server_is_not_taken(void **state)
{
	struct house h;

	UNUSED(state);
	set_up(&h);
	back_pin(&h.backs[0], &h.s);
	assert_null(back_pin_take(&h.s, &h.pool, h.server));
	assert_null(back_pinned_server(&h.s, &h.pool));
	back_pin_rest(&h.backs[0]);
	assert_null(back_pin_take(&h.s, &h.other, h.other_server));
	assert_null(back_pinned_server(&h.s, &h.other));
	assert_ptr_equal(back_pin_take(&h.s, &h.pool, h.server), &h.backs[0]);
	assert_null(back_pin_take(&h.s, &h.pool, h.server)); /* it is taken */
	tear_down(&h);
}

static void one_being_cleared_is_taken_and_keeps_its_deadline(void **state)
{
	struct house h;

	UNUSED(state);
	set_up(&h);
	struct back *b = &h.backs[0];
	back_pin(b, &h.s);
	back_set_state(b, BACK_RSET, 5000);
	int64_t deadline = b->timer.deadline;
	assert_ptr_equal(back_pinned_server(&h.s, &h.pool), h.server);
	assert_ptr_equal(back_pin_take(&h.s, &h.pool, h.server), b);
	assert_true(deadline > 0);
	assert_int_equal(b->timer.deadline, deadline);
	b->state = BACK_READY;
	back_pin_rest(b);
	assert_ptr_equal(back_pin_take(&h.s, &h.pool, h.server), b);
	assert_int_equal(b->timer.deadline, 0);
	tear_down(&h);
}

/* ---- how many, and for how long ---- */

static void a_new_one_ends_what_rests_at_its_pool_and_nothing_else(void **state)
{
	struct house h;

	UNUSED(state);
	set_up(&h);
	struct back *old = pinned_and_resting(&h, 0), *elsewhere = pinned_and_resting(&h, 2);
	back_pin(&h.backs[1], &h.s);
	assert_true(was_let_go(old));
	assert_true(elsewhere->resting && elsewhere->session == &h.s);
	assert_ptr_equal(h.backs[1].session, &h.s);
	tear_down(&h);
}

static void may_rest(struct house *h, bool login, bool rests)
{
	struct back *b = &h->backs[0];

	back_pin(b, &h->s);
	b->login = login;
	back_pin_rest(b);
	assert_int_equal(b->resting, rests);
	assert_int_equal(was_let_go(b), !rests);
	assert_int_equal(h->s.login_lost, login && !rests);
	assert_int_equal(atomic_load(&h->server->n_idle), rests && !login); /* a login makes room for nobody */
	tear_down(h);
}

static void none_rests_for_a_session_or_a_worker_that_ends_or_at_a_server_that_may_not_be_used(void **state)
{
	struct house h;

	UNUSED(state);
	for (int login = 0; login < 2; login++) {
		set_up(&h);
		may_rest(&h, login, true);
		set_up(&h);
		h.s.closing = true;
		may_rest(&h, login, false);
		set_up(&h);
		h.s.detached = true;
		may_rest(&h, login, false);
		set_up(&h);
		h.w.stopping = true;
		may_rest(&h, login, false);
		set_up(&h);
		h.server->word = WORD_HEALTH_UP | SERVER_ADMIN_DRAIN;
		may_rest(&h, login, false);
		set_up(&h);
		h.server->word = WORD_HEALTH_DOWN;
		may_rest(&h, login, false);
		set_up(&h);
		h.server->word = WORD_HEALTH_UP | WORD_EJECTED; /* for this client it works */
		may_rest(&h, login, true);
	}
}

static void only_a_login_rests_where_nothing_is_to_be_used_again(void **state)
{
	struct house h;

	UNUSED(state);
	for (int login = 0; login < 2; login++) {
		set_up(&h);
		h.config.reuse.idle = 0;
		may_rest(&h, login, login);
		set_up(&h);
		h.config.reuse.max_age_ms = 0;
		may_rest(&h, login, login);
	}
}

static void a_server_that_is_drained_loses_what_rests_and_keeps_what_works(void **state)
{
	struct house h;

	UNUSED(state);
	set_up(&h);
	struct back *elsewhere = pinned_and_resting(&h, 2), *login = with_login(&h, 0);
	h.backs[1].session = NULL; /* somebody's, at work */
	back_pin_prune(&h.w);
	assert_true(login->resting && elsewhere->resting);
	h.server->word |= SERVER_ADMIN_DRAIN;
	back_pin_prune(&h.w);
	assert_true(was_let_go(login) && h.s.login_lost);
	assert_true(elsewhere->resting);
	assert_int_equal(h.backs[1].state, BACK_READY);
	tear_down(&h);
}

/* ---- the end ---- */

static void a_session_that_ends_takes_along_what_rests_and_lets_the_rest_finish(void **state)
{
	struct house h;

	UNUSED(state);
	set_up(&h);
	struct back *rests = pinned_and_resting(&h, 0), *works = &h.backs[2];
	back_pin(works, &h.s);
	back_pins_end(&h.s);
	assert_true(was_let_go(rests));
	assert_null(works->session);
	assert_int_equal(works->state, BACK_READY);
	assert_true(works->reserved); /* nobody else may have it */
	assert_true(list_empty(&h.s.pinned));
	tear_down(&h);
}

static void a_login_forgotten_is_no_login_lost(void **state)
{
	struct house h;

	UNUSED(state);
	set_up(&h);
	struct back *login = with_login(&h, 0), *elsewhere = pinned_and_resting(&h, 2);
	assert_string_equal(h.s.login_pool, "one");
	back_pin_forget_login(&h.s);
	assert_null(h.s.login_pool);
	assert_false(h.s.login_lost);
	assert_true(was_let_go(login) && !login->login);
	assert_true(elsewhere->resting);
	tear_down(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_connection_serves_while_what_the_server_was_told_is_true),
		cmocka_unit_test(one_with_a_login_is_kept_through_what_another_could_make_good),
		cmocka_unit_test(one_at_work_or_at_another_server_is_not_taken),
		cmocka_unit_test(one_being_cleared_is_taken_and_keeps_its_deadline),
		cmocka_unit_test(a_new_one_ends_what_rests_at_its_pool_and_nothing_else),
		cmocka_unit_test(none_rests_for_a_session_or_a_worker_that_ends_or_at_a_server_that_may_not_be_used),
		cmocka_unit_test(only_a_login_rests_where_nothing_is_to_be_used_again),
		cmocka_unit_test(a_server_that_is_drained_loses_what_rests_and_keeps_what_works),
		cmocka_unit_test(a_session_that_ends_takes_along_what_rests_and_lets_the_rest_finish),
		cmocka_unit_test(a_login_forgotten_is_no_login_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
