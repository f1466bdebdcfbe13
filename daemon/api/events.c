/* SPDX-License-Identifier: Apache-2.0
 * What happens, as a bounded ring of server-sent events that a reader can resume.
 *
 * An event's id is "INSTANCE-NUMBER": numbers start again with each process, so that an id of an earlier process, or
 * one that fell out of the ring, is answered with a "reset" event: read the state anew, then go on from here.
 */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/api/api_private.h"

struct events {
	struct event_item ring[API_EVENTS_KEPT];
	uint64_t next; /* number of the next event; the first is 1 */
};

struct events *events_new(void)
{
	struct events *e = xcalloc(1, sizeof(*e));

	e->next = 1;
	return e;
}

void events_free(struct events *e)
{
	if (e == NULL)
		return;
	for (size_t i = 0; i < API_EVENTS_KEPT; i++)
		free(e->ring[i].text);
	free(e);
}

/* ---- adding ---- */

static void log_event(const char *type, json_t *data)
{
	struct logline l;
	const char *key;
	json_t *value;

	log_begin(&l, LOG_LEVEL_NOTICE, type);
	json_object_foreach(data, key, value) {
		if (json_is_string(value))
			log_cstr(&l, key, json_string_value(value));
		else if (json_is_integer(value))
			log_int(&l, key, json_integer_value(value));
		else if (json_is_boolean(value))
			log_cstr(&l, key, json_is_true(value) ? "true" : "false");
	}
	log_end(&l);
}

static char *record(const char *instance, uint64_t seq, const char *type, json_t *data)
{
	char *text = json_dumps(data, JSON_COMPACT);

	ASSERT(text != NULL);
	char *out = xasprintf("id: %s-%llu\nevent: %s\ndata: %s\n\n", instance, (unsigned long long)seq, type, text);
	free(text);
	return out;
}

void api_event(struct api *a, const char *type, json_t *data)
{
	log_event(type, data);
	events_add(a, type, data);
}

void events_add(struct api *a, const char *type, json_t *data)
{
	CHECK_OBJ(a, API_MAGIC);
	struct events *e = a->events;
	struct event_item *item = &e->ring[e->next % API_EVENTS_KEPT];
	struct list *tmp;
	struct push *p;

	json_object_set_new(data, "time", json_time(clock_wall()));
	json_object_set_new(data, "node", json_text(a->env.node->node));
	free(item->text);
	item->seq = e->next++;
	item->text = record(a->instance, item->seq, type, data);
	json_decref(data);
	LIST_FOR_EACH(p, tmp, &a->streams, link) {
		if (p->wants_events)
			push_send(p, item->text, strlen(item->text));
	}
}

/* ---- reading ---- */

/* The number behind the last event seen; 0 = this cannot be resumed. */
static uint64_t resume_from(const struct api *a, const char *last)
{
	size_t n = strlen(a->instance);
	const struct events *e = a->events;
	char *end;

	if (strncmp(last, a->instance, n) != 0 || last[n] != '-' || last[n + 1] < '0' || last[n + 1] > '9')
		return 0;
	unsigned long long seq = strtoull(last + n + 1, &end, 10);
	uint64_t oldest = e->next > API_EVENTS_KEPT ? e->next - API_EVENTS_KEPT : 1;
	if (*end != '\0' || seq >= e->next || seq + 1 < oldest)
		return 0;
	return seq + 1;
}

static bool send_reset(struct api *a, struct push *p, const char *why)
{
	uint64_t last = a->events->next - 1;
	json_t *data = json_pack("{s:s}", "why", why);
	char *text = record(a->instance, last, "reset", data);
	bool ok = push_send(p, text, strlen(text));

	free(text);
	json_decref(data);
	return ok;
}

void res_events_get(struct call *c)
{
	struct api *a = c->api;
	const char *last = call_header(c, "Last-Event-ID");
	uint64_t from = last == NULL ? a->events->next : resume_from(a, last);
	struct push *p = push_open(c);

	if (p == NULL)
		return;
	p->wants_events = true;
	if (from == 0) {
		if (!send_reset(a, p, "events in between are gone"))
			return;
		from = a->events->next;
	}
	for (uint64_t seq = from; seq < a->events->next; seq++) {
		const struct event_item *item = &a->events->ring[seq % API_EVENTS_KEPT];
		if (!push_send(p, item->text, strlen(item->text)))
			return;
	}
}
