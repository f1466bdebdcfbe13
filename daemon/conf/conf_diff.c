/* SPDX-License-Identifier: Apache-2.0
 * What changed between two documents.
 *
 * Routes are a list whose order counts, so they are matched by name, and of those that both lists have, the fewest
 * possible are called moved: all but a longest run that kept its order.
 */
#include <stdlib.h>

#include "daemon/base/hash.h"
#include "daemon/conf/conf_walk.h"

struct diff {
	json_t *out;
	struct sbuf path;
};

static void note(struct diff *d, const char *op, json_t *from, json_t *to)
{
	json_t *entry = json_pack("{s:s,s:s}", "op", op, "path", d->path.p != NULL ? d->path.p : "");

	if (from != NULL)
		json_object_set_new(entry, "from", from);
	if (to != NULL)
		json_object_set_new(entry, "to", to);
	json_array_append_new(d->out, entry);
}

static void diff_at(struct diff *d, struct conf_place at, json_t *from, json_t *to);

/* ---- objects ---- */

static void diff_members(struct diff *d, struct conf_place at, json_t *from, json_t *to)
{
	const char *key;
	json_t *one;

	json_object_foreach(from, key, one) {
		size_t back = conf_path_push(&d->path, key);
		diff_at(d, conf_place_member(at, key), one, json_object_get(to, key));
		conf_path_pop(&d->path, back);
	}
	json_object_foreach(to, key, one) {
		if (json_object_get(from, key) != NULL)
			continue;
		size_t back = conf_path_push(&d->path, key);
		diff_at(d, conf_place_member(at, key), NULL, one);
		conf_path_pop(&d->path, back);
	}
}

/* ---- lists of named objects ---- */

/* Position in the list plus one, by name. NULL: some member has no name, or two share one. */
static struct map *positions(json_t *list)
{
	struct map *m = map_new();
	json_t *one;
	size_t i;

	json_array_foreach(list, i, one) {
		const char *name = json_string_value(json_object_get(one, "name"));
		if (name == NULL || map_put(m, str_from(name), (void *)(uintptr_t)(i + 1)) != NULL) {
			map_free(m, NULL);
			return NULL;
		}
	}
	return m;
}

static size_t position(const struct map *m, json_t *one)
{
	return (size_t)(uintptr_t)map_get(m, str_from(json_string_value(json_object_get(one, "name"))));
}

/* Marks in kept[] the members of a longest increasing run of v[0..n) (zeros are left out): patience sorting. */
static void longest_run(const size_t *v, size_t n, bool *kept)
{
	size_t *tail = xcalloc(n + 1, sizeof(*tail)), *before = xcalloc(n + 1, sizeof(*before));
	size_t len = 0;

	for (size_t i = 0; i < n; i++) {
		size_t lo = 0, hi = len;
		if (v[i] == 0)
			continue;
		while (lo < hi) {
			size_t mid = (lo + hi) / 2;
			if (v[tail[mid]] < v[i])
				lo = mid + 1;
			else
				hi = mid;
		}
		before[i] = lo > 0 ? tail[lo - 1] : SIZE_MAX;
		tail[lo] = i;
		len = lo == len ? len + 1 : len;
	}
	for (size_t i = len > 0 ? tail[len - 1] : SIZE_MAX; i != SIZE_MAX; i = before[i])
		kept[i] = true;
	free(tail);
	free(before);
}

static void diff_named(struct diff *d, struct conf_place at, json_t *from, json_t *to, const struct map *old)
{
	size_t n = json_array_size(to), i;
	size_t *was = xcalloc(n + 1, sizeof(*was));
	bool *kept = xcalloc(n + 1, sizeof(*kept));
	struct conf_place inner = conf_place_member(at, "");
	json_t *one;

	json_array_foreach(to, i, one)
		was[i] = position(old, one);
	longest_run(was, n, kept);
	json_array_foreach(to, i, one) {
		size_t back = conf_path_push(&d->path, json_string_value(json_object_get(one, "name")));
		if (was[i] != 0 && !kept[i])
			note(d, "move", json_integer((json_int_t)was[i] - 1), json_integer((json_int_t)i));
		diff_at(d, inner, was[i] != 0 ? json_array_get(from, was[i] - 1) : NULL, one);
		conf_path_pop(&d->path, back);
	}
	free(was);
	free(kept);
}

/* False = the lists cannot be compared by name. */
static bool diff_lists(struct diff *d, struct conf_place at, json_t *from, json_t *to)
{
	struct map *old = positions(from), *new = positions(to);
	bool ok = old != NULL && new != NULL;
	json_t *one;
	size_t i;

	if (ok) {
		json_array_foreach(from, i, one) {
			if (position(new, one) != 0)
				continue;
			size_t back = conf_path_push(&d->path, json_string_value(json_object_get(one, "name")));
			diff_at(d, conf_place_member(at, ""), one, NULL);
			conf_path_pop(&d->path, back);
		}
		diff_named(d, at, from, to, old);
	}
	map_free(old, NULL);
	map_free(new, NULL);
	return ok;
}

/* ---- values ---- */

static void diff_at(struct diff *d, struct conf_place at, json_t *from, json_t *to)
{
	if (from == NULL) {
		note(d, "add", NULL, conf_mask_at(at, to));
	} else if (to == NULL) {
		note(d, "remove", conf_mask_at(at, from), NULL);
	} else if (json_equal(from, to)) {
		return;
	} else if (json_is_object(from) && json_is_object(to)) {
		diff_members(d, at, from, to);
	} else if (at.elements == NULL || !json_is_array(from) || !json_is_array(to) || !diff_lists(d, at, from, to)) {
		note(d, "replace", conf_mask_at(at, from), conf_mask_at(at, to));
	}
}

json_t *conf_diff(json_t *from, json_t *to)
{
	struct diff d = { .out = json_array() };

	diff_at(&d, conf_place_root(), from, to);
	sbuf_fini(&d.path);
	return d.out;
}
