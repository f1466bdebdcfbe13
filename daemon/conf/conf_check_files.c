/* SPDX-License-Identifier: Apache-2.0
 * Files that cannot be used any more: what the configuration in force has read of them holds in their place.
 *
 * The hard thing is to tell a mistake from decay. Who writes a configuration that names a file must hear that it is
 * unusable; who changes something else, or only restarts, must not be stopped by it. So what decides is whether the
 * configuration in force has the same file in the same place.
 */
#include "daemon/conf/conf_check.h"

static bool same_text(const char *a, const char *b)
{
	return a == NULL ? b == NULL : b != NULL && strcmp(a, b) == 0;
}

static bool same_list(const struct str_list *a, const struct str_list *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (strcmp(a->v[i], b->v[i]) != 0)
			return false;
	return true;
}

const struct certificate_config *conf_before_certificate(const struct conf_checker *k,
							 const struct certificate_config *c)
{
	const struct conf *before = k->p->env->before;

	for (size_t i = 0; before != NULL && i < before->n_certificates; i++) {
		const struct certificate_config *was = &before->certificates[i];
		if (strcmp(was->name, c->name) == 0)
			return same_text(was->certificate_file, c->certificate_file) &&
					       same_text(was->key_file, c->key_file)
				       ? was
				       : NULL;
	}
	return NULL;
}

const struct listener_config *conf_before_listener(const struct conf_checker *k, const struct listener_config *l)
{
	const struct conf *before = k->p->env->before;

	for (size_t i = 0; before != NULL && i < before->n_listeners; i++) {
		const struct listener_config *was = &before->listeners[i];
		if (strcmp(was->name, l->name) == 0)
			return same_text(was->tls.client_ca_file, l->tls.client_ca_file) &&
					       same_text(was->tls.min_version, l->tls.min_version) &&
					       same_list(&was->tls.certificates, &l->tls.certificates)
				       ? was
				       : NULL;
	}
	return NULL;
}

static bool is_same_pool(const struct pool_config *a, const struct pool_config *b)
{
	return strcmp(a->name, b->name) == 0;
}

/* Pools are many and may share one file; nearly always one stands where it stood. */
static const struct pool_config *pool_before(const struct conf_checker *k, const struct pool_config *p)
{
	const struct conf *before = k->p->env->before;
	size_t at = (size_t)(p - k->c->pools);

	if (before == NULL)
		return NULL;
	if (at < before->n_pools && is_same_pool(&before->pools[at], p))
		return &before->pools[at];
	for (size_t i = 0; i < before->n_pools; i++)
		if (is_same_pool(&before->pools[i], p))
			return &before->pools[i];
	return NULL;
}

const struct pool_config *conf_before_pool(const struct conf_checker *k, const struct pool_config *p)
{
	const struct pool_config *was = pool_before(k, p);
	bool same = was != NULL && same_text(was->tls.ca_file, p->tls.ca_file) && was->tls.mode == p->tls.mode &&
		    same_text(was->auth.password_file, p->auth.password_file) &&
		    same_text(was->auth.user, p->auth.user);

	return same ? was : NULL;
}

void conf_check_keep(struct conf_checker *k, const char *why, const char *instead)
{
	errors_add(&k->c->kept, k->p->path.p, NULL, NULL, NULL, "%s; %s", why, instead);
}

void conf_check_empty_pool(struct conf_checker *k, struct pool_config *p, const char *why)
{
	p->n_servers = 0;
	conf_check_keep(k, why, "mail for this pool is deferred");
}
