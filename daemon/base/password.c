/* SPDX-License-Identifier: Apache-2.0
 * Passwords as crypt(5) hashes, by libxcrypt.
 *
 * The hard thing is cost: a hash says itself how much work and memory its check takes, so one that asks for too much is
 * refused before it is ever checked.
 */
#include "daemon/base/password.h"

#include <crypt.h>
#include <openssl/crypto.h>
#include <stdlib.h>

#define SHA_ROUNDS_MIN 1000
#define SHA_ROUNDS_MAX 1000000
#define BCRYPT_COST_MAX 14
/* yescrypt's N as crypt(5) writes it: '7' is 1024, each further one doubles it; 'C' with the block size 'T' takes 128
 * MiB and about a second. */
#define YESCRYPT_N "789ABC"

static const char itoa64[] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

bool password_valid(struct str password, const char **ret_why)
{
	*ret_why = password.n == 0 ? "the password is empty" : "the password is longer than 255 bytes";
	if (password.n == 0 || password.n > PASSWORD_MAX)
		return false;
	*ret_why = "the password holds control characters";
	for (size_t i = 0; i < password.n; i++)
		if ((unsigned char)password.p[i] < ' ' || password.p[i] == 0x7f)
			return false;
	return true;
}

/* ---- what a hash looks like ---- */

/* Takes a run of 64-character text off *rest; returns its length. */
static size_t take_run(const char **rest)
{
	size_t n = strspn(*rest, itoa64);

	*rest += n;
	return n;
}

/* salt$hash, to the end. */
static bool is_salt_and_hash(const char *rest, size_t salt_max, size_t hash_len)
{
	size_t salt = take_run(&rest);

	if (salt == 0 || salt > salt_max || *rest++ != '$')
		return false;
	return take_run(&rest) == hash_len && *rest == '\0';
}

typedef bool kind_fn(const char *rest, size_t hash_len, const char **ret_why);

/* jNr$salt$hash: the flavour of libxcrypt, N and the block size r. */
static bool yescrypt_valid(const char *rest, size_t hash_len, const char **ret_why)
{
	if (rest[0] != 'j' || rest[1] == '\0' || (rest[2] != '5' && rest[2] != 'T') || rest[3] != '$')
		return false;
	if (strchr(YESCRYPT_N, rest[1]) == NULL) {
		*ret_why = "its cost is not between those of count 1 and 8 of crypt_gensalt(3)";
		return false;
	}
	return is_salt_and_hash(rest + 4, 86, hash_len);
}

/* NN$, 22 characters of salt and 31 of hash. */
static bool bcrypt_valid(const char *rest, size_t hash_len, const char **ret_why)
{
	if (strspn(rest, "0123456789") != 2 || rest[2] != '$')
		return false;
	int cost = (rest[0] - '0') * 10 + rest[1] - '0';
	if (cost < 4 || cost > BCRYPT_COST_MAX) {
		*ret_why = "its cost is not between 4 and 14";
		return false;
	}
	rest += 3;
	return take_run(&rest) == hash_len && *rest == '\0';
}

/* [rounds=N$]salt$hash */
static bool sha_valid(const char *rest, size_t hash_len, const char **ret_why)
{
	static const char word[] = "rounds=";

	if (strncmp(rest, word, sizeof(word) - 1) == 0) {
		rest += sizeof(word) - 1;
		size_t n = strspn(rest, "0123456789");
		if (n == 0 || rest[n] != '$')
			return false;
		long rounds = n > 7 ? -1 : strtol(rest, NULL, 10);
		if (rounds < SHA_ROUNDS_MIN || rounds > SHA_ROUNDS_MAX) {
			*ret_why = "its rounds are not between 1000 and 1000000";
			return false;
		}
		rest += n + 1;
	}
	return is_salt_and_hash(rest, 16, hash_len);
}

static const struct kind {
	const char *prefix;
	kind_fn *valid;
	size_t hash_len;
} kinds[] = {
	{ "$y$", yescrypt_valid, 43 }, { "$gy$", yescrypt_valid, 43 }, { "$2a$", bcrypt_valid, 53 },
	{ "$2b$", bcrypt_valid, 53 },  { "$2y$", bcrypt_valid, 53 },   { "$6$", sha_valid, 86 },
	{ "$5$", sha_valid, 43 },
};

bool password_hash_valid(const char *hash, const char **ret_why)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		const struct kind *k = &kinds[i];
		if (strncmp(hash, k->prefix, strlen(k->prefix)) != 0)
			continue;
		*ret_why = "it is cut off or damaged";
		return strlen(hash) <= PASSWORD_HASH_MAX && k->valid(hash + strlen(k->prefix), k->hash_len, ret_why);
	}
	*ret_why = "it is no hash of a kind that is strong enough";
	return false;
}

/* ---- hashing ---- */

struct password_scratch {
	struct crypt_data data;
};

struct password_scratch *password_scratch_new(void)
{
	return xcalloc(1, sizeof(struct password_scratch));
}

void password_scratch_free(struct password_scratch *s)
{
	if (s != NULL)
		OPENSSL_cleanse(s, sizeof(*s));
	free(s);
}

bool password_hash_make(const char *password, char out[PASSWORD_HASH_MAX + 1])
{
	struct password_scratch *s = password_scratch_new();
	char setting[CRYPT_GENSALT_OUTPUT_SIZE];
	const char *hash = NULL, *why;

	if (crypt_gensalt_rn("$y$", 0, NULL, 0, setting, sizeof(setting)) != NULL)
		hash = crypt_rn(password, setting, &s->data, sizeof(s->data));
	bool ok = hash != NULL && password_hash_valid(hash, &why);
	if (ok)
		memcpy(out, hash, strlen(hash) + 1);
	password_scratch_free(s);
	return ok;
}

enum password_verdict password_check(struct password_scratch *s, const char *password, const char *hash)
{
	const char *got = crypt_rn(password, hash, &s->data, sizeof(s->data));

	if (got == NULL)
		return PASSWORD_FAILED;
	size_t n = strlen(hash);
	bool is_good = strlen(got) == n && CRYPTO_memcmp(got, hash, n) == 0;
	OPENSSL_cleanse(s->data.output, sizeof(s->data.output));
	return is_good ? PASSWORD_GOOD : PASSWORD_BAD;
}
