/* SPDX-License-Identifier: Apache-2.0
 * Several stores in one process over a network in memory: messages in one order, groups as a test says.
 */
#ifndef POSTROAD_TESTS_HUB_FIXTURE_H
#define POSTROAD_TESTS_HUB_FIXTURE_H

#include "tests/unit/store/store_fixture.h"

#include <poll.h>

#include "cluster/core/voters.h"
#include "daemon/base/clock.h"

enum { HUB_NODES = 3, HUB_PACKETS = 4096, HUB_CLUSTER = 77 };

struct hub_node {
	struct hub *hub;
	uint32_t id;
	char *dir;
	struct store *store;
	struct transport transport;
	unsigned group; /* 0 = none */
	bool wants_view;
	/* what the hooks told */
	unsigned n_applied, n_reset, n_lost;
	uint64_t last_applied;
};

struct hub_packet {
	uint32_t sender;
	unsigned group;
	struct sbuf bytes;
};

struct hub {
	struct hub_node nodes[HUB_NODES + 1]; /* by id */
	struct hub_packet packets[HUB_PACKETS];
	size_t first, n;
	uint64_t ring;
	bool silent; /* messages are held */
};

static int hub_multicast(void *self, struct str bytes)
{
	struct hub_node *node = self;
	struct hub *h = node->hub;

	if (node->group == 0)
		return -ENOTCONN;
	assert_true(h->n < HUB_PACKETS);
	struct hub_packet *p = &h->packets[(h->first + h->n++) % HUB_PACKETS];
	*p = (struct hub_packet) { .sender = node->id, .group = node->group };
	sbuf_add(&p->bytes, bytes.p, bytes.n);
	return 0;
}

static void hub_resync(void *self)
{
	((struct hub_node *)self)->wants_view = true;
}

static void hub_applied(const struct entry *e, void *arg)
{
	struct hub_node *node = arg;

	assert_true(e->position > node->last_applied);
	node->last_applied = e->position;
	node->n_applied++;
}

static void hub_reset(void *arg)
{
	struct hub_node *node = arg;

	node->n_reset++;
	node->last_applied = 0;
}

static void hub_lost(const struct entry *e, bool committed, void *arg)
{
	UNUSED(e);
	UNUSED(committed);
	((struct hub_node *)arg)->n_lost++;
}

/* Opens a node's store; not started. *ret_warned may be NULL: then there must be nothing to warn of. */
static inline struct store *hub_open(struct hub *h, uint32_t id, bool *ret_warned)
{
	struct hub_node *node = &h->nodes[id];
	struct store_hooks hooks = { .arg = node, .applied = hub_applied, .reset = hub_reset, .lost = hub_lost };

	node->hub = h;
	node->id = id;
	if (node->dir == NULL)
		node->dir = dir_new();
	node->store = open_only(node->dir, ret_warned);
	node->last_applied = store_position(node->store);
	node->transport = (struct transport) { .self = node, .multicast = hub_multicast, .resync = hub_resync };
	store_set_hooks(node->store, &hooks);
	return node->store;
}

static inline void hub_close(struct hub *h, uint32_t id)
{
	store_close(h->nodes[id].store);
	h->nodes[id].store = NULL;
	h->nodes[id].group = 0;
}

static bool hub_deliver_one(struct hub *h)
{
	if (h->n == 0 || h->silent)
		return false;
	struct hub_packet p = h->packets[h->first];
	h->first = (h->first + 1) % HUB_PACKETS;
	h->n--;
	for (uint32_t id = 1; id <= HUB_NODES; id++) {
		struct hub_node *node = &h->nodes[id];
		if (node->store != NULL && p.group != 0 && node->group == p.group) {
			const struct transport_events *e = store_events(node->store);
			e->deliver(e->arg, p.sender, (struct str) { p.bytes.p, p.bytes.n });
		}
	}
	sbuf_fini(&p.bytes);
	return true;
}

static inline void hub_drop(struct hub *h)
{
	while (h->n > 0) {
		sbuf_fini(&h->packets[h->first].bytes);
		h->first = (h->first + 1) % HUB_PACKETS;
		h->n--;
	}
}

static inline void hub_view(struct hub *h, unsigned group, const uint32_t *ids, size_t n)
{
	h->ring++;
	for (size_t i = 0; i < n; i++) {
		h->nodes[ids[i]].group = group;
		for (size_t k = 0; k < h->n; k++) { /* what they sent in their last view is lost */
			struct hub_packet *p = &h->packets[(h->first + k) % HUB_PACKETS];
			p->group = p->sender == ids[i] ? 0 : p->group;
		}
	}
	for (size_t i = 0; i < n; i++) {
		struct hub_node *node = &h->nodes[ids[i]];
		const struct transport_events *e = store_events(node->store);
		node->wants_view = false;
		e->view(e->arg, (struct core_view_id) { h->ring, ids[0] }, ids, n);
	}
}
#define HUB_VIEW(h, group, ...)                                                                                        \
	hub_view(h, group, (uint32_t[]) { __VA_ARGS__ }, sizeof((uint32_t[]) { __VA_ARGS__ }) / sizeof(uint32_t))

/* One round of everything; waits a little for disks where nothing moved. */
static inline void hub_turn(struct hub *h)
{
	struct pollfd fds[HUB_NODES];
	nfds_t n = 0;
	bool moved = false;

	while (hub_deliver_one(h))
		moved = true;
	for (uint32_t id = 1; id <= HUB_NODES; id++) {
		struct hub_node *node = &h->nodes[id];
		if (node->store == NULL)
			continue;
		if (node->store->now_ms < (uint64_t)clock_mono_ms())
			store_tick(node->store, (uint64_t)clock_mono_ms());
		fds[n++] = (struct pollfd) { .fd = store_fd(node->store), .events = POLLIN };
	}
	if (!moved && h->n == 0)
		(void)!poll(fds, n, 20);
	for (uint32_t id = 1; id <= HUB_NODES; id++)
		if (h->nodes[id].store != NULL)
			store_dispatch(h->nodes[id].store);
}

/* Turns until the condition holds; fails where it does not come to hold. */
#define HUB_UNTIL(h, condition)                                                                                        \
	for (int64_t hub_end = clock_mono_ms() + WAIT_MS; !(condition); hub_turn(h))                                   \
		if (clock_mono_ms() > hub_end)                                                                         \
	fail_msg("did not come: %s", #condition)

static inline struct outcome hub_write(struct hub *h, uint32_t id, const struct store_write *w)
{
	struct outcome o = { 0 };

	assert_int_equal(store_propose(h->nodes[id].store, w, on_outcome, &o), 0);
	HUB_UNTIL(h, o.times > 0);
	assert_int_equal(o.times, 1);
	return o;
}

static inline void hub_append(struct hub *h, uint32_t id, enum entry_kind kind, const char *document)
{
	struct store_write w = write_of(kind, document);

	assert_int_equal(hub_write(h, id, &w).result.result, CORE_COMMITTED);
}

/* A table of the first n nodes, of which `voting` vote. */
static inline struct sbuf hub_table(struct hub *h, size_t n, size_t voting)
{
	struct voters v = { .n = n, .tie_breaker = voting == 2 ? 1 : 0 };
	struct sbuf document = { 0 };

	for (uint32_t id = 1; id <= n; id++) {
		struct store_identity i = store_identity(h->nodes[id].store);
		v.list[id - 1] = (struct voter) { .id = id, .instance = i.instance, .votes = id <= voting };
		snprintf(v.list[id - 1].name, sizeof(v.list[0].name), "node-%u", id);
		assert_int_equal(i.id, id);
	}
	voters_encode(&v, &document);
	return document;
}

static inline void hub_vote(struct hub *h, size_t n, size_t voting)
{
	struct sbuf document = hub_table(h, n, voting);
	struct store_write w = write_of(ENTRY_MEMBERSHIP, "");
	enum core_result result;

	w.document = (struct str) { document.p, document.n };
	do /* refused until those who are to vote have written the log */
		result = hub_write(h, 1, &w).result.result;
	while (result == CORE_REFUSED);
	assert_int_equal(result, CORE_COMMITTED);
	sbuf_fini(&document);
}

static inline bool hub_same(struct hub *h, size_t n)
{
	for (uint32_t id = 2; id <= n; id++)
		if (h->nodes[id].store == NULL ||
		    store_position(h->nodes[id].store) != store_position(h->nodes[1].store))
			return false;
	return true;
}

/* Node 1 as a single node with two writes, then the first of a cluster. */
static inline void hub_found(struct hub *h)
{
	struct outcome o = { 0 };
	struct store *s = hub_open(h, 1, NULL);

	assert_int_equal(store_start(s), 0);
	assert_true(store_wait(s, WAIT_MS));
	append_n(s, 1, 2);
	struct sbuf table = hub_table(h, 1, 1);
	assert_int_equal(store_found(s, HUB_CLUSTER, (struct str) { table.p, table.n }, on_outcome, &o), 0);
	assert_true(store_wait(s, WAIT_MS));
	assert_true(o.times == 1 && o.result.result == CORE_COMMITTED && o.result.position == 3);
	store_attach(s, &h->nodes[1].transport);
	HUB_VIEW(h, 1, 1);
	HUB_UNTIL(h, store_quorate(s));
	sbuf_fini(&table);
}

/* A node that was never there, as a member that does not vote yet. */
static inline void hub_join(struct hub *h, uint32_t id)
{
	struct store *s = hub_open(h, id, NULL);

	assert_int_equal(store_join(s, id, HUB_CLUSTER, 0), 0);
	store_attach(s, &h->nodes[id].transport);
	assert_int_equal(store_start(s), 0);
}

static inline void hub_back(struct hub *h, uint32_t id, bool *ret_warned)
{
	struct store *s = hub_open(h, id, ret_warned);

	store_attach(s, &h->nodes[id].transport);
	assert_int_equal(store_start(s), 0);
}

/* Three voters with the same log. */
static inline struct hub *hub_of_three(void)
{
	struct hub *h = xcalloc(1, sizeof(*h));

	hub_found(h);
	hub_join(h, 2);
	hub_join(h, 3);
	HUB_VIEW(h, 1, 1, 2, 3);
	HUB_UNTIL(h, store_quorate(h->nodes[1].store) && hub_same(h, 3));
	hub_vote(h, 3, 2);
	hub_vote(h, 3, 3);
	HUB_UNTIL(h, hub_same(h, 3));
	return h;
}

static inline void hub_free(struct hub *h)
{
	for (uint32_t id = 1; id <= HUB_NODES; id++) {
		store_close(h->nodes[id].store);
		if (h->nodes[id].dir != NULL)
			dir_free(h->nodes[id].dir);
	}
	hub_drop(h);
	free(h);
}

#endif
