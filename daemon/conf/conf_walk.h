/* SPDX-License-Identifier: Apache-2.0
 * Where a value of a document stands in the tables, for walks that compare or copy documents. Private to this folder.
 */
#ifndef POSTROAD_CONF_WALK_H
#define POSTROAD_CONF_WALK_H

#include "daemon/conf/conf_schema.h"

/* object: the value is such an object. elements: the value is a map or list of such objects. Both NULL: nothing is
 * known below. */
struct conf_place {
	const struct conf_object *object, *elements;
	bool is_secret;
};

struct conf_place conf_place_root(void);
/* The member `key` of an object or map; for a list, any member. */
struct conf_place conf_place_member(struct conf_place at, const char *key);
/* The value as it may be shown; a new reference. */
json_t *conf_mask_at(struct conf_place at, json_t *v);

#define CONF_SECRET_SHOWN "<secret>"

#endif
