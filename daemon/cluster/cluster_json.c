/* SPDX-License-Identifier: Apache-2.0
 * What nodes say to each other in calls, as JSON.
 */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/base64.h"
#include "daemon/cluster/cluster_private.h"

void cluster_hex(const uint8_t *p, size_t n, char *out)
{
	for (size_t i = 0; i < n; i++)
		sprintf(out + 2 * i, "%02x", p[i]);
	out[2 * n] = '\0';
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool cluster_unhex(const char *text, uint8_t *out, size_t n)
{
	if (text == NULL || strlen(text) != 2 * n)
		return false;
	for (size_t i = 0; i < n; i++) {
		int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

/* ---- where a node is ---- */

json_t *cluster_json_seen(const struct members_seen *s)
{
	char instance[17], hash[2 * MEMBERS_HASH_LEN + 1];

	snprintf(instance, sizeof(instance), "%016llx", (unsigned long long)s->instance);
	cluster_hex(s->staged_hash, MEMBERS_HASH_LEN, hash);
	return json_pack("{s:I, s:s, s:b, s:I, s:I, s:I, s:s, s:i, s:i}", "id", (json_int_t)s->id, "instance", instance,
			 "synced", s->synced, "staged", (json_int_t)s->staged, "installed", (json_int_t)s->installed,
			 "active", (json_int_t)s->active, "hash", hash, "low", (int)s->features_low, "high",
			 (int)s->features_high);
}

static bool take_number(json_t *j, const char *key, uint64_t max, uint64_t *ret)
{
	json_int_t v = json_integer_value(json_object_get(j, key));

	*ret = (uint64_t)v;
	return json_is_integer(json_object_get(j, key)) && v >= 0 && (uint64_t)v <= max;
}

bool cluster_json_take_seen(json_t *j, struct members_seen *ret)
{
	const char *hash = json_string_value(json_object_get(j, "hash"));
	const char *instance = json_string_value(json_object_get(j, "instance"));
	uint64_t id, low, high;
	uint8_t bytes[8];

	*ret = (struct members_seen) { .present = true, .synced = json_is_true(json_object_get(j, "synced")) };
	if (!take_number(j, "id", UINT32_MAX, &id) || !take_number(j, "staged", INT64_MAX, &ret->staged) ||
	    !take_number(j, "installed", INT64_MAX, &ret->installed) ||
	    !take_number(j, "active", INT64_MAX, &ret->active) || !take_number(j, "low", UINT16_MAX, &low) ||
	    !take_number(j, "high", UINT16_MAX, &high) || !cluster_unhex(instance, bytes, sizeof(bytes)) ||
	    !cluster_unhex(hash, ret->staged_hash, MEMBERS_HASH_LEN))
		return false;
	ret->id = (uint32_t)id;
	ret->features_low = (unsigned)low;
	ret->features_high = (unsigned)high;
	for (size_t i = 0; i < sizeof(bytes); i++)
		ret->instance = ret->instance << 8 | bytes[i];
	return id != 0;
}

/* ---- bytes and addresses ---- */

json_t *cluster_json_base64(struct str bytes)
{
	struct sbuf text = { 0 };

	sbuf_reserve(&text, BASE64_LEN(bytes.n) + 1);
	char *out = sbuf_extend(&text, BASE64_LEN(bytes.n));
	base64_encode(bytes.p, bytes.n, out);
	json_t *j = json_stringn(text.p, text.n);
	trust_wipe(&text);
	return j;
}

bool cluster_json_take_base64(json_t *j, size_t max, struct sbuf *out)
{
	struct str text = { json_string_value(j), json_string_length(j) };
	size_t n = 0, room = text.n / 4 * 3 + 3;

	if (text.p == NULL || room > max + 6)
		return false;
	char *bytes = xmalloc(room);
	bool ok = base64_decode(text, bytes, room, &n) && n <= max;
	if (ok) {
		sbuf_reserve(out, n + 1);
		sbuf_add(out, bytes, n);
	}
	explicit_bzero(bytes, room);
	free(bytes);
	return ok;
}

json_t *cluster_json_read(struct str body)
{
	json_t *j = json_loadb(body.p, body.n, JSON_REJECT_DUPLICATES, NULL);

	if (json_is_object(j))
		return j;
	json_decref(j);
	return NULL;
}

void cluster_json_write(json_t *stolen, struct sbuf *out)
{
	char *text = json_dumps(stolen, JSON_COMPACT);
	size_t n = strlen(text);

	ASSERT(text != NULL);
	sbuf_reserve(out, n + 1);
	sbuf_add(out, text, n);
	explicit_bzero(text, n);
	free(text);
	json_decref(stolen);
}

bool cluster_json_addr(json_t *j, uint16_t port, struct addr *ret)
{
	const char *text = json_string_value(j);

	if (text == NULL)
		return false;
	if (port == 0)
		return addr_parse_ip(text, ret);
	return addr_parse(text, port, ret);
}
