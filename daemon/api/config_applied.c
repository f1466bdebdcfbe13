/* SPDX-License-Identifier: Apache-2.0
 * A configuration that was committed, put in force on this node, whoever wrote it.
 *
 * The hard thing: it is the cluster's now, so it cannot be refused any more. What this node cannot use of it (a file
 * that is missing here, an address that is taken) keeps the last good state of that part, and is a warning until it is
 * mended. What is shown and written against is the committed document all the same: a change made against an older one
 * would take back what others wrote.
 */
#include <stdlib.h>

#include "daemon/api/api_private.h"

#define WARNING "configuration"

/* The writer's own was validated as a whole; another node's may name files that are not here. NULL: errors say why. */
static struct conf *conf_of(struct api *a, const struct entry *e, struct errors *errors)
{
	const char *operation = write_operation(a);
	struct conf_env env = a->env.conf_env;
	struct conf *conf = NULL;

	if (operation != NULL && strcmp(operation, e->operation) == 0 && a->proposed != NULL)
		return conf_ref(a->proposed);
	env.before = a->conf;
	env.starting = true;
	json_t *document = conf_read_json(e->document.p, e->document.n, errors);
	if (document != NULL)
		conf = conf_parse(document, &env, errors);
	json_decref(document);
	return conf;
}

static void warn(struct api *a, const struct entry *e, const struct errors *errors)
{
	const struct error *first = errors->n == 0 ? NULL : &errors->list[0];
	char *text = xasprintf("revision %llu is not in force on this node: %s: %s", (unsigned long long)e->revision,
			       first == NULL ? "" : first->path, first == NULL ? "?" : first->detail);

	api_warn(a, WARNING, text);
	free(text);
}

static void put_in_force(struct api *a, struct conf *conf, const struct entry *e)
{
	conf->revision = e->revision;
	a->env.activate(conf, a->env.arg);
	api_warn(a, WARNING, NULL);
	api_set_conf(a, conf);
	runtime_restore_weights(a);
}

void config_applied(struct api *a, const struct entry *e)
{
	struct errors errors = { 0 };

	/* Several may come at once to a node that was away. */
	if (store_last(a->env.store, ENTRY_CONFIG)->position != e->position)
		return;
	struct conf *conf = conf_of(a, e, &errors);
	if (conf != NULL) {
		put_in_force(a, conf, e);
		conf_unref(conf);
	} else {
		warn(a, e, &errors);
	}
	errors_fini(&errors);
	api_event(a, "config",
		  json_pack("{s:I, s:o, s:o}", "revision", (json_int_t)e->revision, "author", json_text(e->author),
			    "comment", json_text(e->comment)));
}
