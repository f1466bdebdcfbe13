/* SPDX-License-Identifier: Apache-2.0
 * The table of nodes: its document, what is refused, and each step of each change.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/store/members_fixture.h"

static const uint8_t new_key[MEMBERS_HASH_LEN] = { 2 };

/* ---- the document ---- */

static struct str encoded(const struct members *t, struct sbuf *b)
{
	sbuf_reset(b);
	members_encode(t, b);
	return (struct str) { b->p, b->n };
}

static struct members *with_everything(void)
{
	struct members *t = fixture_table(3, 2);
	struct members_refusal why;
	struct fixture_view v;
	struct members_token k = fixture_token("beef", "n3");

	fixture_all_here(&v, t, 1);
	struct members *a = members_token_add(t, &k, FIXTURE_NOW, &why);
	struct members *b =
		members_remove(a, &v.view, 2, &(struct members_request) { .key = new_key, .force = true }, &why);
	assert_non_null(b);
	b->n_removed = 1;
	b->removed[0] = (struct members_removed) { .id = 9, .instance = UINT64_MAX, .when = 5, .name = "old" };
	b->next_id = 12;
	members_free(t);
	members_free(a);
	return b;
}

static void a_table_comes_back_as_it_was(void **state)
{
	UNUSED(state);
	struct members *t = with_everything(), *back;
	struct sbuf b = { 0 }, again = { 0 };
	char *why;

	struct str doc = encoded(t, &b);
	back = members_decode(doc, &why);
	assert_non_null(back);
	assert_true(back->n == 3 && back->n_tokens == 1 && back->n_removed == 1 && back->tie_breaker == 1);
	assert_int_equal(back->change.kind, MEMBERS_REMOVE);
	assert_true(back->change.forced && back->change.rotates && !back->bare);
	assert_true(back->removed[0].instance == UINT64_MAX);
	assert_string_equal(back->tokens[0].replaces, "n3");
	assert_true(addr_eq(&back->list[2].listen, &t->list[2].listen));
	assert_true(str_eq(encoded(back, &again), doc));
	members_free(back);
	for (size_t n = 0; n < doc.n; n++) {
		char *cut = xmalloc(n + 1);
		memcpy(cut, doc.p, n);
		back = members_decode((struct str) { cut, n }, &why);
		/* The head alone is what forcing a quorum leaves. */
		assert_true(back == NULL ? why != NULL : back->bare);
		members_free(back);
		free(why);
		free(cut);
	}
	sbuf_fini(&b);
	sbuf_fini(&again);
	members_free(t);
}

/* The document with the first `from` replaced by `to`. */
static struct members *decoded_with(const struct members *t, const char *from, const char *to, char **ret_why)
{
	struct sbuf b = { 0 }, other = { 0 };
	struct str doc = encoded(t, &b);
	const char *at = memmem(doc.p, doc.n, from, strlen(from));

	assert_non_null(at);
	sbuf_add(&other, doc.p, (size_t)(at - doc.p));
	sbuf_puts(&other, to);
	sbuf_add(&other, at + strlen(from), (size_t)(doc.p + doc.n - at) - strlen(from));
	struct members *back = members_decode((struct str) { other.p, other.n }, ret_why);
	sbuf_fini(&b);
	sbuf_fini(&other);
	return back;
}

static void fields_of_a_newer_version_are_kept(void **state)
{
	UNUSED(state);
	static const char *const at[][2] = {
		{ "\"cluster\":", "\"colour\":{\"deep\":[1,2.5,null]},\"cluster\":" },
		{ "\"features_high\":1", "\"zone\":\"west\",\"features_high\":1" },
		{ "\"kind\":\"remove\"", "\"why\":\"sold\",\"kind\":\"remove\"" },
	};
	struct members *t = with_everything();
	char *why;

	for (size_t i = 0; i < ARRAY_LEN(at); i++) {
		struct sbuf b = { 0 };
		struct members *back = decoded_with(t, at[i][0], at[i][1], &why);
		assert_non_null(back);
		struct members *copy = members_copy(back);
		struct str doc = encoded(copy, &b);
		const char *name = i == 0   ? "\"colour\":{\"deep\":[1,2.5,null]}"
				   : i == 1 ? "\"zone\":\"west\""
					    : "\"why\":\"sold\"";
		assert_non_null(memmem(doc.p, doc.n, name, strlen(name)));
		members_free(back);
		members_free(copy);
		sbuf_fini(&b);
	}
	members_free(t);
}

static void a_document_that_cannot_be_is_refused_with_a_sentence(void **state)
{
	UNUSED(state);
	static const struct {
		const char *from, *to, *says;
	} row[] = {
		{ "\"needs\":1", "\"needs\":2", "upgrade this node" },
		{ "\"needs\":1", "\"needs\":0,\"x\":[[[", "no JSON object" },
		{ "\"cluster\":\"mail\"", "\"cluster\":\"\"", "no name" },
		{ "\"cluster\":\"mail\"", "\"cluster\":7", "no text" },
		{ "\"generation\":4", "\"generation\":3", "generation" },
		{ "\"id\":2", "\"id\":7", "head" },
		{ "10.0.0.1\"", "10.0.0.3\"", "stands twice" },
		{ "10.0.0.2\"", "fe80::1\"", "both families" },
		{ "10.0.0.2\"", "nonsense\"", "no address" },
		{ "10.0.0.2:8426", "10.0.0.2", "with a port" },
		{ "\"state\":\"leaving\"", "\"state\":\"member\"", "ends that does not" },
		{ "\"state\":\"member\"", "\"state\":\"gone\"", "unknown" },
		{ "\"next_id\":12", "\"next_id\":3", "not been given" },
		{ "\"features_low\":1", "\"features_low\":9", "no range" },
		{ "\"kind\":\"remove\"", "\"kind\":\"none\"", "none" },
		{ "\"removed\":[", "\"removed\":[1,", "no object" },
		{ "\"prepared\":false", "\"prepared\":0", "neither true" },
		{ "\"joined\":1000000.0", "\"joined\":-1", "no time" },
		{ "\"level\":1", "\"level\":-1", "out of range" },
		{ "\"cluster\":\"mail\"", "\"cluster\":\"mail\",\"cluster\":\"mail\"", "no JSON object" },
	};
	struct members *t = with_everything();

	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		char *why;
		struct members *back = decoded_with(t, row[i].from, row[i].to, &why);
		if (back != NULL || strstr(why, row[i].says) == NULL)
			fail_msg("row %zu: %s", i, back != NULL ? "was taken" : why);
		free(why);
	}
	members_free(t);
}

static void a_forced_head_keeps_addresses_and_who_was_away(void **state)
{
	UNUSED(state);
	struct members *t = fixture_table(3, 1), *after, *whole;
	struct members_refusal why;
	struct members_action a;
	struct fixture_view v;
	struct voters head;
	struct sbuf b = { 0 };
	char *text;

	members_voters(t, &head);
	head.n = 1;
	head.forced = true;
	voters_encode(&head, &b);
	after = members_follow(t, (struct str) { b.p, b.n }, &text);
	assert_true(after->bare && after->n == 3 && after->list[0].votes == 1 && after->list[1].votes == 0);
	assert_true(addr_eq(&after->list[2].listen, &t->list[2].listen));
	fixture_all_here(&v, after, 1);
	fixture_gone(&v, 2);
	members_next(after, &v.view, &a);
	assert_int_equal(a.what, MEMBERS_DO_COMPLETE);
	whole = members_take(after, &v.view, &a, &why);
	assert_true(whole != NULL && !whole->bare);
	members_next(whole, &v.view, &a);
	assert_int_equal(a.what, MEMBERS_DO_VOTE);
	assert_int_equal(a.node, 3);
	members_free(after);
	after = members_take(whole, &v.view, &a, &why);
	assert_true(after->list[2].votes == 1 && after->list[1].votes == 0 && after->tie_breaker == 1);
	members_free(t);
	members_free(after);
	members_free(whole);
	sbuf_fini(&b);
}

/* ---- requests ---- */

static struct members *token_for(const struct members *t, const char *id, const char *replaces)
{
	struct members_refusal why;
	struct members_token k = fixture_token(id, replaces);
	struct members *to = members_token_add(t, &k, FIXTURE_NOW, &why);

	assert_non_null(to);
	return to;
}

static void a_version_that_does_not_speak_the_level_in_force_is_told_which_side_to_upgrade(void **state)
{
	UNUSED(state);
	struct members *t = fixture_first(1);

	t->level = 3;
	assert_null(members_too_far(t, 1, 3));
	assert_null(members_too_far(t, 3, 4));
	char *why = members_too_far(t, 1, 2);
	assert_non_null(strstr(why, "feature level 3, this version 1 to 2: upgrade this node"));
	free(why);
	why = members_too_far(t, 4, 5);
	assert_non_null(strstr(why, "upgrade the cluster first"));
	free(why);
	members_free(t);
}

static void a_join_is_refused_for_one_reason_at_a_time(void **state)
{
	UNUSED(state);
	static const struct {
		const char *says;
		enum members_refusal_code code;
	} row[] = {
		{ "not known", MEMBERS_DENIED },      { "expired", MEMBERS_DENIED },
		{ "used", MEMBERS_DENIED },           { "carries mail", MEMBERS_DENIED },
		{ "level", MEMBERS_VERSION },         { "link", MEMBERS_INVALID },
		{ "another name", MEMBERS_CONFLICT }, { "not here", MEMBERS_ABSENT },
		{ "stands twice", MEMBERS_INVALID },  { "a name is none", MEMBERS_INVALID },
		{ "One change", MEMBERS_CONFLICT },
	};
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct members *t = fixture_table(3, 1), *with = token_for(t, "aa", "");
		struct members_node n = fixture_node(4, i == 5 ? 2 : 1);
		struct members_request r = { .token = i == 0 ? "bb" : "aa", .node = &n };
		struct members_refusal why;
		struct fixture_view v;

		fixture_all_here(&v, t, 1);
		v.view.now += i == 1 ? 3600 : 0;
		with->tokens[0].used_by = i == 2 ? 3 : 0;
		n.voter_only = i == 3;
		n.features_low = n.features_high = i == 4 ? 2 : 1;
		if (i == 6)
			memcpy(n.name, "n2", 3);
		if (i == 7)
			fixture_gone(&v, 2);
		if (i == 8)
			n.links[0] = t->list[1].links[0];
		if (i == 9)
			n.name[0] = '/';
		if (i == 10) {
			members_free(t);
			t = with;
			with = members_rotate(t, &v.view, new_key, &why);
		}
		assert_null(members_join(with, &v.view, &r, &why));
		if (why.code != row[i].code || strstr(why.text, row[i].says) == NULL)
			fail_msg("row %zu: %d %s", i, why.code, why.text);
		members_free(t);
		members_free(with);
	}
}

static void a_leave_or_removal_is_refused_where_nobody_could_decide(void **state)
{
	UNUSED(state);
	struct members_refusal why;
	struct members_request r = { .key = new_key };
	struct fixture_view v;
	struct members *t = fixture_first(1);

	fixture_all_here(&v, t, 1);
	assert_null(members_leave(t, &v.view, 1, NULL, &why));
	assert_int_equal(why.code, MEMBERS_LAST);
	assert_non_null(strstr(why.text, "remove the other nodes first"));
	assert_null(members_remove(t, &v.view, 7, &r, &why));
	assert_int_equal(why.code, MEMBERS_UNKNOWN);
	members_free(t);

	t = fixture_table(3, 1);
	fixture_all_here(&v, t, 1);
	fixture_gone(&v, 2);
	assert_null(members_leave(t, &v.view, 2, NULL, &why));
	assert_int_equal(why.code, MEMBERS_ABSENT);
	fixture_gone(&v, 3);
	assert_null(members_hand_over(t, &v.view, 2, &why));
	assert_null(members_cancel(t, &v.view, &why));
	assert_null(members_rekey(t, &v.view, new_key, &why));
	assert_null(members_rotate(t, &v.view, t->key, &why));
	members_free(t);
}

static void tokens_make_room_and_go(void **state)
{
	UNUSED(state);
	struct members *t = fixture_first(1), *to;
	struct members_refusal why;
	char id[16];

	for (unsigned i = 0; i < MEMBERS_TOKENS_MAX; i++) {
		snprintf(id, sizeof(id), "%x", i + 16);
		to = token_for(t, id, "");
		members_free(t);
		t = to;
	}
	struct members_token k = fixture_token("ff", "");
	assert_null(members_token_add(t, &k, FIXTURE_NOW, &why));
	assert_int_equal(why.code, MEMBERS_CONFLICT);
	k.expires += 7200;
	to = members_token_add(t, &k, FIXTURE_NOW + 3600, &why);
	assert_int_equal(to->n_tokens, 1);
	members_free(t);
	t = members_token_revoke(to, "ff", &why);
	assert_int_equal(t->n_tokens, 0);
	assert_null(members_token_revoke(t, "ff", &why));
	k.expires = FIXTURE_NOW;
	assert_null(members_token_add(t, &k, FIXTURE_NOW, &why));
	memcpy(k.replaces, "nobody", 7);
	k.expires += 1;
	assert_null(members_token_add(t, &k, FIXTURE_NOW, &why));
	assert_int_equal(why.code, MEMBERS_UNKNOWN);
	members_free(t);
	members_free(to);
}

/* ---- steps ---- */

static void expect_do(const struct members *t, struct fixture_view *v, uint32_t self, enum members_do what)
{
	struct members_action a;

	v->view.self = self;
	members_next(t, &v->view, &a);
	if (a.what != what)
		fail_msg("node %u: %s where %s was due (%s)", self, members_do_names[a.what], members_do_names[what],
			 a.text);
}

/* The coordinator's step; t is freed. */
static struct members *step(struct members *t, struct fixture_view *v, uint32_t self, enum members_do what)
{
	struct members_action a;
	struct members_refusal why;

	expect_do(t, v, self, what);
	members_next(t, &v->view, &a);
	struct members *to = members_take(t, &v->view, &a, &why);
	if (to == NULL)
		fail_msg("%s", why.text);
	members_free(t);
	return to;
}

static void stage(const struct members *t, struct fixture_view *v, uint32_t id)
{
	for (size_t i = 0; i < v->view.n; i++)
		if (v->seen[i].id == id) {
			v->seen[i].staged = t->change.generation;
			members_file_hash(t, t->change.generation, v->seen[i].staged_hash);
		}
}

static void install(const struct members *t, struct fixture_view *v, uint32_t id, bool active)
{
	for (size_t i = 0; i < v->view.n; i++)
		if (v->seen[i].id == id) {
			v->seen[i].installed = t->generation;
			if (active)
				v->seen[i].active = t->generation;
		}
}

static void a_join_goes_step_by_step_under_changing_coordinators(void **state)
{
	UNUSED(state);
	struct members *before = fixture_first(1), *t = token_for(before, "aa", "");
	struct members_node n = fixture_node(2, 1);
	struct members_refusal why;
	struct fixture_view v;

	fixture_all_here(&v, t, 1);
	members_free(before);
	before = t;
	t = members_join(before, &v.view, &(struct members_request) { .token = "aa", .node = &n }, &why);
	assert_true(t->list[1].id == 2 && t->list[1].votes == 0 && t->tokens[0].used_by == 2);
	v.seen[1] = (struct members_seen) { .id = 2, .instance = n.instance, .present = true };
	v.view.n = 2;
	expect_do(t, &v, 1, MEMBERS_DO_STAGE);
	expect_do(t, &v, 2, MEMBERS_DO_STAGE);
	stage(t, &v, 1);
	t = step(t, &v, 1, MEMBERS_DO_REPORT);
	expect_do(t, &v, 1, MEMBERS_DO_WAIT);
	stage(t, &v, 2);
	v.seen[1].staged_hash[0] ^= 1; /* another file under the same number */
	expect_do(t, &v, 1, MEMBERS_DO_WAIT);
	expect_do(t, &v, 2, MEMBERS_DO_STAGE);
	stage(t, &v, 2);
	t = step(t, &v, 1, MEMBERS_DO_REPORT);
	t = step(t, &v, 1, MEMBERS_DO_ACTIVATE);
	assert_int_equal(t->generation, 2);
	expect_do(t, &v, 1, MEMBERS_DO_INSTALL);
	expect_do(t, &v, 2, MEMBERS_DO_NOTHING); /* not before the others know of it */
	install(t, &v, 1, false);
	expect_do(t, &v, 1, MEMBERS_DO_RELOAD);
	install(t, &v, 1, true);
	expect_do(t, &v, 2, MEMBERS_DO_INSTALL);
	install(t, &v, 2, true);
	expect_do(t, &v, 1, MEMBERS_DO_WAIT);
	v.seen[1].synced = true;
	t = step(t, &v, 1, MEMBERS_DO_FINISH);
	assert_true(t->list[1].votes == 1 && t->list[1].state == MEMBERS_MEMBER && t->tie_breaker == 1);
	expect_do(t, &v, 1, MEMBERS_DO_NOTHING);
	expect_do(t, &v, 2, MEMBERS_DO_NOTHING);
	members_free(t);
	members_free(before);
}

static void a_join_that_gets_nowhere_ends_after_two_minutes(void **state)
{
	UNUSED(state);
	for (unsigned in_force = 0; in_force < 2; in_force++) {
		struct members *first = fixture_first(1), *with = token_for(first, "aa", ""), *t;
		struct members_node n = fixture_node(2, 1);
		struct members_refusal why;
		struct fixture_view v;

		fixture_all_here(&v, first, 1);
		t = members_join(with, &v.view, &(struct members_request) { .token = "aa", .node = &n }, &why);
		v.seen[1] = (struct members_seen) { .id = 2, .instance = n.instance, .present = true };
		v.view.n = 2;
		stage(t, &v, 1);
		stage(t, &v, 2);
		if (in_force) {
			t = step(t, &v, 1, MEMBERS_DO_REPORT);
			t = step(t, &v, 1, MEMBERS_DO_ACTIVATE);
			install(t, &v, 1, true);
		}
		/* Its clock is ahead of that of the member which let it in. */
		v.view.now += MEMBERS_JOIN_SEC;
		expect_do(t, &v, 1, in_force ? MEMBERS_DO_WAIT : MEMBERS_DO_REPORT);
		fixture_gone(&v, 2);
		v.view.change_age = MEMBERS_JOIN_SEC;
		t = step(t, &v, 1, MEMBERS_DO_ABORT);
		if (in_force) {
			assert_int_equal(t->change.kind, MEMBERS_REMOVE);
			expect_do(t, &v, 1, MEMBERS_DO_STAGE);
			stage(t, &v, 1);
			t = step(t, &v, 1, MEMBERS_DO_REPORT);
			t = step(t, &v, 1, MEMBERS_DO_ACTIVATE);
			install(t, &v, 1, true);
			t = step(t, &v, 1, MEMBERS_DO_FINISH);
		}
		assert_true(t->n == 1 && t->change.kind == MEMBERS_NONE && t->next_id == 3);
		assert_int_equal(t->generation, in_force ? 3 : 1);
		assert_non_null(members_find_removed(t, 2, n.instance));
		expect_do(t, &v, 2, MEMBERS_DO_PURGE);
		members_free(first);
		members_free(with);
		members_free(t);
	}
}

/* Who used a stolen token has corosync's key, and the next one where there is one. */
static void a_node_that_is_taken_out_while_it_joins_knows_no_key_that_stays(void **state)
{
	UNUSED(state);
	static const uint8_t newest[MEMBERS_HASH_LEN] = { 9 };
	static const struct {
		bool replaces, in_force;
		enum members_kind kind;
	} row[] = { { false, false, MEMBERS_ROTATE },
		    { false, true, MEMBERS_REMOVE },
		    { true, false, MEMBERS_REMOVE },
		    { true, true, MEMBERS_REMOVE } };

	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct members *first = fixture_table(3, 1);
		struct members *with = token_for(first, "aa", row[i].replaces ? "n3" : ""), *t;
		struct members_node n = fixture_node(row[i].replaces ? 3 : 4, 1);
		struct members_request r = { .token = "aa", .node = &n, .key = row[i].replaces ? new_key : NULL };
		struct members_refusal why;
		struct fixture_view v;

		n.instance = 999;
		fixture_all_here(&v, first, 1);
		if (row[i].replaces)
			fixture_gone(&v, 3);
		t = members_join(with, &v.view, &r, &why);
		v.seen[3] = (struct members_seen) { .id = 4, .instance = n.instance, .present = true };
		v.view.n = 4;
		for (uint32_t id = 1; id <= 4; id++)
			stage(t, &v, id);
		t = step(t, &v, 1, MEMBERS_DO_REPORT);
		if (row[i].in_force)
			t = step(t, &v, 1, MEMBERS_DO_ACTIVATE);
		struct members *to =
			members_remove(t, &v.view, 4, &(struct members_request) { .key = newest, .force = true }, &why);
		assert_non_null(to);
		assert_int_equal(to->change.kind, row[i].kind);
		assert_true(to->change.rotates && to->change.forced && to->change.step == MEMBERS_PREPARE);
		assert_memory_equal(to->change.key, newest, sizeof(newest));
		assert_true(to->change.generation > t->change.generation);
		fixture_gone(&v, 4);
		v.view.quorate = true;
		for (uint32_t id = 1; id <= 3; id++) {
			install(to, &v, id, true);
			stage(to, &v, id);
		}
		to = step(to, &v, 1, MEMBERS_DO_REPORT);
		to = step(to, &v, 1, MEMBERS_DO_ACTIVATE);
		assert_memory_equal(to->key, newest, sizeof(newest));
		for (uint32_t id = 1; id <= 3; id++)
			install(to, &v, id, true);
		to = step(to, &v, 1, MEMBERS_DO_FINISH);
		assert_null(members_find(to, 4));
		assert_non_null(members_find_removed(to, 4, n.instance));
		assert_int_equal(to->n, row[i].replaces ? 2 : 3);
		members_free(first);
		members_free(with);
		members_free(t);
		members_free(to);
	}
}

static void a_removal_waits_for_who_is_absent_and_may_be_widened_to_it(void **state)
{
	UNUSED(state);
	struct members *t = fixture_table(5, 1), *to;
	struct members_request r = { .key = new_key };
	struct members_refusal why;
	struct fixture_view v;

	fixture_all_here(&v, t, 1);
	fixture_gone(&v, 4);
	fixture_gone(&v, 5);
	to = members_remove(t, &v.view, 4, &r, &why);
	assert_int_equal(to->list[3].votes, 0);
	for (uint32_t id = 1; id <= 3; id++)
		stage(to, &v, id);
	to = step(to, &v, 1, MEMBERS_DO_REPORT);
	expect_do(to, &v, 1, MEMBERS_DO_WAIT);
	members_free(t);
	t = members_remove(to, &v.view, 5, &(struct members_request) { .key = NULL }, &why);
	assert_true(t != NULL && t->change.rotates && t->change.generation == to->change.generation + 1);
	assert_null(members_cancel(t, &v.view, &why));
	for (uint32_t id = 1; id <= 3; id++)
		stage(t, &v, id);
	t = step(t, &v, 1, MEMBERS_DO_REPORT);
	fixture_gone(&v, 1); /* another one goes on */
	t = step(t, &v, 2, MEMBERS_DO_ACTIVATE);
	assert_memory_equal(t->key, new_key, sizeof(new_key));
	install(t, &v, 2, false);
	install(t, &v, 3, false);
	expect_do(t, &v, 2, MEMBERS_DO_RELOAD);
	install(t, &v, 2, true);
	install(t, &v, 3, true);
	t = step(t, &v, 2, MEMBERS_DO_FINISH);
	assert_true(t->n == 3 && t->n_removed == 2);
	expect_do(t, &v, 4, MEMBERS_DO_PURGE);
	/* Who was away when it came into force takes it before it does anything else. */
	v.seen[0].present = true;
	v.view.quorate = false;
	expect_do(t, &v, 1, MEMBERS_DO_INSTALL);
	/* Nor does it wait for who coordinates: with the old key its corosync finds nobody. */
	install(t, &v, 1, false);
	expect_do(t, &v, 1, MEMBERS_DO_RELOAD);
	install(t, &v, 1, true);
	expect_do(t, &v, 1, MEMBERS_DO_ASK);
	members_free(t);
	members_free(to);
}

static void a_new_machine_takes_the_name_of_a_dead_one(void **state)
{
	UNUSED(state);
	struct members *t = fixture_table(3, 1), *with = token_for(t, "aa", "n2"), *to;
	struct members_node n = fixture_node(2, 1);
	struct members_request r = { .token = "aa", .node = &n };
	struct members_refusal why;
	struct fixture_view v;

	n.instance = 999;
	fixture_all_here(&v, t, 1);
	assert_null(members_join(with, &v.view, &r, &why));
	assert_int_equal(why.code, MEMBERS_CONFLICT);
	fixture_gone(&v, 2);
	assert_null(members_join(with, &v.view, &r, &why)); /* without a new key */
	r.key = new_key;
	to = members_join(with, &v.view, &r, &why);
	assert_non_null(to);
	assert_true(to->list[1].votes == 0 && to->list[3].id == 4 && to->tie_breaker == 1);
	assert_int_equal(members_named(to, "n2")->id, 4);
	assert_false(members_in_file(&to->list[1], to->change.generation));
	members_free(t);
	t = members_cancel(to, &v.view, &why); /* both are out then */
	assert_true(t->n == 3 && t->change.kind == MEMBERS_REMOVE && t->change.node == 2);
	members_free(t);
	members_free(to);
	members_free(with);
}

static void of_two_voters_the_one_that_carries_mail_decides(void **state)
{
	UNUSED(state);
	struct members *t = fixture_table(3, 1), *to;
	struct members_refusal why;
	struct fixture_view v;

	t->list[0].voter_only = true;
	fixture_all_here(&v, t, 1);
	to = members_leave(t, &v.view, 3, new_key, &why);
	assert_int_equal(to->tie_breaker, 2);
	members_free(t);
	t = members_hand_over(to, &v.view, 1, &why);
	assert_int_equal(t->tie_breaker, 1);
	assert_null(members_hand_over(to, &v.view, 3, &why));
	for (uint32_t id = 1; id <= 2; id++)
		stage(t, &v, id);
	t = step(t, &v, 1, MEMBERS_DO_TIE_BREAKER);
	assert_int_equal(t->tie_breaker, 2);
	members_free(t);
	members_free(to);
}

static void the_level_rises_when_all_can(void **state)
{
	UNUSED(state);
	struct members *t = fixture_table(3, 1);
	struct fixture_view v;

	fixture_all_here(&v, t, 1);
	v.seen[0].features_low = v.seen[1].features_low = v.seen[2].features_low = 1;
	v.seen[0].features_high = v.seen[1].features_high = 2;
	v.seen[2].features_high = 1;
	t = step(t, &v, 1, MEMBERS_DO_FEATURES);
	assert_int_equal(t->level, 1);
	expect_do(t, &v, 1, MEMBERS_DO_NOTHING);
	v.seen[2].features_high = 2;
	t = step(t, &v, 1, MEMBERS_DO_FEATURES);
	assert_int_equal(t->level, 2);
	members_free(t);
}

static void a_certificate_and_the_one_before_it_are_known(void **state)
{
	UNUSED(state);
	struct members *t = fixture_table(2, 1), *to;
	struct members_refusal why;
	uint8_t newer[MEMBERS_HASH_LEN], newest[MEMBERS_HASH_LEN], none[MEMBERS_HASH_LEN] = { 0 };

	memset(newer, 0x55, sizeof(newer));
	memset(newest, 0x66, sizeof(newest));
	assert_true(members_certified(t, 2, t->list[1].certificate));
	assert_false(members_certified(t, 1, t->list[1].certificate));
	assert_false(members_certified(t, 2, none));
	to = members_certificate(t, 2, newer, &why);
	assert_true(members_certified(to, 2, newer) && members_certified(to, 2, t->list[1].certificate));
	struct members *again = members_certificate(to, 2, newest, &why);
	assert_false(members_certified(again, 2, t->list[1].certificate));
	members_free(t);
	members_free(to);
	members_free(again);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_table_comes_back_as_it_was),
		cmocka_unit_test(fields_of_a_newer_version_are_kept),
		cmocka_unit_test(a_version_that_does_not_speak_the_level_in_force_is_told_which_side_to_upgrade),
		cmocka_unit_test(a_document_that_cannot_be_is_refused_with_a_sentence),
		cmocka_unit_test(a_forced_head_keeps_addresses_and_who_was_away),
		cmocka_unit_test(a_join_is_refused_for_one_reason_at_a_time),
		cmocka_unit_test(a_leave_or_removal_is_refused_where_nobody_could_decide),
		cmocka_unit_test(tokens_make_room_and_go),
		cmocka_unit_test(a_join_goes_step_by_step_under_changing_coordinators),
		cmocka_unit_test(a_join_that_gets_nowhere_ends_after_two_minutes),
		cmocka_unit_test(a_node_that_is_taken_out_while_it_joins_knows_no_key_that_stays),
		cmocka_unit_test(a_removal_waits_for_who_is_absent_and_may_be_widened_to_it),
		cmocka_unit_test(a_new_machine_takes_the_name_of_a_dead_one),
		cmocka_unit_test(of_two_voters_the_one_that_carries_mail_decides),
		cmocka_unit_test(the_level_rises_when_all_can),
		cmocka_unit_test(a_certificate_and_the_one_before_it_are_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
