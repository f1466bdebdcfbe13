/* SPDX-License-Identifier: Apache-2.0
 * Who else there is: nobody (messages come back to the one node), or whoever the transport hears. And how a node
 * changes from one to the other.
 *
 * The hard thing is a crash between two files. Who the node is gets written first; a log of another life is known by
 * its instance, and is not believed.
 */
#include <errno.h>
#include <stdlib.h>

#include "cluster/core/voters.h"
#include "cluster/store/store_private.h"

/* ---- alone ---- */

static void drop_packets(struct store *s)
{
	while (!list_empty(&s->packets)) {
		struct packet *p = LIST_FIRST(&s->packets, struct packet, link);
		list_remove(&p->link);
		sbuf_fini(&p->bytes);
		free(p);
	}
}

bool group_deliver_one(struct store *s)
{
	if (list_empty(&s->packets))
		return false;
	struct packet *p = LIST_FIRST(&s->packets, struct packet, link);
	list_remove(&p->link);
	core_deliver(s->core, s->disk.identity.id, (struct str) { p->bytes.p, p->bytes.n });
	sbuf_fini(&p->bytes);
	free(p);
	return true;
}

void group_view_of_self(struct store *s)
{
	s->wants_view = false;
	drop_packets(s);
	s->members[0] = s->disk.identity.id;
	s->n_members = 1;
	core_view(s->core, (struct core_view_id) { ++s->ring, s->disk.identity.id }, s->members, 1);
}

int group_multicast(struct store *s, struct str bytes)
{
	if (s->transport != NULL)
		return s->transport->multicast(s->transport->self, bytes) == 0 ? 0 : -EAGAIN;
	/* At most CORE_IN_FLIGHT_MAX are here at a time. */
	struct packet *p = xcalloc(1, sizeof(*p));
	sbuf_add(&p->bytes, bytes.p, bytes.n);
	list_append(&s->packets, &p->link);
	return 0;
}

void group_resync(struct store *s)
{
	if (s->transport != NULL)
		s->transport->resync(s->transport->self);
	else
		s->wants_view = true; /* with the next tick: what went wrong once may do so again at once */
}

/* ---- with a transport ---- */

static void on_view(void *arg, struct core_view_id view, const uint32_t *members, size_t n)
{
	struct store *s = arg;

	CHECK_OBJ(s, STORE_MAGIC);
	if (s->transport == NULL || !s->started)
		return;
	memcpy(s->members, members, n * sizeof(*members));
	s->n_members = n;
	core_view(s->core, view, members, n);
	store_run(s);
}

static void on_deliver(void *arg, uint32_t sender, struct str bytes)
{
	struct store *s = arg;

	CHECK_OBJ(s, STORE_MAGIC);
	if (s->transport == NULL || s->n_members == 0)
		return;
	core_deliver(s->core, sender, bytes);
	store_run(s);
}

static void on_disconnected(void *arg)
{
	struct store *s = arg;

	CHECK_OBJ(s, STORE_MAGIC);
	if (s->transport == NULL)
		return;
	s->n_members = 0;
	core_disconnected(s->core);
	store_run(s);
}

void group_table(struct store *s, const struct entry *e)
{
	struct identity *i = &s->disk.identity;
	struct voters table;
	bool alone = true;

	if (e == NULL || i->cluster == 0 || !voters_decode(e->document, &table))
		return;
	for (size_t k = 0; k < table.n; k++)
		alone = alone && (table.list[k].id == i->id || table.list[k].votes == 0);
	s->disk.save = s->disk.save || alone != i->alone;
	i->alone = alone;
}

void group_init(struct store *s)
{
	list_init(&s->packets);
	s->events = (struct transport_events) {
		.arg = s, .view = on_view, .deliver = on_deliver, .disconnected = on_disconnected
	};
}

void group_fini(struct store *s)
{
	drop_packets(s);
}

void store_attach(struct store *s, const struct transport *t)
{
	CHECK_OBJ(s, STORE_MAGIC);
	s->transport = t;
	s->n_members = 0;
	drop_packets(s);
	core_disconnected(s->core);
	if (t == NULL && s->started)
		group_view_of_self(s);
	store_wake(s);
}

const struct transport_events *store_events(struct store *s)
{
	CHECK_OBJ(s, STORE_MAGIC);
	return &s->events;
}

/* ---- another life ---- */

struct store_identity store_identity(const struct store *s)
{
	CHECK_OBJ(s, STORE_MAGIC);
	const struct identity *i = &s->disk.identity;

	return (struct store_identity) { i->id, i->instance, i->cluster, i->joined };
}

static bool is_busy(const struct store *s)
{
	return s->transport != NULL || s->busy || s->wanted || !list_empty(&s->proposals) || s->running;
}

static bool is_table_of(const struct identity *i, struct str document)
{
	struct voters table;

	return voters_decode(document, &table) && table.n == 1 && table.list[0].id == i->id &&
	       table.list[0].instance == i->instance;
}

/* The table in force names others, who know the cluster by its number. */
static bool has_others(const struct store *s)
{
	const struct entry *e = store_last(s, ENTRY_MEMBERSHIP);

	return e != NULL && !is_table_of(&s->disk.identity, e->document);
}

int store_found(struct store *s, uint64_t cluster, struct str table, store_done_fn *fn, void *arg)
{
	CHECK_OBJ(s, STORE_MAGIC);
	struct identity i = s->disk.identity;
	struct store_write w = { .kind = ENTRY_MEMBERSHIP,
				 .author = "cluster",
				 .comment = "the first member of a cluster",
				 .document = table };

	if (i.joined)
		return -EPERM;
	if (cluster == 0 || !is_table_of(&i, table))
		return -EINVAL;
	if (is_busy(s))
		return -EBUSY;
	if (core_state(s->core) != CORE_ACTIVE || s->disk_error != 0)
		return -ENOTCONN;
	if (cluster != i.cluster && has_others(s))
		return -EALREADY;
	i.cluster = cluster;
	i.alone = true;
	int err = disk_become(&s->disk, &i);
	if (err != 0)
		return err;
	err = core_set_cluster(s->core, cluster);
	if (err != 0)
		return err;
	return store_last(s, ENTRY_MEMBERSHIP) != NULL ? -EALREADY : store_propose(s, &w, fn, arg);
}

static int become(struct store *s, const struct identity *i)
{
	if (is_busy(s))
		return -EBUSY;
	int err = disk_become(&s->disk, i);
	if (err != 0)
		return err;
	core_free(s->core);
	drop_packets(s);
	s->n_members = 0;
	applied_fini(&s->applied);
	applied_init(&s->applied);
	propose_void(s, true);
	note_add(s, &(struct note) { .kind = NOTE_RESET });
	store_make_core(s);
	if (s->started)
		group_view_of_self(s);
	store_wake(s);
	return 0;
}

int store_join(struct store *s, uint32_t id, uint64_t cluster, uint64_t instance)
{
	CHECK_OBJ(s, STORE_MAGIC);
	if (id == 0 || cluster == 0)
		return -EINVAL;
	struct identity i = identity_new(id, cluster, true);
	if (instance != 0)
		i.instance = instance;
	return become(s, &i);
}

int store_leave(struct store *s)
{
	CHECK_OBJ(s, STORE_MAGIC);
	struct identity i = identity_new(1, 0, false);
	return become(s, &i);
}

int store_force_quorum(struct store *s)
{
	CHECK_OBJ(s, STORE_MAGIC);
	int err = core_force_quorum(s->core, s->wall());
	store_wake(s);
	return err;
}

uint32_t store_newest(const struct store *s)
{
	CHECK_OBJ(s, STORE_MAGIC);
	return core_newest(s->core);
}

/* ---- questions ---- */

size_t store_members(const struct store *s, uint32_t ids[CORE_MEMBERS_MAX])
{
	CHECK_OBJ(s, STORE_MAGIC);
	memcpy(ids, s->members, s->n_members * sizeof(*ids));
	return s->n_members;
}

uint32_t store_donor(const struct store *s)
{
	CHECK_OBJ(s, STORE_MAGIC);
	return core_donor(s->core);
}

bool store_can_vote(const struct store *s)
{
	CHECK_OBJ(s, STORE_MAGIC);
	return core_can_vote(s->core);
}

int store_soft(struct store *s, struct str bytes)
{
	CHECK_OBJ(s, STORE_MAGIC);
	return core_soft(s->core, bytes);
}

struct str store_soft_of(const struct store *s, uint32_t id)
{
	CHECK_OBJ(s, STORE_MAGIC);
	return core_soft_of(s->core, id);
}
