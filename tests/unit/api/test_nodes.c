/* SPDX-License-Identifier: Apache-2.0
 * Other nodes as the API shows them: what they said, how old it is, and nothing secret.
 */
#include "tests/unit/store/report_fixture.h"

#include "daemon/api/api_private.h"

/* An API that knows nothing but the table; this node itself is not in it, as its row is made of everything else. */
struct scene {
	struct api api;
	json_t *shown;
};

static void begin(struct scene *s)
{
	static const struct report_member members[] = { { 2, "n2" }, { 3, "n3" } };

	*s = (struct scene) { .api = { .magic = API_MAGIC } };
	s->api.env.loop = loop_new();
	s->api.env.view = report_view_new();
	report_view_members(s->api.env.view, 1, members, ARRAY_LEN(members), loop_now_ms(s->api.env.loop));
}

static void end(struct scene *s)
{
	json_decref(s->shown);
	report_view_free(s->api.env.view);
	loop_free(s->api.env.loop);
}

/* Heard so long ago. */
static void hear(struct scene *s, struct node_report r, int64_t ago_ms)
{
	struct sbuf b = { 0 };

	report_encode(&r, &b);
	assert_int_equal(report_view_heard(s->api.env.view, r.id, (struct str) { b.p, b.n },
					   loop_now_ms(s->api.env.loop) - ago_ms, 5001),
			 0);
	report_wipe(&b);
	report_fini(&r);
}

static json_t *show(struct scene *s, const char *name)
{
	json_decref(s->shown);
	s->shown = nodes_json(&s->api);
	return json_object_get(s->shown, name);
}

static void assert_shown(json_t *node, const char *key, const char *want)
{
	char *text = json_dumps(json_object_get(node, key), JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);

	assert_non_null(text);
	assert_string_equal(text, want);
	free(text);
}

static struct node_report a_sick_one(void)
{
	struct node_report r = report_of(2, 1);

	r.ready = false;
	r.admin_drain = true;
	r.state = REPORT_DRAIN;
	r.n_reasons = 1;
	snprintf(r.reasons[0], sizeof(r.reasons[0]), "the node is draining");
	r.sessions = 3;
	r.transactions = 2;
	report_add_vip(&r, "out", false);
	r.vips[0].since_s = 7;
	snprintf(r.vips[0].reason, sizeof(r.vips[0].reason), "draining");
	r.n_links = 2;
	r.links[0] = (struct report_link) { .peer = 3, .link = 1, .up = true, .latency_us = 250, .downs = 2 };
	r.links[1] = (struct report_link) { .peer = 77 };
	return r;
}

static void another_node_is_shown_as_it_says(void **state)
{
	UNUSED(state);
	struct scene s;

	begin(&s);
	hear(&s, a_sick_one(), 0);
	json_t *n2 = show(&s, "n2");
	assert_shown(n2, "state", "\"drain\"");
	assert_shown(n2, "admin", "\"drain\"");
	assert_shown(n2, "ready", "false");
	assert_shown(n2, "this", "false");
	assert_shown(n2, "not_ready", "[\"the node is draining\"]");
	assert_shown(n2, "version", "\"1.0\"");
	assert_shown(n2, "revision", "7");
	assert_shown(n2, "sessions", "3");
	assert_shown(n2, "transactions", "2");
	assert_shown(n2, "uptime", "4000.0");
	assert_shown(n2, "started", "\"1970-01-01T00:16:40.000Z\"");
	assert_shown(n2, "clock_ahead", "-1.0");
	assert_shown(n2, "vips",
		     "{\"out\":{\"holds\":false,\"may_hold\":true,\"priority\":0,\"since_ago\":7,"
		     "\"state\":\"backup\",\"why\":\"draining\"}}");
	assert_shown(n2, "links",
		     "[{\"downs\":2,\"latency\":0.00025000000000000001,\"link\":1,\"node\":\"n3\",\"up\":true},"
		     "{\"downs\":0,\"latency\":0.0,\"link\":0,\"node\":null,\"up\":false}]");
	end(&s);
}

static void one_never_heard_has_a_state_alone_and_a_silent_one_its_last_word(void **state)
{
	UNUSED(state);
	struct scene s;

	begin(&s);
	hear(&s, report_of(2, 1), REPORT_FRESH_MS);
	assert_shown(show(&s, "n2"), "state", "\"stale\"");
	assert_shown(show(&s, "n2"), "heard_ago", "3.0");
	assert_shown(show(&s, "n2"), "sessions", "0");
	assert_shown(show(&s, "n3"), "state", "\"stale\"");
	assert_shown(show(&s, "n3"), "heard_ago", "null");
	assert_null(json_object_get(show(&s, "n3"), "sessions"));
	end(&s);
}

static void nothing_secret_is_shown(void **state)
{
	UNUSED(state);
	struct scene s;
	struct node_report r = report_of(2, 1);

	begin(&s);
	report_add_key(&r, 4, 2); /* its bytes are 0x42, 'B' */
	memset(r.hash, 'B', sizeof(r.hash));
	hear(&s, r, 0);
	show(&s, "n2");
	char *text = json_dumps(s.shown, 0);
	assert_null(strstr(text, "BBBB"));
	assert_null(strstr(text, "4242"));
	free(text);
	end(&s);
}

static void verdicts_of_others_come_by_node_and_name(void **state)
{
	UNUSED(state);
	struct scene s;
	char pool[] = "mta", name[] = "mta1", other[] = "mta2";
	struct server server = { .pool = pool, .name = name }, unheard = { .pool = pool, .name = other };
	struct node_report r = report_of(2, 1);

	begin(&s);
	report_add_verdict(&r, report_server_key("mta", "mta1"), REPORT_DOWN, 100);
	hear(&s, r, 0);
	hear(&s, report_of(3, 1), 0);
	json_t *o = nodes_verdicts(&s.api, &server), *none = nodes_verdicts(&s.api, &unheard);
	assert_string_equal(json_string_value(json_object_get(o, "n2")), "down");
	assert_int_equal(json_object_size(o), 1);
	assert_int_equal(json_object_size(none), 0);
	json_decref(o);
	json_decref(none);
	end(&s);
}

static void owners_of_vips_are_the_fresh_nodes_that_have_them(void **state)
{
	UNUSED(state);
	struct scene s;
	struct node_report two = report_of(2, 1), three = report_of(3, 1);

	begin(&s);
	report_add_vip(&two, "a", true);
	report_add_vip(&two, "b", false);
	report_add_vip(&three, "a", true);
	report_add_vip(&three, "c", true);
	hear(&s, two, 0);
	hear(&s, three, 0);
	json_t *vips = nodes_vip_owners(&s.api);
	assert_shown(vips, "a", "[\"n2\",\"n3\"]");
	assert_shown(vips, "b", "[]");
	assert_shown(vips, "c", "[\"n3\"]");
	json_decref(vips);
	three = report_of(3, 2);
	report_add_vip(&three, "c", true);
	hear(&s, three, REPORT_FRESH_MS);
	vips = nodes_vip_owners(&s.api);
	assert_null(json_object_get(vips, "c"));
	json_decref(vips);
	end(&s);
}

static void names_are_those_of_members(void **state)
{
	UNUSED(state);
	static const struct report_member left[] = { { 3, "n3" } };
	struct scene s;

	begin(&s);
	assert_true(nodes_have(&s.api, "n2"));
	assert_false(nodes_have(&s.api, "n4"));
	report_view_members(s.api.env.view, 1, left, ARRAY_LEN(left), loop_now_ms(s.api.env.loop));
	assert_false(nodes_have(&s.api, "n2"));
	end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(another_node_is_shown_as_it_says),
		cmocka_unit_test(one_never_heard_has_a_state_alone_and_a_silent_one_its_last_word),
		cmocka_unit_test(nothing_secret_is_shown),
		cmocka_unit_test(verdicts_of_others_come_by_node_and_name),
		cmocka_unit_test(owners_of_vips_are_the_fresh_nodes_that_have_them),
		cmocka_unit_test(names_are_those_of_members),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
