/* SPDX-License-Identifier: Apache-2.0
 * Virtual addresses: life, and the way to postroad-ha and back.
 *
 * The hard thing is to stop saying that all is well: the beat is this node's word that mail works here, so it is given
 * only by a turn of this loop that saw every worker turn.
 */
#include "daemon/cluster/vips.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/clock.h"
#include "daemon/cluster/vips_private.h"

int64_t vips_now(const struct vips *v)
{
	return loop_now_ms(v->loop);
}

struct vips_item *vips_find(const struct vips *v, const char *name)
{
	for (size_t i = 0; i < v->n_items; i++)
		if (strcmp(v->items[i]->name, name) == 0)
			return v->items[i];
	return NULL;
}

void vips_say(struct vips *v)
{
	if (v->started)
		v->env.say(v->env.arg);
}

/* ---- the descriptor ---- */

static void on_readable(evutil_socket_t fd, short what, void *arg);

/* It may be another one after every call of the client. */
static void watch(struct vips *v)
{
	int fd = ha_client_fd(v->client);

	if (fd == v->fd)
		return;
	if (v->event != NULL)
		event_free(v->event);
	v->event = NULL;
	v->fd = fd;
	if (fd < 0)
		return;
	v->event = event_new(loop_base(v->loop), fd, EV_READ | EV_PERSIST, on_readable, v);
	ASSERT(v->event != NULL && event_add(v->event, NULL) == 0);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct vips *v = arg;

	UNUSED(fd);
	UNUSED(what);
	CHECK_OBJ(v, VIPS_MAGIC);
	ha_client_dispatch(v->client, vips_now(v));
	watch(v);
}

/* ---- requests ---- */

static struct vips_request *find_request(struct vips *v, uint32_t ticket)
{
	for (size_t i = 0; i < VIPS_REQUESTS_MAX; i++)
		if (v->requests[i].ticket == ticket)
			return &v->requests[i];
	return NULL;
}

static void set_ticket(struct ha_message *m, uint32_t ticket)
{
	switch (m->type) {
	case HA_COROSYNC:
		m->corosync.ticket = ticket;
		break;
	case HA_FLOWS_OPEN:
	case HA_FLOWS_TAKE:
		m->flows.ticket = ticket;
		break;
	case HA_FLOWS_LOST:
		m->lost.ticket = ticket;
		break;
	default:
		m->about.ticket = ticket;
	}
}

bool vips_ha_request(struct vips *v, struct ha_message *m, vips_ha_answer_fn *fn, void *arg)
{
	CHECK_OBJ(v, VIPS_MAGIC);
	struct vips_request *r = find_request(v, 0);

	if (r == NULL)
		return false;
	do
		v->ticket++;
	while (v->ticket == 0 || find_request(v, v->ticket) != NULL);
	set_ticket(m, v->ticket);
	const char *why = ha_client_request(v->client, m);
	if (why != NULL) {
		log_msg(LOG_LEVEL_WARNING, "ha_request", "a request of type %d was not sent: %s", (int)m->type, why);
		return false;
	}
	*r = (struct vips_request) { v->ticket, m->type, vips_now(v) + VIPS_ANSWER_MS, fn, arg };
	return true;
}

static void never_answered(struct vips_request *r, const char *why)
{
	struct vips_request gone = *r;

	r->ticket = 0;
	log_msg(LOG_LEVEL_WARNING, "ha_request", "a request of type %d has no answer: %s", (int)gone.type, why);
	gone.fn(NULL, gone.arg);
}

static void end_requests(struct vips *v, int64_t before_ms, const char *why)
{
	for (size_t i = 0; i < VIPS_REQUESTS_MAX; i++)
		if (v->requests[i].ticket != 0 && v->requests[i].until_ms <= before_ms)
			never_answered(&v->requests[i], why);
}

static uint32_t ticket_of(const struct ha_message *m)
{
	if (m->type == HA_PROBED)
		return m->probed.ticket;
	return m->type == HA_FLOWS ? m->flows.ticket : m->outcome.ticket;
}

/* ---- what the client tells ---- */

static void on_connected(bool yes, const char *why, void *arg)
{
	struct vips *v = arg;

	CHECK_OBJ(v, VIPS_MAGIC);
	v->connected = yes;
	if (yes)
		log_msg(LOG_LEVEL_NOTICE, "ha_connected", "postroad-ha takes care of the virtual addresses");
	else
		log_msg(LOG_LEVEL_WARNING, "ha_gone", "%s", why != NULL ? why : "?");
	if (yes)
		return;
	end_requests(v, INT64_MAX, "postroad-ha has gone");
	/* Its keepalived goes with it: somebody else may have the VIPs when it is back. */
	for (size_t i = 0; i < v->n_items; i++) {
		v->items[i]->cut = true;
		v->items[i]->probe = VIP_NOT_PROBED;
	}
	if (v->started)
		timer_set_in(v->loop, &v->timer, 0);
}

static void on_report(const struct ha_report *r, void *arg)
{
	struct vips *v = arg;

	UNUSED(r);
	CHECK_OBJ(v, VIPS_MAGIC);
	vips_look(v);
}

static void on_answer(const struct ha_message *m, void *arg)
{
	struct vips *v = arg;
	uint32_t ticket = ticket_of(m);
	char text[HA_TEXT_MAX + 64];

	CHECK_OBJ(v, VIPS_MAGIC);
	struct vips_request *r = ticket == 0 ? NULL : find_request(v, ticket);
	if (r != NULL) {
		struct vips_request asked = *r;
		if (m->type != HA_FLOWS || m->flows.last)
			r->ticket = 0;
		asked.fn(m, asked.arg);
		return;
	}
	if (m->type != HA_ERROR || m->outcome.about != HA_TABLE || m->outcome.generation != v->generation)
		return;
	v->table_refused = true;
	snprintf(v->refusal, sizeof(v->refusal), "%s", m->outcome.text);
	snprintf(text, sizeof(text), "the table of virtual addresses is not in force: %s", m->outcome.text);
	api_warn(v->env.api, "vip_table", text);
}

bool vips_ha_connected(const struct vips *v)
{
	return v->connected;
}

const struct ha_report *vips_ha_report(const struct vips *v)
{
	int64_t age;
	const struct ha_report *r = ha_client_report(v->client, vips_now(v), &age);

	return r != NULL && age < VIPS_REPORT_OLD_MS ? r : NULL;
}

/* ---- the turn ---- */

/* That a worker hangs is noticed when it was silent for a second, not a beat later. */
static int64_t next_turn_ms(const struct vips *v)
{
	int64_t left = v->started ? VIP_WORKER_MS - engine_worker_silence_ms(v->env.engine) : HA_BEAT_MS;

	return left > 0 && left < HA_BEAT_MS ? left : HA_BEAT_MS;
}

static void on_timer(void *arg)
{
	struct vips *v = arg;
	int64_t now = vips_now(v);

	CHECK_OBJ(v, VIPS_MAGIC);
	timer_set_in(v->loop, &v->timer, next_turn_ms(v));
	if (now >= v->client_due_ms)
		v->client_due_ms = ha_client_tick(v->client, now);
	watch(v);
	/* Before there are workers there is nothing that it could be told but that this loop turns. */
	if (!v->started || engine_worker_silence_ms(v->env.engine) < VIP_WORKER_MS)
		ha_client_beat(v->client);
	end_requests(v, now, "postroad-ha has not answered in time");
	vips_look(v);
	watch(v);
}

struct vips *vips_new(struct loop *loop, const struct node_config *node)
{
	struct vips *v;
	struct ha_client_events events = { .connected = on_connected, .report = on_report, .answer = on_answer };

	NEW_OBJ(v, VIPS_MAGIC);
	v->loop = loop;
	v->node = node;
	v->fd = -1;
	/* Greater than those of an earlier process, whose table may be in force. */
	v->generation = (uint64_t)(clock_wall() * 1000);
	v->table = xcalloc(1, sizeof(*v->table));
	events.arg = v;
	v->client = ha_client_new(node->run_dir, node->node, &events);
	timer_init(&v->timer, on_timer, v);
	timer_set_in(loop, &v->timer, 1);
	return v;
}

void vips_start(struct vips *v, const struct vips_env *env)
{
	CHECK_OBJ(v, VIPS_MAGIC);
	v->env = *env;
	v->started_ms = vips_now(v);
	v->started = true;
	sources_read(v);
	vips_look(v);
}

void vips_free(struct vips *v)
{
	if (v == NULL)
		return;
	CHECK_OBJ(v, VIPS_MAGIC);
	timer_stop(&v->timer);
	take_end_all(v);
	for (size_t i = 0; i < v->n_items; i++)
		move_end(v->items[i]);
	end_requests(v, INT64_MAX, "this process ends");
	for (size_t i = 0; i < v->n_items; i++)
		vips_item_free(v->items[i]);
	if (v->event != NULL)
		event_free(v->event);
	ha_client_free(v->client);
	sbuf_fini(&v->table_bytes);
	free(v->table);
	json_decref(v->sources);
	FREE_OBJ(v);
}

void vips_set_net(struct vips *v, const struct vips_net *net)
{
	CHECK_OBJ(v, VIPS_MAGIC);
	v->has_net = net != NULL;
	v->net = net != NULL ? *net : (struct vips_net) { 0 };
}

/* ---- what this node says ---- */

static const uint8_t said_states[HA_STATE_END] = {
	[HA_STATE_UNKNOWN] = REPORT_VIP_UNKNOWN, [HA_STATE_BACKUP] = REPORT_VIP_BACKUP,
	[HA_STATE_MASTER] = REPORT_VIP_MASTER,   [HA_STATE_FAULT] = REPORT_VIP_FAULT,
	[HA_STATE_STOP] = REPORT_VIP_UNKNOWN,
};

static const char *reason_of(const struct vips_item *i)
{
	const char *hinders = ha_hinders(i);

	if (!i->verdict.up)
		return i->verdict.reason;
	if (hinders != NULL)
		return hinders;
	return i->move.why[0] != '\0' ? i->move.why : i->verdict.reason;
}

void vips_fill(struct vips *v, struct node_report *r)
{
	CHECK_OBJ(v, VIPS_MAGIC);
	for (size_t n = 0; n < v->n_items && r->n_vips < REPORT_VIPS_MAX; n++) {
		const struct vips_item *i = v->items[n];
		struct report_vip *said = &r->vips[r->n_vips++];
		*said = (struct report_vip) { .up = i->verdict.up && ha_hinders(i) == NULL,
					      .kernel = i->holds,
					      .state = said_states[i->said],
					      .priority = i->priority,
					      .since_s = (uint32_t)(i->since_ms / 1000),
					      .source4 = i->source4,
					      .source6 = i->source6,
					      .peers = i->peers };
		memcpy(said->name, i->name, sizeof(i->name));
		report_text(said->reason, sizeof(said->reason), reason_of(i));
	}
}
