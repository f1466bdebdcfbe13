/* SPDX-License-Identifier: Apache-2.0
 * Moves by hand: the word that stands in the log for a VIP, and what comes of it on each of its nodes.
 *
 * The hard thing: a word outlives the move. It is acted upon while it is new, by the node that holds the VIP; a third
 * one stands back as long as the two are at it.
 */
#include <stdlib.h>

#include "daemon/cluster/vips_private.h"

void pin_take(struct vips_item *i, json_t *runtime, bool at_start)
{
	json_t *said = json_object_get(json_object_get(runtime, "vips"), i->name);
	char *word = said == NULL ? NULL : json_dumps(said, JSON_COMPACT | JSON_SORT_KEYS);
	bool same = word == NULL ? i->pin_word == NULL : i->pin_word != NULL && strcmp(word, i->pin_word) == 0;

	if (same) {
		free(word);
		return;
	}
	free(i->pin_word);
	i->pin_word = word;
	i->pin_ms = word == NULL || at_start ? 0 : vips_now(i->vips);
}

static uint32_t node_of(const struct vips_item *i)
{
	json_t *said = i->pin_word == NULL ? NULL : json_loads(i->pin_word, 0, NULL);
	const char *node = json_string_value(json_object_get(said, "node"));
	struct report_row row;
	uint32_t id = 0;

	if (node != NULL && report_view_find(i->vips->env.view, node, vips_now(i->vips), &row) && row.member)
		id = row.id;
	json_decref(said);
	return id;
}

void pin_look(struct vips_item *i)
{
	i->pin = node_of(i);
	/* Done: that it leaves there again later is another matter. */
	if (i->pin != 0 && i->vip.holder == i->pin)
		i->pin_ms = 0;
}

bool pin_is_moving(const struct vips_item *i)
{
	return i->pin != 0 && i->pin_ms != 0 && i->vip.holder != i->pin && vips_now(i->vips) - i->pin_ms < VIPS_PIN_MS;
}

/* A third node stands back until the target has it, or did not take it when the old one had let go. */
static bool is_aside(struct vips_item *i)
{
	int64_t now = vips_now(i->vips);

	if (i->aside_to != 0 && i->vip.holder == i->aside_from)
		i->aside_seen_ms = now;
	if (i->aside_to == 0 || i->holds || i->vip.holder == i->aside_to || now - i->aside_ms > VIPS_PIN_MS)
		i->aside_to = 0;
	return i->aside_to != 0;
}

static void say_where_to(struct vips_item *i, uint32_t to, int64_t ms)
{
	i->vip.to = to;
	i->vip.to_ms = ms;
}

void pin_apply(struct vips_item *i)
{
	int64_t now = vips_now(i->vips);

	i->vip.pinned = i->pin;
	i->vip.preparing = move_prepares(&i->move);
	/* keepalived would not wait for anything to be prepared. */
	i->vip.failback = false;
	say_where_to(i, 0, 0);
	if (i->move.step == MOVE_LETTING && i->move.cause != MOVE_DRAIN)
		say_where_to(i, i->move.to, now - i->move.since_ms);
	else if (is_aside(i))
		say_where_to(i, i->aside_to, now - i->aside_seen_ms);
}

/* Who ordered the move may know the target better than this node does: what that one says of itself is awaited. */
static bool is_target_awaited(const struct vips_item *i)
{
	return !vip_could(&i->nodes, i->pin) && vips_now(i->vips) - i->pin_ms < VIPS_TARGET_MS;
}

void pin_follow(struct vips_item *i)
{
	/* A word that is new, and this node has what it is about. */
	if (i->holds && pin_is_moving(i) && i->pin != i->nodes.self && i->move.step == MOVE_NONE &&
	    i->move.why[0] == '\0' && !vips_is_draining(i->vips) && !is_target_awaited(i))
		move_begin(i, MOVE_HAND, i->pin, VIPS_MOVE_KEEP_S);
	if (!pin_is_moving(i) && i->move.step == MOVE_NONE)
		i->move.why[0] = '\0';
}
