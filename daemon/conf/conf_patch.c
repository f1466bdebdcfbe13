/* SPDX-License-Identifier: Apache-2.0
 * JSON merge patch (RFC 7396 2).
 */
#include "daemon/conf/conf.h"

json_t *conf_merge_patch(json_t *target, json_t *patch)
{
	json_t *out, *value;
	const char *key;

	if (!json_is_object(patch))
		return json_deep_copy(patch);
	out = json_is_object(target) ? json_deep_copy(target) : json_object();
	json_object_foreach(patch, key, value) {
		if (json_is_null(value))
			json_object_del(out, key);
		else
			json_object_set_new(out, key, conf_merge_patch(json_object_get(out, key), value));
	}
	return out;
}
