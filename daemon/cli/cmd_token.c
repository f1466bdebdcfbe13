/* SPDX-License-Identifier: Apache-2.0
 * `postroad token …`: tokens of the API.
 *
 * A token is 256 random bits, made here and printed once; only its SHA-256 leaves this process. A hash without salt or
 * stretching is right for such a value, as nobody can guess it.
 */
#include "daemon/cli/cli.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/hash.h"

#define TOKEN_PREFIX "pr_"
#define TOKEN_BYTES 32
#define TOKEN_TEXT_MAX (sizeof(TOKEN_PREFIX) + 2 * TOKEN_BYTES)

static void hex(const unsigned char *p, size_t n, char *out)
{
	for (size_t i = 0; i < n; i++)
		sprintf(out + 2 * i, "%02x", p[i]);
}

static void make_token(char *token, char *sha256)
{
	unsigned char raw[TOKEN_BYTES], digest[EVP_MAX_MD_SIZE];
	unsigned n;

	random_bytes(raw, sizeof(raw));
	memcpy(token, TOKEN_PREFIX, sizeof(TOKEN_PREFIX));
	hex(raw, sizeof(raw), token + sizeof(TOKEN_PREFIX) - 1);
	ASSERT(EVP_Digest(token, strlen(token), digest, &n, EVP_sha256(), NULL) == 1 && n == 32);
	hex(digest, n, sha256);
	explicit_bzero(raw, sizeof(raw));
}

/* A merge patch of one token; value NULL ends it. */
static int patch_token(struct cli *c, const char *etag, json_t *value, struct http_reply *ret)
{
	json_t *body = json_pack("{s:{s:O?}}", "tokens", c->args[0], value);
	json_t *tokens = json_object_get(body, "tokens");
	struct config_write w = {
		.method = "PATCH",
		.content_type = "application/merge-patch+json",
		.body = body,
		.etag = etag,
		.dry_run = cli_has(c, OPT_DRY_RUN),
	};

	if (value == NULL)
		json_object_set_new(tokens, c->args[0], json_null());
	int rc = config_write(c, &w, ret);
	json_decref(body);
	return rc;
}

static const json_t *stored_token(const json_t *document, const char *name)
{
	return json_object_get(json_object_get(document, "tokens"), name);
}

/* ---- create ---- */

static int create(struct cli *c, const char *role, const char *etag)
{
	char token[TOKEN_TEXT_MAX], sha256[65];
	struct http_reply rp = { 0 };

	make_token(token, sha256);
	json_t *value = json_pack("{s:s, s:s}", "role", role, "sha256", sha256);
	if (cli_has(c, OPT_EXPIRES))
		json_object_set_new(value, "expires", json_string(c->options[OPT_EXPIRES]));
	int rc = patch_token(c, etag, value, &rp);
	if (rc == EXIT_DONE && cli_has(c, OPT_DRY_RUN)) {
		printf("token %s with role %s would be made\n", c->args[0], role);
	} else if (rc == EXIT_DONE && cli_has(c, OPT_JSON)) {
		json_t *j = json_pack("{s:s, s:s, s:s}", "name", c->args[0], "role", role, "token", token);
		cli_print_json(j);
		json_decref(j);
	} else if (rc == EXIT_DONE) {
		fprintf(stderr, "Token %s (%s). It is shown this once:\n", c->args[0], role);
		puts(token);
	}
	explicit_bzero(token, sizeof(token));
	json_decref(value);
	http_reply_fini(&rp);
	return rc;
}

int cmd_token_create(struct cli *c)
{
	const char *role = cli_has(c, OPT_ROLE) ? c->options[OPT_ROLE] : NULL;
	json_t *document = NULL;
	char *etag = NULL;

	if (role == NULL ||
	    (strcmp(role, "viewer") != 0 && strcmp(role, "operator") != 0 && strcmp(role, "admin") != 0)) {
		cli_error("--role is needed: viewer (reads), operator (also changes run-time state) or admin");
		return EXIT_USAGE;
	}
	int rc = config_fetch(c, &document, &etag);
	if (rc == EXIT_DONE && stored_token(document, c->args[0]) != NULL) {
		cli_error("there is a token %s already; revoke it first", c->args[0]);
		rc = EXIT_FAILED;
	}
	if (rc == EXIT_DONE)
		rc = create(c, role, etag);
	json_decref(document);
	free(etag);
	return rc;
}

/* ---- revoke ---- */

int cmd_token_revoke(struct cli *c)
{
	struct http_reply rp = { 0 };
	json_t *document = NULL;
	char *etag = NULL;
	int rc = config_fetch(c, &document, &etag);

	if (rc == EXIT_DONE && stored_token(document, c->args[0]) == NULL) {
		cli_error("there is no token %s", c->args[0]);
		rc = EXIT_FAILED;
	}
	if (rc == EXIT_DONE && !cli_has(c, OPT_DRY_RUN))
		rc = cli_confirm(c, "end token %s: what uses it loses access", c->args[0]);
	if (rc == EXIT_DONE)
		rc = patch_token(c, etag, NULL, &rp);
	if (rc == EXIT_DONE && cli_has(c, OPT_JSON) && rp.json != NULL)
		cli_print_json(rp.json);
	else if (rc == EXIT_DONE)
		printf("token %s %s\n", c->args[0], cli_has(c, OPT_DRY_RUN) ? "would be revoked" : "revoked");
	http_reply_fini(&rp);
	json_decref(document);
	free(etag);
	return rc;
}

/* ---- list ---- */

int cmd_token_list(struct cli *c)
{
	json_t *document = NULL, *t;
	char *etag = NULL;
	const char *name;
	int rc = config_fetch(c, &document, &etag);

	if (rc != EXIT_DONE)
		return rc;
	json_t *tokens = json_object_get(document, "tokens");
	if (cli_has(c, OPT_JSON)) {
		json_t *none = json_object();
		cli_print_json(tokens != NULL ? tokens : none);
		json_decref(none);
	} else {
		struct table *table = table_new("NAME ROLE EXPIRES COMMENT");
		json_object_foreach(tokens, name, t) {
			table_add(table, name);
			table_add(table, cli_str(t, "role"));
			table_add(table, *cli_str(t, "expires") ? cli_str(t, "expires") : "never");
			table_add(table, cli_str(t, "comment"));
		}
		table_end(table, c->colour);
	}
	json_decref(document);
	free(etag);
	return EXIT_DONE;
}
