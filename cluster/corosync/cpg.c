/* SPDX-License-Identifier: Apache-2.0
 * The calls of libcpg.
 *
 * The hard thing is what they do not say: a multicast that was taken is in shared memory and nowhere else, any other
 * call waits for corosync without end, and callbacks come in the middle of a dispatch. So this is called by one thread
 * that may hang, and knows nothing of what a message means.
 */
#include "cluster/corosync/corosync_private.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include <corosync/cpg.h>

struct connection {
	cpg_handle_t handle;
	struct cpg_name group;
	struct engine_events events;
	struct cmap_reader cmap;
};

static int error_of(cs_error_t e)
{
	switch (e) {
	case CS_OK:
		return 0;
	case CS_ERR_TRY_AGAIN:
	case CS_ERR_BUSY:
	case CS_ERR_QUEUE_FULL:
		return -EAGAIN;
	case CS_ERR_ACCESS:
	case CS_ERR_SECURITY:
		return -EACCES;
	case CS_ERR_NO_MEMORY:
	case CS_ERR_NO_SPACE:
		return -ENOMEM;
	default:
		return -ENOTCONN;
	}
}

static struct connection *context(cpg_handle_t handle)
{
	void *p = NULL;

	return cpg_context_get(handle, &p) == CS_OK ? p : NULL;
}

static bool is_group(const struct connection *c, const struct cpg_name *name)
{
	return name->length == c->group.length && memcmp(name->value, c->group.value, name->length) == 0;
}

static void on_deliver(cpg_handle_t handle, const struct cpg_name *name, uint32_t id, uint32_t pid, void *p, size_t n)
{
	struct connection *c = context(handle);

	if (c != NULL && is_group(c, name))
		c->events.deliver(c->events.arg, (struct ring_process) { id, pid }, (struct str) { p, n });
}

static size_t processes(const struct cpg_address *from, size_t n, struct ring_process out[RING_PROCESSES_MAX])
{
	if (n > RING_PROCESSES_MAX)
		n = RING_PROCESSES_MAX;
	for (size_t i = 0; i < n; i++)
		out[i] = (struct ring_process) { from[i].nodeid, from[i].pid };
	return n;
}

static bool of_nodes(const struct cpg_address *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (list[i].reason == CPG_REASON_NODEDOWN || list[i].reason == CPG_REASON_NODEUP)
			return true;
	return false;
}

static void on_group(cpg_handle_t handle, const struct cpg_name *name, const struct cpg_address *members,
		     size_t n_members, const struct cpg_address *left, size_t n_left, const struct cpg_address *joined,
		     size_t n_joined)
{
	struct connection *c = context(handle);
	struct ring_process list[RING_PROCESSES_MAX];

	if (c == NULL || !is_group(c, name))
		return;
	size_t n = processes(members, n_members, list);
	c->events.group(c->events.arg, list, n, of_nodes(left, n_left) || of_nodes(joined, n_joined));
}

static void on_ring(cpg_handle_t handle, struct cpg_ring_id ring, uint32_t n, const uint32_t *members)
{
	struct connection *c = context(handle);

	UNUSED(n);
	UNUSED(members);
	if (c != NULL)
		c->events.ring(c->events.arg, (struct ring_id) { ring.seq, ring.nodeid });
}

static int engine_open(void *arg, const char *group, const struct engine_events *events, uint32_t *ret_id)
{
	struct connection *c = arg;
	cpg_model_v1_data_t model = { .model = CPG_MODEL_V1,
				      .cpg_deliver_fn = on_deliver,
				      .cpg_confchg_fn = on_group,
				      .cpg_totem_confchg_fn = on_ring,
				      .flags = CPG_MODEL_V1_DELIVER_INITIAL_TOTEM_CONF };
	unsigned id = 0;

	c->events = *events;
	c->group.length = (uint32_t)strnlen(group, sizeof(c->group.value));
	memcpy(c->group.value, group, c->group.length);
	int rc = error_of(cpg_model_initialize(&c->handle, CPG_MODEL_V1, (cpg_model_data_t *)&model, c));
	if (rc != 0)
		return rc;
	rc = error_of(cpg_local_get(c->handle, &id));
	if (rc != 0)
		(void)cpg_finalize(c->handle);
	*ret_id = id;
	return rc;
}

static int engine_fd(void *arg)
{
	struct connection *c = arg;
	int fd = -1;

	return cpg_fd_get(c->handle, &fd) == CS_OK ? fd : -1;
}

static int engine_group(void *arg, struct ring_process list[RING_PROCESSES_MAX], size_t *ret_n)
{
	struct connection *c = arg;
	struct cpg_address members[CPG_MEMBERS_MAX];
	int n = 0;
	int rc = error_of(cpg_membership_get(c->handle, &c->group, members, &n));

	*ret_n = rc == 0 && n > 0 ? processes(members, (size_t)n, list) : 0;
	return rc;
}

static int engine_join(void *arg)
{
	struct connection *c = arg;

	return error_of(cpg_join(c->handle, &c->group));
}

static int engine_multicast(void *arg, struct str head, struct str body)
{
	struct connection *c = arg;
	/* The interface forgot a const; nothing is written there. */
	union {
		const char *in;
		char *out;
	} h = { head.p }, b = { body.p };
	struct iovec parts[2] = { { h.out, head.n }, { b.out, body.n } };

	return error_of(cpg_mcast_joined(c->handle, CPG_TYPE_AGREED, parts, body.n > 0 ? 2 : 1));
}

static int engine_dispatch(void *arg)
{
	struct connection *c = arg;

	return error_of(cpg_dispatch(c->handle, CS_DISPATCH_ONE_NONBLOCKING));
}

static int engine_measure(void *arg, uint32_t own, struct corosync_ring *ret)
{
	struct connection *c = arg;

	return cmap_reader_read(&c->cmap, own, ret);
}

static void engine_close(void *arg)
{
	struct connection *c = arg;

	cmap_reader_close(&c->cmap);
	(void)cpg_finalize(c->handle);
}

struct engine cpg_engine(void)
{
	return (struct engine) { .arg = xcalloc(1, sizeof(struct connection)),
				 .open = engine_open,
				 .fd = engine_fd,
				 .group = engine_group,
				 .join = engine_join,
				 .multicast = engine_multicast,
				 .dispatch = engine_dispatch,
				 .measure = engine_measure,
				 .close = engine_close,
				 .free = free };
}
