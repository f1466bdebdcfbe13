/* SPDX-License-Identifier: Apache-2.0
 * What a core makes of members that are played by the test, message by message: late ones, strangers, those that
 * differ.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cluster/core/wire.h"
#include "tests/unit/store/core_fixture.h"

static struct fix f;

static int clean(void **state)
{
	UNUSED(state);
	fix_fini(&f);
	return 0;
}

static uint32_t played[FIX_NODES + 1]; /* the number of each one's last message */

static void say(uint32_t member, enum wire_kind kind, uint64_t epoch, struct sbuf *body)
{
	struct sbuf frame = { 0 };
	struct wire_head h = { .kind = kind,
			       .flags = WIRE_FIRST | WIRE_LAST,
			       .view = { f.ring, 1 },
			       .sender = member,
			       .epoch = epoch,
			       .sequence = ++played[member],
			       .total = (uint32_t)body->n };

	wire_frame(&frame, &h, (struct str) { body->n == 0 ? "" : body->p, body->n });
	core_deliver(f.nodes[0].core, member, (struct str) { frame.p, frame.n });
	sbuf_fini(&frame);
	sbuf_fini(body);
}

static void say_state_of(uint32_t member, uint64_t cluster, uint64_t adopted)
{
	struct sbuf b = { 0 };
	struct wire_state s = { .cluster = cluster,
				.instance = member,
				.features_low = CORE_FEATURES_LOW,
				.features_high = CORE_FEATURES_HIGH,
				.promised = adopted,
				.adopted = adopted,
				.last = 1,
				.flags = WIRE_ABLE | WIRE_TRUSTED | WIRE_VOTER };

	memcpy(s.hash, f.nodes[0].disk[0].entry.hash, ENTRY_HASH_LEN);
	wire_state_encode(&s, &b);
	say(member, WIRE_STATE, 0, &b);
}

static void say_state(uint32_t member, uint64_t cluster)
{
	say_state_of(member, cluster, 0);
}

static void say_ack(uint32_t member, uint64_t epoch, const struct entry *e)
{
	struct sbuf b = { 0 };
	struct wire_ack a = { .position = e->position };

	memcpy(a.hash, e->hash, ENTRY_HASH_LEN);
	wire_ack_encode(&a, &b);
	say(member, WIRE_ACK, epoch, &b);
}

/* Node 1 follows member 2 in epoch 1. */
static void play_following(void)
{
	struct sbuf b = { 0 };
	struct wire_suffix s = { .after = 1, .last = 1 };

	memset(played, 0, sizeof(played));
	fix_init(&f, 3, 0);
	fix_stop(&f.nodes[1]);
	fix_stop(&f.nodes[2]);
	f.nodes[0].group = 1;
	FIX_VIEW_OF(&f, 1, 2, 3);
	fix_run(&f);
	say_state(2, 0);
	say(2, WIRE_START, 1, &b);
	fix_run(&f);
	memcpy(s.hash, f.nodes[0].disk[0].entry.hash, ENTRY_HASH_LEN);
	wire_suffix_encode(&s, &b);
	say(2, WIRE_SUFFIX, 1, &b);
	fix_run(&f);
	assert_true(core_donor(f.nodes[0].core) == 2 && core_epoch(f.nodes[0].core) == 1);
}

/* Member 2 proposes an entry and gives it its place, behind the first. */
static void play_order(void)
{
	struct sbuf b = { 0 }, whole = { 0 };
	struct entry e = { .position = UINT64_MAX,
			   .revision = 7,
			   .kind = ENTRY_CONFIG,
			   .operation = "x",
			   .author = "",
			   .node = "",
			   .comment = "",
			   .idempotency_key = "" };

	entry_encode(&e, &b);
	say(2, WIRE_PROPOSE, 1, &b);
	e.epoch = e.revision = 1;
	e.position = 2;
	memcpy(e.previous, f.nodes[0].disk[0].entry.hash, ENTRY_HASH_LEN);
	entry_encode(&e, &whole);
	struct wire_order o = { .proposer = 2, .ticket = 7, .position = 2, .revision = 1 };
	memcpy(o.hash, e.hash, ENTRY_HASH_LEN);
	wire_order_encode(&o, &b);
	say(2, WIRE_ORDER, 1, &b);
	sbuf_fini(&whole);
}

/* Whether node 1 has said something of this kind and epoch since the last look. */
static bool said(enum wire_kind kind, uint64_t epoch)
{
	struct wire_head h;
	struct str part;
	bool found = false;

	for (size_t i = 0; i < f.n_packets; i++) {
		assert_true(wire_unframe((struct str) { f.packets[i].bytes.p, f.packets[i].bytes.n }, &h, &part));
		found = found || (h.kind == kind && h.epoch == epoch);
	}
	return found;
}

static void end_write(struct fix_node *n)
{
	assert_true(n->writing);
	n->writing = false;
	fix_disk_apply(n);
	core_persisted(n->core, n->token, 0);
}

static void no_promise_is_given_to_a_log_that_lacks_what_is_being_written(void **state)
{
	UNUSED(state);
	struct sbuf none = { 0 };
	struct fix_node *n = &f.nodes[0];

	play_following();
	say_state(3, 0);
	say_ack(3, 1, &n->disk[0].entry); /* as new as node 1, but for what comes now */
	n->held = true;
	play_order();
	assert_true(n->writing);
	say(3, WIRE_START, 2, &none);
	end_write(n);
	assert_true(said(WIRE_ACK, 1));
	if (n->writing)
		end_write(n);
	assert_false(said(WIRE_PROMISED, 2));
}

/* Whoever asked could not know of it. */
static void after_a_promise_nothing_more_is_acknowledged_in_an_earlier_epoch(void **state)
{
	UNUSED(state);
	struct sbuf none = { 0 };
	struct fix_node *n = &f.nodes[0];

	play_following();
	say_state(3, 0);
	say_ack(3, 1, &n->disk[0].entry); /* as new as node 1 */
	fix_run(&f);
	n->held = true;
	say(3, WIRE_START, 2, &none);
	assert_true(n->writing);
	play_order(); /* of epoch 1, behind the question */
	end_write(n);
	assert_true(said(WIRE_PROMISED, 2));
	if (n->writing)
		end_write(n);
	assert_false(said(WIRE_ACK, 1));
}

/* A suffix of one entry, which differs by its author; whole: of the log with a gap, which cannot be appended. */
static uint64_t suffix_committed;

static struct entry say_suffix(uint32_t member, uint64_t epoch, const char *author, bool whole)
{
	struct sbuf b = { 0 }, entries = { 0 };
	uint8_t length[4];
	struct wire_suffix s = { .whole = whole, .after = whole ? 0 : 1, .last = whole ? 3 : 2, .n = whole ? 2 : 1 };
	struct entry first = f.nodes[0].disk[0].entry;
	struct entry e = { .epoch = 1,
			   .position = s.last,
			   .revision = 1,
			   .kind = ENTRY_CONFIG,
			   .operation = author,
			   .author = author,
			   .node = "",
			   .comment = "",
			   .idempotency_key = "" };

	memcpy(e.previous, first.hash, ENTRY_HASH_LEN);
	for (int i = whole ? 0 : 1; i < 2; i++) {
		struct sbuf one = { 0 };
		entry_encode(i == 0 ? &first : &e, &one);
		le_put(length, one.n, 4);
		sbuf_add(&entries, length, 4);
		sbuf_add(&entries, one.p, one.n);
		sbuf_fini(&one);
	}
	if (!whole)
		memcpy(s.hash, first.hash, ENTRY_HASH_LEN);
	s.entries = (struct str) { entries.p, entries.n };
	s.committed = suffix_committed;
	wire_suffix_encode(&s, &b);
	say(member, WIRE_SUFFIX, epoch, &b);
	sbuf_fini(&entries);
	return e;
}

/* Two were asked to lead in one view, and the log of the first is still being written. */
static void another_log_taken_during_a_write_is_written_whatever_that_write_held(void **state)
{
	struct fix_node *n = &f.nodes[0];

	for (int whole = 0; whole < 2; whole++) {
		play_following();
		say_state(3, 0);
		n->held = true;
		say_suffix(2, 2, "of the first", false);
		assert_true(n->writing);
		struct entry e = say_suffix(3, 3, "of the second", whole == 1);
		end_write(n);
		assert_false(said(WIRE_ACK, 3));
		assert_true(n->writing);
		/* With gaps and answers it can be nothing else. */
		assert_int_equal(n->write.kind, whole ? CORE_WRITE_WHOLE : CORE_WRITE_APPEND);
		end_write(n);
		assert_true(said(WIRE_ACK, 3));
		assert_int_equal(n->n_disk, 2);
		assert_memory_equal(n->disk[1].entry.hash, e.hash, ENTRY_HASH_LEN);
		if (whole == 0)
			clean(state);
	}
}

/* A promise is written while the disk holds another end than memory. */
static void what_is_committed_in_memory_is_not_said_of_another_end_on_disk(void **state)
{
	UNUSED(state);
	enum { META_COMMITTED = 20 };
	struct fix_node *n = &f.nodes[0];
	struct sbuf none = { 0 };

	play_following();
	say_state(3, 0);
	n->held = true;
	say_suffix(2, 2, "of the first", false);
	suffix_committed = 2;
	struct entry e = say_suffix(3, 3, "of the second", false);
	suffix_committed = 0;
	say_ack(3, 3, &e);
	assert_int_equal(core_committed(n->core), 2);
	say(3, WIRE_START, 4, &none);
	end_write(n); /* of the first */
	assert_true(n->writing && n->write.kind == CORE_WRITE_META);
	assert_int_equal(le_get((const uint8_t *)n->w_meta.p + META_COMMITTED, 8), 1);
	end_write(n);
	assert_true(said(WIRE_PROMISED, 4));
}

static void a_member_of_another_cluster_is_not_heard(void **state)
{
	UNUSED(state);
	struct sbuf none = { 0 };

	play_following();
	say_state(3, 99);
	say(3, WIRE_START, 5, &none);
	fix_run(&f);
	assert_int_equal(core_donor(f.nodes[0].core), 2);
	play_order();
	fix_run(&f);
	say_ack(3, 1, &f.nodes[0].disk[1].entry);
	assert_int_equal(f.nodes[0].n_applied, 0); /* with member 3's it would be a quorum */
	say_ack(2, 1, &f.nodes[0].disk[1].entry);
	assert_int_equal(f.nodes[0].n_applied, 2);
}

static void a_member_of_another_version_is_not_heard_and_stops_nobody(void **state)
{
	UNUSED(state);
	static const char later[WIRE_HEAD_LEN] = { 0, 0, 0, 0, 99 };

	play_following();
	core_deliver(f.nodes[0].core, 3, (struct str) { later, sizeof(later) });
	assert_int_equal(f.nodes[0].n_resync, 0);
	assert_int_equal(core_donor(f.nodes[0].core), 2);
}

static void whoever_differs_from_the_donor_says_so_and_stops_voting(void **state)
{
	UNUSED(state);
	struct entry other = { .position = 1 };

	play_following();
	say_ack(2, 1, &other);
	assert_false(core_can_vote(f.nodes[0].core));
	assert_int_equal(f.nodes[0].n_resync, 1);
}

/* It asked too late: they follow another in an epoch before its own, and nobody would bring it in. */
static void who_promised_itself_more_than_the_others_follow_asks_for_a_new_view(void **state)
{
	UNUSED(state);
	memset(played, 0, sizeof(played));
	fix_init(&f, 3, 0);
	fix_stop(&f.nodes[1]);
	fix_stop(&f.nodes[2]);
	f.nodes[0].group = 1;
	FIX_VIEW_OF(&f, 1, 2, 3);
	fix_run(&f);
	say_state(2, 0);
	say_state(3, 0);
	fix_run(&f); /* asks, and promises itself epoch 1 */
	say_state_of(2, 0, 1);
	say_state_of(3, 0, 1);
	fix_run(&f);
	assert_int_equal(f.nodes[0].n_resync, 0); /* one of them may yet ask */
	fix_wait(&f, 2500);
	assert_int_equal(f.nodes[0].n_resync, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_teardown(name, clean)
	const struct CMUnitTest tests[] = {
		T(no_promise_is_given_to_a_log_that_lacks_what_is_being_written),
		T(after_a_promise_nothing_more_is_acknowledged_in_an_earlier_epoch),
		T(another_log_taken_during_a_write_is_written_whatever_that_write_held),
		T(what_is_committed_in_memory_is_not_said_of_another_end_on_disk),
		T(a_member_of_another_cluster_is_not_heard),
		T(a_member_of_another_version_is_not_heard_and_stops_nobody),
		T(whoever_differs_from_the_donor_says_so_and_stops_voting),
		T(who_promised_itself_more_than_the_others_follow_asks_for_a_new_view),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
