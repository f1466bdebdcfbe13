/* SPDX-License-Identifier: Apache-2.0
 * The users of a configuration.
 *
 * The hard thing is that a user who does not exist must look like one who does, on every node and after every restart:
 * the key his salt is made of is a hash of what all nodes have and nobody else has seen, a user included.
 */
#include "daemon/session/users.h"

#include <endian.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

#include "daemon/base/hash.h"

struct look {
	unsigned iterations;
	size_t salt_len;
};

struct users {
	struct map *by_name;
	size_t n, n_scram, n_passwords;
	const char *any_hash;
	struct look *looks; /* of those with a verifier, by name */
	unsigned char unknown_key[32];
};

/* By name, which is an order that is the same on all nodes. */
static int by_name(const void *a, const void *b)
{
	const struct user_config *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

/* The first password hash. Its salt is seen by nobody, while a user can work out his own verifier from his password and
 * what SCRAM tells him: so verifiers are only used where there is nothing else, and then all of them. */
static void make_unknown_key(struct users *u, const struct user_config *const *v, size_t n)
{
	EVP_MD_CTX *md;

	for (size_t i = 0; i < n; i++) {
		if (v[i]->password == NULL)
			continue;
		ASSERT(EVP_Digest(v[i]->password, strlen(v[i]->password), u->unknown_key, NULL, EVP_sha256(), NULL));
		return;
	}
	md = EVP_MD_CTX_new();
	ASSERT(EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1);
	for (size_t i = 0; i < n; i++)
		if (v[i]->scram_sha256 != NULL)
			EVP_DigestUpdate(md, v[i]->scram_sha256, strlen(v[i]->scram_sha256) + 1);
	ASSERT(EVP_DigestFinal_ex(md, u->unknown_key, NULL) == 1);
	EVP_MD_CTX_free(md);
}

static void count(struct users *u, const struct user_config *c)
{
	struct scram_verifier v;
	const char *why;

	if (c->password != NULL) {
		u->n_passwords++;
		u->any_hash = c->password;
	}
	if (c->scram_sha256 != NULL && scram_verifier_parse(c->scram_sha256, &v, &why))
		u->looks[u->n_scram++] = (struct look) { v.iterations, v.salt_len };
}

struct users *users_new(const struct user_config *v, size_t n)
{
	struct users *u = xcalloc(1, sizeof(*u));
	const struct user_config **sorted = xcalloc(n + 1, sizeof(*sorted));

	u->by_name = map_new();
	u->n = n;
	u->looks = xcalloc(n + 1, sizeof(*u->looks));
	for (size_t i = 0; i < n; i++) {
		map_put(u->by_name, str_from(v[i].name), (void *)(uintptr_t)&v[i]);
		sorted[i] = &v[i];
	}
	qsort(sorted, n, sizeof(*sorted), by_name);
	for (size_t i = 0; i < n; i++)
		count(u, sorted[i]);
	make_unknown_key(u, sorted, n);
	free(sorted);
	return u;
}

void users_free(struct users *u)
{
	if (u == NULL)
		return;
	map_free(u->by_name, NULL);
	OPENSSL_cleanse(u->unknown_key, sizeof(u->unknown_key));
	free(u->looks);
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

static bool same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

bool users_agree(const struct users *was, const struct users *is, const char *name, const struct addr *client)
{
	if (was == is)
		return true;
	const struct user_config *then = users_find(was, name, client), *now = users_find(is, name, client);
	return then != NULL && now != NULL && same_text(then->password, now->password) &&
	       same_text(then->scram_sha256, now->scram_sha256);
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

void users_look(const struct users *u, const char *name, unsigned *ret_iterations, size_t *ret_salt_len)
{
	unsigned char mac[EVP_MAX_MD_SIZE];
	uint32_t choice;
	unsigned n;

	*ret_iterations = SCRAM_ITERATIONS_DEFAULT;
	*ret_salt_len = SCRAM_SALT_LEN;
	if (u->n_scram == 0)
		return;
	/* Another digest than the one the salt is made by, of which this must tell nothing. */
	ASSERT(HMAC(EVP_sha384(), u->unknown_key, sizeof(u->unknown_key), (const unsigned char *)name, strlen(name),
		    mac, &n) != NULL);
	memcpy(&choice, mac, sizeof(choice));
	*ret_iterations = u->looks[le32toh(choice) % u->n_scram].iterations;
	*ret_salt_len = u->looks[le32toh(choice) % u->n_scram].salt_len;
}
