/* SPDX-License-Identifier: Apache-2.0
 * A node's report as bytes: there and back, never too long, read by neighbouring versions, believed in nothing.
 */
#include "tests/unit/store/report_fixture.h"

#include "cluster/core/le.h"
#include "cluster/report/report_private.h"

static struct str bytes_of(const struct sbuf *b)
{
	return (struct str) { b->p, b->n };
}

static struct node_report a_full_one(void)
{
	struct node_report r = report_of(3, 99);

	r.admin_drain = r.soft = r.safe_to_stop = r.voter_only = r.overloaded = true;
	r.ready = false;
	r.state = REPORT_DRAIN;
	r.sessions = 1ull << 40;
	r.transactions = 12;
	r.n_reasons = 2;
	snprintf(r.reasons[0], sizeof(r.reasons[0]), "the node is draining");
	snprintf(r.reasons[1], sizeof(r.reasons[1]), "no pool has a usable server");
	r.n_unapplied = 2;
	snprintf(r.unapplied, sizeof(r.unapplied), "/certificates/mail: no such file");
	report_add_vip(&r, "out-a", true);
	report_add_vip(&r, "out-b", false);
	snprintf(r.vips[1].reason, sizeof(r.vips[1].reason), "a worker does not answer");
	r.vips[1].priority = 250;
	r.vips[1].since_s = 86400;
	r.n_links = 1;
	r.links[0] = (struct report_link) { .peer = 2, .link = 1, .up = true, .latency_us = 150, .downs = 3 };
	r.view_changes = 4;
	r.files = (struct report_files) { .instance = 1ull << 60,
					  .staged = 5,
					  .installed = 4,
					  .active = 3,
					  .synced = true,
					  .staged_hash = { 1, 2, 3 } };
	report_add_key(&r, 9, 1);
	report_add_key(&r, 8, 2);
	report_add_verdict(&r, report_server_key("mta", "mta2"), REPORT_DOWN, 0);
	report_add_verdict(&r, report_server_key("mta", "mta1"), REPORT_UP, 100);
	return r;
}

static void assert_same_texts(const struct node_report *a, const struct node_report *b)
{
	assert_string_equal(a->node, b->node);
	assert_string_equal(a->version, b->version);
	assert_string_equal(a->unapplied, b->unapplied);
	assert_int_equal(a->n_reasons, b->n_reasons);
	for (size_t i = 0; i < a->n_reasons; i++)
		assert_string_equal(a->reasons[i], b->reasons[i]);
}

static void assert_same_lists(const struct node_report *a, const struct node_report *b)
{
	assert_int_equal(a->n_vips, b->n_vips);
	for (size_t i = 0; i < a->n_vips; i++) {
		assert_string_equal(a->vips[i].name, b->vips[i].name);
		assert_string_equal(a->vips[i].reason, b->vips[i].reason);
		assert_true(a->vips[i].up == b->vips[i].up && a->vips[i].kernel == b->vips[i].kernel);
		assert_true(a->vips[i].state == b->vips[i].state && a->vips[i].priority == b->vips[i].priority);
		assert_true(a->vips[i].since_s == b->vips[i].since_s);
	}
	assert_int_equal(a->n_links, b->n_links);
	for (size_t i = 0; i < a->n_links; i++) {
		assert_true(a->links[i].peer == b->links[i].peer && a->links[i].link == b->links[i].link);
		assert_true(a->links[i].up == b->links[i].up && a->links[i].latency_us == b->links[i].latency_us);
		assert_true(a->links[i].downs == b->links[i].downs);
	}
	assert_true(a->files.instance == b->files.instance && a->files.synced == b->files.synced);
	assert_true(a->files.staged == b->files.staged && a->files.installed == b->files.installed);
	assert_true(a->files.active == b->files.active);
	assert_memory_equal(a->files.staged_hash, b->files.staged_hash, sizeof(a->files.staged_hash));
	assert_int_equal(a->keys.n, b->keys.n);
	for (size_t i = 0; i < a->keys.n; i++) {
		assert_true(a->keys.list[i].serial == b->keys.list[i].serial);
		assert_true(a->keys.list[i].maker == b->keys.list[i].maker);
		assert_true(a->keys.list[i].age_s == b->keys.list[i].age_s);
		assert_memory_equal(a->keys.list[i].bytes, b->keys.list[i].bytes, TICKET_KEY_LEN);
	}
}

static void a_report_comes_back_as_it_was(void **state)
{
	UNUSED(state);
	struct node_report r = a_full_one(), back;
	struct sbuf b = { 0 };

	report_encode(&r, &b);
	assert_true(report_decode(bytes_of(&b), &back));
	assert_true(back.id == 3 && back.sequence == 99 && back.started_ms == 1000000 && back.wall_ms == 5000000);
	assert_true(back.features_low == 1 && back.features_high == 1 && back.state == REPORT_DRAIN);
	assert_true(back.admin_drain && back.soft && back.safe_to_stop && back.voter_only && back.overloaded &&
		    !back.ready);
	assert_true(back.sessions == 1ull << 40 && back.transactions == 12 && back.view_changes == 4);
	assert_true(back.revision == 7 && back.has_hash && back.n_unapplied == 2 && !back.partial);
	assert_memory_equal(back.hash, r.hash, sizeof(r.hash));
	assert_same_texts(&r, &back);
	assert_same_lists(&r, &back);
	assert_int_equal(back.n_verdicts, 2);
	const struct report_verdict *one = report_find_verdict(&back, report_server_key("mta", "mta1"));
	const struct report_verdict *two = report_find_verdict(&back, report_server_key("mta", "mta2"));
	assert_true(one != NULL && one->state == REPORT_UP && one->weight == 100);
	assert_true(two != NULL && two->state == REPORT_DOWN && two->weight == 0);
	assert_null(report_find_verdict(&back, report_server_key("mt", "amta1")));
	report_fini(&r);
	report_fini(&back);
	report_wipe(&b);
}

/* Where each field begins, so that a test can cut there. */
static bool is_border(struct str in, size_t at)
{
	size_t i = 1;

	while (i < at && i + 3 <= in.n)
		i += 3 + le_get((const uint8_t *)in.p + i + 1, 2);
	return i == at;
}

static void a_report_cut_within_a_field_is_none(void **state)
{
	UNUSED(state);
	struct node_report r = a_full_one(), back;
	struct sbuf b = { 0 };

	report_encode(&r, &b);
	for (size_t n = 0; n < b.n; n++) {
		char *cut = xmalloc(n + 1); /* of its own, so that a read behind it is seen */
		memcpy(cut, b.p, n);
		bool ok = report_decode((struct str) { cut, n }, &back);
		assert_true(!ok || is_border(bytes_of(&b), n));
		report_fini(&back);
		free(cut);
	}
	report_fini(&r);
	report_wipe(&b);
}

static void later_fields_and_longer_bodies_are_stepped_over(void **state)
{
	UNUSED(state);
	struct node_report r = report_of(3, 1), back;
	struct sbuf b = { 0 }, later = { 0 };
	static const char unknown[] = { (char)200, 2, 0, 'x', 'y' };
	size_t at = 1;

	report_encode(&r, &b);
	sbuf_putc(&later, b.p[0]);
	while (at < b.n) {
		size_t n = (size_t)le_get((uint8_t *)b.p + at + 1, 2);
		uint8_t head[3] = { (uint8_t)b.p[at] };
		le_put(head + 1, n + 4, 2);
		sbuf_add(&later, head, 3);
		sbuf_add(&later, b.p + at + 3, n);
		sbuf_add(&later, "more", 4);
		sbuf_add(&later, unknown, sizeof(unknown));
		at += 3 + n;
	}
	assert_true(report_decode(bytes_of(&later), &back));
	assert_true(back.id == 3 && back.revision == 7 && back.ready);
	report_fini(&back);
	report_wipe(&b);
	report_wipe(&later);
}

static void whose_report_it_is_can_be_read_alone(void **state)
{
	UNUSED(state);
	struct node_report r = a_full_one(), back;
	struct sbuf b = { 0 };

	report_encode(&r, &b);
	assert_true(report_peek(bytes_of(&b), &back));
	assert_true(back.id == 3 && back.sequence == 99 && back.started_ms == 1000000);
	for (size_t n = 0; n < 32; n++)
		assert_false(report_peek((struct str) { b.p, n }, &back));
	b.p[1] = FIELD_STATE;
	assert_false(report_peek(bytes_of(&b), &back));
	assert_false(report_decode(bytes_of(&b), &back));
	report_fini(&r);
	report_wipe(&b);
}

static void another_format_is_no_report(void **state)
{
	UNUSED(state);
	struct node_report r = report_of(3, 1), back;
	struct sbuf b = { 0 };

	report_encode(&r, &b);
	b.p[0]++;
	assert_false(report_decode(bytes_of(&b), &back));
	assert_false(report_decode(STR(""), &back));
	report_wipe(&b);
}

static bool reads(const struct node_report *r)
{
	struct sbuf b = { 0 };
	struct node_report back;

	report_encode(r, &b);
	bool ok = report_decode(bytes_of(&b), &back);
	report_fini(&back);
	report_wipe(&b);
	return ok;
}

static void names_and_numbers_that_cannot_be_are_refused(void **state)
{
	UNUSED(state);
	struct node_report r = report_of(3, 1);

	assert_true(reads(&r));
	r.id = 0;
	assert_false(reads(&r));
	r = report_of(3, 1);
	snprintf(r.node, sizeof(r.node), "n 1");
	assert_false(reads(&r));
	r = report_of(3, 1);
	report_add_vip(&r, "a", false);
	report_add_vip(&r, "a", false);
	assert_false(reads(&r));
	r = report_of(3, 1);
	report_add_key(&r, 0, 1);
	assert_false(reads(&r));
	r.keys.list[0].serial = TICKET_SERIAL_MAX + 1;
	assert_false(reads(&r));
	r.keys.list[0].serial = TICKET_SERIAL_MAX;
	assert_true(reads(&r));
	report_fini(&r);
}

static void states_of_a_later_version_are_not_taken_for_good_ones(void **state)
{
	UNUSED(state);
	struct node_report r = report_of(3, 1), back;
	struct sbuf b = { 0 };

	r.state = 77;
	report_add_vip(&r, "a", true);
	r.vips[0].state = 77;
	report_add_verdict(&r, 5, (enum report_verdict_state)15, 3);
	report_encode(&r, &b);
	assert_true(report_decode(bytes_of(&b), &back));
	assert_int_equal(back.state, REPORT_STARTING);
	assert_int_equal(back.vips[0].state, REPORT_VIP_UNKNOWN);
	assert_int_equal(report_find_verdict(&back, 5)->state, REPORT_UNKNOWN);
	report_fini(&r);
	report_fini(&back);
	report_wipe(&b);
}

static void texts_come_without_control_characters_and_whole_characters_only(void **state)
{
	UNUSED(state);
	struct node_report r = report_of(3, 1), back;
	struct sbuf b = { 0 };
	char small[4];

	r.n_unapplied = 1;
	snprintf(r.unapplied, sizeof(r.unapplied), "a\x1b[31mb\r\n");
	report_encode(&r, &b);
	assert_true(report_decode(bytes_of(&b), &back));
	assert_string_equal(back.unapplied, "a?[31mb??");
	report_text(small, sizeof(small), "ab\xc3\xa9");
	assert_string_equal(small, "ab");
	report_fini(&back);
	report_wipe(&b);
}

/* ---- room ---- */

static void fill(char *text, size_t max, int c)
{
	memset(text, c, max);
	text[max] = '\0';
}

static struct node_report the_longest(void)
{
	struct node_report r = report_of(3, 1);

	fill(r.node, REPORT_NAME_MAX, 'n');
	fill(r.version, REPORT_VERSION_MAX, 'v');
	fill(r.unapplied, REPORT_TEXT_MAX, 'u');
	for (r.n_reasons = 0; r.n_reasons < REPORT_REASONS_MAX; r.n_reasons++)
		fill(r.reasons[r.n_reasons], REPORT_TEXT_MAX, 'r');
	for (unsigned i = 0; i < REPORT_VIPS_MAX; i++) {
		report_add_vip(&r, "", true);
		fill(r.vips[i].name, REPORT_NAME_MAX, 'a');
		snprintf(r.vips[i].name, sizeof(r.vips[i].name), "%02u", i);
		r.vips[i].name[2] = 'a';
		fill(r.vips[i].reason, REPORT_TEXT_MAX, 'x');
	}
	for (r.n_links = 0; r.n_links < REPORT_LINKS_MAX; r.n_links++)
		r.links[r.n_links] = (struct report_link) { .peer = 1 };
	report_add_key(&r, 2, 1);
	report_add_key(&r, 1, 1);
	return r;
}

static void nine_hundred_servers_fit_beside_the_longest_texts(void **state)
{
	UNUSED(state);
	struct node_report r = the_longest(), back;
	struct sbuf b = { 0 };
	char name[32];

	for (unsigned i = 0; i < REPORT_VERDICTS_FIT; i++) {
		snprintf(name, sizeof(name), "server-%u", i);
		report_add_verdict(&r, report_server_key("pool", name), i % 3 ? REPORT_UP : REPORT_DOWN, i);
	}
	report_encode(&r, &b);
	assert_true(b.n <= CORE_SOFT_MAX);
	assert_true(report_decode(bytes_of(&b), &back));
	assert_int_equal(back.n_verdicts, REPORT_VERDICTS_FIT);
	assert_false(back.partial);
	assert_int_equal(back.n_vips, REPORT_VIPS_MAX);
	assert_true(strlen(back.vips[63].name) == REPORT_NAME_MAX && strlen(back.vips[63].reason) > 1);
	for (unsigned i = 0; i < REPORT_VERDICTS_FIT; i++) {
		snprintf(name, sizeof(name), "server-%u", i);
		const struct report_verdict *v = report_find_verdict(&back, report_server_key("pool", name));
		assert_true(v != NULL && v->weight == i && v->state == (i % 3 ? REPORT_UP : REPORT_DOWN));
	}
	report_fini(&r);
	report_fini(&back);
	report_wipe(&b);
}

static void of_too_many_servers_the_worst_are_said_and_that_it_is_not_all(void **state)
{
	UNUSED(state);
	struct node_report r = report_of(3, 1), back;
	struct sbuf b = { 0 };

	for (unsigned i = 1; i <= 5000; i++)
		report_add_verdict(&r, i, i % 5 == 0 ? REPORT_DOWN : REPORT_UP, 100);
	report_encode(&r, &b);
	assert_true(b.n <= CORE_SOFT_MAX);
	assert_true(report_decode(bytes_of(&b), &back));
	assert_true(back.partial && back.n_verdicts >= REPORT_VERDICTS_FIT && back.n_verdicts < 5000);
	for (unsigned i = 5; i <= 5000; i += 5)
		assert_int_equal(report_find_verdict(&back, i)->state, REPORT_DOWN);
	report_fini(&r);
	report_fini(&back);
	report_wipe(&b);
}

static void of_two_servers_with_one_hash_the_worse_is_said(void **state)
{
	UNUSED(state);
	struct node_report r = report_of(3, 1), back;
	struct sbuf b = { 0 };

	report_add_verdict(&r, 5, REPORT_UP, 1);
	report_add_verdict(&r, 5, REPORT_DOWN, 1);
	report_encode(&r, &b);
	assert_true(report_decode(bytes_of(&b), &back));
	assert_int_equal(back.n_verdicts, 1);
	assert_int_equal(report_find_verdict(&back, 5)->state, REPORT_DOWN);
	report_fini(&r);
	report_fini(&back);
	report_wipe(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_report_comes_back_as_it_was),
		cmocka_unit_test(a_report_cut_within_a_field_is_none),
		cmocka_unit_test(later_fields_and_longer_bodies_are_stepped_over),
		cmocka_unit_test(whose_report_it_is_can_be_read_alone),
		cmocka_unit_test(another_format_is_no_report),
		cmocka_unit_test(names_and_numbers_that_cannot_be_are_refused),
		cmocka_unit_test(states_of_a_later_version_are_not_taken_for_good_ones),
		cmocka_unit_test(texts_come_without_control_characters_and_whole_characters_only),
		cmocka_unit_test(nine_hundred_servers_fit_beside_the_longest_texts),
		cmocka_unit_test(of_too_many_servers_the_worst_are_said_and_that_it_is_not_all),
		cmocka_unit_test(of_two_servers_with_one_hash_the_worse_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
