/* SPDX-License-Identifier: Apache-2.0
 * The users of a configuration.
 *
 * The hard thing is that a user who does not exist must look like one who does, on every node and after every restart:
 * the key his salt is made of is a hash of a verifier that all nodes have and nobody else has seen.
 */
#include "daemon/session/users.h"

#include <openssl/sha.h>
#include <stdlib.h>

#include "daemon/base/hash.h"

struct users {
	struct map *by_name;
	size_t n, n_scram, n_passwords;
	const char *any_hash;
	unsigned iterations;
	unsigned char unknown_key[SHA256_DIGEST_LENGTH];
};

/* The first in the order of names, which is the same on all nodes. */
static const struct user_config *first_with_secret(const struct user_config *v, size_t n)
{
	const struct user_config *first = NULL;

	for (size_t i = 0; i < n; i++)
		if (first == NULL || strcmp(v[i].name, first->name) < 0)
			first = &v[i];
	return first;
}

static void make_unknown_key(struct users *u, const struct user_config *v, size_t n)
{
	const struct user_config *first = first_with_secret(v, n);
	const char *secret = first == NULL ? "" : first->scram_sha256 != NULL ? first->scram_sha256 : first->password;

	if (secret == NULL)
		secret = "";
	SHA256((const unsigned char *)secret, strlen(secret), u->unknown_key);
}

static void count(struct users *u, const struct user_config *c)
{
	struct scram_verifier v;
	const char *why;

	if (c->password != NULL) {
		u->n_passwords++;
		u->any_hash = c->password;
	}
	if (c->scram_sha256 != NULL && scram_verifier_parse(c->scram_sha256, &v, &why)) {
		u->n_scram++;
		u->iterations = v.iterations;
	}
}

struct users *users_new(const struct user_config *v, size_t n)
{
	struct users *u = xcalloc(1, sizeof(*u));

	u->by_name = map_new();
	u->n = n;
	u->iterations = SCRAM_ITERATIONS_DEFAULT;
	for (size_t i = 0; i < n; i++) {
		map_put(u->by_name, str_from(v[i].name), (void *)(uintptr_t)&v[i]);
		count(u, &v[i]);
	}
	make_unknown_key(u, v, n);
	return u;
}

void users_free(struct users *u)
{
	if (u == NULL)
		return;
	map_free(u->by_name, NULL);
	free(u);
}

bool users_are_any(const struct users *u)
{
	return u != NULL && u->n > 0;
}

const struct user_config *users_find(const struct users *u, const char *name, const struct addr *client)
{
	const struct user_config *c = map_get(u->by_name, str_from(name));

	if (c == NULL || (c->allow.present && !cidr_match_any(c->allow.v, c->allow.n, client)))
		return NULL;
	return c;
}

bool users_have_scram(const struct users *u)
{
	return u->n > 0 && u->n_scram == u->n;
}

bool users_have_passwords(const struct users *u)
{
	return u->n > 0 && u->n_passwords == u->n;
}

const char *users_any_hash(const struct users *u)
{
	return u->any_hash;
}

struct str users_unknown_key(const struct users *u)
{
	return (struct str) { (const char *)u->unknown_key, sizeof(u->unknown_key) };
}

unsigned users_iterations(const struct users *u)
{
	return u->iterations;
}
