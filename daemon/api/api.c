/* SPDX-License-Identifier: Apache-2.0
 * Start and end of the API, and what the process around it tells it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/api/api_private.h"

#define HEARTBEAT_MS 10000

/* ---- small things shared by the folder ---- */

json_t *json_time(double wall)
{
	char text[32];

	return wall <= 0 ? json_null() : json_string(clock_rfc3339(wall, text));
}

json_t *json_text(const char *s)
{
	if (s == NULL)
		return json_null();
	json_t *value = json_string(s);
	if (value != NULL)
		return value;
	/* Not UTF-8: what an SMTP client sent need not be. */
	char *ascii = xstrdup(s);
	for (char *p = ascii; *p != '\0'; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	value = json_string(ascii);
	free(ascii);
	return value;
}

/* ---- warnings ---- */

static void warning_free(struct api_warning *w)
{
	free(w->key);
	free(w->text);
	free(w);
}

static void tell_begin(struct api *a, const char *key, const char *text)
{
	log_msg(LOG_LEVEL_WARNING, "warning", "%s: %s", key, text);
	events_add(a, "warning", json_pack("{s:s, s:o}", "key", key, "text", json_text(text)));
}

static void tell_end(struct api *a, const char *key)
{
	log_msg(LOG_LEVEL_NOTICE, "warning_over", "%s", key);
	events_add(a, "warning_over", json_pack("{s:s}", "key", key));
}

void api_warn(struct api *a, const char *key, const char *text)
{
	struct api_warning **at = &a->warnings;

	CHECK_OBJ(a, API_MAGIC);
	while (*at != NULL && strcmp((*at)->key, key) != 0)
		at = &(*at)->next;
	struct api_warning *old = *at;
	if (old != NULL && text != NULL && strcmp(old->text, text) == 0)
		return;
	if (old != NULL) {
		*at = old->next;
		warning_free(old);
	}
	if (text == NULL) {
		if (old != NULL)
			tell_end(a, key);
		return;
	}
	struct api_warning *w = xcalloc(1, sizeof(*w));
	w->key = xstrdup(key);
	w->text = xstrdup(text);
	w->next = a->warnings;
	a->warnings = w;
	tell_begin(a, key, text);
}

json_t *status_warnings(struct api *a)
{
	json_t *list = json_array();

	for (const struct api_warning *w = a->warnings; w != NULL; w = w->next)
		json_array_append_new(list, json_pack("{s:s, s:o}", "key", w->key, "text", json_text(w->text)));
	for (size_t i = 0; i < a->conf->warnings.n; i++) {
		const struct error *e = &a->conf->warnings.list[i];
		json_array_append_new(list, json_pack("{s:s, s:o, s:o}", "key", "configuration", "path",
						      json_text(e->path), "text", json_text(e->detail)));
	}
	return list;
}

/* ---- the configuration in force ---- */

static bool has_warning(const struct conf *c, const struct error *e)
{
	for (size_t i = 0; c != NULL && i < c->warnings.n; i++)
		if (strcmp(c->warnings.list[i].path, e->path) == 0 &&
		    strcmp(c->warnings.list[i].detail, e->detail) == 0)
			return true;
	return false;
}

/* What a check of the configuration alone found, as far as it is new. */
static void tell_warnings(struct api *a, const struct conf *before)
{
	for (size_t i = 0; i < a->conf->warnings.n; i++) {
		const struct error *e = &a->conf->warnings.list[i];
		if (has_warning(before, e))
			continue;
		char *text = xasprintf("%s: %s", e->path, e->detail);
		tell_begin(a, "configuration", text);
		free(text);
	}
}

void api_set_conf(struct api *a, struct conf *c)
{
	CHECK_OBJ(a, API_MAGIC);
	struct conf *old = a->conf;

	a->conf = conf_ref(c);
	tell_warnings(a, old);
	if (old != NULL)
		conf_unref(old);
	metrics_set(a->m_revision, (int64_t)c->revision);
	if (old != NULL)
		push_reauthorize(a);
}

/* ---- start and end ---- */

static double read_quorate(void *arg)
{
	const struct api *a = arg;

	return store_quorate(a->env.store) ? 1 : 0;
}

static void make_series(struct api *a)
{
	static const char *const version[] = { POSTROAD_VERSION };
	series_id info = metrics_series(METRIC_BUILD_INFO, version);

	metrics_set(info, 1);
	a->m_revision = metrics_series(METRIC_CLUSTER_CONFIG_REVISION, NULL);
	a->m_quorate = metrics_series(METRIC_CLUSTER_QUORATE, NULL);
	a->m_commit = metrics_series(METRIC_CLUSTER_COMMIT_SECONDS, NULL);
	metrics_read_with(a->m_quorate, read_quorate, a);
	nodes_metrics_create(a);
}

static void on_heartbeat(void *arg)
{
	struct api *a = arg;

	CHECK_OBJ(a, API_MAGIC);
	push_heartbeat_all(a);
	timer_set_in(a->env.loop, &a->heartbeat, HEARTBEAT_MS);
}

static void make_instance(char out[17])
{
	uint8_t bytes[8];

	random_bytes(bytes, sizeof(bytes));
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

struct api *api_new(const struct api_env *env, char **ret_why)
{
	struct api *a;

	NEW_OBJ(a, API_MAGIC);
	a->env = *env;
	list_init(&a->calls);
	list_init(&a->streams);
	list_init(&a->waiting);
	timer_init(&a->write_again, write_wake, a);
	timer_init(&a->prune_again, runtime_prune_again, a);
	loop_flush_init(&a->write_next, write_wake, a);
	a->events = events_new();
	make_instance(a->instance);
	make_series(a);
	if (!etag_key_load(env->node->state_dir, &a->etag_key))
		log_msg(LOG_LEVEL_WARNING, "etag", "the key of entity tags cannot be kept in %s", env->node->state_dir);
	timer_init(&a->heartbeat, on_heartbeat, a);
	timer_set_in(env->loop, &a->heartbeat, HEARTBEAT_MS);
	if (env->node->n_admin_listen > 0 && env->node->admin_tls != ADMIN_TLS_OFF)
		a->tls = tls_admin_context(env->node, a->fingerprint, ret_why);
	bool tls_failed = env->node->n_admin_listen > 0 && env->node->admin_tls != ADMIN_TLS_OFF && a->tls == NULL;
	if (tls_failed || !conn_open_fronts(a, ret_why)) {
		api_free(a);
		return NULL;
	}
	runtime_apply(a);
	return a;
}

void api_free(struct api *a)
{
	struct list *tmp;
	struct call *c;

	if (a == NULL)
		return;
	CHECK_OBJ(a, API_MAGIC);
	timer_stop(&a->heartbeat);
	conn_close_fronts(a);
	write_end_all(a);
	/* Calls that wait for a worker's answer: it finds them without an api and frees them. */
	LIST_FOR_EACH(c, tmp, &a->calls, link) {
		c->api = NULL;
		list_remove(&c->link);
	}
	while (a->warnings != NULL) {
		struct api_warning *w = a->warnings;
		a->warnings = w->next;
		warning_free(w);
	}
	metrics_retire(a->m_quorate);
	nodes_metrics_retire(a);
	json_decref(a->runtime);
	json_decref(a->unpruned);
	json_decref(a->local);
	events_free(a->events);
	SSL_CTX_free(a->tls);
	if (a->conf != NULL)
		conf_unref(a->conf);
	OPENSSL_cleanse(&a->etag_key, sizeof(a->etag_key));
	FREE_OBJ(a);
}

void api_applied(struct api *a, const struct entry *e)
{
	CHECK_OBJ(a, API_MAGIC);
	if (e->kind == ENTRY_CONFIG) {
		config_applied(a, e);
		runtime_config_applied(a, e);
	} else if (e->kind == ENTRY_RUNTIME) {
		runtime_applied(a, e);
	}
}

void api_reset(struct api *a)
{
	CHECK_OBJ(a, API_MAGIC);
	runtime_reset(a);
}

void api_reload_certificates(struct api *a)
{
	char fingerprint[sizeof(a->fingerprint)], *why = NULL;

	CHECK_OBJ(a, API_MAGIC);
	if (a->tls == NULL)
		return;
	SSL_CTX *fresh = tls_admin_context(a->env.node, fingerprint, &why);
	if (fresh == NULL) {
		/* The certificate in use goes on being used. */
		api_warn(a, "admin_certificate", why);
		free(why);
		return;
	}
	api_warn(a, "admin_certificate", NULL);
	SSL_CTX_free(a->tls);
	a->tls = fresh;
	memcpy(a->fingerprint, fingerprint, sizeof(fingerprint));
}
