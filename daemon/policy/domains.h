/* SPDX-License-Identifier: Apache-2.0
 * Private to this room: from a domain to the routes whose domain keys it satisfies.
 */
#ifndef POSTROAD_POLICY_DOMAINS_H
#define POSTROAD_POLICY_DOMAINS_H

#include "daemon/policy/policy.h"

enum domain_side { SIDE_SENDER, SIDE_RECIPIENT, SIDE_COUNT };

/* Route indexes, ascending, each once. */
struct route_list {
	const uint32_t *v;
	size_t n;
};

/* A folded domain has at most 128 labels; itself and each of its parents yields one list. */
#define DOMAIN_LISTS_MAX 128

/* The routes that one domain satisfies: the union of the lists. Views into the table. */
struct domain_match {
	struct route_list lists[DOMAIN_LISTS_MAX];
	size_t n;
};

struct domain_table;

/* The keys sender_domain and recipient_domain of all routes. */
struct domain_table *domain_table_new(const struct policy_config *c);
void domain_table_free(struct domain_table *t);
/* One look-up per label; an empty domain matches nothing. */
void domain_table_match(const struct domain_table *t, enum domain_side side, struct str domain,
			struct domain_match *ret);
/* The smallest route index >= from that is in the match, SIZE_MAX if there is none; drops smaller ones from *m. */
size_t domain_match_next(struct domain_match *m, size_t from);

#endif
