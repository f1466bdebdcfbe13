/* SPDX-License-Identifier: Apache-2.0
 * Checks of everything about TLS, and the loading: certificates and contexts are made here, so that what cannot work is
 * an error of the configuration and not of the first client.
 *
 * The hard thing is that files belong to a node while the document belongs to all: a file that another node lacks is
 * found there, when that node takes the configuration up.
 */
#include "daemon/conf/conf_check.h"

#include <stdlib.h>

#include "daemon/smtp/smtp.h"

#define SESSIONS_MAX 1024 /* of one pool, remembered for resumption */

/* An error without a value: what was found is a file's content, or a secret. */
static void bad(struct conf_checker *k, const char *allowed, const char *why)
{
	errors_add(k->p->errors, k->p->path.p, NULL, allowed, NULL, "%s", why);
}

/* ---- certificates ---- */

static struct tls_certificate *load(const struct certificate_config *c, char **ret_why)
{
	if (c->certificate_file != NULL)
		return tls_certificate_load(c->name, c->certificate_file, c->key_file, ret_why);
	return tls_certificate_parse(c->name, str_from(c->certificate_pem), str_from(c->key_pem), ret_why);
}

static bool sources_fit(struct conf_checker *k, const struct certificate_config *c)
{
	bool by_file = c->certificate_file != NULL && c->certificate_pem == NULL && c->key_pem == NULL;
	bool by_text =
		c->certificate_pem != NULL && c->key_pem != NULL && c->certificate_file == NULL && c->key_file == NULL;

	if (!by_file && !by_text)
		bad(k, "\"certificate_file\" and maybe \"key_file\", or \"certificate_pem\" and \"key_pem\"",
		    "one certificate and one key are needed, from files or as text");
	return by_file || by_text;
}

static bool keep_certificate(struct conf_checker *k, struct certificate_config *c, const char *why)
{
	const struct certificate_config *was = conf_before_certificate(k, c);

	if (c->certificate_file == NULL || (was == NULL && !k->p->env->starting))
		return false;
	if (was != NULL && was->loaded != NULL) {
		c->loaded = tls_certificate_ref(was->loaded);
		conf_check_keep(k, why, "what was read before stays in force");
	} else {
		conf_check_keep(k, why, "listeners that have no other are closed");
	}
	return true;
}

static void check_certificate(struct conf_checker *k, struct certificate_config *c)
{
	char *why = NULL;

	conf_check_at(k, "certificates", c->name, NULL);
	if (k->fields_are_bad || !sources_fit(k, c))
		return;
	c->loaded = load(c, &why);
	conf_check_at(k, "certificates", c->name, c->certificate_file != NULL ? "certificate_file" : "certificate_pem",
		      NULL);
	if (c->loaded == NULL && !keep_certificate(k, c, why))
		bad(k, NULL, why);
	free(why);
}

/* ---- listeners ---- */

/* The loaded ones among those the listener names; the others are errors already, or in `kept`. */
static struct tls_certificate **certificates_of(struct conf_checker *k, const struct listener_config *l, size_t *ret_n)
{
	const struct str_list *names = &l->tls.certificates;
	struct tls_certificate **list = arena_alloc(k->p->arena, (names->n + 1) * sizeof(struct tls_certificate *));

	*ret_n = 0;
	conf_check_at(k, "listeners", l->name, "tls", "certificates", NULL);
	for (size_t i = 0; i < names->n; i++) {
		if (!conf_check_name(k, k->certificates, names->v[i], "certificate"))
			continue;
		const struct certificate_config *c = map_get(k->certificates, str_from(names->v[i]));
		if (c->loaded != NULL)
			list[(*ret_n)++] = c->loaded;
	}
	return list;
}

/* Without a context for TLS it must not speak to anybody. */
static void close_listener(struct listener_config *l)
{
	l->closed = true;
	l->n_bind = 0;
}

static bool keep_listener(struct conf_checker *k, struct listener_config *l, const char *why)
{
	const struct listener_config *was = conf_before_listener(k, l);

	if (was == NULL && !k->p->env->starting)
		return false;
	if (was != NULL && was->tls.server != NULL) {
		l->tls.server = tls_server_ref(was->tls.server);
		conf_check_keep(k, why, "the listener goes on as it was");
	} else {
		close_listener(l);
		conf_check_keep(k, why, "the listener is closed");
	}
	return true;
}

static void check_listener(struct conf_checker *k, struct listener_config *l)
{
	struct tls_server_conf cf = { .id = l->name,
				      .client_ca_file = l->tls.client_ca_file,
				      .tickets = k->p->env->tickets };
	char *why = NULL;

	cf.certificates = certificates_of(k, l, &cf.n_certificates);
	conf_check_at(k, "listeners", l->name, "tls", "certificates", NULL);
	if (l->tls.mode == LISTENER_TLS_NONE) {
		if (l->tls.certificates.n > 0)
			conf_check_warn(k, "has no effect while the mode is \"none\"");
		return;
	}
	if (l->tls.certificates.n == 0)
		bad(k, "names of certificates", "TLS needs a certificate");
	bool is_wrong = k->p->errors->n > 0 || k->p->errors->dropped > 0;
	if (k->fields_are_bad || l->tls.certificates.n == 0 || (cf.n_certificates < l->tls.certificates.n && is_wrong))
		return;
	if (cf.n_certificates == 0) {
		close_listener(l);
		conf_check_keep(k, "none of them can be used", "the listener is closed");
		return;
	}
	cf.min_version = strcmp(l->tls.min_version, "1.3") == 0 ? TLS_VERSION_1_3 : TLS_VERSION_1_2;
	l->tls.server = tls_server_new(&cf, &why);
	conf_check_at(k, "listeners", l->name, "tls", "client_ca_file", NULL);
	if (l->tls.server == NULL && !keep_listener(k, l, why))
		bad(k, NULL, why);
	free(why);
}

/* ---- pools ---- */

static bool pool_needs_tls(const struct pool_config *p)
{
	return p->tls.mode != POOL_TLS_NONE || p->health.type == HEALTH_TLS || p->health.starttls;
}

static bool any_from_srv(const struct pool_config *p)
{
	for (size_t i = 0; i < p->n_servers; i++)
		if (p->servers[i].source == SERVER_FROM_SRV)
			return true;
	return false;
}

static bool keep_pool(struct conf_checker *k, struct pool_config *p, const char *why)
{
	const struct pool_config *was = conf_before_pool(k, p);

	if (p->tls.ca_file == NULL || (was == NULL && !k->p->env->starting))
		return false;
	if (was != NULL && was->tls.client != NULL) {
		p->tls.client = tls_client_ref(was->tls.client);
		conf_check_keep(k, why, "what was read before stays in force");
	} else {
		conf_check_empty_pool(k, p, why);
	}
	return true;
}

/* What a certificate can hold: an address, or a name without a dot at its end; a dot in front would stand for all names
 * below it (X509_check_host(3)). */
static void check_server_name(struct conf_checker *k, struct pool_config *p)
{
	char folded[SMTP_DOMAIN_MAX + 1];
	struct addr ip;

	if (p->tls.server_name == NULL || addr_parse_ip(p->tls.server_name, &ip))
		return;
	if (p->tls.server_name[0] == '[' || !smtp_domain_fold(str_from(p->tls.server_name), folded))
		bad(k, "a host name or an IP address", "no certificate has such a name");
	else
		p->tls.server_name = arena_strdup(k->p->arena, folded);
}

static void check_pool(struct conf_checker *k, struct pool_config *p)
{
	struct tls_client_conf cf = { .verify = p->tls.mode == POOL_TLS_VERIFY,
				      .ca_file = p->tls.ca_file,
				      .sessions_max = SESSIONS_MAX };
	char *why = NULL;

	conf_check_at(k, "pools", p->name, "tls", "implicit", NULL);
	if (p->tls.implicit && p->tls.mode < POOL_TLS_ENCRYPT)
		bad(k, NULL, "TLS from the first byte needs the mode \"encrypt\" or \"verify\"");
	conf_check_at(k, "pools", p->name, "tls", "ca_file", NULL);
	if (p->tls.ca_file != NULL && p->tls.mode != POOL_TLS_VERIFY)
		conf_check_warn(k, "has no effect while the mode is not \"verify\"");
	conf_check_at(k, "pools", p->name, "tls", "server_name", NULL);
	check_server_name(k, p);
	if (p->tls.mode == POOL_TLS_VERIFY && p->tls.server_name == NULL && any_from_srv(p))
		bad(k, "a host name", "servers found by \"srv:\" have no name of their own that could be verified");
	conf_check_at(k, "pools", p->name, "health", "type", NULL);
	if (p->health.type == HEALTH_TLS && p->tls.mode != POOL_TLS_NONE && !p->tls.implicit)
		conf_check_warn(k, "these checks begin with TLS, while mail to this pool begins in plaintext: servers "
				   "that await STARTTLS will be down");
	if (k->fields_are_bad || !pool_needs_tls(p))
		return;
	p->tls.client = tls_client_new(&cf, &why);
	conf_check_at(k, "pools", p->name, "tls", "ca_file", NULL);
	if (p->tls.client == NULL && !keep_pool(k, p, why))
		bad(k, NULL, why);
	free(why);
}

void conf_check_tls(struct conf_checker *k)
{
	for (size_t i = 0; i < k->c->n_certificates; i++)
		check_certificate(k, &k->c->certificates[i]);
	for (size_t i = 0; i < k->c->n_listeners; i++)
		check_listener(k, &k->c->listeners[i]);
	for (size_t i = 0; i < k->c->n_pools; i++)
		check_pool(k, &k->c->pools[i]);
}

void conf_free_tls(struct conf *c)
{
	for (size_t i = 0; i < c->n_certificates; i++)
		tls_certificate_unref(c->certificates[i].loaded);
	for (size_t i = 0; i < c->n_listeners; i++)
		tls_server_unref(c->listeners[i].tls.server);
	for (size_t i = 0; i < c->n_pools; i++)
		tls_client_unref(c->pools[i].tls.client);
}
