/* SPDX-License-Identifier: Apache-2.0
 * Routes: the first one whose keys all match.
 *
 * The hard thing is not to try every route: those with a domain key are only looked at when the domain table names
 * them. Candidates come in ascending order from three sources (routes without domain keys, those of the sender's
 * domain, those of the recipient's), and each is then held against its keys. The keys are rows of one table, which
 * policy_why() reads too, so that an explanation cannot differ from the decision.
 */
#include "daemon/policy/policy.h"

#include <stdlib.h>

#include "daemon/policy/domains.h"

#define POLICY_MAGIC 0x706f6c79

struct policy {
	uint32_t magic;
	const struct policy_config *config;
	struct domain_table *domains;
	uint32_t *plain; /* routes without domain keys, ascending */
	size_t n_plain;
	bool needs_recipient;
};

/* One envelope being matched. */
struct match {
	const struct envelope *e;
	struct domain_match side[SIDE_COUNT];
};

/* ---- keys ---- */

static bool list_has(const struct str_list *l, struct str value)
{
	for (size_t i = 0; i < l->n; i++)
		if (str_ieq(str_from(l->v[i]), value))
			return true;
	return false;
}

static bool listener_matches(const struct route_config *r, size_t i, struct match *m)
{
	UNUSED(i);
	if (!r->listener.present)
		return true;
	for (size_t k = 0; m->e->listener != NULL && k < r->listener.n; k++)
		if (strcmp(r->listener.v[k], m->e->listener) == 0)
			return true;
	return false;
}

static bool client_matches(const struct route_config *r, size_t i, struct match *m)
{
	UNUSED(i);
	return !r->client.present || (m->e->client != NULL && cidr_match_any(r->client.v, r->client.n, m->e->client));
}

static bool user_matches(const struct route_config *r, size_t i, struct match *m)
{
	UNUSED(i);
	if (!r->user.present)
		return true;
	for (size_t k = 0; m->e->user != NULL && k < r->user.n; k++)
		if (strcmp(r->user.v[k], m->e->user) == 0)
			return true;
	return false;
}

bool policy_certificate_kind(const char *value)
{
	return strncmp(value, "dns:", 4) == 0 || strncmp(value, "email:", 6) == 0 || strncmp(value, "sha256:", 7) == 0;
}

static bool certificate_has(const struct envelope_certificate *c, const char *value)
{
	if (!policy_certificate_kind(value))
		return c->common_name != NULL && strcmp(c->common_name, value) == 0;
	for (size_t i = 0; i < c->n_names; i++)
		if (strcmp(c->names[i], value) == 0)
			return true;
	return false;
}

static bool certificate_matches(const struct route_config *r, size_t i, struct match *m)
{
	UNUSED(i);
	if (!r->client_certificate.present)
		return true;
	for (size_t k = 0; m->e->certificate != NULL && k < r->client_certificate.n; k++)
		if (certificate_has(m->e->certificate, r->client_certificate.v[k]))
			return true;
	return false;
}

static bool helo_matches(const struct route_config *r, size_t i, struct match *m)
{
	UNUSED(i);
	return !r->helo.present || list_has(&r->helo, m->e->helo);
}

static bool sender_domain_matches(const struct route_config *r, size_t i, struct match *m)
{
	return !r->sender_domain.present || domain_match_next(&m->side[SIDE_SENDER], i) == i;
}

static bool sender_matches(const struct route_config *r, size_t i, struct match *m)
{
	UNUSED(i);
	return !r->sender.present || list_has(&r->sender, m->e->sender);
}

static bool recipient_domain_matches(const struct route_config *r, size_t i, struct match *m)
{
	return !r->recipient_domain.present || domain_match_next(&m->side[SIDE_RECIPIENT], i) == i;
}

static bool recipient_matches(const struct route_config *r, size_t i, struct match *m)
{
	UNUSED(i);
	return !r->recipient.present || list_has(&r->recipient, m->e->recipient);
}

static const struct {
	const char *name;
	bool (*matches)(const struct route_config *r, size_t i, struct match *m);
} keys[] = {
	{ "listener", listener_matches },   { "client", client_matches },
	{ "user", user_matches },           { "client_certificate", certificate_matches },
	{ "helo", helo_matches },           { "sender_domain", sender_domain_matches },
	{ "sender", sender_matches },       { "recipient_domain", recipient_domain_matches },
	{ "recipient", recipient_matches },
};

/* The first key of route i that does not match, NULL if all do. Calls for one match go upwards in i. */
static const char *first_miss(const struct policy *p, size_t i, struct match *m)
{
	for (size_t k = 0; k < ARRAY_LEN(keys); k++)
		if (!keys[k].matches(&p->config->routes[i], i, m))
			return keys[k].name;
	return NULL;
}

/* ---- building ---- */

struct policy *policy_new(const struct policy_config *c)
{
	struct policy *p;

	NEW_OBJ(p, POLICY_MAGIC);
	p->config = c;
	p->domains = domain_table_new(c);
	p->plain = xcalloc(c->n_routes + 1, sizeof(*p->plain));
	for (size_t i = 0; i < c->n_routes; i++) {
		const struct route_config *r = &c->routes[i];
		if (!r->sender_domain.present && !r->recipient_domain.present)
			p->plain[p->n_plain++] = (uint32_t)i;
		p->needs_recipient = p->needs_recipient || r->recipient.present || r->recipient_domain.present;
	}
	return p;
}

void policy_free(struct policy *p)
{
	if (p == NULL)
		return;
	CHECK_OBJ(p, POLICY_MAGIC);
	domain_table_free(p->domains);
	free(p->plain);
	FREE_OBJ(p);
}

/* ---- deciding ---- */

static void match_begin(const struct policy *p, const struct envelope *e, struct match *ret)
{
	ret->e = e;
	domain_table_match(p->domains, SIDE_SENDER, e->sender_domain, &ret->side[SIDE_SENDER]);
	domain_table_match(p->domains, SIDE_RECIPIENT, e->recipient_domain, &ret->side[SIDE_RECIPIENT]);
}

static size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

int policy_route(const struct policy *p, const struct envelope *e)
{
	struct match m;
	size_t plain = 0;

	CHECK_OBJ(p, POLICY_MAGIC);
	match_begin(p, e, &m);
	for (size_t from = 0;;) {
		while (plain < p->n_plain && p->plain[plain] < from)
			plain++;
		size_t i = plain < p->n_plain ? p->plain[plain] : SIZE_MAX;
		for (int side = 0; side < SIDE_COUNT; side++)
			i = min_size(i, domain_match_next(&m.side[side], from));
		if (i == SIZE_MAX)
			return -1;
		if (first_miss(p, i, &m) == NULL)
			return (int)i;
		from = i + 1;
	}
}

bool policy_needs_recipient(const struct policy *p)
{
	CHECK_OBJ(p, POLICY_MAGIC);
	return p->needs_recipient;
}

const char *policy_why(const struct policy *p, size_t i, const struct envelope *e)
{
	struct match m;

	CHECK_OBJ(p, POLICY_MAGIC);
	ASSERT(i < p->config->n_routes);
	match_begin(p, e, &m);
	const char *miss = first_miss(p, i, &m);
	return miss != NULL ? miss : "matched";
}
