/* SPDX-License-Identifier: Apache-2.0
 * A report to bytes.
 *
 * The hard thing is that it must fit whatever its texts are: everything but the verdicts has a bound, those of the VIPs
 * by sharing what there is for reasons, and verdicts get what is left.
 */
#include <openssl/crypto.h>
#include <stdlib.h>

#include "cluster/core/le.h"
#include "cluster/report/report_private.h"

enum { TEXTS_MAX = (1 + REPORT_NAME_MAX) + (1 + REPORT_VERSION_MAX) };
enum {
	OTHERS = 1 + FIELD_HEAD_LEN + NODE_FIXED + TEXTS_MAX + FIELD_HEAD_LEN + STATE_FIXED +
		 REPORT_REASONS_MAX * (FIELD_HEAD_LEN + 1 + REPORT_TEXT_MAX) + FIELD_HEAD_LEN + CONFIG_FIXED + 1 +
		 REPORT_TEXT_MAX + VIPS_MAX_BYTES + REPORT_LINKS_MAX * (FIELD_HEAD_LEN + LINK_FIXED) +
		 TICKET_KEYS_SENT * (FIELD_HEAD_LEN + KEY_FIXED) + FIELD_HEAD_LEN + VERDICTS_FIXED + FIELD_HEAD_LEN +
		 FILES_FIXED
};
_Static_assert((int)OTHERS <= (int)REPORT_OTHERS_MAX, "what is not verdicts keeps its bound");
_Static_assert(REPORT_VIPS_MAX *(int)VIP_FULL <= (int)VIPS_MAX_BYTES, "all VIPs fit, if need be without reasons");

const char *const report_state_names[REPORT_STATE_COUNT] = {
	[REPORT_STARTING] = "starting", [REPORT_READY] = "ready", [REPORT_DRAIN] = "drain",
	[REPORT_STOPPING] = "stopping", [REPORT_STALE] = "stale", [REPORT_GONE] = "gone",
};

const char *const report_vip_state_names[REPORT_VIP_COUNT] = {
	[REPORT_VIP_UNKNOWN] = "unknown",
	[REPORT_VIP_BACKUP] = "backup",
	[REPORT_VIP_MASTER] = "master",
	[REPORT_VIP_FAULT] = "fault",
};

/* ---- texts ---- */

/* The longest piece of at most n bytes that ends between characters (UTF-8, RFC 3629). */
static size_t cut_between(const char *text, size_t n)
{
	size_t whole = strlen(text);

	if (whole <= n)
		return whole;
	while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80)
		n--;
	return n;
}

void report_text(char *out, size_t cap, const char *text)
{
	size_t n = cut_between(text, cap - 1);

	memcpy(out, text, n);
	out[n] = '\0';
	for (char *p = out; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
}

/* ---- pieces ---- */

static void put(struct sbuf *out, uint64_t v, unsigned n)
{
	uint8_t p[8];

	le_put(p, v, n);
	sbuf_add(out, p, n);
}

static void put_text(struct sbuf *out, const char *text, size_t max)
{
	size_t n = cut_between(text, max);

	put(out, n, 1);
	sbuf_add(out, text, n);
}

/* Its length tells the family; 0 = none. */
static void put_ip(struct sbuf *out, const struct addr *a)
{
	bool is4 = a->sa.sa_family == AF_INET, is6 = a->sa.sa_family == AF_INET6;

	put(out, is4 ? sizeof(a->in.sin_addr) : is6 ? sizeof(a->in6.sin6_addr) : 0, 1);
	if (is4)
		sbuf_add(out, &a->in.sin_addr, sizeof(a->in.sin_addr));
	if (is6)
		sbuf_add(out, &a->in6.sin6_addr, sizeof(a->in6.sin6_addr));
}

/* Where the field's length goes; field_end() writes it. */
static size_t field_begin(struct sbuf *out, enum field_kind kind)
{
	put(out, kind, 1);
	put(out, 0, 2);
	return out->n;
}

static void field_end(struct sbuf *out, size_t begin)
{
	le_put((uint8_t *)out->p + begin - 2, out->n - begin, 2);
}

/* ---- fields ---- */

static void put_node(struct sbuf *out, const struct node_report *r)
{
	size_t at = field_begin(out, FIELD_NODE);

	put(out, r->id, 4);
	put(out, r->features_low, 2);
	put(out, r->features_high, 2);
	put(out, r->started_ms, 8);
	put(out, r->sequence, 8);
	put_text(out, r->node, REPORT_NAME_MAX);
	put_text(out, r->version, REPORT_VERSION_MAX);
	field_end(out, at);
}

static unsigned state_flags(const struct node_report *r)
{
	return (r->admin_drain ? STATE_DRAIN : 0) | (r->voter_only ? STATE_VOTER_ONLY : 0) |
	       (r->ready ? STATE_IS_READY : 0) | (r->soft ? STATE_SOFT : 0) | (r->safe_to_stop ? STATE_SAFE : 0) |
	       (r->overloaded ? STATE_OVERLOADED : 0);
}

static void put_state(struct sbuf *out, const struct node_report *r)
{
	size_t at = field_begin(out, FIELD_STATE);

	put(out, r->wall_ms, 8);
	put(out, r->state, 1);
	put(out, state_flags(r), 1);
	put(out, r->sessions, 8);
	put(out, r->transactions, 8);
	put(out, r->view_changes, 2);
	field_end(out, at);
	for (size_t i = 0; i < r->n_reasons; i++) {
		at = field_begin(out, FIELD_REASON);
		put_text(out, r->reasons[i], REPORT_TEXT_MAX);
		field_end(out, at);
	}
}

static void put_config(struct sbuf *out, const struct node_report *r)
{
	size_t at = field_begin(out, FIELD_CONFIG);

	put(out, r->revision, 8);
	put(out, r->has_hash ? CONFIG_HASH : 0, 1);
	sbuf_add(out, r->hash, ENTRY_HASH_LEN);
	put(out, r->n_unapplied, 2);
	put_text(out, r->unapplied, REPORT_TEXT_MAX);
	field_end(out, at);
}

static void put_vips(struct sbuf *out, const struct node_report *r)
{
	size_t names = 0, room = REPORT_TEXT_MAX;

	for (size_t i = 0; i < r->n_vips; i++)
		names += VIP_FULL - REPORT_NAME_MAX + cut_between(r->vips[i].name, REPORT_NAME_MAX);
	if (r->n_vips > 0 && (VIPS_MAX_BYTES - names) / r->n_vips < room)
		room = (VIPS_MAX_BYTES - names) / r->n_vips;
	for (size_t i = 0; i < r->n_vips; i++) {
		const struct report_vip *v = &r->vips[i];
		size_t at = field_begin(out, FIELD_VIP);
		put(out, (v->up ? VIP_UP : 0) | (v->kernel ? VIP_KERNEL : 0), 1);
		put(out, v->state, 1);
		put(out, v->priority, 1);
		put(out, v->since_s, 4);
		put_text(out, v->name, REPORT_NAME_MAX);
		put_text(out, v->reason, room);
		put(out, v->peers, 8);
		put_ip(out, &v->source4);
		put_ip(out, &v->source6);
		field_end(out, at);
	}
}

static void put_links(struct sbuf *out, const struct node_report *r)
{
	for (size_t i = 0; i < r->n_links; i++) {
		const struct report_link *l = &r->links[i];
		size_t at = field_begin(out, FIELD_LINK);
		put(out, l->peer, 4);
		put(out, l->link, 1);
		put(out, l->up ? LINK_UP : 0, 1);
		put(out, l->latency_us, 4);
		put(out, l->downs, 4);
		field_end(out, at);
	}
}

static void put_keys(struct sbuf *out, const struct node_report *r)
{
	for (size_t i = 0; i < r->keys.n && i < TICKET_KEYS_SENT; i++) {
		const struct ticket_key_entry *k = &r->keys.list[i];
		size_t at = field_begin(out, FIELD_KEY);
		put(out, k->serial, 8);
		put(out, k->maker, 4);
		put(out, k->age_s, 4);
		sbuf_add(out, k->bytes, TICKET_KEY_LEN);
		field_end(out, at);
	}
}

static void put_files(struct sbuf *out, const struct report_files *f)
{
	size_t at = field_begin(out, FIELD_FILES);

	put(out, f->instance, 8);
	put(out, f->staged, 8);
	put(out, f->installed, 8);
	put(out, f->active, 8);
	sbuf_add(out, f->staged_hash, sizeof(f->staged_hash));
	put(out, f->synced ? FILES_SYNCED : 0, 1);
	field_end(out, at);
}

static void put_verdicts(struct sbuf *out, const struct node_report *r)
{
	size_t at = field_begin(out, FIELD_VERDICTS), bytes = r->n_verdicts * sizeof(*r->verdicts);
	size_t room = (CORE_SOFT_MAX - out->n - VERDICTS_FIXED) / REPORT_VERDICT_LEN;
	struct report_verdict *list = xmalloc(bytes + 1);
	bool all;

	if (bytes > 0)
		memcpy(list, r->verdicts, bytes);
	size_t n = verdicts_choose(list, r->n_verdicts, room, &all);
	put(out, all && !r->partial ? 0 : VERDICTS_PARTIAL, 1);
	put(out, n, 2);
	for (size_t i = 0; i < n; i++) {
		put(out, list[i].key, VERDICT_KEY_BITS / 8);
		put(out, (unsigned)list[i].state << VERDICT_STATE_SHIFT | list[i].weight, 2);
	}
	field_end(out, at);
	free(list);
}

void report_encode(const struct node_report *r, struct sbuf *out)
{
	ASSERT(r->n_reasons <= REPORT_REASONS_MAX && r->n_vips <= REPORT_VIPS_MAX && r->n_links <= REPORT_LINKS_MAX);
	sbuf_reset(out);
	/* At once: growing would leave copies of the keys behind in freed memory. */
	sbuf_reserve(out, CORE_SOFT_MAX);
	put(out, REPORT_FORMAT, 1);
	put_node(out, r);
	put_state(out, r);
	put_config(out, r);
	put_vips(out, r);
	put_links(out, r);
	put_keys(out, r);
	if (r->files.instance != 0)
		put_files(out, &r->files);
	put_verdicts(out, r);
	ASSERT(out->n <= CORE_SOFT_MAX);
}

void report_wipe(struct sbuf *bytes)
{
	if (bytes->p != NULL)
		OPENSSL_cleanse(bytes->p, bytes->cap);
	sbuf_fini(bytes);
}
