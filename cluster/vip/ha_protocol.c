/* SPDX-License-Identifier: Apache-2.0
 * Messages between postroadd and postroad-ha as bytes, there and back.
 *
 * The hard thing: what is written and what is read must never differ by a field. So each message is described once, by
 * a function over a cursor that either puts a field or takes it; whoever reads has then checked all that a writer may
 * do.
 */
#include "cluster/vip/ha_protocol.h"

#include <openssl/crypto.h>

#include "cluster/vip/ha_check.h"

struct cursor {
	bool writing, bad;
	struct sbuf *out; /* writing */
	const uint8_t *p; /* reading */
	size_t left;
};

/* ---- fields ---- */

static void raw(struct cursor *c, void *bytes, size_t n)
{
	if (c->writing) {
		sbuf_add(c->out, bytes, n);
		return;
	}
	if (c->bad || c->left < n) {
		c->bad = true;
		memset(bytes, 0, n);
		return;
	}
	memcpy(bytes, c->p, n);
	c->p += n;
	c->left -= n;
}

static uint64_t number(struct cursor *c, uint64_t v, unsigned n)
{
	uint8_t bytes[8] = { 0 };

	for (unsigned i = 0; c->writing && i < n; i++)
		bytes[i] = (uint8_t)(v >> 8 * i);
	raw(c, bytes, n);
	v = 0;
	for (unsigned i = 0; i < n; i++)
		v |= (uint64_t)bytes[i] << 8 * i;
	return v;
}

static void u8(struct cursor *c, uint8_t *v)
{
	*v = (uint8_t)number(c, *v, 1);
}

static void u16(struct cursor *c, uint16_t *v)
{
	*v = (uint16_t)number(c, *v, 2);
}

static void u32(struct cursor *c, uint32_t *v)
{
	*v = (uint32_t)number(c, *v, 4);
}

static void u64(struct cursor *c, uint64_t *v)
{
	*v = number(c, *v, 8);
}

static void flag(struct cursor *c, bool *v)
{
	uint64_t n = number(c, *v, 1);

	if (n > 1)
		c->bad = true;
	*v = n == 1;
}

/* A length or a choice, up to max. */
static size_t bounded(struct cursor *c, size_t v, size_t max)
{
	size_t n = (size_t)number(c, v, 2);

	if (n <= max)
		return n;
	c->bad = true;
	return 0;
}

/* A text with its NUL in max + 1 bytes. A NUL within it would be another text for whoever prints it. */
static void text(struct cursor *c, char *v, size_t max)
{
	size_t n = bounded(c, c->writing ? strnlen(v, max) : 0, max);

	raw(c, v, n);
	v[n] = '\0';
	if (strlen(v) != n)
		c->bad = true;
}

static void ip(struct cursor *c, struct addr *a)
{
	uint8_t family = a->sa.sa_family == AF_INET6 ? 6 : a->sa.sa_family == AF_INET ? 4 : 0;

	u8(c, &family);
	if (!c->writing)
		memset(a, 0, sizeof(*a));
	if (family == 4) {
		a->in.sin_family = AF_INET;
		raw(c, &a->in.sin_addr, 4);
	} else if (family == 6) {
		a->in6.sin6_family = AF_INET6;
		raw(c, &a->in6.sin6_addr, 16);
	} else if (family != 0) {
		c->bad = true;
	}
}

static void endpoint(struct cursor *c, struct addr *a)
{
	ip(c, a);
	uint64_t port = number(c, c->writing ? addr_port(a) : 0, 2);

	if (a->sa.sa_family == 0)
		c->bad = true;
	else if (!c->writing)
		addr_set_port(a, (unsigned)port);
}

/* ---- messages ---- */

static void vip(struct cursor *c, struct ha_vip *v)
{
	text(c, v->name, HA_NAME_MAX);
	text(c, v->interface, HA_INTERFACE_MAX);
	u8(c, &v->vrid);
	u8(c, &v->priority);
	u16(c, &v->advert_ms);
	u16(c, &v->garp_s);
	flag(c, &v->failback);
	ip(c, &v->source);
	v->n_peers = bounded(c, v->n_peers, HA_PEERS_MAX);
	for (size_t i = 0; i < v->n_peers; i++)
		ip(c, &v->peers[i]);
	v->n_addresses = bounded(c, v->n_addresses, HA_ADDRESSES_MAX);
	for (size_t i = 0; i < v->n_addresses; i++) {
		ip(c, &v->addresses[i].ip);
		u8(c, &v->addresses[i].bits);
	}
}

static void table(struct cursor *c, struct ha_table *t)
{
	u64(c, &t->generation);
	t->n = bounded(c, t->n, HA_VIPS_MAX);
	for (size_t i = 0; i < t->n && !c->bad; i++)
		vip(c, &t->vips[i]);
}

static void health(struct cursor *c, struct ha_health *h)
{
	h->n = bounded(c, h->n, HA_VIPS_MAX);
	for (size_t i = 0; i < h->n && !c->bad; i++) {
		text(c, h->vips[i].name, HA_NAME_MAX);
		flag(c, &h->vips[i].up);
		text(c, h->vips[i].reason, HA_TEXT_MAX);
	}
}

static void corosync_node(struct cursor *c, struct ha_corosync_node *n)
{
	u32(c, &n->id);
	text(c, n->name, HA_NAME_MAX);
	n->n_links = bounded(c, n->n_links, HA_LINKS_MAX);
	for (size_t i = 0; i < n->n_links; i++)
		ip(c, &n->links[i]);
}

static void corosync(struct cursor *c, struct ha_corosync *q)
{
	u32(c, &q->ticket);
	q->verb = (enum ha_corosync_verb)bounded(c, q->verb, HA_COROSYNC_VERB_END - 1);
	u64(c, &q->generation);
	if (q->verb != HA_COROSYNC_STAGE)
		return;
	text(c, q->cluster, HA_NAME_MAX);
	q->n = bounded(c, q->n, HA_NODES_MAX);
	for (size_t i = 0; i < q->n && !c->bad; i++)
		corosync_node(c, &q->nodes[i]);
	q->key_len = bounded(c, q->key_len, HA_KEY_MAX);
	raw(c, q->key, q->key_len);
}

static void flows(struct cursor *c, struct ha_flows *f)
{
	u32(c, &f->ticket);
	text(c, f->vip, HA_NAME_MAX);
	flag(c, &f->last);
	ip(c, &f->owner);
	u32(c, &f->seconds);
	f->n = bounded(c, f->n, HA_FLOWS_MAX);
	for (size_t i = 0; i < f->n && !c->bad; i++) {
		endpoint(c, &f->list[i].local);
		endpoint(c, &f->list[i].remote);
	}
}

static void report(struct cursor *c, struct ha_report *r)
{
	u64(c, &r->generation);
	flag(c, &r->keepalived);
	flag(c, &r->corosync);
	u64(c, &r->corosync_generation);
	r->n = bounded(c, r->n, HA_VIPS_MAX);
	for (size_t i = 0; i < r->n && !c->bad; i++) {
		struct ha_report_vip *v = &r->vips[i];
		text(c, v->name, HA_NAME_MAX);
		u8(c, &v->addresses);
		u8(c, &v->present);
		flag(c, &v->up);
		v->state = (enum ha_state)bounded(c, v->state, HA_STATE_END - 1);
		u8(c, &v->priority);
		u64(c, &v->since_ms);
	}
}

static void outcome(struct cursor *c, struct ha_outcome *o)
{
	u32(c, &o->ticket);
	u8(c, &o->about);
	u64(c, &o->generation);
	text(c, o->text, HA_TEXT_MAX);
}

static void about(struct cursor *c, struct ha_about *a)
{
	u32(c, &a->ticket);
	text(c, a->vip, HA_NAME_MAX);
	u32(c, &a->seconds);
}

static void probed(struct cursor *c, struct ha_probed *p)
{
	u32(c, &p->ticket);
	text(c, p->vip, HA_NAME_MAX);
	flag(c, &p->seen);
	raw(c, p->mac, sizeof(p->mac));
}

static void body(struct cursor *c, struct ha_message *m)
{
	switch (m->type) {
	case HA_HELLO:
		text(c, m->hello.node, HA_NAME_MAX);
		break;
	case HA_TABLE:
		table(c, &m->table);
		break;
	case HA_HEALTH:
		health(c, &m->health);
		break;
	case HA_BEAT:
		u64(c, &m->beat.sequence);
		break;
	case HA_COROSYNC:
		corosync(c, &m->corosync);
		break;
	case HA_PROBE:
	case HA_FLOWS_LIST:
	case HA_FLOWS_KEEP:
	case HA_FLOWS_DROP:
		about(c, &m->about);
		break;
	case HA_FLOWS_OPEN:
	case HA_FLOWS_TAKE:
	case HA_FLOWS:
		flows(c, &m->flows);
		break;
	case HA_FLOWS_LOST:
		u32(c, &m->lost.ticket);
		ip(c, &m->lost.owner);
		break;
	case HA_WELCOME:
		text(c, m->welcome.program, HA_TEXT_MAX);
		break;
	case HA_REPORT:
		report(c, &m->report);
		break;
	case HA_ERROR:
	case HA_DONE:
		outcome(c, &m->outcome);
		break;
	case HA_PROBED:
		probed(c, &m->probed);
		break;
	case HA_REQUEST_END:
	case HA_ANSWER_END:
	default:
		c->bad = true;
	}
}

/* ---- whole messages ---- */

const char *ha_encode(struct ha_message *m, struct sbuf *out)
{
	struct cursor c = { .writing = true, .out = out };
	uint8_t head[HA_HEAD_LEN] = { HA_VERSION, (uint8_t)m->type };
	const char *why = ha_message_check(m);

	sbuf_reset(out);
	if (why != NULL)
		return why;
	sbuf_add(out, head, sizeof(head));
	body(&c, m);
	if (c.bad || out->n > HA_MESSAGE_MAX) {
		OPENSSL_cleanse(out->p, out->n);
		sbuf_reset(out);
		return "the message has more than fits";
	}
	for (unsigned i = 0; i < 4; i++)
		out->p[4 + i] = (char)(uint8_t)(out->n >> 8 * i);
	return NULL;
}

bool ha_other_version(struct str in)
{
	return in.n >= HA_HEAD_LEN && (uint8_t)in.p[0] != HA_VERSION;
}

const char *ha_decode(struct str in, struct ha_message *ret)
{
	const uint8_t *p = (const uint8_t *)in.p;

	if (in.n < HA_HEAD_LEN || in.n > HA_MESSAGE_MAX)
		return "the message is too short or too long";
	if (p[0] != HA_VERSION)
		return "the message is of another version";
	struct cursor c = { .p = p + 2, .left = in.n - 2 };
	if (number(&c, 0, 2) != 0 || number(&c, 0, 4) != in.n)
		return "the message's head is damaged";
	memset(ret, 0, sizeof(*ret));
	ret->type = (enum ha_type)p[1];
	body(&c, ret);
	if (c.bad || c.left > 0)
		return "the message is malformed";
	return ha_message_check(ret);
}

void ha_text(char out[HA_TEXT_MAX + 1], const char *from)
{
	size_t n = 0;

	for (; from[n] != '\0' && n < HA_TEXT_MAX; n++)
		out[n] = from[n] >= ' ' && from[n] < 0x7f ? from[n] : '?';
	out[n] = '\0';
}
