/* SPDX-License-Identifier: Apache-2.0
 * Views that all members name alike, frames as bytes, and the queue of events.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "cluster/corosync/frame.h"
#include "cluster/corosync/queue.h"

static const struct ring_process one = { 1, 11 }, two = { 2, 22 }, other_two = { 2, 23 }, three = { 3, 33 };
static const struct ring_id ring = { 8, 1 };

#define GROUP(v, nodes, ...)                                                                                           \
	ring_view_group((v), (struct ring_process[]) { __VA_ARGS__ },                                                  \
			sizeof((struct ring_process[]) { __VA_ARGS__ }) / sizeof(struct ring_process), (nodes))

static struct ring_announcement proposal(const struct ring_view *v, uint32_t nonce)
{
	struct ring_announcement a;

	assert_int_equal(ring_view_propose(v, &a), RING_PROPOSED);
	a.nonce = nonce;
	return a;
}

static struct ring_view joined(struct ring_process own)
{
	struct ring_view v;

	ring_view_init(&v, own);
	GROUP(&v, false, own);
	ring_view_ring(&v, ring);
	return v;
}

static void nothing_is_proposed_before_group_and_ring_are_known(void **state)
{
	struct ring_view v;
	struct ring_announcement a;

	UNUSED(state);
	ring_view_init(&v, one);
	assert_int_equal(ring_view_propose(&v, &a), RING_UNKNOWN);
	ring_view_ring(&v, ring);
	assert_int_equal(ring_view_propose(&v, &a), RING_UNKNOWN);
	GROUP(&v, false, two);
	assert_int_equal(ring_view_propose(&v, &a), RING_UNKNOWN);
	GROUP(&v, false, two, one);
	assert_int_equal(ring_view_propose(&v, &a), RING_PROPOSED);
	assert_int_equal(a.n, 2);
}

static void the_first_announcement_that_fits_names_the_view_for_all(void **state)
{
	struct ring_view a = joined(one), b = joined(two);

	UNUSED(state);
	GROUP(&a, false, one, two);
	GROUP(&b, false, two, one);
	struct ring_announcement from_a = proposal(&a, 5), from_b = proposal(&b, 6);
	assert_int_equal(ring_view_announced(&a, two, &from_b), RING_OPENED);
	assert_int_equal(ring_view_announced(&b, two, &from_b), RING_OPENED);
	assert_int_equal(ring_view_announced(&a, one, &from_a), RING_IGNORED);
	assert_int_equal(ring_view_announced(&b, one, &from_a), RING_IGNORED);
	assert_true(a.id.ring == b.id.ring && a.id.lowest == b.id.lowest && a.id.ring == (8ull << 32 | 6));
	assert_true(ring_view_member(&a, two) >= 0 && ring_view_member(&a, other_two) < 0 &&
		    ring_view_member(&a, three) < 0);
}

static void an_announcement_of_another_ring_or_group_opens_nothing(void **state)
{
	struct ring_view v = joined(one);

	UNUSED(state);
	GROUP(&v, false, one, two);
	struct ring_announcement good = proposal(&v, 1), a = good;
	a.ring.seq++;
	assert_int_equal(ring_view_announced(&v, two, &a), RING_IGNORED);
	a = good;
	a.ring.lowest++;
	assert_int_equal(ring_view_announced(&v, two, &a), RING_IGNORED);
	a = good;
	a.n--;
	assert_int_equal(ring_view_announced(&v, one, &a), RING_IGNORED);
	a = good;
	a.members[a.n++] = three;
	assert_int_equal(ring_view_announced(&v, two, &a), RING_IGNORED);
	a = good;
	a.members[a.n++] = two;
	assert_int_equal(ring_view_announced(&v, two, &a), RING_IGNORED);
	assert_int_equal(ring_view_announced(&v, three, &good), RING_IGNORED); /* not a member of it */
	assert_int_equal(ring_view_announced(&v, two, &good), RING_OPENED);
}

static void an_announcement_meant_for_an_earlier_change_may_open_a_later_one(void **state)
{
	struct ring_view a = joined(one), b = joined(two);

	UNUSED(state);
	GROUP(&a, false, one, two);
	GROUP(&b, false, one, two);
	struct ring_announcement early = proposal(&a, 9);
	/* It is under way while node 3 joins and leaves again. */
	GROUP(&a, false, one, two, three);
	GROUP(&b, false, one, two, three);
	GROUP(&a, false, one, two);
	GROUP(&b, false, one, two);
	assert_int_equal(ring_view_announced(&a, one, &early), RING_OPENED);
	assert_int_equal(ring_view_announced(&b, one, &early), RING_OPENED);
	assert_true(a.id.ring == b.id.ring);
}

static void members_of_the_last_view_are_heard_until_the_next_opens(void **state)
{
	struct ring_view v = joined(one);

	UNUSED(state);
	GROUP(&v, false, one, two);
	struct ring_announcement a = proposal(&v, 1);
	assert_int_equal(ring_view_announced(&v, one, &a), RING_OPENED);
	GROUP(&v, true, one);
	ring_view_ring(&v, (struct ring_id) { 12, 1 });
	assert_true(ring_view_member(&v, two) >= 0);
	a = proposal(&v, 2);
	assert_int_equal(ring_view_announced(&v, one, &a), RING_OPENED);
	assert_true(ring_view_member(&v, two) < 0);
}

static void of_two_processes_of_a_node_the_one_that_was_there_stays(void **state)
{
	struct ring_view v = joined(one);

	UNUSED(state);
	GROUP(&v, false, one, two);
	struct ring_announcement a = proposal(&v, 1);
	assert_int_equal(ring_view_announced(&v, one, &a), RING_OPENED);
	GROUP(&v, false, other_two, one, two);
	a = proposal(&v, 2);
	assert_int_equal(ring_view_announced(&v, one, &a), RING_OPENED);
	assert_true(ring_view_member(&v, two) >= 0 && ring_view_member(&v, other_two) < 0);
	/* Whoever was not there before cannot say, and the second process of the node itself stands back. */
	struct ring_view late = joined(three);
	GROUP(&late, false, one, two, three, other_two);
	assert_int_equal(ring_view_propose(&late, &a), RING_AMBIGUOUS);
	struct ring_view second;
	ring_view_init(&second, other_two);
	ring_view_ring(&second, ring);
	GROUP(&second, false, other_two, one, two);
	assert_int_equal(ring_view_propose(&second, &a), RING_SECOND);
	a = proposal(&v, 3);
	assert_int_equal(ring_view_announced(&second, one, &a), RING_EXCLUDED);
}

static void the_first_process_of_a_node_stays_also_before_its_first_view(void **state)
{
	struct ring_view v = joined(two);
	struct ring_announcement a;

	UNUSED(state);
	GROUP(&v, false, two, other_two);
	assert_int_equal(ring_view_propose(&v, &a), RING_PROPOSED);
	assert_int_equal(a.members[0].pid, two.pid);
}

static void more_nodes_than_a_cluster_has_open_no_view(void **state)
{
	struct ring_process many[CORE_MEMBERS_MAX + 1];
	struct ring_view v = joined((struct ring_process) { 1, 1 });
	struct ring_announcement a;

	UNUSED(state);
	for (uint32_t i = 0; i < ARRAY_LEN(many); i++)
		many[i] = (struct ring_process) { i + 1, 1 };
	ring_view_group(&v, many, ARRAY_LEN(many), false);
	assert_int_equal(ring_view_propose(&v, &a), RING_TOO_MANY);
	ring_view_group(&v, many, ARRAY_LEN(many) - 1, false);
	assert_int_equal(ring_view_propose(&v, &a), RING_PROPOSED);
}

/* ---- frames ---- */

static void a_frame_comes_apart_as_it_was_put_together(void **state)
{
	uint8_t bytes[FRAME_HEAD_LEN + 3];
	struct frame f = { .kind = FRAME_DATA, .tag = 0xfeedface, .number = 0x1122334455667788 }, g;

	UNUSED(state);
	frame_head(bytes, &f);
	memcpy(bytes + FRAME_HEAD_LEN, "abc", 3);
	struct str all = { (char *)bytes, sizeof(bytes) };
	assert_true(frame_parse(all, &g));
	assert_true(g.kind == f.kind && g.tag == f.tag && g.number == f.number && str_eq(g.body, STR("abc")));
	for (size_t n = 0; n < FRAME_HEAD_LEN; n++)
		assert_false(frame_parse((struct str) { all.p, n }, &g));
	for (size_t i = 0; i < 3; i++) {
		bytes[i] ^= 1;
		assert_false(frame_parse(all, &g));
		bytes[i] ^= 1;
	}
	bytes[3] = 0;
	assert_false(frame_parse(all, &g));
	bytes[3] = FRAME_ANNOUNCEMENT + 1;
	assert_false(frame_parse(all, &g));
}

static void an_announcement_comes_apart_and_no_part_of_it_does(void **state)
{
	uint8_t bytes[FRAME_ANNOUNCEMENT_MAX + 1] = { 0 };
	struct ring_announcement a = { .ring = { 0x0102030405060708, 9 }, .nonce = 0xdeadbeef, .n = CORE_MEMBERS_MAX },
				 b;

	UNUSED(state);
	for (uint32_t i = 0; i < CORE_MEMBERS_MAX; i++)
		a.members[i] = (struct ring_process) { i + 1, 1000 + i };
	size_t n = frame_announcement(bytes, &a);
	assert_int_equal(n, FRAME_ANNOUNCEMENT_MAX);
	assert_true(frame_announcement_parse((struct str) { (char *)bytes, n }, &b));
	assert_true(b.ring.seq == a.ring.seq && b.ring.lowest == 9 && b.nonce == a.nonce && b.n == a.n);
	assert_memory_equal(a.members, b.members, sizeof(a.members));
	for (size_t i = 0; i < n; i++)
		assert_false(frame_announcement_parse((struct str) { (char *)bytes, i }, &b));
	assert_false(frame_announcement_parse((struct str) { (char *)bytes, n + 1 }, &b));
	memset(bytes + 16, 0xff, 4); /* a number of members beyond all bounds */
	assert_false(frame_announcement_parse((struct str) { (char *)bytes, n }, &b));
}

/* ---- the queue ---- */

static void events_come_out_in_order_and_whole(void **state)
{
	struct queue q;
	const uint32_t ids[] = { 3, 1 };

	UNUSED(state);
	queue_init(&q);
	assert_null(queue_take(&q));
	queue_view(&q, (struct core_view_id) { 7, 1 }, 2, ids, 2);
	queue_message(&q, 3, STR("x"));
	queue_message(&q, 1, (struct str) { NULL, 0 });
	queue_disconnected(&q);
	struct queue_event *e = queue_take(&q);
	assert_true(e->kind == QUEUE_VIEW && e->generation == 2 && e->n == 2 && e->of.members[0] == 3);
	free(e);
	e = queue_take(&q);
	assert_true(e->kind == QUEUE_MESSAGE && e->sender == 3 && e->n == 1 && e->of.bytes[0] == 'x');
	free(e);
	e = queue_take(&q);
	assert_true(e->kind == QUEUE_MESSAGE && e->n == 0);
	free(e);
	e = queue_take(&q);
	assert_true(e->kind == QUEUE_DISCONNECTED && q.n == 0 && q.bytes == 0);
	free(e);
	queue_fini(&q);
}

static void a_queue_is_full_by_number_or_by_bytes(void **state)
{
	struct queue q;
	static char large[CORE_MESSAGE_MAX];

	UNUSED(state);
	queue_init(&q);
	for (int i = 0; i < QUEUE_EVENTS_MAX; i++) {
		assert_false(queue_full(&q));
		queue_message(&q, 1, STR(""));
	}
	assert_true(queue_full(&q));
	queue_fini(&q);
	while (!queue_full(&q))
		queue_message(&q, 1, (struct str) { large, sizeof(large) });
	assert_true(q.n < QUEUE_EVENTS_MAX && q.bytes >= QUEUE_BYTES_MAX);
	free(queue_take(&q));
	assert_false(queue_full(&q));
	queue_fini(&q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_proposed_before_group_and_ring_are_known),
		cmocka_unit_test(the_first_announcement_that_fits_names_the_view_for_all),
		cmocka_unit_test(an_announcement_of_another_ring_or_group_opens_nothing),
		cmocka_unit_test(an_announcement_meant_for_an_earlier_change_may_open_a_later_one),
		cmocka_unit_test(members_of_the_last_view_are_heard_until_the_next_opens),
		cmocka_unit_test(of_two_processes_of_a_node_the_one_that_was_there_stays),
		cmocka_unit_test(the_first_process_of_a_node_stays_also_before_its_first_view),
		cmocka_unit_test(more_nodes_than_a_cluster_has_open_no_view),
		cmocka_unit_test(a_frame_comes_apart_as_it_was_put_together),
		cmocka_unit_test(an_announcement_comes_apart_and_no_part_of_it_does),
		cmocka_unit_test(events_come_out_in_order_and_whole),
		cmocka_unit_test(a_queue_is_full_by_number_or_by_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
