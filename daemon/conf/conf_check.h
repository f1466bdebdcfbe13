/* SPDX-License-Identifier: Apache-2.0
 * What the checks between fields share. Private to this folder.
 */
#ifndef POSTROAD_CONF_CHECK_H
#define POSTROAD_CONF_CHECK_H

#include "daemon/base/hash.h"
#include "daemon/conf/conf_schema.h"

struct conf_checker {
	struct conf *c;
	struct conf_parser *p;                               /* path and errors */
	struct map *pools, *listeners, *sets, *certificates; /* by name: the typed struct */
	bool fields_are_bad;                                 /* single fields have errors: nothing is loaded */
	struct map *used_pools;
	size_t compared; /* names, in search of one to suggest */
};

/* Names compared for all suggestions of one document together: an unknown name costs a look at every known one, and
 * there may be tens of thousands of both. */
#define CONF_SUGGEST_MAX ((size_t)50000)

/* Sets the parser's path: tokens up to NULL. */
void conf_check_at(struct conf_checker *k, ...) __attribute__((sentinel));
/* A warning at that path. */
void conf_check_warn(struct conf_checker *k, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Adds an error at the path unless the map has the name. `what` as in "pool". False = it has not. */
bool conf_check_name(struct conf_checker *k, const struct map *names, const char *name, const char *what);
/* "@set" members of a list at path…/INDEX must exist; the path is at the list. */
void conf_check_sets(struct conf_checker *k, const struct str_list *domains);

void conf_check_listeners(struct conf_checker *k);
/* Mail that comes to l can take route r, as far as the route's `listener` says. */
bool conf_check_meets(const struct route_config *r, const struct listener_config *l);
void conf_check_pools(struct conf_checker *k);
/* Notes in each pool which inbound listeners lead to it. */
void conf_check_reach(struct conf_checker *k);
void conf_check_routes(struct conf_checker *k);
/* Loads certificates and makes the contexts, too. */
void conf_check_tls(struct conf_checker *k);

/* What the configuration in force read from the same files for the same purpose; NULL = nothing of the kind. */
const struct certificate_config *conf_before_certificate(const struct conf_checker *k,
							 const struct certificate_config *c);
const struct listener_config *conf_before_listener(const struct conf_checker *k, const struct listener_config *l);
const struct pool_config *conf_before_pool(const struct conf_checker *k, const struct pool_config *p);
/* The file at the path cannot be used, and that is no error. */
void conf_check_keep(struct conf_checker *k, const char *why, const char *instead);
/* Mail for it is deferred until the file at the path can be used. */
void conf_check_empty_pool(struct conf_checker *k, struct pool_config *p, const char *why);

/* Gives those a virtual router id that have none, too. */
void conf_check_vips(struct conf_checker *k);
void conf_check_users(struct conf_checker *k);
void conf_check_auth(struct conf_checker *k);

#endif
