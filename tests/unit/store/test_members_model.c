/* SPDX-License-Identifier: Apache-2.0
 * The table of nodes under any interleaving: requests, steps, nodes that die between steps and return, forced quorums.
 * A small model of a cluster keeps the rules by which the core takes or refuses a table, and has a ring for each key
 * that some corosync has read: with different keys they do not hear each other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/store/members_fixture.h"

enum { MACHINES = 9, SCHEDULES = 200, STEPS = 500, GENERATIONS = 1024, QUIET_ROUNDS = 600 };

struct machine {
	bool used, up, synced, purged;
	uint32_t id;
	uint64_t instance;
	uint64_t staged, installed, active;
	uint8_t staged_hash[MEMBERS_HASH_LEN];
};

struct world {
	uint64_t seed, state;
	struct members *t; /* the committed table */
	struct machine m[MACHINES];
	uint64_t instances;
	double now;
	bool has_hash[GENERATIONS];
	uint8_t hash[GENERATIONS][MEMBERS_HASH_LEN];
	uint8_t key[GENERATIONS][MEMBERS_HASH_LEN]; /* of corosync, with the file of that generation */
	uint32_t highest_id;
	unsigned committed, done[MEMBERS_DO_COUNT], kinds[MEMBERS_KIND_COUNT];
};

static uint32_t roll(struct world *w, uint32_t n)
{
	w->state = w->state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(w->state >> 33) % n;
}

#define HOLDS(w, cond)                                                                                                 \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			print_error("seed %llu: %s\n", (unsigned long long)(w)->seed, #cond);                          \
			fail();                                                                                        \
		}                                                                                                      \
	} while (0)

/* ---- what the nodes see ---- */

static const struct machine *machine_of(const struct world *w, uint32_t id, uint64_t instance)
{
	for (size_t i = 0; i < MACHINES; i++)
		if (w->m[i].used && w->m[i].id == id && w->m[i].instance == instance)
			return &w->m[i];
	return NULL;
}

static bool has_ring(const struct machine *m)
{
	return m->used && m->up && !m->purged && m->synced;
}

static bool in_ring(const struct world *w, const struct machine *m, const uint8_t *key)
{
	return has_ring(m) && memcmp(w->key[m->active], key, MEMBERS_HASH_LEN) == 0;
}

static voters_set ring_of(const struct world *w, const struct members *t, const uint8_t *key)
{
	voters_set set = 0;

	for (size_t i = 0; i < t->n; i++) {
		const struct machine *m = machine_of(w, t->list[i].id, t->list[i].instance);
		if (m != NULL && in_ring(w, m, key))
			set |= (voters_set)1 << i;
	}
	return set;
}

static bool is_quorate(const struct world *w, const uint8_t *key)
{
	struct voters v;
	voters_set here = ring_of(w, w->t, key);

	members_voters(w->t, &v);
	return voters_quorum(&v, here, here);
}

/* The key of the ring that may write, or of any where none may. NULL: nobody is up. */
static const uint8_t *ring(const struct world *w)
{
	const uint8_t *any = NULL;

	for (size_t i = 0; i < MACHINES; i++) {
		const uint8_t *key = w->key[w->m[i].active];
		if (!has_ring(&w->m[i]))
			continue;
		if (is_quorate(w, key))
			return key;
		any = key;
	}
	return any;
}

static bool in_view(const struct world *w, const struct members_node *n)
{
	const struct machine *m = machine_of(w, n->id, n->instance);
	const uint8_t *key = ring(w);

	return m != NULL && key != NULL && in_ring(w, m, key);
}

static voters_set here_of(const struct world *w, const struct members *t)
{
	const uint8_t *key = ring(w);

	return key == NULL ? 0 : ring_of(w, t, key);
}

static bool quorate(const struct world *w)
{
	const uint8_t *key = ring(w);

	return key != NULL && is_quorate(w, key);
}

/* me: NULL = some member that may write. Who joins is in no ring, and calls. */
static void look(const struct world *w, const struct machine *me, struct fixture_view *v)
{
	const uint8_t *key = me != NULL && has_ring(me) ? w->key[me->active] : ring(w);

	memset(v, 0, sizeof(*v));
	v->view = (struct members_view) { .self = me != NULL ? me->id : 0,
					  .quorate = key != NULL && is_quorate(w, key),
					  .now = w->now,
					  .change_age = w->now - w->t->change.started,
					  .seen = v->seen };
	for (size_t i = 0; i < MACHINES; i++) {
		const struct machine *m = &w->m[i];
		if (!m->used)
			continue;
		struct members_seen *s = &v->seen[v->view.n++];
		bool heard = m == me || (has_ring(m) ? key != NULL && in_ring(w, m, key) : m->up && !m->purged);
		*s = (struct members_seen) { .id = m->id,
					     .instance = m->instance,
					     .present = heard,
					     .synced = heard && has_ring(m),
					     .staged = m->staged,
					     .installed = m->installed,
					     .active = m->active };
		memcpy(s->staged_hash, m->staged_hash, sizeof(s->staged_hash));
	}
}

/* ---- the log ---- */

static void note_generation(struct world *w, const struct members *t, uint64_t generation)
{
	uint8_t hash[MEMBERS_HASH_LEN];

	HOLDS(w, generation > 0 && generation < GENERATIONS);
	members_file_hash(t, generation, hash);
	HOLDS(w, !w->has_hash[generation] || memcmp(hash, w->hash[generation], sizeof(hash)) == 0);
	memcpy(w->hash[generation], hash, sizeof(hash));
	w->has_hash[generation] = true;
	bool next = t->change.kind != MEMBERS_NONE && t->change.step == MEMBERS_PREPARE &&
		    generation == t->change.generation && t->change.rotates;
	memcpy(w->key[generation], next ? t->change.key : t->key, MEMBERS_HASH_LEN);
}

/* As cluster/core/order.c judges a table. */
static bool core_takes(const struct world *w, const struct members *t)
{
	struct voters before, after;

	members_voters(w->t, &before);
	members_voters(t, &after);
	if (voters_check(&after) != NULL || !quorate(w))
		return false;
	for (size_t i = 0; i < after.n; i++) {
		int old = voters_index(&before, after.list[i].id, after.list[i].instance);
		bool new_vote = after.list[i].votes > 0 && (old < 0 || before.list[old].votes == 0);
		if (new_vote && !in_view(w, &t->list[i]))
			return false;
	}
	return voters_quorum(&after, here_of(w, t), here_of(w, t));
}

static void replace_table(struct world *w, struct members *t)
{
	members_free(w->t);
	w->t = t;
	HOLDS(w, members_check(t) == NULL);
	note_generation(w, t, t->generation);
	if (t->change.kind != MEMBERS_NONE)
		note_generation(w, t, t->change.generation);
	HOLDS(w, t->next_id > w->highest_id);
	w->highest_id = t->next_id - 1;
	for (size_t i = 0; i < t->n; i++)
		for (size_t k = 0; k < t->n_removed; k++)
			HOLDS(w, t->list[i].id != t->removed[k].id);
	w->committed++;
}

/* Through its bytes, as each node sees it. Takes t. */
static void commit(struct world *w, struct members *t)
{
	struct sbuf bytes = { 0 }, again = { 0 };
	char *why;

	HOLDS(w, core_takes(w, t));
	members_encode(t, &bytes);
	struct members *back = members_follow(w->t, (struct str) { bytes.p, bytes.n }, &why);
	HOLDS(w, back != NULL);
	members_encode(back, &again);
	HOLDS(w, bytes.n == again.n && memcmp(bytes.p, again.p, bytes.n) == 0);
	sbuf_fini(&bytes);
	sbuf_fini(&again);
	members_free(t);
	replace_table(w, back);
}

static bool commit_if(struct world *w, struct members *t)
{
	if (t == NULL)
		return false;
	if (!quorate(w)) {
		members_free(t);
		return false;
	}
	commit(w, t);
	return true;
}

/* ---- what a machine does ---- */

static void put_in_place(struct world *w, struct machine *m, bool start)
{
	m->installed = w->t->generation;
	if (start) {
		m->active = m->installed;
		m->synced = true;
	}
}

/* A node without a quorum, or just started: a member tells it where the cluster is. */
static void ask(struct world *w, struct machine *m)
{
	const struct members_node *n = members_find(w->t, m->id);

	if (n == NULL || n->instance != m->instance || (n->until != 0 && !members_in_file(n, w->t->generation)))
		m->purged = true;
	else if (members_in_file(n, w->t->generation) && n->state != MEMBERS_JOINING)
		/* Its corosync is started, if it does not run: then it has read another file. */
		put_in_place(w, m, !m->synced);
}

/* All of one ring read their file. */
static void reload(struct world *w, const struct machine *me)
{
	const uint8_t *key = w->key[me->active];
	uint8_t before[MEMBERS_HASH_LEN];

	memcpy(before, key, sizeof(before));
	for (size_t i = 0; i < MACHINES; i++)
		if (in_ring(w, &w->m[i], before))
			w->m[i].active = w->m[i].installed;
}

/* Only what everybody has may come into force; whoever joins has it even where that is forced. */
static void all_have_it(const struct world *w)
{
	const struct members_change *c = &w->t->change;

	for (size_t i = 0; i < w->t->n; i++) {
		const struct members_node *n = &w->t->list[i];
		const struct machine *m = machine_of(w, n->id, n->instance);
		bool spared = c->forced && n->state != MEMBERS_JOINING && !in_view(w, n);
		if (members_in_file(n, c->generation) && !spared)
			HOLDS(w, m != NULL && m->staged == c->generation);
	}
}

static void turn(struct world *w, struct machine *m)
{
	struct fixture_view v;
	struct members_action a;
	struct members_refusal why;

	look(w, m, &v);
	members_next(w->t, &v.view, &a);
	w->done[a.what]++;
	if (a.what == MEMBERS_DO_PURGE)
		m->purged = true;
	else if (a.what == MEMBERS_DO_ASK)
		ask(w, m);
	else if (a.what == MEMBERS_DO_STAGE) {
		m->staged = w->t->change.generation;
		members_file_hash(w->t, m->staged, m->staged_hash);
	} else if (a.what == MEMBERS_DO_INSTALL)
		put_in_place(w, m, !m->synced);
	else if (a.what == MEMBERS_DO_RELOAD)
		reload(w, m);
	else if (a.what >= MEMBERS_DO_COMPLETE) {
		struct members *t = members_take(w->t, &v.view, &a, &why);
		if (a.what == MEMBERS_DO_ACTIVATE)
			all_have_it(w);
		HOLDS(w, t != NULL || why.code == MEMBERS_ABSENT);
		if (t != NULL && roll(w, 25) == 0) {
			/* It dies with the proposal on its way: nobody has it. */
			m->up = m->synced = false;
			members_free(t);
		} else if (commit_if(w, t) && roll(w, 25) == 0) {
			m->up = m->synced = false;
		}
	}
}

/* ---- what people and fate do ---- */

static struct machine *some(struct world *w)
{
	return &w->m[roll(w, MACHINES)];
}

static void new_key(struct world *w, uint8_t key[MEMBERS_HASH_LEN])
{
	for (size_t i = 0; i < MEMBERS_HASH_LEN; i++)
		key[i] = (uint8_t)roll(w, 256);
}

static void come(struct world *w, const struct fixture_view *v, const char *whom)
{
	char replaces[MEMBERS_NAME_MAX + 1]; /* whom it is of the table that is about to be freed */
	struct members_refusal why;
	struct machine *m = some(w);
	uint8_t key[MEMBERS_HASH_LEN];
	struct members_token k = fixture_token("aa", "");
	struct members_node n = fixture_node((unsigned)(m - w->m) + 1, 1);

	if (m->used && !m->purged)
		return;
	snprintf(replaces, sizeof(replaces), "%s", whom);
	snprintf(k.replaces, sizeof(k.replaces), "%s", whom);
	new_key(w, key);
	snprintf(k.id, sizeof(k.id), "%08x", roll(w, UINT32_MAX));
	k.expires = w->now + 1;
	n.instance = ++w->instances + 1000;
	if (replaces[0] != '\0')
		snprintf(n.name, sizeof(n.name), "%s", replaces);
	n.voter_only = k.voter_only = roll(w, 4) == 0;
	if (!commit_if(w, members_token_add(w->t, &k, w->now, &why)))
		return;
	uint32_t id = w->t->next_id;
	if (!commit_if(w, members_join(w->t, &v->view,
				       &(struct members_request) { k.id, &n, replaces[0] != '\0' ? key : NULL,
								   roll(w, 3) == 0 },
				       &why)))
		return;
	w->kinds[w->t->change.kind]++;
	*m = (struct machine) { .used = true, .up = true, .id = id, .instance = n.instance };
}

static const char *somebody_absent(struct world *w)
{
	for (size_t i = 0; i < w->t->n; i++)
		if (!in_view(w, &w->t->list[i]))
			return w->t->list[i].name;
	return w->t->list[roll(w, (uint32_t)w->t->n)].name;
}

static void ask_for_something(struct world *w)
{
	struct fixture_view v;
	struct members_refusal why;
	struct machine *m = some(w);
	uint8_t key[MEMBERS_HASH_LEN];
	struct members *to = NULL;

	look(w, NULL, &v);
	new_key(w, key);
	const struct members_request r = { NULL, NULL, roll(w, 2) == 0 ? key : NULL, roll(w, 3) == 0 };
	switch (roll(w, 9)) {
	case 0:
	case 1:
	case 2:
		come(w, &v, "");
		return;
	case 3:
		come(w, &v, somebody_absent(w));
		return;
	case 4:
		to = members_leave(w->t, &v.view, m->id, r.key, &why);
		break;
	case 5:
		to = members_remove(w->t, &v.view, m->id, &r, &why);
		break;
	case 6:
		to = members_rotate(w->t, &v.view, key, &why);
		break;
	case 7:
		to = roll(w, 2) == 0 ? members_rekey(w->t, &v.view, key, &why) : members_cancel(w->t, &v.view, &why);
		break;
	default:
		to = members_hand_over(w->t, &v.view, m->id, &why);
	}
	if (to != NULL)
		w->kinds[to->change.kind]++;
	commit_if(w, to);
}

/* As core_force_quorum(): a head of those that are here. */
static void force(struct world *w)
{
	struct voters v;
	struct sbuf bytes = { 0 };
	uint32_t lowest = 0;
	size_t kept = 0, voting = 0;
	char *why;

	members_voters(w->t, &v);
	for (size_t i = 0; i < v.n; i++) {
		if (!in_view(w, &w->t->list[i]))
			continue;
		voting += v.list[i].votes > 0;
		lowest = lowest == 0 && v.list[i].votes > 0 ? v.list[i].id : lowest;
		v.list[kept++] = v.list[i];
	}
	v.n = kept;
	v.forced = true;
	v.tie_breaker = voting == 2 ? lowest : 0;
	if (voters_check(&v) == NULL) {
		voters_encode(&v, &bytes);
		struct members *t = members_follow(w->t, (struct str) { bytes.p, bytes.n }, &why);
		HOLDS(w, t != NULL && t->bare && t->n == w->t->n);
		replace_table(w, t);
	}
	sbuf_fini(&bytes);
}

static void fate(struct world *w)
{
	struct machine *m = some(w);

	if (roll(w, 5) > 0) {
		m->up = m->used;
		if (m->used && m->id != 0)
			ask(w, m);
	} else {
		m->up = m->synced = false;
	}
	if (roll(w, 12) == 0 && !quorate(w))
		force(w);
	if (roll(w, 4) == 0)
		w->now += roll(w, 90);
}

static void everybody(struct world *w)
{
	for (size_t i = 0; i < MACHINES; i++)
		if (w->m[i].used && w->m[i].up && !w->m[i].purged)
			turn(w, &w->m[i]);
}

/* ---- how it must end ---- */

static void all_come_back(struct world *w)
{
	for (size_t i = 0; i < MACHINES; i++)
		if (w->m[i].used && !w->m[i].up) {
			w->m[i].up = true;
			ask(w, &w->m[i]);
		}
}

static bool settled(const struct world *w)
{
	if (w->t->change.kind != MEMBERS_NONE || w->t->bare)
		return false;
	for (size_t i = 0; i < w->t->n; i++) {
		const struct machine *m = machine_of(w, w->t->list[i].id, w->t->list[i].instance);
		if (m == NULL || !m->synced || m->purged || m->active != w->t->generation || w->t->list[i].votes != 1)
			return false;
	}
	return true;
}

static void it_settles(struct world *w)
{
	for (unsigned i = 0; i < QUIET_ROUNDS && !settled(w); i++) {
		all_come_back(w);
		everybody(w);
		w->now += 1;
	}
	HOLDS(w, settled(w));
	for (size_t i = 0; i < MACHINES; i++) {
		struct machine *m = &w->m[i];
		if (!m->used || m->purged)
			continue;
		turn(w, m);
		HOLDS(w, m->purged == (members_find(w->t, m->id) == NULL));
	}
}

static void one_schedule(uint64_t seed, struct world *total)
{
	struct world w = { .seed = seed, .state = seed * 2654435761u + 1, .now = FIXTURE_NOW, .highest_id = 0 };

	w.t = fixture_first(1);
	w.m[0] = (struct machine) { .used = true, .up = true, .synced = true, .id = 1, .instance = 101 };
	w.m[0].installed = w.m[0].active = w.m[0].staged = 1;
	note_generation(&w, w.t, 1);
	w.highest_id = 1;
	for (unsigned i = 0; i < STEPS; i++) {
		uint32_t what = roll(&w, 10);
		if (what == 0)
			ask_for_something(&w);
		else if (what == 1)
			fate(&w);
		else if (what == 2)
			everybody(&w);
		else if (some(&w)->used) {
			struct machine *m = some(&w);
			if (m->used && m->up && !m->purged)
				turn(&w, m);
		}
	}
	it_settles(&w);
	for (size_t i = 0; i < MEMBERS_DO_COUNT; i++)
		total->done[i] += w.done[i];
	for (size_t i = 0; i < MEMBERS_KIND_COUNT; i++)
		total->kinds[i] += w.kinds[i];
	total->committed += w.committed;
	members_free(w.t);
}

static void any_interleaving_ends_in_a_stated_state(void **state)
{
	UNUSED(state);
	struct world total = { 0 };
	const char *seed = getenv("SEED");

	for (uint64_t i = seed != NULL ? strtoull(seed, NULL, 10) : 1; i <= SCHEDULES; i++) {
		one_schedule(i, &total);
		if (seed != NULL)
			return;
	}
	/* Schedules that never got anywhere would prove nothing. */
	for (size_t i = MEMBERS_DO_WAIT; i < MEMBERS_DO_COUNT; i++)
		if (i != MEMBERS_DO_FEATURES && total.done[i] == 0)
			fail_msg("nobody ever did: %s", members_do_names[i]);
	for (size_t i = MEMBERS_JOIN; i < MEMBERS_KIND_COUNT; i++)
		if (total.kinds[i] < SCHEDULES / 10)
			fail_msg("hardly anybody asked for: %s", members_kind_names[i]);
	assert_true(total.committed > 20 * SCHEDULES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_interleaving_ends_in_a_stated_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
