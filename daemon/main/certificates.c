/* SPDX-License-Identifier: Apache-2.0
 * Certificates in the course of time: files that change are read again, expiry is told.
 *
 * The hard thing is that nothing may break by a certificate that is half written or wrong: files are read into a new
 * form of the same document, in which what cannot be used stays as the form before read it. Connections keep the
 * context they began with.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/base/clock.h"
#include "daemon/base/hash.h"
#include "daemon/base/metrics.h"
#include "daemon/main/node_private.h"

#define LOOK_MS 10000
#define WARN_BEFORE_S (14 * 86400)

struct certificates {
	struct timer look;
	uint64_t fingerprint; /* of the files in force */
	struct map *series;   /* name to struct series */
	uint64_t round;
};

struct series {
	series_id id;
	uint64_t round; /* when it was last seen in a configuration */
};

/* ---- files ---- */

/* A file that changes gets another time, size or inode; its content is not read for that. */
static void add_file(uint64_t *h, const char *path)
{
	struct stat st;
	uint64_t facts[6] = { *h, 0 };

	if (path == NULL)
		return;
	if (stat(path, &st) == 0) {
		facts[1] = (uint64_t)st.st_ino;
		facts[2] = (uint64_t)st.st_size;
		facts[3] = (uint64_t)st.st_mtim.tv_sec;
		facts[4] = (uint64_t)st.st_mtim.tv_nsec;
		facts[5] = (uint64_t)st.st_dev;
	}
	*h = hash_stable(facts, sizeof(facts));
}

static uint64_t fingerprint(const struct conf *c)
{
	uint64_t h = 0;

	for (size_t i = 0; i < c->n_certificates; i++) {
		add_file(&h, c->certificates[i].certificate_file);
		add_file(&h, c->certificates[i].key_file);
	}
	for (size_t i = 0; i < c->n_listeners; i++)
		add_file(&h, c->listeners[i].tls.client_ca_file);
	for (size_t i = 0; i < c->n_pools; i++) {
		add_file(&h, c->pools[i].tls.ca_file);
		add_file(&h, c->pools[i].auth.password_file);
	}
	return h;
}

/* ---- expiry ---- */

const char *certificates_expiry(const struct certificate_config *c, char *out, size_t cap)
{
	int64_t left;

	if (c->loaded == NULL)
		return NULL;
	left = tls_certificate_not_after(c->loaded) - (int64_t)clock_wall();
	if (left > WARN_BEFORE_S)
		return NULL;
	if (left < 0)
		snprintf(out, cap, "certificate %s has expired", c->name);
	else
		snprintf(out, cap, "certificate %s expires in %lld days", c->name, (long long)(left / 86400));
	return out;
}

static void tell_expiry(struct node *n, const struct certificate_config *c)
{
	char *key = xasprintf("certificate/%s", c->name), text[256];
	const char *warning = certificates_expiry(c, text, sizeof(text));

	api_warn(n->api, key, warning);
	free(key);
}

static void tell_series(struct certificates *cs, const struct certificate_config *c)
{
	struct series *s = map_get(cs->series, str_from(c->name));

	if (c->loaded == NULL)
		return;
	if (s == NULL) {
		s = xcalloc(1, sizeof(*s));
		s->id = metrics_series(METRIC_CERTIFICATE_EXPIRY, (const char *[]) { c->name });
		map_put(cs->series, str_from(c->name), s);
	}
	s->round = cs->round;
	metrics_set(s->id, tls_certificate_not_after(c->loaded));
}

/* Series and warnings of certificates that the configuration has no more. */
static void forget_others(struct node *n)
{
	struct certificates *cs = n->certificates;
	struct map *kept = map_new();
	size_t pos = 0;
	struct str name;
	void *value;

	while (map_next(cs->series, &pos, &name, &value)) {
		struct series *s = value;
		if (s->round == cs->round) {
			map_put(kept, name, s);
			continue;
		}
		char *key = xasprintf("certificate/%.*s", STR_ARG(name));
		api_warn(n->api, key, NULL);
		free(key);
		metrics_retire(s->id);
		free(s);
	}
	map_free(cs->series, NULL);
	cs->series = kept;
}

/* ---- in force ---- */

/* In one line, as the status and the log want it; NULL = no errors. Caller frees. */
static char *one_line(const struct errors *e)
{
	struct sbuf b = { 0 };
	char *lines = errors_text(e), *save = NULL;

	for (char *line = strtok_r(lines, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save))
		sbuf_printf(&b, "%s%s", b.n > 0 ? "; " : "", line);
	free(lines);
	return b.n > 0 ? sbuf_steal(&b) : NULL;
}

/* The files of c that cannot be used; NULL = all can. Caller frees. */
static char *kept_text(const struct conf *c)
{
	return one_line(&c->kept);
}

static void tell_all(struct node *n)
{
	struct certificates *cs = n->certificates;

	cs->round++;
	for (size_t i = 0; i < n->conf->n_certificates; i++) {
		tell_series(cs, &n->conf->certificates[i]);
		tell_expiry(n, &n->conf->certificates[i]);
	}
	forget_others(n);
}

void certificates_in_force(struct node *n)
{
	struct certificates *cs = n->certificates;

	if (cs == NULL || n->conf == NULL || n->api == NULL)
		return;
	char *kept = kept_text(n->conf);

	cs->fingerprint = fingerprint(n->conf);
	api_warn(n->api, "certificates", kept);
	free(kept);
	tell_all(n);
}

void certificates_reload(struct node *n)
{
	struct errors errors = { 0 };
	struct conf_env env = n->env;
	char *text = NULL;
	struct conf *c;
	uint64_t before;

	if (n->conf == NULL || n->stopping)
		return;
	/* What is wrong now is not tried again until it changes; what changes while it is read, is. */
	before = fingerprint(n->conf);
	env.before = n->conf;
	c = conf_parse(n->conf->document, &env, &errors);
	if (c != NULL) {
		c->revision = n->conf->revision;
		activate_conf(c, n);
		api_set_conf(n->api, c);
		text = kept_text(c);
		conf_unref(c);
	}
	n->certificates->fingerprint = before;
	if (errors.n > 0)
		text = one_line(&errors);
	api_event(n->api, "certificates", json_pack("{s:b, s:s*}", "reloaded", text == NULL, "error", text));
	api_warn(n->api, "certificates", text);
	free(text);
	errors_fini(&errors);
}

static void on_look(void *arg)
{
	struct node *n = arg;

	CHECK_OBJ(n, NODE_MAGIC);
	if (n->conf != NULL && fingerprint(n->conf) != n->certificates->fingerprint)
		certificates_reload(n);
	else if (n->conf != NULL)
		tell_all(n); /* the days go by */
	timer_set_in(n->loop, &n->certificates->look, LOOK_MS);
}

void certificates_start(struct node *n)
{
	struct certificates *cs = xcalloc(1, sizeof(*cs));

	n->certificates = cs;
	cs->series = map_new();
	timer_init(&cs->look, on_look, n);
	timer_set_in(n->loop, &cs->look, LOOK_MS);
	certificates_in_force(n);
}

void certificates_stop(struct node *n)
{
	struct certificates *cs = n->certificates;

	if (cs == NULL)
		return;
	timer_stop(&cs->look);
	map_free(cs->series, free);
	free(cs);
	n->certificates = NULL;
}
