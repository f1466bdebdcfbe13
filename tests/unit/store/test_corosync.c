/* SPDX-License-Identifier: Apache-2.0
 * What the adapter promises while corosync refuses, loses, hangs, dies and comes back. Real ones are in tests/lab.
 */
#include "tests/unit/store/fake_engine.h"

static const struct ring_process two = { 2, 77 };

static void up(const struct pace *pace)
{
	fake_start(pace);
	AWAIT(told.views >= 1);
}

/* ---- sending and hearing ---- */

static void what_is_sent_comes_back_in_order_after_a_view(void **state)
{
	UNUSED(state);
	fake_start(&fake_pace);
	assert_int_equal(multicast("early"), -ENOTCONN);
	AWAIT(told.views == 1);
	assert_int_equal(multicast("a"), 0);
	assert_int_equal(multicast("b"), 0);
	AWAIT(was_told("M1:b"));
	assert_string_equal(told.text.p, "V1 M1:a M1:b ");
	assert_true(told.view.lowest == FAKE_ID && told.view.ring >> 32 == 4);
	assert_true(status().connected && status().id == FAKE_ID && status().lost == 0);
}

static void what_is_too_long_is_refused(void **state)
{
	const struct transport *t;
	static char bytes[CORE_MESSAGE_MAX + 1];

	UNUSED(state);
	up(&fake_pace);
	t = corosync_transport(told.c);
	assert_int_equal(t->multicast(t->self, (struct str) { bytes, sizeof(bytes) }), -EMSGSIZE);
	assert_int_equal(t->multicast(t->self, (struct str) { bytes, sizeof(bytes) - 1 }), 0);
}

static void a_refusal_is_tried_again_and_loses_nothing(void **state)
{
	UNUSED(state);
	up(&fake_pace);
	FAKE_SET(refuse, 5);
	assert_int_equal(multicast("a"), 0);
	assert_int_equal(multicast("b"), 0);
	AWAIT(was_told("M1:b"));
	assert_string_equal(told.text.p, "V1 M1:a M1:b ");
	assert_int_equal(status().refused_since_ms, 0);
}

static void of_others_only_members_of_the_view_are_heard(void **state)
{
	UNUSED(state);
	fake.others[0] = two;
	fake.n_others = 1;
	up(&fake_pace);
	fake_locked(true);
	fake_data(two, "x");
	fake_data((struct ring_process) { 2, 78 }, "other process");
	fake_data((struct ring_process) { 3, 77 }, "other node");
	fake_push(fake_message_of(two, STR("no frame"), STR("")));
	fake_data(two, "y");
	fake_locked(false);
	AWAIT(was_told("M2:y"));
	assert_string_equal(told.text.p, "V12 M2:x M2:y ");
}

static void a_message_of_another_view_is_not_heard_and_many_are_a_resync(void **state)
{
	UNUSED(state);
	fake.others[0] = two;
	fake.n_others = 1;
	up(&fake_pace);
	fake_locked(true);
	for (int i = 0; i < IN_FLIGHT_MAX; i++)
		fake_tagged(two, (uint32_t)told.view.ring + 1, "astray");
	fake_data(two, "x");
	fake_locked(false);
	AWAIT(was_told("M2:x"));
	assert_string_equal(told.text.p, "V12 M2:x ");
	fake_locked(true);
	fake_tagged(two, (uint32_t)told.view.ring + 1, "one too many");
	fake_locked(false);
	AWAIT(told.views == 2);
	assert_int_equal(status().resyncs, 1);
}

/* ---- nothing comes back ---- */

static void no_more_than_28_are_out_and_32_wait(void **state)
{
	struct pace pace = fake_pace;

	UNUSED(state);
	pace.hung = 2000; /* time for the second lot */
	up(&pace);
	AWAIT(status().in_flight == 0);
	FAKE_SET(silent, true);
	FAKE_SET(taken, 0);
	for (int i = 0; i < 20; i++)
		assert_int_equal(multicast("x"), 0);
	AWAIT(status().waiting == 0);
	FAKE_SET(refuse, UINT32_MAX);
	for (int i = 0; i < 32; i++)
		assert_int_equal(multicast("y"), 0);
	assert_int_equal(multicast("z"), -EAGAIN);
	/* All of them wait now, and may go at once. */
	FAKE_SET(refuse, 0);
	AWAIT(status().hung_since_ms != 0);
	assert_in_range(fake_get(&fake.taken), 20, 28);
	assert_in_range(status().waiting, 24, 32);
}

static void return_held(void)
{
	fake_locked(true);
	fake.silent = false;
	while (!list_empty(&fake.held)) {
		struct fake_event *e = LIST_FIRST(&fake.held, struct fake_event, link);
		list_remove(&e->link);
		fake_push(e);
	}
	fake_locked(false);
}

static void silence_is_told_as_a_hang_and_ends_sending_until_something_returns(void **state)
{
	UNUSED(state);
	up(&fake_pace);
	AWAIT(status().in_flight == 0);
	FAKE_SET(silent, true);
	assert_int_equal(multicast("a"), 0);
	AWAIT(status().hung_since_ms != 0);
	unsigned before = fake_get(&fake.taken);
	assert_int_equal(multicast("b"), 0);
	AWAIT(status().waiting == 1);
	assert_int_equal(fake_get(&fake.taken), before);
	return_held();
	AWAIT(was_told("M1:b"));
	assert_int_equal(status().hung_since_ms, 0);
	assert_string_equal(told.text.p, "V1 M1:a M1:b ");
}

static void a_sign_of_life_shows_a_hang_while_idle(void **state)
{
	UNUSED(state);
	up(&fake_pace);
	FAKE_SET(silent, true);
	AWAIT(status().hung_since_ms != 0);
	return_held();
	AWAIT(status().hung_since_ms == 0);
	assert_string_equal(told.text.p, "V1 ");
}

static void a_lost_message_is_a_resync(void **state)
{
	UNUSED(state);
	up(&fake_pace);
	AWAIT(status().in_flight == 0);
	FAKE_SET(spare, 1);
	FAKE_SET(lose, 1);
	assert_int_equal(multicast("a"), 0);
	assert_int_equal(multicast("b"), 0);
	assert_int_equal(multicast("c"), 0);
	AWAIT(told.views == 2);
	assert_int_equal(count_told('D'), 0);
	assert_true(status().resyncs == 1 && status().lost >= 1);
}

static void the_loss_of_the_last_message_is_found_by_a_probe(void **state)
{
	struct pace pace = fake_pace;

	UNUSED(state);
	pace.probe = 20;
	up(&pace);
	AWAIT(status().in_flight == 0);
	FAKE_SET(lose, 1);
	assert_int_equal(multicast("a"), 0);
	AWAIT(told.views == 2);
	assert_int_equal(status().resyncs, 1);
}

static void endless_silence_is_a_new_connection(void **state)
{
	struct pace pace = fake_pace;

	UNUSED(state);
	pace.give_up = 150;
	up(&pace);
	FAKE_SET(lose, UINT32_MAX);
	AWAIT(was_told("D"));
	FAKE_SET(lose, 0);
	AWAIT(told.views == 2);
	assert_true(status().connections >= 2);
}

static void a_lost_announcement_is_made_again(void **state)
{
	struct pace pace = fake_pace;

	UNUSED(state);
	pace.probe = 20; /* in case that this machine is so slow that it looks like a hang */
	fake.lose = 3;
	up(&pace);
	assert_string_equal(told.text.p, "V1 ");
	assert_int_equal(status().resyncs, 0);
}

/* ---- changes ---- */

static void left_and_joined_in_one_change_is_one_view_with_a_new_name(void **state)
{
	struct ring_process list[4];
	struct core_view_id before;
	size_t n;

	UNUSED(state);
	fake.others[0] = two;
	fake.n_others = 1;
	up(&fake_pace);
	before = told.view;
	fake_locked(true);
	fake_members(list, &n);
	fake_group_is(list, 1, true);
	fake_group_is(list, 2, true);
	fake_ring_is(12);
	fake_locked(false);
	AWAIT(told.views == 2);
	assert_string_equal(told.text.p, "V12 V12 ");
	assert_true(told.view.ring != before.ring && told.view.ring >> 32 == 12);
}

static void a_ring_without_a_change_of_the_group_is_a_view(void **state)
{
	UNUSED(state);
	up(&fake_pace);
	fake_locked(true);
	fake_ring_is(8);
	fake_locked(false);
	AWAIT(told.views == 2);
	assert_int_equal(told.view.ring >> 32, 8);
}

static void what_waits_when_a_view_ends_is_not_sent_in_the_next(void **state)
{
	UNUSED(state);
	up(&fake_pace);
	AWAIT(status().in_flight == 0);
	FAKE_SET(refuse, UINT32_MAX);
	assert_int_equal(multicast("old"), 0);
	fake_locked(true);
	fake_ring_is(8);
	fake_locked(false);
	AWAIT(!status().connected);
	assert_int_equal(multicast("between"), -EAGAIN);
	FAKE_SET(refuse, 0);
	AWAIT(told.views == 2);
	assert_int_equal(multicast("new"), 0);
	AWAIT(was_told("M1:new"));
	assert_string_equal(told.text.p, "V1 V1 M1:new ");
}

/* ---- the connection ---- */

static void the_end_of_corosync_is_told_and_it_is_joined_again(void **state)
{
	UNUSED(state);
	up(&fake_pace);
	fake_locked(true);
	fake.open_rc = -ENOTCONN;
	fake_push(fake_event(FAKE_GONE));
	fake_locked(false);
	AWAIT(was_told("D"));
	assert_int_equal(multicast("x"), -ENOTCONN);
	AWAIT(strcmp(status().why, "corosync does not run") == 0);
	assert_int_equal(status().id, 0); /* nobody says so any more */
	FAKE_SET(open_rc, 0);
	AWAIT(told.views == 2);
	assert_int_equal(status().id, FAKE_ID);
	assert_string_equal(told.text.p, "V1 D V1 ");
}

static void an_error_of_the_library_in_a_multicast_is_an_end(void **state)
{
	UNUSED(state);
	up(&fake_pace);
	FAKE_SET(multicast_rc, -ENOTCONN);
	assert_int_equal(multicast("x"), 0);
	AWAIT(was_told("D"));
	FAKE_SET(multicast_rc, 0);
	AWAIT(told.views == 2);
}

static void a_join_that_is_refused_is_tried_again(void **state)
{
	UNUSED(state);
	fake.join_rc = -EAGAIN;
	fake_start(&fake_pace);
	AWAIT(fake.joins >= 3);
	assert_int_equal(fake_get(&fake.opens), 1);
	FAKE_SET(join_rc, 0);
	AWAIT(told.views == 1);
}

static void a_user_who_is_not_let_in_is_told_so(void **state)
{
	UNUSED(state);
	fake.open_rc = -EACCES;
	fake_start(&fake_pace);
	AWAIT(strstr(status().why, "uidgid") != NULL);
}

static void another_node_id_is_not_joined(void **state)
{
	const struct transport_events events = { NULL, on_view, on_deliver, on_disconnected };
	const struct corosync_options options = { .id = FAKE_ID + 1 };
	const struct engine engine = { .open = fake_open, .fd = fake_fd, .close = fake_close, .free = fake_free };
	char *why = NULL;

	UNUSED(state);
	told.c = corosync_start_with(&options, &events, &engine, &fake_pace, &why);
	AWAIT(fake.closes >= 2);
	assert_true(fake_get(&fake.joins) == 0 && strstr(status().why, "another node id") != NULL);
}

static void a_name_that_is_no_group_is_refused(void **state)
{
	const struct transport_events events = { NULL, on_view, on_deliver, on_disconnected };
	const struct corosync_options options = { .group = "" };
	const struct engine engine = { .free = fake_free };
	char *why = NULL;

	UNUSED(state);
	assert_null(corosync_start_with(&options, &events, &engine, &fake_pace, &why));
	assert_non_null(why);
	assert_true(fake.freed);
	free(why);
}

static void a_second_process_of_a_node_does_not_join(void **state)
{
	UNUSED(state);
	fake.others[0] = (struct ring_process) { FAKE_ID, 5 };
	fake.n_others = 1;
	fake_start(&fake_pace);
	AWAIT(strstr(status().why, "another process") != NULL);
	assert_int_equal(fake_get(&fake.joins), 0);
	FAKE_SET(n_others, 0);
	AWAIT(told.views == 1);
}

static void a_second_process_that_joins_later_takes_nothing_over(void **state)
{
	struct ring_process list[2] = { { FAKE_ID, 5 }, fake_own() };

	UNUSED(state);
	up(&fake_pace);
	fake_locked(true);
	fake_group_is(list, 2, false);
	fake_data(list[0], "forged");
	fake_locked(false);
	AWAIT(told.views == 2);
	assert_int_equal(multicast("x"), 0);
	AWAIT(was_told("M1:x"));
	assert_string_equal(told.text.p, "V1 V1 M1:x ");
}

static void what_corosync_measures_is_in_the_status(void **state)
{
	UNUSED(state);
	up(&fake_pace);
	AWAIT(status().totem.asked_ms != 0);
	assert_int_equal(status().totem.token_us, FAKE_ID);
}

/* ---- a slow control thread ---- */

static void events_that_are_not_taken_stay_in_corosync_and_none_is_lost(void **state)
{
	char text[16];

	UNUSED(state);
	fake.others[0] = two;
	fake.n_others = 1;
	up(&fake_pace);
	fake_holds = true;
	fake_locked(true);
	for (int i = 0; i < 1000; i++) {
		snprintf(text, sizeof(text), "%d", i);
		fake_data(two, text);
	}
	fake_locked(false);
	AWAIT(status().events >= 256);
	assert_int_equal(status().events, 256);
	assert_int_equal(status().hung_since_ms, 0);
	fake_holds = false;
	AWAIT(count_told('M') == 1000);
	const char *p = told.text.p;
	for (int i = 0; i < 1000; i++) {
		snprintf(text, sizeof(text), "M2:%d ", i);
		p = strstr(p, text);
		assert_non_null(p);
	}
}

static void who_takes_nothing_for_long_leaves_and_joins_when_all_is_taken(void **state)
{
	struct pace pace = fake_pace;

	UNUSED(state);
	pace.backlog = 50;
	fake.others[0] = two;
	fake.n_others = 1;
	up(&pace);
	fake_holds = true;
	fake_locked(true);
	for (int i = 0; i < 1000; i++)
		fake_data(two, "x");
	fake_locked(false);
	AWAIT(fake.closes == 1);
	assert_int_equal(fake_get(&fake.opens), 1);
	fake_holds = false;
	AWAIT(told.views == 2);
	assert_true(count_told('M') == 256 && was_told("M2:x D V12 "));
}

/* ---- hanging calls ---- */

static void release(void)
{
	fake_locked(true);
	fake.hang = false;
	pthread_cond_broadcast(&fake.released);
	fake_locked(false);
}

static void a_call_that_hangs_is_told_and_stops_nothing_here(void **state)
{
	UNUSED(state);
	up(&fake_pace);
	FAKE_SET(hang, true);
	AWAIT(status().hung_since_ms != 0);
	assert_int_equal(multicast("x"), 0);
	release();
	AWAIT(was_told("M1:x"));
	assert_int_equal(status().hung_since_ms, 0);
}

static void a_thread_that_hangs_is_left_behind_and_cleans_up_when_released(void **state)
{
	UNUSED(state);
	up(&fake_pace);
	FAKE_SET(hang, true);
	AWAIT(fake.hanging == 1);
	corosync_stop(told.c);
	told.c = NULL;
	fake_locked(true);
	assert_false(fake.freed);
	fake_locked(false);
	release();
	for (bool freed = false; !freed;) {
		fake_locked(true);
		freed = fake.freed;
		fake_locked(false);
	}
	assert_int_equal(fake_get(&fake.closes), 1);
}

static void a_resync_that_takes_long_is_told_as_an_end(void **state)
{
	struct pace pace = fake_pace;
	const struct transport *t;

	UNUSED(state);
	pace.resync = 30;
	up(&pace);
	t = corosync_transport(told.c);
	FAKE_SET(open_rc, -ENOTCONN);
	t->resync(t->self);
	AWAIT(was_told("D"));
	FAKE_SET(open_rc, 0);
	AWAIT(told.views == 2);
	assert_string_equal(told.text.p, "V1 D V1 ");
	assert_int_equal(status().resyncs, 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_is_sent_comes_back_in_order_after_a_view),
		T(what_is_too_long_is_refused),
		T(a_refusal_is_tried_again_and_loses_nothing),
		T(of_others_only_members_of_the_view_are_heard),
		T(a_message_of_another_view_is_not_heard_and_many_are_a_resync),
		T(no_more_than_28_are_out_and_32_wait),
		T(silence_is_told_as_a_hang_and_ends_sending_until_something_returns),
		T(a_sign_of_life_shows_a_hang_while_idle),
		T(a_lost_message_is_a_resync),
		T(the_loss_of_the_last_message_is_found_by_a_probe),
		T(endless_silence_is_a_new_connection),
		T(a_lost_announcement_is_made_again),
		T(left_and_joined_in_one_change_is_one_view_with_a_new_name),
		T(a_ring_without_a_change_of_the_group_is_a_view),
		T(what_waits_when_a_view_ends_is_not_sent_in_the_next),
		T(the_end_of_corosync_is_told_and_it_is_joined_again),
		T(an_error_of_the_library_in_a_multicast_is_an_end),
		T(a_join_that_is_refused_is_tried_again),
		T(a_user_who_is_not_let_in_is_told_so),
		T(another_node_id_is_not_joined),
		T(a_name_that_is_no_group_is_refused),
		T(a_second_process_of_a_node_does_not_join),
		T(a_second_process_that_joins_later_takes_nothing_over),
		T(what_corosync_measures_is_in_the_status),
		T(events_that_are_not_taken_stay_in_corosync_and_none_is_lost),
		T(who_takes_nothing_for_long_leaves_and_joins_when_all_is_taken),
		T(a_call_that_hangs_is_told_and_stops_nothing_here),
		T(a_thread_that_hangs_is_left_behind_and_cleans_up_when_released),
		T(a_resync_that_takes_long_is_told_as_an_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
