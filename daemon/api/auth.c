/* SPDX-License-Identifier: Apache-2.0
 * Who asks: a bearer token, or on the Unix socket the peer's own user.
 *
 * Over TCP nothing but a token counts. On the Unix socket the kernel says who connected (SO_PEERCRED, unix(7)); a token
 * given there all the same is taken at its word, so that a lesser role can be tried out. Tokens are compared by their
 * SHA-256, each of them to its last byte, so that the time taken says nothing about how near a guess came.
 */
#include <grp.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/api/api_private.h"

#define GROUPS_MAX 256
#define ADMIN_GROUP "postroad"

/* ---- tokens ---- */

static void hex_lower(const uint8_t *p, size_t n, char *out)
{
	for (size_t i = 0; i < n; i++)
		snprintf(out + 2 * i, 3, "%02x", p[i]);
}

static const struct token_config *token_find(const struct conf *conf, struct str token)
{
	const struct token_config *found = NULL;
	uint8_t digest[SHA256_DIGEST_LENGTH];
	char hex[2 * SHA256_DIGEST_LENGTH + 1];

	SHA256((const uint8_t *)token.p, token.n, digest);
	hex_lower(digest, sizeof(digest), hex);
	for (size_t i = 0; i < conf->n_tokens; i++) {
		const struct token_config *t = &conf->tokens[i];
		if (strlen(t->sha256) == sizeof(hex) - 1 && CRYPTO_memcmp(t->sha256, hex, sizeof(hex) - 1) == 0)
			found = t;
	}
	if (found != NULL && found->expires_wall > 0 && found->expires_wall <= clock_wall())
		return NULL;
	return found;
}

static bool identify_token(struct call *c, const char *header, struct identity *ret)
{
	struct str token = bearer_token(header);
	const struct token_config *t = token.p == NULL ? NULL : token_find(c->api->conf, token);

	if (t == NULL) {
		struct logline l;
		log_begin(&l, LOG_LEVEL_NOTICE, "admin_auth_failed");
		log_cstr(&l, "listener", c->conn->front->name);
		log_end(&l);
		return false;
	}
	ret->role = t->role;
	snprintf(ret->author, sizeof(ret->author), "%s", t->name);
	return true;
}

/* ---- the Unix socket ---- */

static bool in_admin_group(gid_t gid, const char *user)
{
	struct group group, *found = NULL;
	gid_t groups[GROUPS_MAX];
	char buf[8192];
	int n = GROUPS_MAX;

	if (getgrnam_r(ADMIN_GROUP, &group, buf, sizeof(buf), &found) != 0 || found == NULL)
		return false;
	if (gid == found->gr_gid)
		return true;
	if (user == NULL || getgrouplist(user, gid, groups, &n) < 0)
		return false;
	for (int i = 0; i < n; i++)
		if (groups[i] == found->gr_gid)
			return true;
	return false;
}

static void identify_peer(struct call *c, struct identity *ret)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	struct passwd pw, *found = NULL;
	char buf[4096];

	if (getsockopt(c->conn->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0)
		return;
	/* The look-up is local or cached on any sane system, and only for people: root and our own user need none to be
	 * let in. */
	const char *user =
		getpwuid_r(cred.uid, &pw, buf, sizeof(buf), &found) == 0 && found != NULL ? pw.pw_name : NULL;
	if (user != NULL)
		snprintf(ret->author, sizeof(ret->author), "local:%s", user);
	else
		snprintf(ret->author, sizeof(ret->author), "local:%u", (unsigned)cred.uid);
	ret->is_owner = cred.uid == 0 || cred.uid == geteuid();
	if (ret->is_owner || in_admin_group(cred.gid, user))
		ret->role = ROLE_ADMIN;
}

bool auth_identify(struct call *c, struct identity *ret)
{
	const char *header = call_header(c, "Authorization");

	*ret = (struct identity) { .role = ROLE_NONE };
	if (header != NULL)
		return identify_token(c, header, ret);
	if (c->conn->front->is_unix)
		identify_peer(c, ret);
	return true;
}
