/* SPDX-License-Identifier: Apache-2.0
 * The table of reports: who is fresh, what the others say, and each alarm, when it must come and when it must not.
 */
#include "tests/unit/store/report_fixture.h"

#include "cluster/core/voters.h"
#include "cluster/report/recent.h"

#define WALL 5000.0 /* what report_of() has as its clock */

/* The table of node 1 of three, at a time; and the alarms it gives. */
struct scene {
	struct report_view *v;
	int64_t now;
	uint64_t sequence;
	struct sbuf alarms, rows;
};

static void begin(struct scene *s)
{
	static const struct report_member members[] = { { 1, "n1" }, { 2, "n2" }, { 3, "n3" } };

	*s = (struct scene) { .v = report_view_new(), .now = 1000 };
	report_view_members(s->v, 1, members, ARRAY_LEN(members), s->now);
}

static void end(struct scene *s)
{
	report_view_free(s->v);
	sbuf_fini(&s->alarms);
	sbuf_fini(&s->rows);
}

static int hear_from(struct scene *s, uint32_t from, const struct node_report *r)
{
	struct sbuf b = { 0 };

	report_encode(r, &b);
	int rc = report_view_heard(s->v, from, (struct str) { b.p, b.n }, s->now, WALL);
	report_wipe(&b);
	return rc;
}

static void hear(struct scene *s, struct node_report r)
{
	r.sequence = ++s->sequence;
	if (r.id == 1)
		report_view_own(s->v, &r, s->now, WALL);
	else
		assert_int_equal(hear_from(s, r.id, &r), 0);
	report_fini(&r);
}

static void all_speak(struct scene *s)
{
	for (uint32_t id = 1; id <= 3; id++)
		hear(s, report_of(id, 0));
}

/* Before it knew its id it was node 1 to itself. */
static void what_a_node_said_under_another_id_is_nobody_elses_word(void **state)
{
	UNUSED(state);
	struct scene s;
	struct report_row row;
	static const struct report_member members[] = { { 1, "n1" }, { 2, "n2" } };

	begin(&s);
	report_view_members(s.v, 1, members, 1, s.now);
	hear(&s, report_of(1, 0));
	report_view_members(s.v, 2, members, 2, s.now);
	assert_true(report_view_find(s.v, "n1", s.now, &row));
	assert_true(row.member && !row.own && row.report == NULL && row.age_ms == -1);
	assert_true(report_view_find(s.v, "n2", s.now, &row));
	assert_true(row.own);
	end(&s);
}

static void on_alarm(const char *key, const char *text, void *arg)
{
	struct scene *s = arg;

	sbuf_printf(&s->alarms, "%s: %s\n", key, text);
}

static const char *alarms(struct scene *s)
{
	sbuf_reset(&s->alarms);
	sbuf_puts(&s->alarms, "");
	report_view_alarms(s->v, s->now, on_alarm, s);
	return s->alarms.p;
}

static void on_row(const struct report_row *row, void *arg)
{
	struct scene *s = arg;

	sbuf_printf(&s->rows, "%s:%s%s ", row->name, report_state_names[row->state], row->own ? "*" : "");
}

static const char *rows(struct scene *s)
{
	sbuf_reset(&s->rows);
	sbuf_puts(&s->rows, "");
	report_view_each(s->v, s->now, on_row, s);
	return s->rows.p;
}

/* ---- presence ---- */

static void a_node_goes_stale_then_gone_and_comes_back(void **state)
{
	UNUSED(state);
	struct scene s;

	begin(&s);
	all_speak(&s);
	assert_string_equal(rows(&s), "n1:ready* n2:ready n3:ready ");
	s.now += REPORT_FRESH_MS - 1;
	assert_string_equal(rows(&s), "n1:ready* n2:ready n3:ready ");
	s.now++;
	hear(&s, report_of(1, 0));
	hear(&s, report_of(3, 0));
	assert_string_equal(rows(&s), "n1:ready* n3:ready n2:stale ");
	assert_string_equal(alarms(&s), "");
	s.now += REPORT_SILENT_MS - REPORT_FRESH_MS;
	hear(&s, report_of(1, 0));
	hear(&s, report_of(3, 0));
	assert_string_equal(alarms(&s), "node/n2: node n2 is not heard\n");
	s.now += REPORT_GONE_MS;
	all_speak(&s);
	assert_string_equal(rows(&s), "n1:ready* n2:ready n3:ready ");
	assert_string_equal(alarms(&s), "");
	s.now += REPORT_GONE_MS;
	assert_string_equal(rows(&s), "n1:ready* n2:gone n3:gone "); /* of itself it always knows */
	assert_int_equal(report_view_count(s.v, REPORT_GONE, s.now), 2);
	assert_int_equal(report_view_count(s.v, REPORT_READY, s.now), 1);
	end(&s);
}

static void the_same_bytes_again_are_no_news_but_a_restart_is(void **state)
{
	UNUSED(state);
	struct scene s;
	struct node_report r = report_of(2, 5);

	begin(&s);
	assert_int_equal(hear_from(&s, 2, &r), 0);
	s.now += REPORT_FRESH_MS;
	assert_int_equal(hear_from(&s, 2, &r), 0);
	assert_int_equal(report_view_count(s.v, REPORT_STALE, s.now), 3);
	r.started_ms++;
	assert_int_equal(hear_from(&s, 2, &r), 0);
	assert_int_equal(report_view_count(s.v, REPORT_READY, s.now), 1);
	end(&s);
}

static void nobody_is_missed_before_there_was_time_to_hear_of_it(void **state)
{
	UNUSED(state);
	struct scene s;

	begin(&s);
	hear(&s, report_of(1, 0));
	assert_string_equal(alarms(&s), "");
	s.now += REPORT_SILENT_MS;
	assert_string_equal(alarms(&s), "node/n2: node n2 is not heard\nnode/n3: node n3 is not heard\n");
	end(&s);
}

static void what_is_unreadable_or_of_another_changes_nothing(void **state)
{
	UNUSED(state);
	struct scene s;
	struct node_report r = report_of(3, 1), stranger = report_of(9, 1);

	begin(&s);
	assert_int_equal(hear_from(&s, 2, &r), -EBADMSG);
	assert_int_equal(hear_from(&s, 9, &stranger), -ENOENT);
	assert_int_equal(report_view_heard(s.v, 2, STR("?"), s.now, WALL), -EBADMSG);
	assert_int_equal(report_view_count(s.v, REPORT_READY, s.now), 0);
	end(&s);
}

static void who_is_no_member_any_more_is_gone_then_forgotten(void **state)
{
	UNUSED(state);
	static const struct report_member left[] = { { 1, "n1" }, { 4, "n2" } };
	struct scene s;
	struct report_row row;

	begin(&s);
	all_speak(&s);
	report_view_members(s.v, 1, left, ARRAY_LEN(left), s.now);
	assert_string_equal(rows(&s), "n1:ready* n2:gone n3:gone n2:stale ");
	assert_string_equal(alarms(&s), "");
	assert_true(report_view_find(s.v, "n2", s.now, &row));
	assert_int_equal(row.id, 4); /* the machine that took the name */
	report_view_forget(s.v);
	assert_string_equal(rows(&s), "n1:ready* n2:stale ");
	assert_false(report_view_find(s.v, "n3", s.now, &row));
	end(&s);
}

static void members_are_those_of_the_table_of_voters(void **state)
{
	UNUSED(state);
	struct voters t = { .n = 2, .list = { { 4, 9, 1, false, "n4" }, { 7, 9, 0, true, "n7" } } };
	struct report_member list[CORE_MEMBERS_MAX];
	struct sbuf b = { 0 };

	voters_encode(&t, &b);
	sbuf_puts(&b, "text of others");
	assert_int_equal(report_members_of((struct str) { b.p, b.n }, list), 2);
	assert_true(list[0].id == 4 && list[1].id == 7);
	assert_string_equal(list[1].name, "n7");
	assert_int_equal(report_members_of(STR("no table"), list), 0);
	sbuf_fini(&b);
}

static void the_table_never_runs_out(void **state)
{
	UNUSED(state);
	struct scene s;
	struct report_member list[CORE_MEMBERS_MAX];

	begin(&s);
	for (uint32_t round = 0; round < 10; round++) {
		for (uint32_t i = 0; i < CORE_MEMBERS_MAX; i++) {
			list[i].id = 10 + round * CORE_MEMBERS_MAX + i;
			snprintf(list[i].name, sizeof(list[i].name), "m%u", list[i].id);
		}
		report_view_members(s.v, list[0].id, list, CORE_MEMBERS_MAX, ++s.now);
		for (uint32_t i = 1; i < CORE_MEMBERS_MAX; i++) {
			struct node_report r = report_of(list[i].id, 1);
			assert_int_equal(hear_from(&s, list[i].id, &r), 0);
		}
		assert_int_equal(report_view_count(s.v, REPORT_READY, s.now), CORE_MEMBERS_MAX - 1);
	}
	end(&s);
}

static void another_that_is_ready_is_one_that_carries_mail(void **state)
{
	UNUSED(state);
	struct scene s;
	struct node_report r = report_of(2, 0);

	begin(&s);
	hear(&s, report_of(1, 0));
	r.ready = false;
	hear(&s, r);
	r = report_of(3, 0);
	r.voter_only = true;
	hear(&s, r);
	assert_false(report_view_other_ready(s.v, s.now));
	hear(&s, report_of(2, 0));
	assert_true(report_view_other_ready(s.v, s.now));
	s.now += REPORT_FRESH_MS;
	assert_false(report_view_other_ready(s.v, s.now));
	end(&s);
}

/* ---- verdicts ---- */

static void say(struct scene *s, uint32_t id, enum report_verdict_state verdict)
{
	struct node_report r = report_of(id, 0);

	report_add_verdict(&r, 77, verdict, 100);
	hear(s, r);
}

static void on_verdict(const char *node, enum report_verdict_state verdict, unsigned weight, void *arg)
{
	sbuf_printf(arg, "%s=%d/%u ", node, (int)verdict, weight);
}

static void verdicts_are_those_of_the_other_fresh_nodes(void **state)
{
	UNUSED(state);
	struct scene s;

	begin(&s);
	say(&s, 1, REPORT_DOWN);
	say(&s, 2, REPORT_UP);
	sbuf_puts(&s.rows, "");
	report_view_verdicts(s.v, 77, s.now, on_verdict, &s.rows);
	report_view_verdicts(s.v, 78, s.now, on_verdict, &s.rows);
	assert_string_equal(s.rows.p, "n2=1/100 ");
	s.now += REPORT_FRESH_MS;
	say(&s, 3, REPORT_DOWN);
	sbuf_reset(&s.rows);
	report_view_verdicts(s.v, 77, s.now, on_verdict, &s.rows);
	assert_string_equal(s.rows.p, "n3=5/100 ");
	end(&s);
}

static void a_server_is_usable_when_more_say_so_than_not(void **state)
{
	UNUSED(state);
	static const struct {
		enum report_verdict_state two, three;
		bool usable;
	} rows_of[] = { { REPORT_UP, REPORT_UP, true },          { REPORT_UP, REPORT_DOWN, false },
			{ REPORT_UP, REPORT_UNKNOWN, true },     { REPORT_UNKNOWN, REPORT_UNKNOWN, false },
			{ REPORT_BUSY, REPORT_WARMING, true },   { REPORT_EJECTED, REPORT_UP, false },
			{ REPORT_DRAINED, REPORT_MAINT, false }, { REPORT_DOWN, REPORT_DOWN, false } };
	struct scene s;

	begin(&s);
	assert_false(report_view_usable(s.v, 77, s.now));
	for (size_t i = 0; i < ARRAY_LEN(rows_of); i++) {
		say(&s, 2, rows_of[i].two);
		say(&s, 3, rows_of[i].three);
		assert_int_equal(report_view_usable(s.v, 77, s.now), rows_of[i].usable);
	}
	say(&s, 2, REPORT_UP);
	say(&s, 3, REPORT_UP);
	s.now += REPORT_FRESH_MS;
	assert_false(report_view_usable(s.v, 77, s.now));
	end(&s);
}

/* ---- alarms ---- */

static void claim(struct scene *s, uint32_t id, bool kernel)
{
	struct node_report r = report_of(id, 0);

	report_add_vip(&r, "out", kernel);
	hear(s, r);
}

static void a_vip_on_two_nodes_is_an_alarm_with_both_names(void **state)
{
	UNUSED(state);
	struct scene s;

	begin(&s);
	all_speak(&s);
	claim(&s, 2, true);
	claim(&s, 3, true);
	assert_string_equal(alarms(&s), "");
	s.now += REPORT_VIP_TWICE_MS;
	hear(&s, report_of(1, 0));
	claim(&s, 2, true);
	assert_string_equal(alarms(&s), "");
	claim(&s, 3, true);
	assert_string_equal(alarms(&s), "vip_twice/out: VIP out is on two nodes: n2 and n3\n");
	claim(&s, 2, false);
	assert_string_equal(alarms(&s), "");
	end(&s);
}

static void a_vip_that_moves_is_no_alarm(void **state)
{
	UNUSED(state);
	struct scene s;

	begin(&s);
	all_speak(&s);
	for (int i = 0; i < 5; i++, s.now += 1000) {
		claim(&s, 2, true);
		claim(&s, 3, false);
		hear(&s, report_of(1, 0));
	}
	/* n2 dies; n3 has it, and goes on saying so while the last word of n2 is still fresh. */
	for (int i = 0; i < 3; i++, s.now += 900) {
		claim(&s, 3, true);
		hear(&s, report_of(1, 0));
		assert_null(strstr(alarms(&s), "vip_twice"));
	}
	end(&s);
}

static void a_vip_on_no_node_is_an_alarm_after_a_while(void **state)
{
	UNUSED(state);
	struct scene s;

	begin(&s);
	for (int64_t i = 0; i < REPORT_VIP_NOWHERE_MS; i += 1000, s.now += 1000) {
		all_speak(&s);
		claim(&s, 2, false);
		assert_string_equal(alarms(&s), "");
	}
	all_speak(&s);
	claim(&s, 2, false);
	assert_string_equal(alarms(&s), "vip_nowhere/out: VIP out is on no node that is heard\n");
	claim(&s, 3, true);
	assert_string_equal(alarms(&s), "");
	claim(&s, 3, false);
	assert_string_equal(alarms(&s), ""); /* it begins anew */
	end(&s);
}

static void a_clock_that_is_off_three_times_is_an_alarm(void **state)
{
	UNUSED(state);
	struct scene s;
	struct node_report r = report_of(2, 0);

	begin(&s);
	all_speak(&s);
	r.wall_ms = (uint64_t)((WALL - 2.5) * 1000);
	for (int i = 0; i < REPORT_CLOCK_REPORTS - 1; i++)
		hear(&s, r);
	assert_string_equal(alarms(&s), "");
	hear(&s, r);
	assert_string_equal(alarms(&s), "clock/n2: the clock of node n2 is behind this node's by more than 2 s\n");
	r.wall_ms = (uint64_t)((WALL + 1.9) * 1000);
	hear(&s, r);
	assert_string_equal(alarms(&s), "");
	end(&s);
}

static void different_documents_under_one_revision_are_an_alarm(void **state)
{
	UNUSED(state);
	struct scene s;
	struct node_report r = report_of(3, 0);

	begin(&s);
	all_speak(&s);
	r.hash[0]++;
	r.revision = 6;
	hear(&s, r); /* it only lags behind */
	assert_string_equal(alarms(&s), "");
	r.revision = 7;
	r.has_hash = false;
	hear(&s, r); /* it does not know */
	assert_string_equal(alarms(&s), "");
	r.has_hash = true;
	hear(&s, r);
	assert_string_equal(alarms(&s),
			    "config_differs: nodes n1 and n3 have different configurations under revision 7\n");
	end(&s);
}

static void parts_that_another_node_could_not_apply_are_an_alarm(void **state)
{
	UNUSED(state);
	struct scene s;
	struct node_report r = report_of(3, 0);

	begin(&s);
	all_speak(&s);
	r.n_unapplied = 1;
	snprintf(r.unapplied, sizeof(r.unapplied), "no such file");
	hear(&s, r);
	assert_string_equal(
		alarms(&s),
		"config_part/n3: node n3 could not put 1 part of the configuration in force: no such file\n");
	end(&s);
}

static void views_that_change_too_often_name_the_links(void **state)
{
	UNUSED(state);
	struct scene s;
	struct node_report r = report_of(2, 0);

	begin(&s);
	all_speak(&s);
	r.view_changes = REPORT_VIEW_CHANGES_MAX;
	hear(&s, r);
	assert_string_equal(alarms(&s), "");
	r.view_changes++;
	hear(&s, r);
	assert_non_null(strstr(alarms(&s), "views: "));
	assert_non_null(strstr(s.alarms.p, "one direction only"));
	r.n_links = 2;
	r.links[0] = (struct report_link) { .peer = 1, .up = true };
	r.links[1] = (struct report_link) { .peer = 3, .link = 1, .up = true, .downs = 2 };
	hear(&s, r);
	assert_non_null(strstr(alarms(&s), "links that were down: n2 to n3 (link 1)"));
	r.links[0].up = false;
	hear(&s, r);
	assert_non_null(strstr(alarms(&s), "links that are down: n2 to n1 (link 0)"));
	assert_null(strstr(s.alarms.p, "n3"));
	end(&s);
}

static void views_and_vain_attempts_at_one_count_and_expected_ones_do_not(void **state)
{
	UNUSED(state);
	struct recent_views r = { 0 };

	recent_views_look(&r, 7, 2, false, 1000);
	assert_int_equal(recent_count(&r.recent, 1000), 0); /* of before the first look nobody knows when */
	recent_views_look(&r, 8, 2, false, 2000);
	assert_int_equal(recent_count(&r.recent, 2000), 1);
	recent_views_look(&r, 8, 4, false, 3000);
	assert_int_equal(recent_count(&r.recent, 3000), 3);
	recent_views_look(&r, 9, 0, false, 4000); /* one came at last: attempts count anew */
	recent_views_look(&r, 9, 1, false, 5000);
	assert_int_equal(recent_count(&r.recent, 5000), 5);
	recent_views_look(&r, 11, 3, true, 6000);
	assert_int_equal(recent_count(&r.recent, 6000), 5);
	recent_views_look(&r, 1, 0, false, 7000); /* another transport counts from its own start */
	assert_int_equal(recent_count(&r.recent, 7000), 5);
	assert_int_equal(recent_count(&r.recent, 2000 + RECENT_MS), 4);
	recent_views_look(&r, UINT64_MAX, UINT64_MAX, false, 200000);
	assert_int_equal(recent_count(&r.recent, 200000), RECENT_MAX);
}

/* ---- ticket keys ---- */

static void the_fresh_member_of_the_lowest_id_makes_keys(void **state)
{
	UNUSED(state);
	static const struct report_member members[] = { { 1, "n1" }, { 2, "n2" }, { 3, "n3" } };
	struct scene s;

	begin(&s);
	report_view_members(s.v, 2, members, ARRAY_LEN(members), s.now);
	assert_true(report_view_makes_keys(s.v, s.now)); /* alone, as far as it knows */
	struct node_report r = report_of(1, 1);
	assert_int_equal(hear_from(&s, 1, &r), 0);
	assert_false(report_view_makes_keys(s.v, s.now));
	s.now += REPORT_FRESH_MS;
	r = report_of(3, 1);
	assert_int_equal(hear_from(&s, 3, &r), 0);
	assert_true(report_view_makes_keys(s.v, s.now));
	end(&s);
}

static void keys_are_taken_from_fresh_members_alone(void **state)
{
	UNUSED(state);
	struct scene s;
	struct ticket_keys k = { 0 };
	struct node_report r = report_of(2, 0);

	begin(&s);
	report_add_key(&r, 4, 2);
	hear(&s, r);
	s.now += REPORT_FRESH_MS;
	assert_false(report_view_merge_keys(s.v, &k, s.now));
	r = report_of(2, 0);
	report_add_key(&r, 4, 2);
	hear(&s, r);
	assert_true(report_view_merge_keys(s.v, &k, s.now));
	assert_true(k.n == 1 && k.list[0].serial == 4);
	assert_false(report_view_merge_keys(s.v, &k, s.now));
	end(&s);
}

/* ---- counting ---- */

static void what_happened_is_counted_for_a_minute(void **state)
{
	UNUSED(state);
	struct recent r = { 0 };

	assert_int_equal(recent_count(&r, 0), 0);
	recent_note(&r, 0);
	recent_note(&r, 1000);
	assert_int_equal(recent_count(&r, RECENT_MS - 1), 2);
	assert_int_equal(recent_count(&r, RECENT_MS), 1);
	for (int i = 0; i < 100; i++)
		recent_note(&r, RECENT_MS);
	assert_int_equal(recent_count(&r, RECENT_MS), RECENT_MAX);
	assert_int_equal(recent_count(&r, 3 * RECENT_MS), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_node_said_under_another_id_is_nobody_elses_word),
		cmocka_unit_test(a_node_goes_stale_then_gone_and_comes_back),
		cmocka_unit_test(the_same_bytes_again_are_no_news_but_a_restart_is),
		cmocka_unit_test(nobody_is_missed_before_there_was_time_to_hear_of_it),
		cmocka_unit_test(what_is_unreadable_or_of_another_changes_nothing),
		cmocka_unit_test(who_is_no_member_any_more_is_gone_then_forgotten),
		cmocka_unit_test(members_are_those_of_the_table_of_voters),
		cmocka_unit_test(the_table_never_runs_out),
		cmocka_unit_test(another_that_is_ready_is_one_that_carries_mail),
		cmocka_unit_test(verdicts_are_those_of_the_other_fresh_nodes),
		cmocka_unit_test(a_server_is_usable_when_more_say_so_than_not),
		cmocka_unit_test(a_vip_on_two_nodes_is_an_alarm_with_both_names),
		cmocka_unit_test(a_vip_that_moves_is_no_alarm),
		cmocka_unit_test(a_vip_on_no_node_is_an_alarm_after_a_while),
		cmocka_unit_test(a_clock_that_is_off_three_times_is_an_alarm),
		cmocka_unit_test(different_documents_under_one_revision_are_an_alarm),
		cmocka_unit_test(parts_that_another_node_could_not_apply_are_an_alarm),
		cmocka_unit_test(views_that_change_too_often_name_the_links),
		cmocka_unit_test(views_and_vain_attempts_at_one_count_and_expected_ones_do_not),
		cmocka_unit_test(the_fresh_member_of_the_lowest_id_makes_keys),
		cmocka_unit_test(keys_are_taken_from_fresh_members_alone),
		cmocka_unit_test(what_happened_is_counted_for_a_minute),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
