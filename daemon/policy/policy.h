/* SPDX-License-Identifier: Apache-2.0
 * Policy: from an envelope to a decision. Immutable once built, so workers read it without a lock.
 *
 * Routes are tried in order, first match wins; 100,000 domains must cost no more than ten: domains of all routes are in
 * one hash table that yields, per domain, the set of routes it satisfies.
 */
#ifndef POSTROAD_POLICY_POLICY_H
#define POSTROAD_POLICY_POLICY_H

#include "daemon/base/addr.h"
#include "daemon/base/str.h"

enum route_action { ROUTE_POOL, ROUTE_REJECT, ROUTE_DEFER };

/* What a route asks for. A key that is not present is not asked for; a present one with n = 0 matches nothing; a route
 * without any key matches everything. */
struct route_config {
	const char *name;
	struct str_list {
		bool present;
		const char **v;
		size_t n;
	} listener,                      /* compared whole */
		user,                    /* compared whole; a session without a user has none of them */
		client_certificate,      /* "common name", "dns:name", "email:mailbox", "sha256:hex"; all but the first
					  * in lower case */
		helo, sender, recipient, /* compared whole, ASCII case-insensitively; there are no wildcards in them */
		sender_domain,
		recipient_domain; /* "example.com", "*.example.com" (subdomains only), "@set"; A-labels, lower case */
	struct {
		bool present;
		const struct cidr *v;
		size_t n;
	} client;
	enum route_action action;
	const char *pool; /* ROUTE_POOL */
	const char *text; /* reject, defer: "5.7.1 not from here", NULL = a default */
};

struct domain_set_config {
	const char *name;
	const char **domains; /* as in routes, without "@" */
	size_t n;
};

struct policy_config {
	const struct route_config *routes;
	size_t n_routes;
	const struct domain_set_config *sets;
	size_t n_sets;
};

struct policy;

/* The configuration must outlive the policy (routes are referred to by index and pointer). Its domains are folded
 * already, as smtp_domain_fold() does, behind their "*.". Unknown sets are the validator's business: here they match
 * nothing. */
struct policy *policy_new(const struct policy_config *c);
void policy_free(struct policy *p);

/* What a verified certificate of a client calls him. Kept apart by kind: a common name that reads "dns:…" is none. */
struct envelope_certificate {
	const char *common_name;  /* NULL = none */
	const char *const *names; /* "dns:…", "email:…", "sha256:…", in lower case */
	size_t n_names;
};

struct envelope {
	const char *listener;
	const struct addr *client;
	const char *user;                               /* who logged in; NULL = nobody */
	const struct envelope_certificate *certificate; /* NULL = none, or none that was verified */
	struct str helo;
	struct str sender;           /* local@domain as written, without brackets; "<>" for the null sender */
	struct str sender_domain;    /* folded (smtp_domain_fold); empty for the null sender */
	struct str recipient;        /* as written, without brackets */
	struct str recipient_domain; /* folded; empty for "<postmaster>" */
};

/* The first route that matches, or -1: the listener's own pool. */
int policy_route(const struct policy *p, const struct envelope *e);
/* True if any route looks at recipient or recipient_domain: only then can one transaction have recipients of several
 * routes. */
bool policy_needs_recipient(const struct policy *p);
/* Does a value of `client_certificate` name its kind ("dns:", "email:", "sha256:")? Otherwise it is a common name. */
bool policy_certificate_kind(const char *value);
/* Why the i-th route matches or does not, for explain: "matched", or the first key that failed ("client"). */
const char *policy_why(const struct policy *p, size_t i, const struct envelope *e);

#endif
