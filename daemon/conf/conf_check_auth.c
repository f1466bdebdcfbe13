/* SPDX-License-Identifier: Apache-2.0
 * Checks of logins at servers, and the reading of their password files.
 *
 * The hard thing is that a secret must not go where anybody can read it: not over the network without TLS, and not into
 * the text of an error.
 */
#include "daemon/conf/conf_check.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/password.h"

static void bad(struct conf_checker *k, const char *allowed, const char *why)
{
	errors_add(k->p->errors, k->p->path.p, NULL, allowed, NULL, "%s", why);
}

/* ---- password files ---- */

/* The first line into out; why it cannot be had, or NULL. */
static const char *first_line(int fd, char out[PASSWORD_MAX + 2])
{
	ssize_t n = read(fd, out, PASSWORD_MAX + 1);

	if (n < 0)
		return strerror(errno);
	out[n] = '\0';
	out[strcspn(out, "\r\n")] = '\0';
	for (const char *p = out; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return "there is a control character in it";
	return out[0] == '\0'               ? "its first line is empty"
	       : strlen(out) > PASSWORD_MAX ? "its first line is too long"
					    : NULL;
}

static bool keep_password(struct conf_checker *k, struct pool_config *p, const char *why)
{
	const struct pool_config *was = conf_before_pool(k, p);

	if (was == NULL && !k->p->env->starting)
		return false;
	if (was != NULL && was->auth.password != NULL) {
		p->auth.password = arena_strdup(k->p->arena, was->auth.password);
		conf_check_keep(k, why, "what was read before stays in force");
	} else {
		conf_check_empty_pool(k, p, why);
	}
	return true;
}

static void read_password(struct conf_checker *k, struct pool_config *p)
{
	char line[PASSWORD_MAX + 2] = "";
	struct stat st;
	int fd = open(p->auth.password_file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	const char *why = fd < 0 ? strerror(errno) : NULL;

	conf_check_at(k, "pools", p->name, "auth", "password_file", NULL);
	if (why == NULL && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)))
		why = "not a file";
	if (why == NULL && st.st_mode & S_IROTH)
		conf_check_warn(k, "everybody on this machine may read it");
	if (why == NULL)
		why = first_line(fd, line);
	if (why == NULL)
		p->auth.password = arena_strdup(k->p->arena, line);
	else if (!keep_password(k, p, why))
		errors_add(k->p->errors, k->p->path.p, NULL, NULL, NULL, "cannot be used: %s", why);
	OPENSSL_cleanse(line, sizeof(line));
	if (fd >= 0)
		close(fd);
}

/* ---- pools ---- */

static bool all_on_loopback(const struct pool_config *p)
{
	for (size_t i = 0; i < p->n_servers; i++)
		if (p->servers[i].source != SERVER_FROM_ADDRESS || !addr_is_loopback(&p->servers[i].addr))
			return false;
	return true;
}

/* Where TLS is a mere wish, whoever is on the way can do without it. */
static bool goes_in_the_clear(const struct pool_config *p)
{
	return p->tls.mode < POOL_TLS_ENCRYPT && !p->auth.plaintext && !all_on_loopback(p);
}

static void check_pool(struct conf_checker *k, struct pool_config *p)
{
	struct pool_auth_config *a = &p->auth;
	bool any = a->password != NULL || a->password_file != NULL;

	if (k->fields_are_bad)
		return;
	conf_check_at(k, "pools", p->name, "auth", NULL);
	if (a->user == NULL && any)
		bad(k, "a \"user\" too", "a password is of nobody");
	if (a->user == NULL)
		return;
	if (!any || (a->password != NULL && a->password_file != NULL))
		bad(k, "\"password\" or \"password_file\"", "one password is needed");
	if (goes_in_the_clear(p))
		bad(k, "`tls.mode` \"encrypt\" or \"verify\", or \"plaintext\": true",
		    "without TLS the password could be read on the way");
	if (a->password == NULL && a->password_file != NULL)
		read_password(k, p);
}

/* ---- logins that are passed on ---- */

/* May choose the pool before anything but the client is known. */
static bool chooses_for_login(const struct route_config *r, const struct listener_config *l)
{
	bool reaches = !r->listener.present;

	for (size_t i = 0; i < r->listener.n; i++)
		reaches = reaches || strcmp(r->listener.v[i], l->name) == 0;
	return reaches && r->pool != NULL && !r->user.present && !r->sender.present && !r->recipient.present &&
	       !r->sender_domain.present && !r->recipient_domain.present;
}

/* A connection on which we have logged in ourselves cannot take another login (RFC 4954 4). */
static void check_passed(struct conf_checker *k, const struct listener_config *l, const char *pool)
{
	const struct pool_config *p = pool != NULL ? map_get(k->pools, str_from(pool)) : NULL;

	conf_check_at(k, "listeners", l->name, "auth", "mode", NULL);
	if (p != NULL && p->auth.user != NULL)
		errors_add(k->p->errors, k->p->path.p, "\"passthrough\"", NULL, NULL,
			   "logins may go to pool \"%s\", where we log in ourselves: the servers take one login only",
			   pool);
	if (p != NULL && !k->fields_are_bad && goes_in_the_clear(p))
		errors_add(k->p->errors, k->p->path.p, "\"passthrough\"", NULL, NULL,
			   "logins may go to pool \"%s\" without TLS, and passwords could be read on the way: its "
			   "`tls.mode` must be \"encrypt\" or \"verify\", or its `auth.plaintext` true",
			   pool);
}

static void check_listener(struct conf_checker *k, const struct listener_config *l)
{
	if (l->auth.mode != LISTENER_AUTH_PASSTHROUGH)
		return;
	check_passed(k, l, l->pool);
	for (size_t i = 0; i < k->c->policy.n_routes; i++)
		if (chooses_for_login(&k->c->policy.routes[i], l))
			check_passed(k, l, k->c->policy.routes[i].pool);
}

void conf_check_auth(struct conf_checker *k)
{
	for (size_t i = 0; i < k->c->n_pools; i++)
		check_pool(k, &k->c->pools[i]);
	for (size_t i = 0; i < k->c->n_listeners; i++)
		check_listener(k, &k->c->listeners[i]);
}

void conf_wipe_auth(struct conf *c)
{
	for (size_t i = 0; i < c->n_pools; i++) {
		char *password = (char *)(uintptr_t)c->pools[i].auth.password;
		if (password != NULL)
			OPENSSL_cleanse(password, strlen(password));
	}
}
