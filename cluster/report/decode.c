/* SPDX-License-Identifier: Apache-2.0
 * Bytes to a report.
 *
 * The hard thing is to read neighbouring versions and still believe nothing: what is not known is stepped over by its
 * length, what is known must be there in full, within its bounds, and in its order.
 */
#include <openssl/crypto.h>
#include <stdlib.h>

#include "cluster/core/le.h"
#include "cluster/report/report_private.h"

/* What is left to read. Once something was missing, all further reads give nothing. */
struct input {
	const uint8_t *p;
	size_t n;
	bool bad;
};

static uint64_t take(struct input *in, unsigned n)
{
	if (in->n < n) {
		in->bad = true;
		in->n = 0;
		return 0;
	}
	uint64_t v = le_get(in->p, n);
	in->p += n;
	in->n -= n;
	return v;
}

static void take_bytes(struct input *in, void *out, size_t n)
{
	if (in->n < n) {
		in->bad = true;
		in->n = 0;
		return;
	}
	memcpy(out, in->p, n);
	in->p += n;
	in->n -= n;
}

/* max: without the NUL. */
static void take_text(struct input *in, char *out, size_t max)
{
	char text[256] = { 0 };
	size_t n = take(in, 1);

	if (n > max)
		in->bad = true;
	take_bytes(in, text, n);
	if (memchr(text, '\0', n) != NULL)
		in->bad = true;
	report_text(out, max + 1, in->bad ? "" : text);
}

/* Of that family, or none. */
static void take_ip(struct input *in, sa_family_t family, struct addr *out)
{
	size_t n = take(in, 1), whole = family == AF_INET ? sizeof(out->in.sin_addr) : sizeof(out->in6.sin6_addr);

	if (n == 0)
		return;
	in->bad |= n != whole;
	if (in->bad)
		return;
	out->sa.sa_family = family;
	take_bytes(in, family == AF_INET ? (void *)&out->in.sin_addr : (void *)&out->in6.sin6_addr, whole);
}

/* As the configuration has names: [A-Za-z0-9][A-Za-z0-9_.-]{0,62}. */
static bool is_name(const char *s)
{
	static const char others[] = "_.-";

	for (const char *p = s; *p != '\0'; p++) {
		bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9');
		if (!plain && (p == s || strchr(others, *p) == NULL))
			return false;
	}
	return *s != '\0';
}

/* ---- fields ---- */

typedef void read_fn(struct input *in, struct node_report *r);

static void read_node(struct input *in, struct node_report *r)
{
	r->id = (uint32_t)take(in, 4);
	r->features_low = (uint16_t)take(in, 2);
	r->features_high = (uint16_t)take(in, 2);
	r->started_ms = take(in, 8);
	r->sequence = take(in, 8);
	take_text(in, r->node, REPORT_NAME_MAX);
	take_text(in, r->version, REPORT_VERSION_MAX);
	in->bad |= r->id == 0 || !is_name(r->node);
}

static void read_state(struct input *in, struct node_report *r)
{
	r->wall_ms = take(in, 8);
	r->state = (uint8_t)take(in, 1);
	unsigned flags = (unsigned)take(in, 1);
	r->sessions = take(in, 8);
	r->transactions = take(in, 8);
	r->view_changes = (uint16_t)take(in, 2);
	/* A later version's state is one in which it is not known to take mail. */
	if (r->state >= REPORT_SAID)
		r->state = REPORT_STARTING;
	r->admin_drain = flags & STATE_DRAIN;
	r->voter_only = flags & STATE_VOTER_ONLY;
	r->ready = flags & STATE_IS_READY;
	r->soft = flags & STATE_SOFT;
	r->safe_to_stop = flags & STATE_SAFE;
	r->overloaded = flags & STATE_OVERLOADED;
}

static void read_reason(struct input *in, struct node_report *r)
{
	if (r->n_reasons == REPORT_REASONS_MAX)
		in->bad = true;
	else
		take_text(in, r->reasons[r->n_reasons++], REPORT_TEXT_MAX);
}

static void read_config(struct input *in, struct node_report *r)
{
	r->revision = take(in, 8);
	r->has_hash = take(in, 1) & CONFIG_HASH;
	take_bytes(in, r->hash, ENTRY_HASH_LEN);
	r->n_unapplied = (uint16_t)take(in, 2);
	take_text(in, r->unapplied, REPORT_TEXT_MAX);
}

static bool has_vip(const struct node_report *r, const char *name)
{
	for (size_t i = 0; i < r->n_vips; i++)
		if (strcmp(r->vips[i].name, name) == 0)
			return true;
	return false;
}

static void read_vip(struct input *in, struct node_report *r)
{
	struct report_vip v = { 0 };
	unsigned flags = (unsigned)take(in, 1);

	v.up = flags & VIP_UP;
	v.kernel = flags & VIP_KERNEL;
	v.state = (uint8_t)take(in, 1);
	v.priority = (uint8_t)take(in, 1);
	v.since_s = (uint32_t)take(in, 4);
	take_text(in, v.name, REPORT_NAME_MAX);
	take_text(in, v.reason, REPORT_TEXT_MAX);
	v.peers = take(in, 8);
	take_ip(in, AF_INET, &v.source4);
	take_ip(in, AF_INET6, &v.source6);
	if (v.state >= REPORT_VIP_COUNT)
		v.state = REPORT_VIP_UNKNOWN;
	in->bad |= r->n_vips == REPORT_VIPS_MAX || !is_name(v.name) || has_vip(r, v.name);
	if (!in->bad)
		r->vips[r->n_vips++] = v;
}

static void read_link(struct input *in, struct node_report *r)
{
	struct report_link l = { .peer = (uint32_t)take(in, 4), .link = (uint8_t)take(in, 1) };

	l.up = take(in, 1) & LINK_UP;
	l.latency_us = (uint32_t)take(in, 4);
	l.downs = (uint32_t)take(in, 4);
	in->bad |= r->n_links == REPORT_LINKS_MAX || l.peer == 0;
	if (!in->bad)
		r->links[r->n_links++] = l;
}

static void read_key(struct input *in, struct node_report *r)
{
	if (r->keys.n == TICKET_KEYS_SENT) {
		in->bad = true;
		return;
	}
	struct ticket_key_entry *k = &r->keys.list[r->keys.n++];
	k->serial = take(in, 8);
	k->maker = (uint32_t)take(in, 4);
	k->age_s = (uint32_t)take(in, 4);
	take_bytes(in, k->bytes, TICKET_KEY_LEN);
	in->bad |= k->serial == 0 || k->serial > TICKET_SERIAL_MAX || k->maker == 0;
}

static void read_verdicts(struct input *in, struct node_report *r)
{
	r->partial = take(in, 1) & VERDICTS_PARTIAL;
	size_t n = take(in, 2);

	in->bad |= r->verdicts != NULL || n * REPORT_VERDICT_LEN > in->n;
	if (in->bad)
		return;
	r->verdicts = xcalloc(n + 1, sizeof(*r->verdicts));
	r->cap_verdicts = n + 1;
	for (; r->n_verdicts < n && !in->bad; r->n_verdicts++) {
		struct report_verdict *v = &r->verdicts[r->n_verdicts];
		v->key = take(in, VERDICT_KEY_BITS / 8);
		unsigned row = (unsigned)take(in, 2);
		v->state = (uint16_t)(row >> VERDICT_STATE_SHIFT);
		v->weight = (uint16_t)(row & REPORT_WEIGHT_MAX);
		if (v->state >= REPORT_VERDICT_COUNT)
			v->state = REPORT_UNKNOWN;
		/* They are searched by halves. */
		in->bad |= r->n_verdicts > 0 && v[-1].key >= v->key;
	}
}

static void read_files(struct input *in, struct node_report *r)
{
	struct report_files *f = &r->files;

	f->instance = take(in, 8);
	f->staged = take(in, 8);
	f->installed = take(in, 8);
	f->active = take(in, 8);
	take_bytes(in, f->staged_hash, sizeof(f->staged_hash));
	f->synced = take(in, 1) & FILES_SYNCED;
	in->bad |= f->instance == 0;
}

static read_fn *const readers[FIELD_KIND_COUNT] = {
	[FIELD_NODE] = read_node,     [FIELD_STATE] = read_state,       [FIELD_REASON] = read_reason,
	[FIELD_CONFIG] = read_config, [FIELD_VIP] = read_vip,           [FIELD_LINK] = read_link,
	[FIELD_KEY] = read_key,       [FIELD_VERDICTS] = read_verdicts, [FIELD_FILES] = read_files,
};

/* These are in every report, once. */
static const unsigned singles = 1u << FIELD_NODE | 1u << FIELD_STATE | 1u << FIELD_CONFIG;

static bool read_fields(struct input *in, struct node_report *r)
{
	unsigned seen = 0;

	while (in->n > 0) {
		unsigned kind = (unsigned)take(in, 1);
		size_t n = take(in, 2);
		if (in->bad || n > in->n || (seen == 0 && kind != FIELD_NODE))
			return false;
		struct input field = { .p = in->p, .n = n };
		in->p += n;
		in->n -= n;
		if (kind == 0 || kind >= FIELD_KIND_COUNT)
			continue;
		if (seen & singles & 1u << kind)
			return false;
		seen |= 1u << kind;
		readers[kind](&field, r);
		if (field.bad)
			return false;
	}
	return (seen & singles) == singles;
}

bool report_peek(struct str bytes, struct node_report *ret)
{
	struct input in = { .p = (const uint8_t *)bytes.p, .n = bytes.n };

	*ret = (struct node_report) { 0 };
	if (take(&in, 1) != REPORT_FORMAT || take(&in, 1) != FIELD_NODE)
		return false;
	size_t n = take(&in, 2);
	if (in.bad || n > in.n)
		return false;
	in.n = n;
	read_node(&in, ret);
	return !in.bad;
}

bool report_decode(struct str bytes, struct node_report *ret)
{
	struct input in = { .p = (const uint8_t *)bytes.p, .n = bytes.n };

	*ret = (struct node_report) { 0 };
	if (bytes.n > CORE_SOFT_MAX || take(&in, 1) != REPORT_FORMAT || !read_fields(&in, ret)) {
		report_fini(ret);
		return false;
	}
	return true;
}

void report_fini(struct node_report *r)
{
	free(r->verdicts);
	ticket_keys_wipe(&r->keys);
	*r = (struct node_report) { 0 };
}
