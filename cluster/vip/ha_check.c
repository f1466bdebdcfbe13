/* SPDX-License-Identifier: Apache-2.0
 * The rules that a message's content obeys.
 *
 * The hard thing: these stand between an unprivileged process and files that root's programs obey. Each field has a set
 * of characters or a range that is harmless wherever it is written, and nothing is corrected: it is refused.
 */
#include "cluster/vip/ha_check.h"

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool ha_name_ok(const char *name)
{
	size_t n = strnlen(name, HA_NAME_MAX + 1);

	if (n == 0 || n > HA_NAME_MAX || !is_word(name[0]))
		return false;
	for (size_t i = 1; i < n; i++)
		if (!is_word(name[i]) && strchr("_.-", name[i]) == NULL)
			return false;
	return true;
}

/* The kernel allows more; no name of an interface that is in use needs it. */
static bool interface_ok(const char *name)
{
	size_t n = strnlen(name, HA_INTERFACE_MAX + 1);

	return n <= HA_INTERFACE_MAX && ha_name_ok(name);
}

static bool text_ok(const char *text)
{
	for (; *text != '\0'; text++)
		if (*text < ' ' || *text >= 0x7f)
			return false;
	return true;
}

/* An address that one machine of a network may have. */
static bool unicast(const struct addr *a)
{
	if (a->sa.sa_family == AF_INET) {
		uint32_t v = ntohl(a->in.sin_addr.s_addr);
		return v >> 24 != 0 && v >> 24 != 127 && v >> 28 < 14;
	}
	const struct in6_addr *v6 = &a->in6.sin6_addr;
	return a->sa.sa_family == AF_INET6 && !IN6_IS_ADDR_UNSPECIFIED(v6) && !IN6_IS_ADDR_LOOPBACK(v6) &&
	       !IN6_IS_ADDR_MULTICAST(v6) && !IN6_IS_ADDR_V4MAPPED(v6);
}

/* ---- the table ---- */

static const char *check_peers(const struct ha_vip *v)
{
	if (!unicast(&v->source))
		return "a VIP has no usable source address";
	for (size_t i = 0; i < v->n_peers; i++) {
		if (!unicast(&v->peers[i]) || v->peers[i].sa.sa_family != v->source.sa.sa_family)
			return "a peer's address is not of the source's family";
		if (addr_eq_ip(&v->peers[i], &v->source))
			return "a peer has this node's address";
		for (size_t k = 0; k < i; k++)
			if (addr_eq_ip(&v->peers[i], &v->peers[k]))
				return "two peers have one address";
	}
	return NULL;
}

static const char *check_addresses(const struct ha_vip *v)
{
	bool same_family = false;

	for (size_t i = 0; i < v->n_addresses; i++) {
		const struct ha_address *a = &v->addresses[i];
		if (!unicast(&a->ip) || a->bits == 0 || a->bits > (a->ip.sa.sa_family == AF_INET6 ? 128 : 32))
			return "an address of a VIP is not one that a machine can have";
		if (addr_eq_ip(&a->ip, &v->source))
			return "an address of a VIP is this node's own";
		for (size_t k = 0; k < v->n_peers; k++)
			if (addr_eq_ip(&a->ip, &v->peers[k]))
				return "an address of a VIP is a peer's own";
		same_family |= a->ip.sa.sa_family == v->source.sa.sa_family;
	}
	return same_family ? NULL : "a VIP has no address of its source's family";
}

static const char *check_vip(const struct ha_vip *v)
{
	if (!ha_name_ok(v->name))
		return "the name of a VIP has other characters than letters, digits, '_', '.' and '-'";
	if (!interface_ok(v->interface))
		return "the name of a VIP's interface has other characters than letters, digits, '_', '.' and '-'";
	if (v->vrid == 0)
		return "a VRID is 0";
	if (v->priority == 0 || v->priority > HA_PRIORITY_MAX)
		return "a priority is not from 1 to 254";
	if (v->advert_ms < HA_ADVERT_MIN_MS || v->advert_ms > HA_ADVERT_MAX_MS || v->advert_ms % 10 != 0)
		return "an advert interval is not from 50 to 40000 ms in steps of 10";
	if (v->garp_s > HA_GARP_MAX_S)
		return "the interval of gratuitous ARP is above 3600 s";
	const char *why = check_peers(v);
	return why != NULL ? why : check_addresses(v);
}

static bool shares_address(const struct ha_vip *a, const struct ha_vip *b)
{
	for (size_t i = 0; i < a->n_addresses; i++)
		for (size_t k = 0; k < b->n_addresses; k++)
			if (addr_eq_ip(&a->addresses[i].ip, &b->addresses[k].ip) && (a != b || i < k))
				return true;
	return false;
}

static const char *check_pair(const struct ha_vip *a, const struct ha_vip *b)
{
	if (strcmp(a->name, b->name) == 0)
		return "two VIPs have one name";
	if (a->vrid == b->vrid && strcmp(a->interface, b->interface) == 0)
		return "two VIPs have one VRID on an interface";
	if (shares_address(a, b))
		return "two VIPs have one address";
	return NULL;
}

const char *ha_table_check(const struct ha_table *t)
{
	if (t->n > HA_VIPS_MAX)
		return "there are too many VIPs";
	for (size_t i = 0; i < t->n; i++) {
		const char *why = check_vip(&t->vips[i]);
		if (why == NULL && shares_address(&t->vips[i], &t->vips[i]))
			why = "a VIP has an address twice";
		for (size_t k = 0; k < i && why == NULL; k++)
			why = check_pair(&t->vips[k], &t->vips[i]);
		if (why != NULL)
			return why;
	}
	return NULL;
}

const struct ha_vip *ha_table_find(const struct ha_table *t, const char *name)
{
	for (size_t i = 0; i < t->n; i++)
		if (strcmp(t->vips[i].name, name) == 0)
			return &t->vips[i];
	return NULL;
}

/* ---- the others ---- */

static const char *check_health(const struct ha_health *h)
{
	for (size_t i = 0; i < h->n; i++) {
		if (!ha_name_ok(h->vips[i].name) || !text_ok(h->vips[i].reason))
			return "a name or a reason has characters that are not allowed";
		for (size_t k = 0; k < i; k++)
			if (strcmp(h->vips[i].name, h->vips[k].name) == 0)
				return "the health of a VIP is given twice";
	}
	return NULL;
}

static bool nodes_differ(const struct ha_corosync_node *a, const struct ha_corosync_node *b)
{
	if (a->id == b->id || strcmp(a->name, b->name) == 0)
		return false;
	for (size_t i = 0; i < a->n_links; i++)
		for (size_t k = 0; k < b->n_links; k++)
			if (addr_eq_ip(&a->links[i], &b->links[k]))
				return false;
	return true;
}

static const char *check_node(const struct ha_corosync *c, const struct ha_corosync_node *n)
{
	if (n->id == 0 || !ha_name_ok(n->name))
		return "a node's number or name is not allowed";
	if (n->n_links == 0 || n->n_links != c->nodes[0].n_links)
		return "the nodes have different numbers of links";
	for (size_t i = 0; i < n->n_links; i++)
		if (!unicast(&n->links[i]) || n->links[i].sa.sa_family != c->nodes[0].links[i].sa.sa_family)
			return "a node's address is none, or of another family than the others' of its link";
	if (n->n_links == 2 && addr_eq_ip(&n->links[0], &n->links[1]))
		return "a node's links have one address";
	return NULL;
}

static const char *check_corosync(const struct ha_corosync *c)
{
	if (c->verb < HA_COROSYNC_STAGE || c->verb >= HA_COROSYNC_VERB_END)
		return "the verb is unknown";
	bool numbered = c->verb == HA_COROSYNC_STAGE || c->verb == HA_COROSYNC_INSTALL;
	if (numbered ? c->generation == 0 || c->generation > UINT32_MAX : c->generation != 0)
		return "the generation is not allowed";
	if (c->verb != HA_COROSYNC_STAGE)
		return NULL;
	if (!ha_name_ok(c->cluster))
		return "the cluster's name is not allowed";
	if (c->key_len < HA_KEY_MIN || c->key_len > HA_KEY_MAX)
		return "the key is not of 128 to 1024 bytes";
	if (c->n == 0)
		return "there are no nodes";
	for (size_t i = 0; i < c->n; i++) {
		const char *why = check_node(c, &c->nodes[i]);
		if (why != NULL)
			return why;
		for (size_t k = 0; k < i; k++)
			if (!nodes_differ(&c->nodes[i], &c->nodes[k]))
				return "two nodes share a number, a name or an address";
	}
	return NULL;
}

static const char *check_flow(const struct ha_flows *f, const struct ha_flow *flow)
{
	sa_family_t family = flow->local.sa.sa_family;

	if (!unicast(&flow->local) || !unicast(&flow->remote) || flow->remote.sa.sa_family != family)
		return "a flow's addresses are not such of two machines";
	if (addr_port(&flow->local) == 0 || addr_port(&flow->remote) == 0)
		return "a flow has no port";
	if (f->owner.sa.sa_family != 0 && f->owner.sa.sa_family != family)
		return "a flow is of another family than its owner";
	return NULL;
}

static const char *check_flows(const struct ha_message *m)
{
	const struct ha_flows *f = &m->flows;
	bool owned = f->owner.sa.sa_family != 0;
	const char *why = NULL;

	if (!ha_name_ok(f->vip))
		return "the VIP's name is not allowed";
	if (owned ? !unicast(&f->owner) : m->type != HA_FLOWS)
		return "the old owner's address is not one that a machine can have";
	if (owned ? f->seconds == 0 || f->seconds > HA_FLOW_SECONDS_MAX : f->seconds != 0)
		return "the time that flows are kept for is not from 1 s to a day";
	if (m->type == HA_FLOWS_OPEN && (f->n > 0 || !f->last))
		return "flows are named before they are there";
	for (size_t i = 0; i < f->n && why == NULL; i++)
		why = check_flow(f, &f->list[i]);
	return why;
}

static const char *check_about(const struct ha_message *m)
{
	bool keep = m->type == HA_FLOWS_KEEP;

	if (!ha_name_ok(m->about.vip))
		return "the VIP's name is not allowed";
	if (keep ? m->about.seconds == 0 || m->about.seconds > HA_FLOW_SECONDS_MAX : m->about.seconds != 0)
		return "the time that an address is kept for is not from 1 s to a day";
	return NULL;
}

static const char *check_report(const struct ha_report *r)
{
	for (size_t i = 0; i < r->n; i++)
		if (!ha_name_ok(r->vips[i].name) || r->vips[i].present > r->vips[i].addresses)
			return "a VIP in the report has a name that is not allowed, or more addresses than it has";
	return NULL;
}

const char *ha_message_check(const struct ha_message *m)
{
	static const char *const bad_name = "a name has other characters than letters, digits, '_', '.' and '-'";
	static const char *const bad_text = "a text has characters that are not printable";

	switch (m->type) {
	case HA_HELLO:
		return ha_name_ok(m->hello.node) ? NULL : bad_name;
	case HA_TABLE:
		return ha_table_check(&m->table);
	case HA_HEALTH:
		return check_health(&m->health);
	case HA_BEAT:
		return NULL;
	case HA_COROSYNC:
		return check_corosync(&m->corosync);
	case HA_PROBE:
	case HA_FLOWS_LIST:
	case HA_FLOWS_KEEP:
	case HA_FLOWS_DROP:
		return check_about(m);
	case HA_FLOWS_OPEN:
	case HA_FLOWS_TAKE:
	case HA_FLOWS:
		return check_flows(m);
	case HA_FLOWS_LOST:
		return unicast(&m->lost.owner) ? NULL : "the owner's address is not one that a machine can have";
	case HA_WELCOME:
		return text_ok(m->welcome.program) ? NULL : bad_text;
	case HA_REPORT:
		return check_report(&m->report);
	case HA_ERROR:
	case HA_DONE:
		return text_ok(m->outcome.text) ? NULL : bad_text;
	case HA_PROBED:
		return ha_name_ok(m->probed.vip) ? NULL : bad_name;
	case HA_REQUEST_END:
	case HA_ANSWER_END:
	default:
		return "the type of the message is unknown";
	}
}
