/* SPDX-License-Identifier: Apache-2.0
 * Checks between the fields of users.
 */
#include "daemon/conf/conf_check.h"

static bool is_there(json_t *v)
{
	return v != NULL && !json_is_null(v);
}

/* As written: a secret that was refused is not missing as well, and what is no object was refused as such. */
static bool is_written(struct conf_checker *k, const char *user)
{
	json_t *v = json_object_get(json_object_get(k->c->document, "users"), user);

	return !json_is_object(v) || is_there(json_object_get(v, "password")) ||
	       is_there(json_object_get(v, "scram_sha256"));
}

void conf_check_users(struct conf_checker *k)
{
	for (size_t i = 0; i < k->c->n_users; i++) {
		const char *name = k->c->users[i].name;
		if (is_written(k, name))
			continue;
		conf_check_at(k, "users", name, NULL);
		errors_add(k->p->errors, k->p->path.p, NULL, "\"password\", \"scram_sha256\" or both", NULL,
			   "this user has nothing to log in with. `postroad user add %s` sets a password", name);
	}
}
