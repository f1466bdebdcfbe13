/* SPDX-License-Identifier: Apache-2.0
 * Several stores as one: founding, joining, the same log on all, partitions, damage, and who is told what.
 */
#include "tests/unit/store/hub_fixture.h"

#include "daemon/base/log.h"

static struct store *of(struct hub *h, uint32_t id)
{
	return h->nodes[id].store;
}

static void assert_same_tip(struct hub *h, size_t n)
{
	for (uint32_t id = 2; id <= n; id++)
		for (int kind = ENTRY_CONFIG; kind < ENTRY_KIND_COUNT; kind++)
			assert_memory_equal(store_last(of(h, id), (enum entry_kind)kind)->hash,
					    store_last(of(h, 1), (enum entry_kind)kind)->hash, ENTRY_HASH_LEN);
}

/* ---- becoming several ---- */

static void a_running_node_becomes_the_first_of_a_cluster_with_its_log(void **state)
{
	struct hub *h = xcalloc(1, sizeof(*h));

	UNUSED(state);
	hub_found(h);
	assert_document(store_last(of(h, 1), ENTRY_CONFIG), "doc-1");
	assert_int_equal(store_identity(of(h, 1)).cluster, HUB_CLUSTER);
	assert_false(store_identity(of(h, 1)).joined);
	hub_append(h, 1, ENTRY_CONFIG, "of the cluster");
	uint64_t instance = store_identity(of(h, 1)).instance;
	hub_close(h, 1);
	/* Its one vote is a quorum, also without a transport. */
	struct store *s = hub_open(h, 1, NULL);
	assert_document(store_last(s, ENTRY_CONFIG), "of the cluster");
	assert_true(store_identity(s).instance == instance && store_identity(s).cluster == HUB_CLUSTER);
	assert_int_equal(store_start(s), 0);
	assert_true(store_wait(s, WAIT_MS));
	assert_true(store_quorate(s));
	hub_free(h);
}

static void founding_is_refused_where_it_makes_no_sense(void **state)
{
	struct hub *h = xcalloc(1, sizeof(*h));
	struct outcome o = { 0 };
	struct store *s = hub_open(h, 1, NULL);
	struct sbuf table = hub_table(h, 1, 1);
	struct str document = { table.p, table.n };
	struct store_write w = write_of(ENTRY_RUNTIME, "x");

	UNUSED(state);
	assert_int_equal(store_found(s, HUB_CLUSTER, document, on_outcome, &o), -ENOTCONN);
	assert_int_equal(store_start(s), 0);
	assert_true(store_wait(s, WAIT_MS));
	assert_int_equal(store_found(s, 0, document, on_outcome, &o), -EINVAL);
	assert_int_equal(store_found(s, HUB_CLUSTER, STR("no table"), on_outcome, &o), -EINVAL);
	assert_int_equal(store_propose(s, &w, on_outcome, &o), 0);
	assert_int_equal(store_found(s, HUB_CLUSTER, document, on_outcome, &o), -EBUSY);
	assert_true(store_wait(s, WAIT_MS));
	assert_int_equal(store_found(s, HUB_CLUSTER, document, on_outcome, &o), 0);
	assert_true(store_wait(s, WAIT_MS));
	assert_int_equal(o.times, 2);
	/* Again, as after a crash in the middle. */
	assert_int_equal(store_found(s, HUB_CLUSTER, document, on_outcome, &o), -EALREADY);
	assert_int_equal(store_join(s, 2, HUB_CLUSTER, 0), 0);
	assert_int_equal(store_found(s, HUB_CLUSTER, document, on_outcome, &o), -EPERM);
	sbuf_fini(&table);
	hub_free(h);
}

/* The tie-breaker of two may write alone: another number would part it from the other for ever. */
static void a_cluster_of_two_is_not_founded_again_under_another_number(void **state)
{
	struct hub *h = xcalloc(1, sizeof(*h));
	struct outcome o = { 0 };
	struct sbuf table;

	UNUSED(state);
	hub_found(h);
	hub_join(h, 2);
	HUB_VIEW(h, 1, 1, 2);
	HUB_UNTIL(h, store_quorate(of(h, 1)) && hub_same(h, 2));
	hub_vote(h, 2, 1);
	hub_vote(h, 2, 2);
	HUB_UNTIL(h, hub_same(h, 2));
	store_attach(of(h, 1), NULL);
	assert_true(store_wait(of(h, 1), WAIT_MS));
	assert_true(store_quorate(of(h, 1)));
	table = hub_table(h, 1, 1);
	assert_int_equal(store_found(of(h, 1), HUB_CLUSTER + 1, (struct str) { table.p, table.n }, on_outcome, &o),
			 -EALREADY);
	assert_int_equal(store_identity(of(h, 1)).cluster, HUB_CLUSTER);
	assert_int_equal(o.times, 0);
	sbuf_fini(&table);
	hub_free(h);
}

static void a_node_that_joins_gets_the_log_and_loses_its_own(void **state)
{
	struct hub *h = xcalloc(1, sizeof(*h));

	UNUSED(state);
	hub_found(h);
	struct store *s = hub_open(h, 2, NULL);
	assert_int_equal(store_start(s), 0);
	assert_true(store_wait(s, WAIT_MS));
	for (int i = 0; i < 9; i++) /* a longer log than the cluster's */
		assert_int_equal(append(s, ENTRY_CONFIG, "its own"), 0);
	uint64_t instance = store_identity(s).instance;
	assert_int_equal(store_join(s, 2, HUB_CLUSTER, 0), 0);
	assert_true(store_identity(s).joined && store_identity(s).instance != instance);
	assert_null(store_last(s, ENTRY_CONFIG));
	store_attach(s, &h->nodes[2].transport);
	HUB_VIEW(h, 1, 1, 2);
	HUB_UNTIL(h, store_quorate(of(h, 1)) && store_quorate(s) && hub_same(h, 2));
	assert_int_equal(h->nodes[2].n_reset, 1);
	assert_document(store_last(s, ENTRY_CONFIG), "doc-1");
	assert_document(store_revision(s, 1), "doc-1");
	hub_vote(h, 2, 1);
	hub_vote(h, 2, 2);
	hub_append(h, 2, ENTRY_CONFIG, "through the second");
	HUB_UNTIL(h, hub_same(h, 2));
	assert_same_tip(h, 2);
	/* Both at rest hold it. */
	hub_close(h, 1);
	hub_close(h, 2);
	s = hub_open(h, 2, NULL);
	assert_true(store_identity(s).joined && store_identity(s).cluster == HUB_CLUSTER);
	assert_non_null(store_last(s, ENTRY_CONFIG));
	char *before = path_in(h->nodes[2].dir, "store.log.before");
	assert_int_equal(access(before, R_OK), 0);
	free(before);
	hub_free(h);
}

static void a_crash_between_joining_and_a_new_log_does_not_bring_the_old_one_back(void **state)
{
	struct store *s = open_ok(*state, NULL);

	append_n(s, 1, 5);
	assert_int_equal(store_join(s, 4, HUB_CLUSTER, 0), 0);
	/* Nothing was written since: as a kill leaves it. */
	struct sbuf log = log_bytes(*state);
	store_close(s);
	set_log_bytes(*state, log.p, log.n);
	sbuf_fini(&log);
	s = open_only(*state, NULL);
	assert_int_equal(store_identity(s).id, 4);
	assert_int_equal(store_position(s), 0);
	assert_null(store_hash(s));
	assert_null(store_last(s, ENTRY_CONFIG));
	assert_int_equal(store_start(s), 0);
	assert_true(store_wait(s, WAIT_MS));
	assert_false(store_quorate(s)); /* it has no log of its own to go on with */
	store_close(s);
}

static void a_node_that_leaves_is_alone_with_an_empty_log(void **state)
{
	struct hub *h = xcalloc(1, sizeof(*h));

	UNUSED(state);
	hub_found(h);
	struct store *s = of(h, 1);
	assert_int_equal(store_leave(s), -EBUSY);
	store_attach(s, NULL);
	assert_true(store_wait(s, WAIT_MS));
	assert_int_equal(store_leave(s), 0);
	assert_true(store_wait(s, WAIT_MS));
	assert_true(store_quorate(s));
	assert_null(store_last(s, ENTRY_MEMBERSHIP));
	append_n(s, 1, 3);
	hub_close(h, 1);
	s = hub_open(h, 1, NULL);
	assert_holds(s, 3);
	assert_true(store_identity(s).cluster == 0 && !store_identity(s).joined);
	hub_free(h);
}

/* The file of who it is may be lost: its log says the same. */
static void who_a_node_is_survives_the_loss_of_either_file(void **state)
{
	struct store *s = open_ok(*state, NULL);
	struct store_identity i = store_identity(s);
	char *path = path_in(*state, "identity");

	append_n(s, 1, 2);
	store_close(s);
	assert_int_equal(unlink(path), 0);
	s = open_ok(*state, NULL);
	assert_int_equal(store_identity(s).instance, i.instance);
	assert_holds(s, 2);
	store_close(s);
	assert_int_equal(access(path, R_OK), 0);
	int fd = open(path, O_WRONLY | O_TRUNC);
	assert_true(fd >= 0 && write(fd, "garbage", 7) == 7);
	close(fd);
	char *why = open_fails(*state);
	assert_non_null(strstr(why, "identity"));
	free(why);
	free(path);
}

/* ---- being several ---- */

static void a_write_through_any_node_is_in_force_on_all(void **state)
{
	struct hub *h = hub_of_three();
	char document[16];

	UNUSED(state);
	for (uint32_t i = 0; i < 12; i++) {
		snprintf(document, sizeof(document), "c%u", i);
		hub_append(h, i % 3 + 1, i % 2 == 0 ? ENTRY_CONFIG : ENTRY_RUNTIME, document);
	}
	HUB_UNTIL(h, hub_same(h, 3));
	assert_same_tip(h, 3);
	for (uint32_t id = 1; id <= 3; id++) {
		assert_document(store_last(of(h, id), ENTRY_CONFIG), "c10");
		assert_document(store_last(of(h, id), ENTRY_RUNTIME), "c11");
		assert_int_equal(h->nodes[id].last_applied, store_position(of(h, id)));
	}
	hub_free(h);
}

static void the_hash_of_what_is_in_force_is_that_of_its_newest_entry(void **state)
{
	struct hub *h = hub_of_three();
	const enum entry_kind kinds[] = { ENTRY_CONFIG, ENTRY_RUNTIME, ENTRY_CONFIG };
	uint8_t before[ENTRY_HASH_LEN];

	UNUSED(state);
	for (uint32_t i = 0; i < ARRAY_LEN(kinds); i++) {
		memcpy(before, store_hash(of(h, 1)), sizeof(before));
		hub_append(h, i + 1, kinds[i], "same");
		HUB_UNTIL(h, hub_same(h, 3));
		for (uint32_t id = 1; id <= 3; id++) {
			assert_memory_equal(store_hash(of(h, id)), store_last(of(h, id), kinds[i])->hash, ENTRY_HASH_LEN);
			assert_memory_equal(store_hash(of(h, id)), store_hash(of(h, 1)), ENTRY_HASH_LEN);
		}
		assert_memory_not_equal(store_hash(of(h, 1)), before, ENTRY_HASH_LEN);
	}
	hub_free(h);
}

static void a_key_and_an_operation_are_known_on_every_node(void **state)
{
	struct hub *h = hub_of_three();
	uint8_t hash[ENTRY_HASH_LEN] = { 9 };
	struct store_write w = write_of(ENTRY_CONFIG, "once");

	UNUSED(state);
	w.operation = "op-1";
	w.idempotency_key = "k";
	w.request_hash = hash;
	uint64_t position = hub_write(h, 1, &w).result.position;
	HUB_UNTIL(h, hub_same(h, 3));
	w.operation = "op-2";
	struct outcome o = hub_write(h, 3, &w);
	assert_true(o.result.result == CORE_DUPLICATE && o.result.position == position);
	assert_int_equal(store_answer_find(of(h, 3), "k")->request_hash[0], 9);
	for (uint32_t id = 1; id <= 3; id++) {
		struct store_operation op = store_operation_find(of(h, id), "op-1");
		assert_true(op.state == OPERATION_COMMITTED && op.position == position && op.revision == 2);
		assert_int_equal(store_operation_find(of(h, id), "never").state, OPERATION_UNHEARD);
	}
	assert_int_equal(store_operation_find(of(h, 3), "op-2").state, OPERATION_NOT_MADE);
	hub_free(h);
}

/* It gets the log without the entry, and must tell a repetition from another use of the key all the same. */
static void a_key_whose_entry_is_gone_is_still_of_one_request(void **state)
{
	struct hub *h = xcalloc(1, sizeof(*h));
	uint8_t hash[ENTRY_HASH_LEN] = { 9 }, other[ENTRY_HASH_LEN] = { 8 };
	struct store_write w = write_of(ENTRY_RUNTIME, "once");

	UNUSED(state);
	hub_found(h);
	w.idempotency_key = "k";
	w.request_hash = hash;
	assert_int_equal(hub_write(h, 1, &w).result.result, CORE_COMMITTED);
	hub_append(h, 1, ENTRY_RUNTIME, "after it");
	of(h, 1)->compact_now = true;
	hub_append(h, 1, ENTRY_RUNTIME, "and the file is made anew");
	HUB_UNTIL(h, store_is_idle(of(h, 1)));
	hub_join(h, 2);
	HUB_VIEW(h, 1, 1, 2);
	HUB_UNTIL(h, hub_same(h, 2) && store_is_idle(of(h, 2)));
	for (int i = 0; i < 2; i++) { /* and after a restart */
		assert_null(store_answer_find(of(h, 2), "k"));
		assert_true(store_same_request(of(h, 2), "k", hash));
		assert_false(store_same_request(of(h, 2), "k", other));
		hub_close(h, 2);
		hub_back(h, 2, NULL);
	}
	HUB_VIEW(h, 1, 1, 2);
	HUB_UNTIL(h, store_quorate(of(h, 2)));
	assert_int_equal(hub_write(h, 2, &w).result.result, CORE_DUPLICATE);
	hub_free(h);
}

static enum operation_state operation(struct store *s, const char *id)
{
	return store_operation_find(s, id).state;
}

static void an_operation_of_a_log_that_is_void_is_not_committed(void **state)
{
	struct hub *h = hub_of_three();
	struct store_write w = write_of(ENTRY_CONFIG, "before");

	UNUSED(state);
	w.operation = "in-both";
	assert_int_equal(hub_write(h, 1, &w).result.result, CORE_COMMITTED);
	HUB_UNTIL(h, hub_same(h, 3));
	HUB_VIEW(h, 1, 1, 2);
	HUB_VIEW(h, 2, 3);
	HUB_UNTIL(h, store_quorate(of(h, 1)));
	w.operation = "lost";
	assert_int_equal(hub_write(h, 1, &w).result.result, CORE_COMMITTED);
	HUB_UNTIL(h, store_state(of(h, 3)) == CORE_MINORITY);
	HUB_UNTIL(h, store_force_quorum(of(h, 3)) == 0);
	HUB_UNTIL(h, store_quorate(of(h, 3)));
	hub_append(h, 3, ENTRY_CONFIG, "forced");
	assert_int_equal(operation(of(h, 1), "lost"), OPERATION_COMMITTED);
	HUB_VIEW(h, 3, 1, 3);
	HUB_UNTIL(h, store_position(of(h, 1)) == store_position(of(h, 3)) && h->nodes[1].n_reset > 0);
	assert_int_equal(operation(of(h, 1), "lost"), OPERATION_UNHEARD);
	assert_int_equal(operation(of(h, 1), "in-both"), OPERATION_COMMITTED);
	hub_free(h);
}

static void who_joins_or_leaves_knows_nothing_of_its_operations_before(void **state)
{
	struct hub *h = xcalloc(1, sizeof(*h));
	struct store_write w = write_of(ENTRY_CONFIG, "x");
	struct store *s = hub_open(h, 2, NULL);

	UNUSED(state);
	assert_int_equal(store_start(s), 0);
	assert_true(store_wait(s, WAIT_MS));
	for (int i = 0; i < 2; i++) {
		w.operation = i == 0 ? "alone" : "alone again";
		assert_int_equal(store_append(s, &w, NULL), 0);
		assert_int_equal(operation(s, w.operation), OPERATION_COMMITTED);
		h->nodes[2].last_applied = 0;
		assert_int_equal(i == 0 ? store_leave(s) : store_join(s, 2, HUB_CLUSTER, 0), 0);
		(void)!store_wait(s, 500);
		assert_int_equal(operation(s, w.operation), OPERATION_UNHEARD);
	}
	hub_free(h);
}

static void a_stale_writer_on_another_node_is_refused(void **state)
{
	struct hub *h = hub_of_three();
	struct store_write w = write_of(ENTRY_CONFIG, "late");

	UNUSED(state);
	w.expect_position = store_last(of(h, 2), ENTRY_CONFIG)->position;
	hub_append(h, 1, ENTRY_CONFIG, "first");
	assert_int_equal(hub_write(h, 2, &w).result.result, CORE_STALE);
	hub_free(h);
}

static void a_minority_reads_and_does_not_write_and_catches_up(void **state)
{
	struct hub *h = hub_of_three();
	struct store_write w = write_of(ENTRY_CONFIG, "x");
	struct outcome o = { 0 };

	UNUSED(state);
	HUB_VIEW(h, 1, 1, 2);
	HUB_VIEW(h, 2, 3);
	HUB_UNTIL(h, store_quorate(of(h, 1)) && store_state(of(h, 3)) == CORE_MINORITY);
	assert_int_equal(store_propose(of(h, 3), &w, on_outcome, &o), -ENOTCONN);
	uint32_t ids[CORE_MEMBERS_MAX];
	assert_int_equal(store_members(of(h, 1), ids), 2);
	hub_append(h, 2, ENTRY_CONFIG, "without the third");
	assert_document(store_last(of(h, 3), ENTRY_CONFIG), "doc-1");
	HUB_VIEW(h, 1, 1, 2, 3);
	HUB_UNTIL(h, hub_same(h, 3));
	assert_document(store_last(of(h, 3), ENTRY_CONFIG), "without the third");
	assert_true(o.times == 0 && h->nodes[3].n_lost == 0);
	assert_int_equal(h->nodes[3].n_reset, 1); /* when it joined */
	hub_free(h);
}

static void an_answer_that_cannot_be_known_is_unknown_and_the_operation_tells_later(void **state)
{
	struct hub *h = hub_of_three();
	struct store_write w = write_of(ENTRY_CONFIG, "in doubt");
	struct outcome o = { 0 };

	UNUSED(state);
	w.operation = "doubt";
	h->silent = true;
	assert_int_equal(store_propose(of(h, 2), &w, on_outcome, &o), 0);
	assert_int_equal(store_operation_find(of(h, 2), "doubt").state, OPERATION_PENDING);
	store_tick(of(h, 2), of(h, 2)->now_ms + CORE_DEADLINE_MS);
	assert_true(o.times == 1 && o.result.result == CORE_UNKNOWN);
	assert_int_equal(store_operation_find(of(h, 2), "doubt").state, OPERATION_UNKNOWN);
	h->silent = false;
	HUB_UNTIL(h, store_operation_find(of(h, 1), "doubt").state == OPERATION_COMMITTED);
	HUB_UNTIL(h, hub_same(h, 3));
	assert_int_equal(store_operation_find(of(h, 2), "doubt").state, OPERATION_COMMITTED);
	hub_free(h);
}

static void a_store_that_closes_answers_what_waits_once(void **state)
{
	struct hub *h = hub_of_three();
	struct store_write w = write_of(ENTRY_CONFIG, "x");
	struct outcome o = { 0 };

	UNUSED(state);
	h->silent = true;
	assert_int_equal(store_propose(of(h, 3), &w, on_outcome, &o), 0);
	assert_int_equal(store_propose(of(h, 3), &w, on_outcome, &o), 0);
	hub_close(h, 3);
	assert_int_equal(o.times, 2);
	assert_int_equal(o.result.result, CORE_UNKNOWN);
	hub_free(h);
}

static void a_transport_that_goes_ends_writes_and_not_reading(void **state)
{
	struct hub *h = hub_of_three();
	struct store_write w = write_of(ENTRY_CONFIG, "x");
	const struct transport_events *e = store_events(of(h, 2));
	struct outcome o = { 0 };
	uint32_t ids[CORE_MEMBERS_MAX];

	UNUSED(state);
	assert_int_equal(store_members(of(h, 2), ids), 3);
	e->disconnected(e->arg);
	assert_int_equal(store_state(of(h, 2)), CORE_OFFLINE);
	assert_int_equal(store_members(of(h, 2), ids), 0);
	assert_int_equal(store_propose(of(h, 2), &w, on_outcome, &o), -ENOTCONN);
	assert_document(store_last(of(h, 2), ENTRY_CONFIG), "doc-1");
	hub_free(h);
}

static void each_node_sees_what_the_others_say_of_themselves(void **state)
{
	struct hub *h = hub_of_three();

	UNUSED(state);
	assert_int_equal(store_soft(of(h, 2), STR("two is well")), 0);
	HUB_UNTIL(h, str_eq(store_soft_of(of(h, 3), 2), STR("two is well")));
	hub_free(h);
}

/* ---- damage ---- */

static void assert_mended(struct hub *h)
{
	hub_append(h, 1, ENTRY_CONFIG, "while it was away");
	HUB_VIEW(h, 1, 1, 2, 3);
	HUB_UNTIL(h, hub_same(h, 3) && store_can_vote(of(h, 3)));
	assert_document(store_last(of(h, 3), ENTRY_CONFIG), "while it was away");
	assert_document(store_revision(of(h, 3), 1), "doc-1");
	HUB_UNTIL(h, store_is_idle(of(h, 3)));
	hub_close(h, 3);
	hub_back(h, 3, NULL); /* nothing to warn of any more */
	HUB_VIEW(h, 1, 1, 2, 3);
	HUB_UNTIL(h, hub_same(h, 3) && store_can_vote(of(h, 3)));
}

static void a_damaged_log_of_a_member_is_mended_by_the_others(void **state)
{
	UNUSED(state);
	for (unsigned part = 0; part < 8; part++) {
		struct hub *h = hub_of_three();
		bool warned;

		hub_append(h, 1, ENTRY_CONFIG, "before");
		HUB_UNTIL(h, hub_same(h, 3));
		hub_close(h, 3);
		HUB_VIEW(h, 1, 1, 2);
		HUB_UNTIL(h, store_quorate(of(h, 1)));
		struct sbuf log = log_bytes(h->nodes[3].dir);
		size_t at = part == 0 ? 9 : log.n * part / 8; /* 9: in the header */
		log.p[part == 0 ? 17 : at] ^= 1;
		set_log_bytes(h->nodes[3].dir, log.p, log.n);
		sbuf_fini(&log);
		hub_back(h, 3, &warned);
		assert_true(warned);
		assert_false(store_can_vote(of(h, 3)));
		assert_mended(h);
		hub_free(h);
	}
}

static void a_lost_log_of_a_member_is_fetched(void **state)
{
	struct hub *h = hub_of_three();
	bool warned;

	UNUSED(state);
	hub_close(h, 3);
	HUB_VIEW(h, 1, 1, 2);
	HUB_UNTIL(h, store_quorate(of(h, 1)));
	char *path = path_in(h->nodes[3].dir, "store.log");
	assert_int_equal(unlink(path), 0);
	free(path);
	hub_back(h, 3, &warned);
	assert_true(warned);
	assert_mended(h);
	hub_free(h);
}

/* Killed before anything was written since: it must say so again. */
static void damage_is_said_until_something_was_written(void **state)
{
	struct hub *h = hub_of_three();
	bool warned;

	UNUSED(state);
	hub_close(h, 3);
	struct sbuf log = log_bytes(h->nodes[3].dir);
	log.p[log.n - 20] ^= 1;
	set_log_bytes(h->nodes[3].dir, log.p, log.n);
	sbuf_fini(&log);
	for (int i = 0; i < 2; i++) {
		hub_open(h, 3, &warned);
		assert_true(warned);
		assert_false(store_can_vote(of(h, 3)));
		hub_close(h, 3);
	}
	/* From the first write on the file is sound, and says itself that something is missing. */
	hub_back(h, 3, &warned);
	HUB_VIEW(h, 2, 3);
	HUB_UNTIL(h, store_is_idle(of(h, 3)) && store_state(of(h, 3)) == CORE_MINORITY);
	hub_close(h, 3);
	hub_open(h, 3, NULL);
	assert_false(store_can_vote(of(h, 3)));
	hub_free(h);
}

static void damage(struct hub *h, uint32_t id, unsigned part)
{
	struct sbuf log = log_bytes(h->nodes[id].dir);

	log.p[log.n * part / 8] ^= 1;
	set_log_bytes(h->nodes[id].dir, log.p, log.n);
	sbuf_fini(&log);
}

static void lose_log(struct hub *h, uint32_t id)
{
	char *path = path_in(h->nodes[id].dir, "store.log");

	assert_int_equal(unlink(path), 0);
	free(path);
}

static void assert_refuses(struct hub *h, uint32_t id, const char *part)
{
	char *why = open_fails(h->nodes[id].dir);

	if (strstr(why, "store.log") == NULL || strstr(why, part) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", why, part);
	free(why);
}

/* Nobody else has the log: as a node without a cluster it must say so, and not begin with less. */
static void the_only_voter_of_a_cluster_refuses_a_log_that_is_damaged_or_gone(void **state)
{
	UNUSED(state);
	for (unsigned part = 1; part <= 8; part++) {
		struct hub *h = xcalloc(1, sizeof(*h));
		hub_found(h);
		hub_append(h, 1, ENTRY_CONFIG, "of the cluster");
		HUB_UNTIL(h, store_is_idle(of(h, 1)));
		hub_close(h, 1);
		if (part < 8)
			damage(h, 1, part);
		else
			lose_log(h, 1);
		assert_refuses(h, 1, part < 8 ? "damaged at offset" : "it is gone");
		hub_free(h);
	}
}

static void the_first_member_is_mended_once_there_are_other_voters(void **state)
{
	UNUSED(state);
	for (unsigned part = 1; part <= 8; part++) {
		struct hub *h = hub_of_three();
		bool warned;
		HUB_UNTIL(h, store_is_idle(of(h, 1)));
		hub_close(h, 1);
		if (part < 8)
			damage(h, 1, part);
		else
			lose_log(h, 1);
		HUB_VIEW(h, 1, 2, 3);
		HUB_UNTIL(h, store_quorate(of(h, 2)));
		hub_back(h, 1, &warned);
		assert_true(warned);
		HUB_VIEW(h, 1, 1, 2, 3);
		HUB_UNTIL(h, hub_same(h, 3) && store_can_vote(of(h, 1)));
		assert_document(store_revision(of(h, 1), 1), "doc-1");
		hub_free(h);
	}
}

static void whoever_is_left_alone_refuses_damage_again(void **state)
{
	struct hub *h = hub_of_three();

	UNUSED(state);
	hub_vote(h, 3, 1); /* the others stay, without a vote */
	HUB_UNTIL(h, store_is_idle(of(h, 1)) && hub_same(h, 3));
	hub_close(h, 1);
	damage(h, 1, 6);
	assert_refuses(h, 1, "damaged at offset");
	hub_free(h);
}

static void all_lose_their_power_and_nothing_answered_is_missing(void **state)
{
	struct hub *h = hub_of_three();
	char document[16];

	UNUSED(state);
	for (unsigned i = 0; i < 6; i++) {
		snprintf(document, sizeof(document), "p%u", i);
		hub_append(h, i % 3 + 1, ENTRY_CONFIG, document);
	}
	for (uint32_t id = 1; id <= 3; id++)
		hub_close(h, id);
	for (uint32_t id = 1; id <= 3; id++)
		hub_back(h, id, NULL);
	HUB_VIEW(h, 1, 1, 2, 3);
	HUB_UNTIL(h, store_quorate(of(h, 1)) && hub_same(h, 3));
	for (uint32_t id = 1; id <= 3; id++)
		assert_document(store_last(of(h, id), ENTRY_CONFIG), "p5");
	hub_free(h);
}

int main(void)
{
#define T(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		T(a_running_node_becomes_the_first_of_a_cluster_with_its_log),
		T(founding_is_refused_where_it_makes_no_sense),
		T(a_cluster_of_two_is_not_founded_again_under_another_number),
		T(a_node_that_joins_gets_the_log_and_loses_its_own),
		TEST(a_crash_between_joining_and_a_new_log_does_not_bring_the_old_one_back),
		T(a_node_that_leaves_is_alone_with_an_empty_log),
		TEST(who_a_node_is_survives_the_loss_of_either_file),
		T(a_write_through_any_node_is_in_force_on_all),
		T(the_hash_of_what_is_in_force_is_that_of_its_newest_entry),
		T(a_key_and_an_operation_are_known_on_every_node),
		T(a_key_whose_entry_is_gone_is_still_of_one_request),
		T(an_operation_of_a_log_that_is_void_is_not_committed),
		T(who_joins_or_leaves_knows_nothing_of_its_operations_before),
		T(a_stale_writer_on_another_node_is_refused),
		T(a_minority_reads_and_does_not_write_and_catches_up),
		T(an_answer_that_cannot_be_known_is_unknown_and_the_operation_tells_later),
		T(a_store_that_closes_answers_what_waits_once),
		T(a_transport_that_goes_ends_writes_and_not_reading),
		T(each_node_sees_what_the_others_say_of_themselves),
		T(a_damaged_log_of_a_member_is_mended_by_the_others),
		T(a_lost_log_of_a_member_is_fetched),
		T(damage_is_said_until_something_was_written),
		T(the_only_voter_of_a_cluster_refuses_a_log_that_is_damaged_or_gone),
		T(the_first_member_is_mended_once_there_are_other_voters),
		T(whoever_is_left_alone_refuses_damage_again),
		T(all_lose_their_power_and_nothing_answered_is_missing),
	};

	log_init(LOG_TARGET_STDERR, LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
